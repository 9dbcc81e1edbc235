"""The chain: a small reward immediately, or a large one at the end of a chain with slipping actions.

    0 -> 1 -> 2 -> 3 -> 4 (large, repeatedly);  back to 0 from any state (small)

Strens 2000, "A Bayesian framework for reinforcement learning", after Dearden et al. 1998; also known
as n-chain. Always moving forward is optimal and, in the stationary distribution, has a return of 3,677 in
the 1,000 steps of the original; here episodes do not end, and the registered time limit is 100. `slip` and
the rewards may be traced.
"""

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.require import require_count, require_probability
from jaxrl.envs.worlds import tabular
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.types import Env


def mdp(length: int = 5, slip: float = 0.2, small: float = 2.0, large: float = 10.0) -> Tabular:
    """The table: action 0 moves forward, action 1 back; with probability `slip` the other one is executed.

    Raises:
      ValueError: a chain of fewer than two states, or a `slip` that is not a probability.
    """
    require_count("length", length, 2)
    require_probability(slip=slip)
    states = np.arange(length)
    forward = np.eye(length, dtype=np.float32)[np.minimum(states + 1, length - 1)]
    back = np.eye(length, dtype=np.float32)[np.zeros(length, int)]
    transition = jnp.stack([(1 - slip) * forward + slip * back, slip * forward + (1 - slip) * back], axis=1)
    # The next state determines which of the two was executed.
    reward = small * back + large * np.outer(states == length - 1, states == length - 1)
    reward = jnp.broadcast_to(jnp.asarray(reward, jnp.float32)[:, None], transition.shape)
    start = jnp.asarray(states == 0, jnp.float32)
    return Tabular(transition, reward, jnp.zeros(length, bool), start)


def make(
    *,
    length: int = 5,
    slip: float = 0.2,
    small: float = 2.0,
    large: float = 10.0,
    observation: str = "one_hot",
) -> Env:
    """The chain of `mdp` as an environment; `observation` is "one_hot" or "index"."""
    return tabular.env(mdp(length, slip, small, large), observation)
