"""Taxi: pick up a passenger at one of four places and drop them off at another.

The transition table is that of Gymnasium 1.3's Taxi-v4 (Taxi-v3 with rain and fickle passengers corrected);
Dietterich 2000, https://arxiv.org/abs/cs/9905014.
https://gymnasium.farama.org/environments/toy_text/taxi/
`info` has the action mask, but not the probability of the transition.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Discrete
from jaxrl.types import Env

STREETS = (
    "R: | : :G",
    " : | : : ",
    " : : : : ",
    " | : | : ",
    "Y| : |B: ",
)
_SIZE, _IN_TAXI = 5, 4
_PLACES = (0, 4, 20, 23)  # the cells R, G, Y, B
# Bit `row * 5 + column`: whether the street continues to the east of that cell.
_EAST = sum(
    1 << (row * _SIZE + column)
    for row, street in enumerate(STREETS)
    for column in range(_SIZE - 1)
    if street[2 * column + 1] == ":"
)


def _open(row, column):
    """Whether the taxi can go south, north, east, west."""
    cell = row * _SIZE + column
    east = (_EAST >> cell) & 1 == 1
    west = ((_EAST << 1) >> cell) & 1 == 1
    return row < _SIZE - 1, row > 0, east, west


def _masks() -> np.ndarray:
    """The action masks of all states, `[500, 6]`: a lookup is twice as fast as six conditions."""
    row, column, passenger, _ = np.indices((_SIZE, _SIZE, 5, 4)).reshape(4, -1)
    place = np.full(25, -1)
    place[list(_PLACES)] = range(4)
    place = place[row * _SIZE + column]
    drop_off = (passenger == _IN_TAXI) & (place >= 0)
    return np.stack([*_open(row, column), passenger == place, drop_off], axis=-1)


_MASKS = _masks()


@struct.dataclass
class State:
    """The cell of the taxi, the passenger's place (4: in the taxi) and destination.

    `fickle`: the passenger will change the destination when the taxi first moves with them.
    """

    row: jax.Array
    column: jax.Array
    passenger: jax.Array
    destination: jax.Array
    fickle: jax.Array


def make(
    *,
    is_rainy: bool = False,
    fickle_passenger: bool = False,
    rainy_probability: float = 0.8,
    fickle_probability: float = 0.3,
) -> Env:
    """Actions are south, north, east, west, pick up, drop off.

    Reward -1 per step, 20 for a delivery, -10 for an illegal pick-up or drop-off.

    The observation is `((row * 5 + column) * 5 + passenger) * 4 + destination`, the places R, G, Y, B
    and 4 for "in the taxi". `info["action_mask"]` `[6]` marks the actions that change the state; the
    others are accepted too.

    Args:
      is_rainy: a possible move goes straight with probability `rainy_probability`, otherwise to one of the
        two sides, equally likely.
      fickle_passenger: with probability `fickle_probability` the passenger changes the destination when the
        taxi first moves with them.

    Raises:
      ValueError: for a probability outside [0, 1].
    """
    for name, value in dict(rainy=rainy_probability, fickle=fickle_probability).items():
        if not isinstance(value, jax.core.Tracer) and not 0 <= value <= 1:
            raise ValueError(f"{name}_probability must be a probability, not {value!r}")
    # Options that are known to be off use no random numbers.
    dry, steady = (not isinstance(x, jax.core.Tracer) and not x for x in (is_rainy, fickle_passenger))
    straight = jnp.where(jnp.asarray(is_rainy, bool), rainy_probability, 1.0)
    fickle = jnp.where(jnp.asarray(fickle_passenger, bool), fickle_probability, 0.0)

    def reset(key):
        u = draw(key)
        state = begin(u[0], u[1] < fickle)
        return state, restart(observe(state), {"action_mask": mask(state)})

    def step(key, state, action):
        u = jnp.zeros(2) if dry and steady else draw(key)
        turn = jnp.zeros((), jnp.int32) if dry else slip(u[0], straight)
        state, reward, terminated = advance(state, action, turn, pick(u[1], 3))
        return state, transition(observe(state), reward, terminated, {"action_mask": mask(state)})

    return Env(reset, step, Discrete(500), Discrete(6))


def draw(key) -> jax.Array:
    """The random numbers of a step (slip, destination) or a reset (state, fickleness): `[2]` in [0, 1)."""
    return jax.random.uniform(key, (2,))


def pick(u, n: int) -> jax.Array:
    """Maps a number in [0, 1) to one of 0 .. n - 1."""
    return jnp.minimum((u * n).astype(jnp.int32), n - 1)  # a float32 below 1 times n may round up to n


def slip(u, straight) -> jax.Array:
    """The deviation of a move: 0 straight, with probability `straight`, 1 to its left, 2 to its right."""
    side = (1.0 - straight) / 2.0
    return (u >= straight).astype(jnp.int32) + (u >= straight + side).astype(jnp.int32)


def begin(u, fickle) -> State:
    """One of the 300 states in which the passenger waits at a place that is not the destination."""
    index = pick(u, 300)
    cell, pair = index // 12, index % 12
    passenger, destination = pair // 3, pair % 3
    return State(
        row=cell // _SIZE,
        column=cell % _SIZE,
        passenger=passenger,
        destination=destination + (destination >= passenger),
        fickle=fickle,
    )


def observe(state: State) -> jax.Array:
    """The observation: the four numbers combined into one."""
    return ((state.row * _SIZE + state.column) * 5 + state.passenger) * 4 + state.destination


def mask(state: State) -> jax.Array:
    """Which actions change the state, `[6]` bool."""
    return jnp.asarray(_MASKS)[observe(state)]


def advance(state: State, action, turn, elsewhere):
    """One step; `turn` comes from `slip`.

    Args:
      elsewhere: 0, 1 or 2, the index of the new destination of a fickle passenger among the other three.

    Returns:
      The new state, the reward and whether the passenger was delivered.
    """
    row, column = state.row, state.column
    south, north, east, west = _open(row, column)

    # A move that is blocked by a wall cannot slip either.
    blocked = jnp.where(
        action < 2, jnp.where(action == 0, ~south, ~north), jnp.where(action == 2, ~east, ~west)
    )
    # To the left of south, north, east, west are east, west, north, south; right is the opposite of left.
    left = jnp.where(action < 2, action + 2, 3 - action)
    heading = jnp.where(turn == 0, action, jnp.where(turn == 1, left, left ^ 1))
    heading = jnp.where(blocked | (action > 3), -1, heading)
    new_row = row + ((heading == 0) & south) - ((heading == 1) & north)
    new_column = column + ((heading == 2) & east) - ((heading == 3) & west)

    place, carried = _place(state), state.passenger == _IN_TAXI
    picked = (action == 4) & (state.passenger == place)
    dropped = (action == 5) & carried & (place >= 0)
    delivered = dropped & (place == state.destination)
    mistaken = (action > 3) & ~picked & ~dropped
    passenger = jnp.where(picked, _IN_TAXI, jnp.where(dropped, place, state.passenger))

    changes = state.fickle & carried & (heading >= 0) & ((new_row != row) | (new_column != column))
    other = elsewhere + (elsewhere >= state.destination)
    state = State(
        row=new_row,
        column=new_column,
        passenger=passenger,
        destination=jnp.where(changes, other, state.destination),
        fickle=state.fickle & ~changes,
    )
    return state, jnp.where(delivered, 20.0, jnp.where(mistaken, -10.0, -1.0)), delivered


def _place(state: State) -> jax.Array:
    """Which of the four places the taxi is at, -1 for none."""
    cell = state.row * _SIZE + state.column
    found = jnp.full((), -1, jnp.int32)
    for index, place in enumerate(_PLACES):
        found = jnp.where(cell == place, np.int32(index), found)
    return found
