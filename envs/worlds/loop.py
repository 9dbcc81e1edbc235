"""The loop: whether a time limit is an end decides what is best.

At the hub one may stay, for a small reward each step, or walk a loop that pays a large one when it
closes. Episodes start anywhere, and the time limit is one step short of the loop: whoever believes
that the world ends there stays at the hub, whoever knows that it goes on walks. After Pardo et al.
2018, "Time limits in reinforcement learning", https://arxiv.org/abs/1712.00378. With g = gamma,
L = length, V of the hub, where k steps are left if they count:

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
    """The table: state 0 is the hub, the others follow each other round to it.

    Action 0 stays at the hub, action 1 sets out from it; on the way both go on. Setting out and
    coming back takes `length` steps.

    Raises:
      ValueError: a loop of less than two steps.
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
    """The world of `mdp` as an environment; `observation` is "one_hot" or "index"."""
    return tabular.env(mdp(length, small, large), observation)


def limit(*, length: int = 6, **_) -> int:
    """The time limit: one step less than the loop takes."""
    return length - 1
