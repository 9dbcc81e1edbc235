"""Two colours: the better of two objects changes without notice, and episodes never end.

Flennerhag et al. 2022, "Bootstrapped Meta-Learning", section 5.1, https://arxiv.org/abs/2109.04504. A grid of
5 x 5 has two objects, one of each colour. Collecting one gives a reward of 1, the other -1; any other step
costs 0.04. A collected object reappears in a random free cell. Every 100,000 steps the colours exchange their
roles. The observation does not show which colour is the better one, so a learned policy must be unlearned.

All numbers and details on which two public replications of that section agree are used, among them: a
collecting step has only the object's reward, moving into a wall has no effect, and a free cell has neither
the agent nor an object in it. There is no time limit. For a discount g and values V(walker, good, bad)
between two changes

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
    """Cells of the agent and of the two objects `[2]`, numbered row by row, and the steps taken."""

    cell: jax.Array
    objects: jax.Array
    time: jax.Array


def make(*, size: int = 5, period: int = 100_000, cost: float = 0.04) -> Env:
    """The environment; actions are up, down, left and right.

    Observes rows and columns of the agent, the first and the second object, each one-hot: `[6 size]`.

    Args:
      size: rows and columns of the grid, at least 2.
      period: steps after which the colours exchange roles; at first the first is better. May be traced.
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
        # The k-th cell with neither the agent nor the other object.
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
    """The best expected return from a random start, for a policy that knows the better colour and the time.

    With a horizon it is exact, including the changes. Without one, it is that of a stationary environment,
    with an error of no more than the discount that remains after a period, gamma^period.

    Raises:
      ValueError: a return without a horizon that would not be finite.
    """
    tabular.require_finite(gamma, horizon)
    landing = _landing(size)
    sides = np.arange(size**2)
    apart = sides[:, None, None] != sides[:, None]
    apart = apart & (sides[:, None, None] != sides) & (sides[:, None] != sides)
    valid = jnp.asarray(apart, jnp.float32)  # [walker, first, second]

    def best(values, first):
        """Values with one more step, in which the first object's reward is `first`, the other's -`first`."""
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
    """The next cell for each cell and move, `[size^2, 4]`; moves into a wall have no effect."""
    require_count("size", size, 2)
    rows, columns = np.divmod(np.arange(size**2), size)
    moved = np.clip(np.stack([rows, columns])[..., None] + MOVES.T[:, None], 0, size - 1)
    return (moved[0] * size + moved[1]).astype(np.int32)
