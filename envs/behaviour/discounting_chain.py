"""Discounting chain: the first action chooses how long to wait for the reward.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/discounting_chain.py. Episodes terminate after 100 steps, as in the original (gymnax
truncates them); the observation is `[2]` where the original has `[1, 2]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

LENGTH = 100
REWARD_TIMES = (1, 3, 10, 30, 100)


@struct.dataclass
class State:
    """The chain chosen by the first action (-1 before it), and the steps taken."""

    context: jax.Array
    time: jax.Array


def make(*, mapping_seed=0) -> Env:
    """The first action chooses one of five chains; later actions have no effect.

    Observes `[chain, time]`: the chain is -1 before the first action, the time goes from 0 to 1. Chain `i`
    gives 1 once, after `REWARD_TIMES[i]` steps; chain `mapping_seed % 5` gives 1.1, so a discount near 1
    is needed to prefer it. Terminates after 100 steps.

    Args:
      mapping_seed: determines the best chain; may be traced.
    """
    best = mapping_seed % len(REWARD_TIMES)

    def show(state):
        return jnp.stack([state.context.astype(jnp.float32), (state.time / LENGTH).astype(jnp.float32)])

    def reset(key):
        state = State(jnp.full((), -1, jnp.int32), jnp.zeros((), jnp.int32))
        return state, restart(show(state))

    def step(key, state, action):
        context = jnp.where(state.time == 0, action, state.context).astype(jnp.int32)
        state = State(context, state.time + 1)
        pays = jnp.zeros((), bool)
        for chain, time in enumerate(REWARD_TIMES):
            pays = pays | ((context == chain) & (state.time == time))
        reward = jnp.where(pays, jnp.where(context == best, 1.1, 1.0), 0.0)
        return state, transition(show(state), reward, state.time == LENGTH)

    low, high = np.array([-1, 0], np.float32), np.array([len(REWARD_TIMES) - 1, 1], np.float32)
    return Env(reset, step, Box(low, high, (2,)), Discrete(len(REWARD_TIMES)))
