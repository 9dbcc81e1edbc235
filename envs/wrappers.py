"""What is common to all environments, as `Env -> Env` functions.

Adapters give raw dynamics; `jaxrl.envs.make` composes `auto_reset(episode_stats(time_limit(raw)))`. A
wrapper that needs memory puts it into the environment's state. Apply wrappers of observations and
actions inside `time_limit`, so that `next_obs` is wrapped as `obs` is.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

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
    """Cuts every episode after `max_steps` steps: `truncated`, not `terminated`; None leaves it endless.

    An episode that terminates on its last step is terminated, not truncated.
    """
    if max_steps is None:
        return env

    def reset(key):
        state, timestep = env.reset(key)
        return Counted(state, jnp.zeros((), jnp.int32)), timestep

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        time = state.time + 1
        truncated = timestep.truncated | ((time >= max_steps) & ~timestep.terminated)
        return Counted(inner, time), timestep.replace(truncated=truncated)

    return env._replace(reset=reset, step=step)


def episode_stats(env: Env) -> Env:
    """Puts the undiscounted `episode_return` and the `episode_length` so far into `info`.

    Where `done`, they are those of the whole episode.
    """

    def record(timestep: TimeStep, total, length):
        return timestep.replace(
            info={**timestep.info, "episode_return": total, "episode_length": length}
        )

    def reset(key):
        state, timestep = env.reset(key)
        total, length = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
        return Recorded(state, total, length), record(timestep, total, length)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        total = state.episode_return + timestep.reward
        length = state.episode_length + 1
        return Recorded(inner, total, length), record(timestep, total, length)

    return env._replace(reset=reset, step=step)


def auto_reset(env: Env) -> Env:
    """Starts a new episode in the step that ends one; the only place where that happens.

    Only the state, `obs` and the action mask that belongs to `obs` are exchanged: `next_obs`,
    `reward`, the flags and the rest of `info` still tell of the episode that ended.
    """

    def step(key, state, action):
        step_key, reset_key = jax.random.split(key)
        state, timestep = env.step(step_key, state, action)
        fresh_state, fresh = env.reset(reset_key)

        def exchange(new, old):
            return jax.tree.map(lambda a, b: jnp.where(timestep.done, a, b), new, old)

        info = dict(timestep.info)
        if "action_mask" in info:
            info["action_mask"] = exchange(fresh.info["action_mask"], info["action_mask"])
        timestep = timestep.replace(
            obs=exchange(fresh.obs, timestep.obs), first=timestep.done, info=info
        )
        return exchange(fresh_state, state), timestep

    return env._replace(step=step)
