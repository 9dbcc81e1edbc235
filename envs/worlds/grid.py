"""Grid worlds with respawning objects: the family in which learned policy gradients were discovered.

Oh et al. 2020, "Discovering reinforcement learning algorithms", https://arxiv.org/abs/2007.08794, with the
levels of Jackson et al. 2023 (GROOVE), https://github.com/EmptyJackson/groove. The agent moves on a board
with walls (up, down, left, right, stay). Stepping on an object collects it, which gives its reward and ends
the episode with its probability. A collected object respawns in its cell with a probability per step,
starting with the step after it was collected. So a state is a cell and the set of objects that are present,
and the optimum is exact: objects respawn independently, so a sweep takes K operations per state instead of
2^K.

    level = grid.sample("all", seed)                             # traced: vmap draws thousands
    best = grid_values.optimal_return(level, gamma=1.0, horizon=level.max_steps)

Here the time limit is a truncation, added by the registry (the original terminates), boards are padded with
walls to the largest of their family instead of being renumbered, and objects have no types, but each one has
its parameters. Levels of the original in which objects respawn in other cells are not included, because their
optimum is not known.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.names import lookup
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

MOVES = np.array([[-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]])  # up, down, left, right, stay


@struct.dataclass
class Level:
    """One level; boards are `[G, G]` and cells are numbered row by row, `row * G + column`."""

    walls: jax.Array  # [G, G] bool
    start: jax.Array  # cell, int32
    objects: jax.Array  # [K] distinct cells, int32
    present: jax.Array  # [K] bool: whether the level has this object
    reward: jax.Array  # [K]
    p_terminate: jax.Array  # [K]
    p_respawn: jax.Array  # [K]
    max_steps: jax.Array  # the time limit, int32


@struct.dataclass
class State:
    """The agent's cell, which objects are present `[K]`, and the steps so far."""

    cell: jax.Array
    exists: jax.Array
    time: jax.Array


class Fixed(NamedTuple):
    """A level of the original, except for the cells of start and objects, which depend on the seed."""

    side: int
    max_steps: int
    objects: tuple  # (reward, p_terminate, p_respawn) of each
    walls: tuple = ()  # (row, column)


class Family(NamedTuple):
    """A distribution of levels: uniform in closed ranges, log-uniform for time limits and probabilities."""

    side: tuple[int, int]
    max_steps: tuple[int, int]
    num_objects: tuple[int, int]
    num_walls: int  # placed anywhere on the largest board
    p_terminate: tuple[float, float] = (0.01, 1.0)
    p_respawn: tuple[float, float] = (0.001, 0.1)


_GOOD, _BAD = (1.0, 0.0, 0.05), (-1.0, 0.5, 0.1)
LEVELS: dict[str, Fixed | Family] = {
    "dense": Fixed(11, 500, (_GOOD, _GOOD, _BAD, (-1.0, 0.0, 0.5))),
    "sparse": Fixed(13, 50, ((1.0, 1.0, 0.0), (-1.0, 1.0, 0.0))),
    "long": Fixed(11, 1000, ((1.0, 0.0, 0.01),) * 2 + ((-1.0, 0.5, 1.0),) * 2),
    "longer": Fixed(
        9,
        2000,
        ((1.0, 0.1, 0.01),) * 2 + ((-1.0, 0.8, 1.0),) * 3,
        tuple((row, 4) for row in range(9) if row not in (1, 7)),
    ),
    "long-dense": Fixed(
        11,
        2000,
        ((1.0, 0.0, 0.005),) * 4,
        tuple((row, 5) for row in range(11) if row not in (0, 7))
        + tuple((4, column) for column in range(11) if column not in (2, 5, 8)),
    ),
    "tiny": Family((3, 4), (5, 10), (1, 2), 4),
    "small": Family((4, 6), (20, 100), (1, 3), 7),
    "medium": Family((6, 8), (100, 250), (2, 4), 10),
    "large": Family((8, 10), (250, 750), (2, 5), 15),
    "all": Family((4, 10), (20, 750), (1, 5), 15),
}


def sample(level: str = "small", seed=0) -> Level:
    """A level of `LEVELS` for an integer or a random key, which may be traced.

    Raises:
      ValueError: an unknown name.
    """
    found = lookup("level", LEVELS, level)
    is_key = jnp.issubdtype(getattr(seed, "dtype", jnp.int32), jax.dtypes.prng_key)
    key = seed if is_key else jax.random.key(seed)
    cell_key, wall_key, number_key, *object_keys = jax.random.split(key, 6)
    if isinstance(found, Fixed):
        size = found.side
        walls = np.zeros((size, size), bool)
        for row, column in found.walls:
            walls[row, column] = True
        reward, p_terminate, p_respawn = jnp.asarray(found.objects, jnp.float32).T
        present = jnp.ones(len(reward), bool)
        max_steps = jnp.asarray(found.max_steps, jnp.int32)
        walls = jnp.asarray(walls)
    else:
        size, most = found.side[1], found.num_objects[1]
        side_draw, steps_draw, number_draw = jax.random.uniform(number_key, (3,))
        side = _between(found.side, side_draw)
        max_steps = jnp.round(_log_between(found.max_steps, steps_draw)).astype(jnp.int32)
        present = jnp.arange(most) < _between(found.num_objects, number_draw)
        order = jnp.argsort(jax.random.uniform(wall_key, (size * size,)))
        walls = (jnp.argsort(order) < found.num_walls).reshape(size, size)
        inside = jnp.arange(size) < side
        walls = walls | ~(inside[:, None] & inside)
        good, terminate, respawn = (jax.random.uniform(k, (most,)) for k in object_keys)
        reward = jnp.where(jnp.arange(most) == 0, good, 2.0 * good - 1.0)  # one is worth collecting
        p_terminate = _log_between(found.p_terminate, terminate)
        p_respawn = _log_between(found.p_respawn, respawn)
    draws = jax.random.uniform(cell_key, (size * size,))
    _, cells = jax.lax.top_k(jnp.where(walls.reshape(-1), -1.0, draws), len(present) + 1)
    return Level(walls, cells[0], cells[1:], present, reward, p_terminate, p_respawn, max_steps)


def make(*, level: str = "small", seed: int = 0, observation: str = "one_hot") -> Env:
    """The environment of the level `sample(level, seed)`; see `env`."""
    return env(sample(level, seed), observation)


def limit(*, level: str = "small", seed: int = 0, **_) -> int:
    """The time limit of a level, or the longest one of its family if the seed is traced."""
    found = lookup("level", LEVELS, level)
    if isinstance(found, Fixed):
        return found.max_steps
    if isinstance(seed, jax.core.Tracer):
        return found.max_steps[1]
    with jax.ensure_compile_time_eval():
        return int(sample(level, seed).max_steps)


def env(level: Level, observation: str = "one_hot") -> Env:
    """The environment of a level.

    Args:
      observation: "one_hot" is the original's: the state one-hot over `2^K * G * G`, then a thousandth of
        the time; "index" is only the number of the state, `set * G * G + cell`; "planes" is an image
        `[G, G, 2 + K]`: the agent, walls, and each object.

    Raises:
      ValueError: another observation.
    """
    size, num_objects = level.walls.shape[0], level.objects.shape[0]
    num_cells = size * size
    num_states = 2**num_objects * num_cells
    to = next_cells(level).reshape(-1)
    bits = 2 ** np.arange(num_objects, dtype=np.int32)
    cells = np.arange(num_cells, dtype=np.int32)

    def index(state):
        return state.cell + num_cells * (state.exists * bits).sum(dtype=jnp.int32)

    def one_hot(state):
        hot = (np.arange(num_states) == index(state)).astype(jnp.float32)
        return jnp.concatenate([hot, 0.001 * state.time.astype(jnp.float32)[None]])

    def planes(state):
        there = (cells[:, None] == level.objects) & state.exists
        oneself = (cells == state.cell)[:, None]
        image = jnp.concatenate([oneself, level.walls.reshape(-1, 1), there], axis=1)
        return image.astype(jnp.float32).reshape(size, size, 2 + num_objects)

    high = np.ones(num_states + 1, np.float32)
    high[-1] = np.inf
    observe, space = lookup(
        "observation",
        {
            "one_hot": (one_hot, Box(0.0, high, (num_states + 1,))),
            "index": (index, Discrete(num_states)),
            "planes": (planes, Box(0.0, 1.0, (size, size, 2 + num_objects))),
        },
        observation,
    )

    def reset(key):
        state = State(level.start, level.present, jnp.zeros((), jnp.int32))
        return state, restart(observe(state))

    def step(key, state, action):
        return advance(state, action, jax.random.uniform(key, (num_objects + 1,)))

    def advance(state, action, uniforms):
        cell = to[state.cell * len(MOVES) + action]
        collected = state.exists & (level.objects == cell)
        back = (uniforms[1:] < level.p_respawn) & level.present
        exists = (state.exists | back) & ~collected
        terminated = uniforms[0] < (collected * level.p_terminate).sum()
        state = State(cell, exists, state.time + 1)
        return state, transition(observe(state), (collected * level.reward).sum(), terminated)

    return Env(reset, step, space, Discrete(len(MOVES)))


def next_cells(level: Level) -> jax.Array:
    """The next cell for each cell and action, `[G * G, A]`; a wall or the border leaves it unchanged."""
    size = level.walls.shape[0]
    cells = np.stack(np.divmod(np.arange(size * size), size), axis=1)
    aim = cells[:, None] + MOVES
    inside = ((aim >= 0) & (aim < size)).all(axis=2)
    aim = np.where(inside, aim @ [size, 1], np.arange(size * size)[:, None]).astype(np.int32)
    free = ~level.walls.reshape(-1)[aim]
    return jnp.where(free, aim, np.arange(size * size, dtype=np.int32)[:, None])


def _between(bounds, uniform):
    """An integer of a closed range for a number of [0, 1)."""
    low, high = bounds
    return low + jnp.floor(uniform * (high - low + 1)).astype(jnp.int32)


def _log_between(bounds, uniform):
    low, high = np.log(bounds[0]), np.log(bounds[1])
    return jnp.exp(low + uniform * (high - low))
