"""Wrappers for the length of episodes and their returns."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers.layers import layered
from jaxrl.types import Env, TimeStep


@struct.dataclass
class Counted:
    """An environment's state and the steps taken in its episode."""

    inner: Any
    time: jax.Array


@struct.dataclass
class Recorded:
    """An environment's state and the return and length of its episode so far."""

    inner: Any
    episode_return: jax.Array
    episode_length: jax.Array


def time_limit(env: Env, max_steps: int | None) -> Env:
    """Truncates every episode after `max_steps` steps (`truncated`, not `terminated`); None: no limit.

    An episode that terminates on its last step is terminated, not truncated. The limit may be traced.

    Raises:
      ValueError: for a limit that is not a positive integer.
    """
    if max_steps is None:
        return env
    if not isinstance(max_steps, jax.core.Tracer):
        limit = np.asarray(max_steps)
        if limit.shape or limit.dtype.kind not in "iu" or limit < 1:
            raise ValueError(f"max_steps must be a positive integer or None, not {max_steps!r}")
        if limit >= 2**31:
            raise ValueError(f"max_steps = {max_steps} must be less than 2147483648, or None for no limit")

    def reset(key):
        state, timestep = env.reset(key)
        return Counted(state, jnp.zeros((), jnp.int32)), timestep

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        time = state.time + 1
        truncated = timestep.truncated | ((time >= max_steps) & ~timestep.terminated)
        return Counted(inner, time), timestep.replace(truncated=truncated)

    return layered("time_limit", env, env._replace(reset=reset, step=step))


def episode_stats(env: Env) -> Env:
    """Adds the undiscounted `episode_return` and the `episode_length` so far to `info`.

    Where `done`, they are those of the whole episode.
    """

    def record(timestep: TimeStep, total, length):
        return timestep.replace(info={**timestep.info, "episode_return": total, "episode_length": length})

    def reset(key):
        state, timestep = env.reset(key)
        total, length = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        return Recorded(state, total, length), record(timestep, total, length)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        total = state.episode_return + timestep.reward
        length = state.episode_length + 1
        return Recorded(inner, total, length), record(timestep, total, length)

    return layered("episode_stats", env, env._replace(reset=reset, step=step))
