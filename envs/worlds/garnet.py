"""Garnet: random Markov decision processes of any size, a new one for every seed.

Archibald et al. 1995, "On the generation of Markov decision processes"; Bhatnagar et al. 2009,
"Natural actor-critic algorithms", https://doi.org/10.1016/j.automatica.2009.07.008. From every state
every action leads to `branching` different states, drawn at random; their probabilities are the gaps
between uniform points on [0, 1]; rewards are normal. As Bhatnagar's GARNET(n, m, b, 0, 0): rewards
have no noise and the process is stationary. Episodes do not end; the registered time limit is 100.

The seed may be traced, so that a vmap generates thousands of processes:

    mdps = jax.vmap(lambda seed: garnet.mdp(seed, num_states=32))(jnp.arange(1000))
    best = jax.vmap(lambda mdp: tabular.optimal_return(mdp, 0.95))(mdps)
"""

import jax
import jax.numpy as jnp

from jaxrl.envs.require import require_count, require_probability
from jaxrl.envs.worlds import tabular
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.types import Env


def mdp(
    seed=0, num_states: int = 32, num_actions: int = 4, branching: int = 2, density: float = 1.0
) -> Tabular:
    """The table of one seed, an integer or a random key; episodes start in any state.

    Args:
      density: fraction of the pairs of state and action that have a reward.

    Raises:
      ValueError: more successors than states, a count below 1, or a density outside [0, 1].
    """
    for name, count in (("num_states", num_states), ("num_actions", num_actions), ("branching", branching)):
        require_count(name, count, 1)
    if branching > num_states:
        raise ValueError(f"branching = {branching} must be at most num_states = {num_states}")
    require_probability(density=density)
    is_key = jnp.issubdtype(getattr(seed, "dtype", jnp.int32), jax.dtypes.prng_key)
    if not is_key and not jnp.issubdtype(jnp.result_type(seed), jnp.integer):
        raise ValueError(f"seed must be a whole number or a random key, not {seed!r}")
    key = seed if is_key else jax.random.key(seed)
    order_key, gap_key, reward_key, where_key = jax.random.split(key, 4)
    pairs = (num_states, num_actions)
    order = jnp.argsort(jax.random.uniform(order_key, (*pairs, num_states)), axis=-1)
    rank = jnp.argsort(order, axis=-1)  # the first `branching` in a random order are the successors
    # Exponentials divided by their sum are distributed like gaps between uniform points, but never 0.
    gaps = jnp.maximum(jax.random.exponential(gap_key, (*pairs, branching)), 1e-6)
    gaps = gaps / gaps.sum(axis=-1, keepdims=True)
    padded = jnp.concatenate([gaps, jnp.zeros((*pairs, num_states - branching))], axis=-1)
    transition = jnp.take_along_axis(padded, rank, axis=-1)
    rewarded = jax.random.uniform(where_key, pairs) < density
    reward = jnp.where(rewarded, jax.random.normal(reward_key, pairs), 0.0)
    return Tabular(transition, reward, jnp.zeros(num_states, bool), jnp.full(num_states, 1.0 / num_states))


def make(
    *,
    seed: int = 0,
    num_states: int = 32,
    num_actions: int = 4,
    branching: int = 2,
    density: float = 1.0,
    observation: str = "one_hot",
) -> Env:
    """The process of `mdp` as an environment; `observation` is "one_hot" or "index"."""
    return tabular.env(mdp(seed, num_states, num_actions, branching, density), observation)
