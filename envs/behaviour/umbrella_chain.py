"""Umbrella chain: only the first action matters, its reward comes last, and the rewards between are noise.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/umbrella_chain.py; the observation is `[3 + n_distractor]` where the original has
`[1, 3 + n_distractor]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.behaviour.common import coins
from jaxrl.envs.require import require_count
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """Whether it will rain, whether the agent has the umbrella, and the steps taken."""

    need: jax.Array
    has: jax.Array
    time: jax.Array


def make(*, chain_length: int = 10, n_distractor: int = 0) -> Env:
    """The first of `chain_length` actions decides whether to take an umbrella.

    Observes `[need, has, time left, distractors ...]`: 0 or 1, except the time, from 1 to 0; distractors are
    new coin flips in every observation. Action 1 in the first step takes the umbrella, 0 leaves it; later
    actions have no effect. The last step terminates the episode with reward 1 if `has` is `need`, otherwise
    -1; every other step has reward 1 or -1 at random.

    Raises:
      ValueError: `chain_length` below 1 or `n_distractor` below 0.
    """
    require_count("chain_length", chain_length, 1)
    require_count("n_distractor", n_distractor, 0)

    def show(state, distractors):
        left = (chain_length - state.time) / chain_length
        seen = [state.need.astype(jnp.float32), state.has.astype(jnp.float32), left.astype(jnp.float32)]
        return jnp.concatenate([jnp.stack(seen), distractors.astype(jnp.float32)])

    def reset(key):
        need, has, distractors = draw_reset(key, n_distractor)
        state = State(need, has, jnp.zeros((), jnp.int32))
        return state, restart(show(state, distractors))

    def step(key, state, action):
        lucky, distractors = draw(key, n_distractor)
        state = State(
            need=state.need,
            has=jnp.where(state.time == 0, action == 1, state.has),
            time=state.time + 1,
        )
        over = state.time == chain_length
        good = jnp.where(over, state.has == state.need, lucky)
        return state, transition(show(state, distractors), jnp.where(good, 1.0, -1.0), over)

    low, high = np.zeros(3 + n_distractor, np.float32), np.ones(3 + n_distractor, np.float32)
    return Env(reset, step, Box(low, high, (3 + n_distractor,)), Discrete(2))


def draw_reset(key, n_distractor: int):
    """`need`, `has` and the distractors of a first observation."""
    flips = coins(key, 2 + n_distractor)
    return flips[0], flips[1], flips[2:]


def draw(key, n_distractor: int):
    """Whether the noise of a step's reward is 1, and the distractors of its observation."""
    flips = coins(key, 1 + n_distractor)
    return flips[0], flips[1:]
