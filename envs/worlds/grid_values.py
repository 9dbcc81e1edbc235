"""The exact values of the levels of `grid`: of the best policy or of a given one.

Objects respawn independently, so a sweep takes K operations per state instead of 2^K.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.worlds import tabular
from jaxrl.envs.worlds.grid import MOVES, Level, next_cells, sample
from jaxrl.envs.worlds.tabular import Tabular


def values(level: Level, gamma, horizon=None, policy: jax.Array | None = None) -> jax.Array:
    """The value of every state `[2^K * G * G]`: under the best policy, or under `policy` `[S, A]`.

    States are numbered as in the observation "index". Those inside walls have values without a meaning.

    Args:
      gamma, horizon: as for `tabular.optimal_values`; `level.max_steps` is the original's horizon.

    Raises:
      ValueError: neither a horizon nor a discount.
    """
    tabular.require_finite(gamma, horizon)
    return _values(level, policy, gamma, horizon)


@tabular.compiled
def _values(level, policy, gamma, horizon):
    num_objects, num_cells = level.objects.shape[0], level.walls.size
    to = next_cells(level)
    here = level.objects[:, None] == np.arange(num_cells)  # [K, C]
    sets = (np.arange(2**num_objects) >> np.arange(num_objects)[:, None]) & 1  # [K, 2^K]

    def over_objects(numbers):
        """The sum of `numbers` `[K]` over the objects collected on entering each cell, `[2^K, C]`."""
        return jnp.einsum("k,km,kc->mc", numbers, sets.astype(np.float32), here * 1.0, precision="highest")

    reward = over_objects(level.reward)
    goes_on = gamma * (1.0 - jnp.minimum(over_objects(level.p_terminate), 1.0))
    p_back = jnp.where(level.present, level.p_respawn, 0.0)

    def expect(v):
        """The mean of `v` `[2^K, C]` over the next set, given the previous one and the cell entered."""
        for i in range(num_objects):
            v = v.reshape(2 ** (num_objects - 1 - i), 2, 2**i, num_cells)
            gone, there = v[:, 0], v[:, 1]
            there_next = jnp.where(here[i], gone, there)
            gone_next = (1.0 - p_back[i]) * gone + p_back[i] * there
            v = jnp.stack([gone_next, there_next], axis=1)
        return v.reshape(2**num_objects, num_cells)

    def improve(v):
        entered = reward + goes_on * expect(v)
        choices = entered[:, to]  # [2^K, C, A]
        if policy is None:
            return choices.max(axis=2)
        return (choices * policy.reshape(choices.shape)).sum(axis=2)

    first = jnp.zeros((2**num_objects, num_cells))
    return tabular.solve(improve, first, gamma, horizon, leaks=True).reshape(-1)


def first_state(level: Level) -> jax.Array:
    """The number of the state in which episodes start."""
    bits = 2 ** np.arange(level.objects.shape[0], dtype=np.int32)
    return level.start + level.walls.size * (level.present * bits).sum(dtype=jnp.int32)


def optimal_return(level: Level, gamma, horizon=None) -> jax.Array:
    """The best expected return of an episode, a scalar; see `values`."""
    return values(level, gamma, horizon)[first_state(level)]


def policy_return(level: Level, policy: jax.Array, gamma, horizon=None) -> jax.Array:
    """The expected return of an episode under a policy `[S, A]`, a scalar; see `values`."""
    return values(level, gamma, horizon, policy)[first_state(level)]


def mdp(level: str | Level = "small", seed=0) -> Tabular:
    """The table of a level, whose last state is terminal: `[S, A, S]` is large, 289 states for "small".

    `values` needs no table; this is for functions that require one.
    """
    level = sample(level, seed) if isinstance(level, str) else level
    num_objects, num_cells = level.objects.shape[0], level.walls.size
    sets = jnp.asarray((np.arange(2**num_objects)[:, None] >> np.arange(num_objects)) & 1 == 1)  # [M, K]
    to = next_cells(level)  # [C, A]
    collected = sets[:, None, None] & (to[..., None] == level.objects)  # [M, C, A, K]
    back = sets[:, None, None] * 1.0 + ~sets[:, None, None] * level.p_respawn * level.present
    there = jnp.where(collected, 0.0, back)[..., None, :]  # [M, C, A, 1, K]
    next_set = jnp.where(sets, there, 1.0 - there).prod(axis=-1)  # [M, C, A, M']
    next_cell = jax.nn.one_hot(to, num_cells)  # [C, A, C']
    move = next_set[..., :, None] * next_cell[..., None, :]  # [M, C, A, M', C']
    num_states = 2**num_objects * num_cells
    ends = jnp.minimum((collected * level.p_terminate).sum(-1), 1.0).reshape(num_states, -1, 1)
    move = move.reshape(num_states, len(MOVES), num_states) * (1.0 - ends)
    transition = jnp.concatenate([move, ends], axis=-1)
    reward = (collected * level.reward).sum(-1).reshape(num_states, -1)
    stop = jnp.zeros((1, len(MOVES), num_states + 1)).at[..., -1].set(1.0)
    return Tabular(
        jnp.concatenate([transition, stop]),
        jnp.concatenate([reward, jnp.zeros((1, len(MOVES)))]),
        jnp.arange(num_states + 1) == num_states,
        (jnp.arange(num_states + 1) == first_state(level)).astype(jnp.float32),
    )
