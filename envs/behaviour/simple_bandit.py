"""Simple bandit: arms with constant rewards, in a hidden order.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/bandit.py. The order comes from the same generator as the original's, so that a
`mapping_seed` is the same task in both (gymnax draws a new order in every episode, which cannot be learned);
the observation is `[1]` where the original has `[1, 1]`.
"""

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.require import require_count
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


def make(*, num_actions: int = 11, mapping_seed: int = 0) -> Env:
    """One step: each arm gives one of `num_actions` equally spaced rewards from 0 to 1. Observes 1.

    Args:
      mapping_seed: seed of the order of the arms.

    Raises:
      ValueError: fewer than 2 arms, or a seed that is not known in Python.
    """
    require_count("num_actions", num_actions, 2)
    require_count("mapping_seed", mapping_seed, 0)
    rewards = arms(num_actions, mapping_seed).astype(np.float32)
    obs = np.ones(1, np.float32)

    def reset(key):
        return (), restart(jnp.asarray(obs))

    def step(key, state, action):
        reward = jnp.sum(jnp.where(np.arange(num_actions) == action, rewards, 0.0))
        return state, transition(jnp.asarray(obs), reward, True)

    return Env(reset, step, Box(1.0, 1.0, (1,)), Discrete(num_actions))


def arms(num_actions: int, seed: int) -> np.ndarray:
    """The reward of each arm, `[num_actions]`."""
    order = np.random.RandomState(seed).choice(range(num_actions), size=num_actions, replace=False)
    return np.linspace(0, 1, num_actions)[order]
