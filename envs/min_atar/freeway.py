"""Freeway of MinAtar: cross eight lanes of cars repeatedly, in 2500 steps.

Young and Tian 2019, https://arxiv.org/abs/1903.03176; package MinAtar 1.0.15. The rules are exactly those of
the original. There the cars move one after another; here all at once, which is equivalent: a lane has
one car, and a player who was hit is moved to the row below the lanes, which has no cars. In the original the
last action is kept by a reset; here it is cleared.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.cpu.once import once
from jaxrl.envs.min_atar import common
from jaxrl.types import Env

MINIMAL_ACTIONS = "nud"
CHANNELS = ("chicken", "car", "speed1", "speed2", "speed3", "speed4", "speed5")

_LANES = 8  # rows 1 to 8
_COLUMN = 4  # of the player
_PLAYER_SPEED = 3
_TIME_LIMIT = 2500


@struct.dataclass
class State:
    """Rows count from the top, columns from the left; all integers are int32."""

    player: jax.Array  # its row
    move_timer: jax.Array  # steps until it can move
    time_left: jax.Array
    car_x: jax.Array  # `[8]`, from row 1 to row 8
    car_timer: jax.Array  # `[8]`, steps until it moves
    car_speed: jax.Array  # `[8]`, from 1 to 5 steps per cell; negative ones go left
    last_action: jax.Array


def make(*, sticky_action_prob=0.1, minimal_actions: bool = True) -> Env:
    """Reward 1 for every crossing, after which all cars change their speeds; ends after 2500 steps.

    The end is a termination, as in the original: the observation does not contain the time.

    Args:
      sticky_action_prob: probability that the last action is executed instead of the chosen one.
      minimal_actions: nothing, up, down; otherwise all six actions of MinAtar, of which the others
        do nothing here.

    Raises:
      ValueError: for a probability outside [0, 1].
    """
    return common.game(
        start,
        draw,
        advance,
        observe,
        channels=len(CHANNELS),
        actions=common.action_set(MINIMAL_ACTIONS, minimal_actions),
        sticky_action_prob=sticky_action_prob,
    )


def start(key) -> State:
    """Every car starts at the left edge, with a random speed."""
    speed = once(_speeds(jax.random.uniform(key, (_LANES,))))
    return State(
        player=jnp.int32(9),
        move_timer=jnp.int32(_PLAYER_SPEED),
        time_left=jnp.int32(_TIME_LIMIT),
        car_x=jnp.zeros(_LANES, jnp.int32),
        car_timer=jnp.abs(speed),
        car_speed=speed,
        last_action=jnp.int32(0),
    )


def draw(key):
    """Uniform numbers: one for the sticky action, and `[8]` for the new speeds after a crossing."""
    uniform = jax.random.uniform(key, (1 + _LANES,))
    return uniform[0], uniform[1:]


def advance(state: State, action, draws, *, actions: str, sticky_action_prob):
    """One step.

    Returns:
      The new state, the reward and whether the episode ended.
    """
    uniform, speed_uniforms = draws
    action = common.stick(uniform, sticky_action_prob, state.last_action, action)
    up, down = common.pressed(actions, action, "u"), common.pressed(actions, action, "d")
    moves = (up | down) & (state.move_timer == 0)
    player = state.player + jnp.where(moves, jnp.where(up, -1, 1), 0)
    move_timer = jnp.where(moves, _PLAYER_SPEED, state.move_timer)

    crossed = player <= 0
    player = jnp.where(crossed, 9, jnp.minimum(player, 9))
    speed = jnp.where(crossed, _speeds(speed_uniforms), state.car_speed)
    timer = jnp.where(crossed, jnp.abs(speed), state.car_timer)

    drives = timer == 0
    x = state.car_x + jnp.where(drives, jnp.sign(speed), 0)
    x = jnp.where(x < 0, 9, jnp.where(x > 9, 0, x))
    # A car hits the player in its previous and in its new cell.
    hits = (np.arange(1, 1 + _LANES) == player) & ((state.car_x == _COLUMN) | (x == _COLUMN))

    time_left = state.time_left - 1
    state = State(
        player=jnp.where(jnp.any(hits), 9, player),
        move_timer=jnp.maximum(move_timer - 1, 0),
        time_left=time_left,
        car_x=x,
        car_timer=jnp.where(drives, jnp.abs(speed), timer - 1),
        car_speed=speed,
        last_action=action,
    )
    return state, crossed.astype(jnp.float32), time_left < 0


def observe(state: State):
    """`[10, 10, 7]` bool: a plane for each of `CHANNELS`.

    A car has a trail, one cell behind it, on the plane of its speed. Cell and plane are one number for each
    row, so that every element of the observation is one comparison.
    """
    behind = state.car_x - jnp.sign(state.car_speed)
    behind = jnp.where(behind < 0, 9, jnp.where(behind > 9, 0, behind))
    nowhere = -1  # rows 0 and 9 have no car
    car = jnp.pad(state.car_x, 1, constant_values=nowhere)[:, None]
    trail = jnp.pad(behind + 10 * jnp.abs(state.car_speed), 1, constant_values=nowhere)[:, None]
    chicken = 10 * state.player + _COLUMN == 10 * _ROWS + _COLUMNS
    planes = [chicken, car == _COLUMNS, *(trail == _COLUMNS + 10 * speed for speed in range(1, 6))]
    return jnp.stack(planes, axis=-1)


def _speeds(uniform):
    """One of -5 to -1 and 1 to 5, equally likely."""
    number = jnp.floor(10.0 * uniform).astype(jnp.int32)
    return jnp.where(number < 5, number - 5, number - 4)


_ROWS = np.arange(10, dtype=np.int32)[:, None]
_COLUMNS = np.arange(10, dtype=np.int32)[None, :]
