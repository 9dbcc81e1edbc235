"""Memory chain: some bits are shown at the start, and one of them must be recalled at the end.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/memory_chain.py. The original observes before it counts the step: so the bits
are shown twice, by reset and by the first step, and an episode has `memory_length + 1` steps. This is kept,
as in gymnax; the observation is `[2 + num_bits]` where the original has `[1, 2 + num_bits]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.behaviour.common import below, bits_of
from jaxrl.envs.require import require_count
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """The bits `[num_bits]`, the index of the one to recall, and the steps taken."""

    context: jax.Array
    query: jax.Array
    time: jax.Array


def make(*, memory_length: int = 5, num_bits: int = 1) -> Env:
    """`num_bits` bits must be remembered for about `memory_length` steps.

    Observes `[time left, query, bits ...]`: time from 1 to 0; the index of the bit to recall before the last
    action, otherwise 0; the bits as -1 or 1 in the first two observations, otherwise 0. Actions 0 and 1 are
    the answer; only the last one counts, with reward 1 or -1, and terminates the episode.

    Raises:
      ValueError: `memory_length` or `num_bits` below 1.
    """
    require_count("memory_length", memory_length, 1)
    require_count("num_bits", num_bits, 1)

    def show(state, shown):
        """The observation at time `shown`, one step behind the time of the state."""
        left = ((memory_length - shown) / memory_length).astype(jnp.float32)
        query = jnp.where(shown == memory_length - 1, state.query, 0).astype(jnp.float32)
        bits = jnp.where(shown == 0, jnp.where(state.context, 1.0, -1.0), 0.0)
        return jnp.concatenate([jnp.stack([left, query]), bits])

    def reset(key):
        context, query = draw(key, num_bits)
        state = State(context, query, jnp.zeros((), jnp.int32))
        return state, restart(show(state, state.time))

    def step(key, state, action):
        obs = show(state, state.time)
        asked = state.time == memory_length
        bit = jnp.any((np.arange(num_bits) == state.query) & state.context)
        reward = jnp.where(asked, jnp.where(bit == (action == 1), 1.0, -1.0), 0.0)
        return state.replace(time=state.time + 1), transition(obs, reward, asked)

    low = np.array([0, 0] + [-1] * num_bits, np.float32)
    high = np.array([1, num_bits - 1] + [1] * num_bits, np.float32)
    return Env(reset, step, Box(low, high, (2 + num_bits,)), Discrete(2))


def draw(key, num_bits: int):
    """The bits and the index of the one to recall, from one call of the generator."""
    words = jax.random.bits(key, (1 + -(-num_bits // 32),), np.uint32)
    uniform = (words[0] >> 8).astype(jnp.float32) * np.float32(2**-24)
    return bits_of(words[1:], num_bits), below(uniform, num_bits)
