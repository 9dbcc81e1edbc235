"""Frozen lake: cross ice, which may be slippery, to the goal without falling into a hole.

The transition table is that of Gymnasium 1.3's FrozenLake-v1.
https://gymnasium.farama.org/environments/toy_text/frozen_lake/
Maps are not generated at random: pass one as `desc`. `info` is empty; the original reports the probability
of the transition. The probability of slipping is a float32.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.worlds import outcomes
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Discrete
from jaxrl.types import Env

MAPS = {
    "4x4": ("SFFF", "FHFH", "FFFH", "HFFG"),
    "8x8": (
        "SFFFFFFF",
        "FFFFFFFF",
        "FFFHFFFF",
        "FFFFFHFF",
        "FFFHFFFF",
        "FHHFFFHF",
        "FHFFHFHF",
        "FFFHFFFG",
    ),
}
_FROZEN, _HOLE, _GOAL, _OVER = range(4)  # outcome of a move; a finished episode stays where it is
_DIRECTIONS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # left, down, right, up


@struct.dataclass
class State:
    """The position of the agent: row * columns + column."""

    position: jax.Array


def make(
    *,
    map_name: str = "4x4",
    desc: Sequence[str] | None = None,
    is_slippery: bool = True,
    success_rate: float = 1 / 3,
    reward_schedule: Sequence[float] = (1.0, 0.0, 0.0),
) -> Env:
    """Actions are left, down, right, up; the observation is the position, row by row.

    Args:
      map_name: "4x4" or "8x8", used without `desc`.
      desc: rows of S (start; of several, one is drawn), F (frozen), H (hole) and G (goal).
      is_slippery: a step goes in the chosen direction with probability `success_rate`, otherwise to one of
        the two sides, equally likely.
      reward_schedule: for reaching a goal, a hole, and any other tile.

    Raises:
      ValueError: for an unknown map, an invalid `desc`, or a probability outside [0, 1].
    """
    lake = _lake(map_name, desc)
    if not isinstance(success_rate, jax.core.Tracer) and not 0 <= success_rate <= 1:
        raise ValueError(f"success_rate must be a probability, not {success_rate!r}")
    if len(reward_schedule) != 3:
        raise ValueError(f"reward_schedule must be for goal, hole and ice, not {reward_schedule!r}")
    never = not isinstance(is_slippery, jax.core.Tracer) and not is_slippery
    straight = jnp.where(jnp.asarray(is_slippery, bool), success_rate, 1.0)
    table = moves(lake)
    starts = np.flatnonzero(lake.ravel() == "S").astype(np.int32)

    def reset(key):
        position = jnp.asarray(starts[0])
        if len(starts) > 1:
            # A float32 below 1 times n may round up to n.
            index = (draw(key) * len(starts)).astype(jnp.int32)
            position = jnp.asarray(starts)[jnp.minimum(index, len(starts) - 1)]
        return State(position), restart(position)

    def step(key, state, action):
        turn = jnp.zeros((), jnp.int32) if never else slip(draw(key), straight)
        state, reward, terminated = advance(table, reward_schedule, state, action, turn)
        return state, transition(state.position, reward, terminated)

    return Env(reset, step, Discrete(lake.size), Discrete(4))


def mdp(
    map_name: str = "4x4",
    desc: Sequence[str] | None = None,
    is_slippery: bool = True,
    success_rate: float = 1 / 3,
    reward_schedule: Sequence[float] = (1.0, 0.0, 0.0),
) -> Tabular:
    """The table of `make`: a state for each position, and one for the end; not traceable."""
    lake = _lake(map_name, desc)
    straight = success_rate if is_slippery else 1.0
    state, action, turn = np.ogrid[: lake.size, :4, -1:2]
    after, reward, ended = advance(moves(lake), reward_schedule, State(jnp.asarray(state)), action, turn)
    following = np.where(ended, -1, after.position)
    side = (1.0 - straight) / 2.0
    starts = lake.ravel() == "S"
    return outcomes.table(following, reward, np.array([side, straight, side]), starts / starts.sum())


def limit(*, map_name: str = "4x4", desc: Sequence[str] | None = None, **params) -> int:
    """Gymnasium's time limit: 200 steps on an 8x8 map and 100 on any other."""
    return 200 if _lake(map_name, desc).shape == (8, 8) else 100


def draw(key) -> jax.Array:
    """The random number in [0, 1) of a step, or of a reset on a map with several starts."""
    return jax.random.uniform(key)


def slip(u, straight) -> jax.Array:
    """The deviation of a step: -1, 0 or 1 quarter turns, 0 with probability `straight`."""
    side = (1.0 - straight) / 2.0
    return (u >= side).astype(jnp.int32) + (u >= side + straight).astype(jnp.int32) - 1


def advance(table, rewards, state: State, action, turn):
    """One step in the direction of the action, turned by `turn` quarter turns.

    Args:
      table: from `moves`.
      rewards: for goal, hole and ice.

    Returns:
      The new state, the reward and whether the episode is over.
    """
    direction = (action + turn) % 4
    found = jnp.asarray(table)[state.position * 4 + direction]
    tile = found % 4
    over_reward = jnp.where(tile == _OVER, 0.0, rewards[2])
    reward = jnp.where(tile == _GOAL, rewards[0], jnp.where(tile == _HOLE, rewards[1], over_reward))
    return State(found // 4), reward, tile != _FROZEN


def moves(lake: np.ndarray) -> np.ndarray:
    """For every position and direction, `[positions * 4]`: four times the next position, plus the outcome."""
    rows, columns = lake.shape
    tiles = {"H": _HOLE, "G": _GOAL}
    table = np.zeros((rows, columns, 4), np.int32)
    for row, column in np.ndindex(rows, columns):
        for direction, (down, right) in enumerate(_DIRECTIONS):
            to = min(max(row + down, 0), rows - 1), min(max(column + right, 0), columns - 1)
            tile = tiles.get(lake[to], _FROZEN)
            if lake[row, column] in tiles:
                to, tile = (row, column), _OVER
            table[row, column, direction] = 4 * (to[0] * columns + to[1]) + tile
    return table.ravel()


def _lake(map_name, desc) -> np.ndarray:
    if desc is None and map_name not in MAPS:
        raise ValueError(f"map_name must be one of {', '.join(MAPS)}, not {map_name!r}; or pass a desc")
    rows = MAPS[map_name] if desc is None else desc
    if not all(isinstance(row, str) for row in rows) or not math.prod([len(row) for row in rows]):
        raise ValueError(f"desc must be rows of the letters S, F, H and G, not {desc!r}")
    letters = set("".join(rows))
    if len({len(row) for row in rows}) != 1 or not {"S"} <= letters <= set("SFHG"):
        raise ValueError(f"desc must be rows of one length, of S, F, H and G with an S, not {desc!r}")
    return np.array([list(row) for row in rows])
