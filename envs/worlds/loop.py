"""The loop: the optimal policy depends on whether a time limit is a termination or a truncation.

At the hub the agent can stay, for a small reward in each step, or take a loop with a large reward at its
end. Episodes start anywhere, and the time limit is one step shorter than the loop: if the time limit is
treated as a termination, staying at the hub is optimal; if it is a truncation, the loop is. After Pardo et
al. 2018, "Time limits in reinforcement learning", https://arxiv.org/abs/1712.00378. With g = gamma,
L = length, V of the hub, and k remaining steps in the case of termination:

    truncation:   V = max(small / (1 - g), large g^(L-1) / (1 - g^L))
    termination:  V = small (1 - g^k) / (1 - g)                                     for k < L

    optimal_return("world/loop", gamma=0.95), optimal_return("world/loop", gamma=0.95, horizon=5)
"""

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.require import require_count
from jaxrl.envs.worlds import tabular
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.types import Env


def mdp(length: int = 6, small: float = 1.0, large: float = 12.0) -> Tabular:
    """The table: state 0 is the hub, the others form the loop back to it.

    At the hub, action 0 stays and action 1 enters the loop; in the loop both actions move forward. The loop
    takes `length` steps.

    Raises:
      ValueError: a loop of fewer than two steps.
    """
    require_count("length", length, 2)
    states = np.arange(length)
    onward = np.eye(length, dtype=np.float32)[(states + 1) % length]
    stay = onward.copy()
    stay[0] = states == 0
    closing = large * (states == length - 1)
    return Tabular(
        jnp.asarray(np.stack([stay, onward], axis=1)),
        jnp.stack([closing + small * (states == 0), closing], axis=1).astype(jnp.float32),
        jnp.zeros(length, bool),
        jnp.full(length, 1.0 / length),
    )


def make(*, length: int = 6, small: float = 1.0, large: float = 12.0, observation: str = "one_hot") -> Env:
    """The process of `mdp` as an environment; `observation` is "one_hot" or "index"."""
    return tabular.env(mdp(length, small, large), observation)


def limit(*, length: int = 6, **_) -> int:
    """The time limit: one step less than the length of the loop."""
    return length - 1
