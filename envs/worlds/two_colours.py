"""Two colours: which of two objects to collect changes without notice, and life never ends.

Flennerhag et al. 2022, "Bootstrapped Meta-Learning", section 5.1, https://arxiv.org/abs/2109.04504. On a
grid of 5 x 5 lie two objects, one of each colour. Walking onto one pays 1, onto the other -1; any other
step costs 0.04. What was collected reappears in a free cell, drawn at random. Every 100,000 steps the colours
change roles. Nothing that is seen tells which colour pays: whoever has learned it must unlearn it.

All numbers and details are as two public replications of that section agree on, among them: a collecting step
pays the object's reward alone, a wall leaves one where one is, a free cell has no walker and no object in it.
Endless, without a time limit. For a discount g and values V(walker, good, bad) between two changes

    V(a, g, b) = max over moves a' of   1 + g mean over free cells c of V(a', c, b)      where a' is g
                                       -1 + g mean over free cells c of V(a', g, c)      where a' is b
                                    -cost + g V(a', g, b)                                elsewhere

    optimal_return("world/two-colours", gamma=1.0, horizon=1000) / 1000       # 0.273 a step
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.require import require_count
from jaxrl.envs.worlds import tabular
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # up, down, left, right


@struct.dataclass
class State:
    """Cells of the walker and of the two objects `[2]`, row by row, and the steps taken."""

    cell: jax.Array
    objects: jax.Array
    time: jax.Array


def make(*, size: int = 5, period: int = 100_000, cost: float = 0.04) -> Env:
    """The world as an environment: actions are up, down, left and right.

    Shows rows and columns of the walker, the first and the second object, each one-hot: `[6 size]`.

    Args:
      size: rows and columns of the grid, at least 2.
      period: steps after which the colours change roles; the first pays first. May be traced.
      cost: of a step that collects nothing. May be traced.

    Raises:
      ValueError: a smaller grid, or a period below 1.
    """
    landing = _landing(size)
    if not isinstance(period, jax.core.Tracer) and period < 1:
        raise ValueError(f"period must be at least 1, not {period!r}")

    def observe(state):
        cells = jnp.concatenate([state.cell[None], state.objects])
        places = jnp.stack([cells // size, cells % size], axis=1)
        return jax.nn.one_hot(places, size).reshape(-1)

    def reset(key):
        cells = jax.random.permutation(key, size**2)[:3].astype(jnp.int32)
        state = State(cells[0], cells[1:], jnp.zeros((), jnp.int32))
        return state, restart(observe(state))

    def step(key, state, action):
        cell = jnp.asarray(landing)[state.cell, action]
        hit = state.objects == cell
        # The k-th cell that is neither the walker's nor the other object's.
        free = jax.random.randint(key, (), 0, size**2 - 2, jnp.int32)
        other = jnp.where(hit[0], state.objects[1], state.objects[0])
        free = free + (free >= jnp.minimum(cell, other))
        free = free + (free >= jnp.maximum(cell, other))
        swapped = (state.time // period) % 2 == 1
        reward = jnp.where(hit[0] == swapped, -1.0, 1.0)
        reward = jnp.where(hit.any(), reward, -cost)
        state = State(cell, jnp.where(hit, free, state.objects), state.time + 1)
        return state, transition(observe(state), reward, False)

    return Env(reset, step, Box(0.0, 1.0, (6 * size,)), Discrete(len(MOVES)))


def optimal_return(*, gamma, horizon=None, size: int = 5, period: int = 100_000, cost: float = 0.04):
    """The best expected return from a random start, for one who knows which colour pays and until when.

    With a horizon exact, changes included. Without one, of a world that never changes; that is off by no
    more than the discount that is left after a period.

    Raises:
      ValueError: an endless return that would not be finite.
    """
    tabular.require_finite(gamma, horizon)
    landing = _landing(size)
    sides = np.arange(size**2)
    apart = sides[:, None, None] != sides[:, None]
    apart = apart & (sides[:, None, None] != sides) & (sides[:, None] != sides)
    valid = jnp.asarray(apart, jnp.float32)  # [walker, first, second]

    def best(values, first):
        """One step more to go, in which the first object pays `first`, the second the opposite."""
        again = [values.sum(axis) / (size**2 - 2) for axis in (1, 2)]  # where an object reappears

        def move(action):
            to = landing[:, action]
            on_first, on_second = (sides == to[:, None])[:, :, None], (sides == to[:, None])[:, None, :]
            stays = -cost + gamma * values[to]
            q = jnp.where(on_first, first + gamma * again[0][to][:, None, :], stays)
            return jnp.where(on_second, -first + gamma * again[1][to][:, :, None], q)

        return valid * jnp.stack([move(action) for action in range(len(MOVES))]).max(axis=0)

    def back(i, values):
        phase = ((horizon - 1 - i) // period) % 2
        return best(values, 1.0 - 2.0 * phase)

    if horizon is None:
        values = tabular.solve(lambda v: best(v, 1.0), jnp.zeros_like(valid), gamma, leaks=True)
    else:
        values = jax.lax.fori_loop(0, horizon, back, jnp.zeros_like(valid))
    return (valid * values).sum() / valid.sum()


def _landing(size) -> np.ndarray:
    """Where each move leads from each cell, `[size^2, 4]`; into a wall: nowhere."""
    require_count("size", size, 2)
    rows, columns = np.divmod(np.arange(size**2), size)
    moved = np.clip(np.stack([rows, columns])[..., None] + MOVES.T[:, None], 0, size - 1)
    return (moved[0] * size + moved[1]).astype(np.int32)
