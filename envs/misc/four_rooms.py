"""Four rooms: move through hallways to a goal, where one step in three goes in another direction.

Sutton, Precup and Singh 1999, https://doi.org/10.1016/S0004-3702(99)00052-1: four rooms of 5 x 5,
6 x 5, 5 x 5 and 4 x 5 cells, joined by four hallways. The names of the parameters are those of gymnax's
FourRooms-misc, https://github.com/RobertTLange/gymnax. Differences from gymnax: the image is not transposed
and shows the goal, the vector is float32 like its space, and no episode starts at its goal.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

MAP = (
    "xxxxxxxxxxxxx",
    "x     x     x",
    "x     x     x",
    "x           x",
    "x     x     x",
    "x     x     x",
    "xx xxxx     x",
    "x     xxx xxx",
    "x     x     x",
    "x     x     x",
    "x           x",
    "x     x     x",
    "xxxxxxxxxxxxx",
)
WALLS = np.array([[tile == "x" for tile in row] for row in MAP])
CELLS = np.argwhere(~WALLS).astype(np.int32)  # [104, 2]


@struct.dataclass
class State:
    """The positions of the agent and of the goal, each `[2]`: row and column."""

    pos: jax.Array
    goal: jax.Array


def make(
    *,
    fail_prob: float = 1 / 3,
    resample_init_pos: bool = False,
    resample_goal_pos: bool = False,
    use_visual_obs: bool = False,
    goal_fixed: Sequence[int] = (8, 9),
    pos_fixed: Sequence[int] = (4, 1),
) -> Env:
    """Actions are up, right, down, left; 1 at the goal, which ends the episode.

    The observation is the agent's row and column and the goal's, `[4]` float32, or, with
    `use_visual_obs`, three planes `[13, 13, 3]` of bool: walls, agent, goal.

    Args:
      fail_prob: probability of moving in one of the other three directions, equally likely; walls block
        moves.
      resample_init_pos, resample_goal_pos: draw them in every reset, uniformly from the free cells, and never
        the same cell; otherwise they are `pos_fixed` and `goal_fixed`, (row, column).

    Raises:
      ValueError: for an invalid probability, or a start or goal in a wall or in the same cell.
    """
    if not isinstance(fail_prob, jax.core.Tracer) and not 0 <= fail_prob <= 1:
        raise ValueError(f"fail_prob must be a probability, not {fail_prob!r}")
    start, end = _cell("pos_fixed", pos_fixed), _cell("goal_fixed", goal_fixed)
    if start == end:
        raise ValueError(f"pos_fixed and goal_fixed must differ, but both are {tuple(goal_fixed)}")

    def show(state):
        return planes(state) if use_visual_obs else vector(state)

    def reset(key):
        state = begin(draw(key), start, end, resample_init_pos, resample_goal_pos)
        return state, restart(show(state))

    def step(key, state, action):
        state, reached = advance(state, turned(draw(key)[0], action, fail_prob))
        return state, transition(show(state), reached, reached)

    picture = Box(0, 1, (*WALLS.shape, 3), np.dtype(np.bool_))
    space = picture if use_visual_obs else Box(1.0, 11.0, (4,))
    return Env(reset, step, space, Discrete(4))


def draw(key) -> jax.Array:
    """The random numbers of a step (the first) or of a reset (goal, start): `[2]` in [0, 1)."""
    return jax.random.uniform(key, (2,))


def begin(u, start, end, resample_start, resample_end) -> State:
    """The initial state; `start` and `end` are numbers of free cells, used unless they are resampled."""
    count = len(CELLS)
    other = jnp.where(resample_start, count, start)  # the cell that the goal must not occupy, if any
    drawn = _below(u[0], jnp.where(resample_start, count, count - 1))
    goal = jnp.where(resample_end, drawn + (drawn >= other), end)
    drawn = _below(u[1], count - 1)
    pos = jnp.where(resample_start, drawn + (drawn >= goal), start)
    cells = jnp.asarray(CELLS)
    return State(pos=cells[pos], goal=cells[goal])


def turned(u, action, fail_prob):
    """The direction of a step: that of the action, or each of the others with probability fail_prob / 3."""
    third = fail_prob / 3
    failed = (u < fail_prob).astype(jnp.int32) + (u < 2 * third) + (u < third)
    return (action + failed) % 4


def advance(state: State, direction):
    """One step up, right, down or left, unless there is a wall.

    Returns:
      The new state and whether the goal is reached.
    """
    row = state.pos[0] + (direction == 2) - (direction == 0)
    column = state.pos[1] + (direction == 1) - (direction == 3)
    pos = jnp.where(is_wall(row, column), state.pos, jnp.stack([row, column]))
    state = dataclasses.replace(state, pos=pos)
    return state, (pos[0] == state.goal[0]) & (pos[1] == state.goal[1])


def is_wall(row, column):
    """`WALLS[row, column]`, computed by comparisons instead of a lookup."""
    size = len(MAP) - 1
    outer = (row == 0) | (row == size) | (column == 0) | (column == size)
    upright = (column == 6) & (row != 3) & (row != 10)
    left, right = (row == 6) & (column < 6) & (column != 2), (row == 7) & (column > 6) & (column != 9)
    return outer | upright | left | right


def vector(state: State) -> jax.Array:
    """Row and column of the agent, then of the goal, `[4]`."""
    return jnp.concatenate([state.pos, state.goal]).astype(jnp.float32)


def planes(state: State) -> jax.Array:
    """Walls, agent and goal, `[13, 13, 3]` bool."""
    size = len(MAP)
    walls = np.zeros((size, size, 3), bool)
    walls[..., 0] = WALLS
    dots = jnp.stack(
        [3 * (size * cell[0] + cell[1]) + plane for plane, cell in ((1, state.pos), (2, state.goal))]
    )
    # Sets two elements of a constant: comparing each of the 507 numbers would take several times as long.
    picture = jnp.asarray(walls.ravel()).at[dots].set(True, unique_indices=True, mode="promise_in_bounds")
    return picture.reshape(walls.shape)


def _below(u, n):
    """Maps a number in [0, 1) to one of 0 .. n - 1."""
    return jnp.minimum((u * n).astype(jnp.int32), n - 1)  # a float32 below 1 times n may round up to n


def _cell(name, cell) -> int:
    """The number of a free cell."""
    found = [number for number, free in enumerate(CELLS.tolist()) if free == list(map(int, cell))]
    if not found:
        raise ValueError(f"{name} must be the row and column of a free cell, not {cell!r}")
    return found[0]
