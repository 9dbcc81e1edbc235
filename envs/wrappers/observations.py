"""Wrappers of observations."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers.layers import layered
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env, PyTree


@struct.dataclass
class Stacked:
    """An environment's state and its last observations, oldest first on the last axis."""

    inner: Any
    frames: jax.Array


def flatten_obs(env: Env) -> Env:
    """Converts the whole observation, of any space, to one float32 vector `[D]`.

    Leaves are concatenated in the order of `jax.tree.leaves`; a Discrete one is one-hot, a MultiDiscrete one
    is one-hot for each choice. `D` is `jaxrl.spaces.flat_size(space)`.
    """
    spaces, treedef = jax.tree.flatten(env.observation_space)

    def flatten(obs):
        leaves = treedef.flatten_up_to(obs)
        return jnp.concatenate([_flat(space, leaf) for space, leaf in zip(spaces, leaves)])

    low, high = ([_flat_bound(space, side) for space in spaces] for side in ("low", "high"))
    size = sum(part.size for part in low)
    return _map_obs(env, flatten, Box(_join(low), _join(high), (size,)))


def one_hot_obs(env: Env) -> Env:
    """Converts a Discrete or MultiDiscrete observation to a float32 vector, one-hot per choice."""
    space = _single(env.observation_space, "one_hot_obs", "observation", "flatten_obs")
    if isinstance(space, Box):
        raise ValueError(
            "one_hot_obs needs a Discrete or MultiDiscrete observation, not a Box; use it as it is"
        )
    size = _flat_bound(space, "low").size
    return _map_obs(env, lambda obs: _flat(space, obs), Box(0.0, 1.0, (size,)))


def frame_stack(env: Env, num_frames: int) -> Env:
    """Stacks the last `num_frames` observations, oldest first, along the last axis.

    Vectors `[D]` become `[num_frames * D]` and images `[H, W, C]` become `[H, W, num_frames * C]`; a
    plane `[H, W]` gets a new last axis. An episode starts with copies of its first observation.
    Mnih et al. 2015. https://www.nature.com/articles/nature14236
    """
    space = _single(env.observation_space, "frame_stack", "observation", "flatten_obs")
    if not isinstance(space, Box):
        raise ValueError(
            f"frame_stack needs a Box observation, not {type(space).__name__}; apply one_hot_obs first"
        )
    if not isinstance(num_frames, int) or num_frames < 1:
        raise ValueError(f"num_frames must be a positive integer, not {num_frames!r}")

    def as_frame(x):
        return x[..., None] if len(space.shape) in (0, 2) else x

    def stacked_bound(bound):
        xp = jnp if isinstance(bound, jax.Array) else np
        return xp.concatenate([as_frame(xp.broadcast_to(bound, space.shape))] * num_frames, axis=-1)

    low, high = stacked_bound(space.low), stacked_bound(space.high)
    width = low.shape[-1] // num_frames

    def reset(key):
        state, timestep = env.reset(key)
        frames = jnp.concatenate([as_frame(timestep.obs)] * num_frames, axis=-1)
        return Stacked(state, frames), timestep.replace(obs=frames, next_obs=frames)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        newest = as_frame(timestep.next_obs)
        frames = jnp.concatenate([state.frames[..., width:], newest], axis=-1)
        return Stacked(inner, frames), timestep.replace(obs=frames, next_obs=frames)

    return layered(
        "frame_stack",
        env,
        env._replace(reset=reset, step=step, observation_space=Box(low, high, low.shape, space.dtype)),
    )


def cheap_talk(env: Env, speak: Callable[[PyTree], jax.Array], num_messages: int) -> Env:
    """Appends an adversary's messages to a vector `[D]`, without new information or any other effect.

        obs' = (obs, tanh(speak(obs)))

    The messages depend only on the observation; an adversary can be meta-learned over whole training runs of
    the agent that receives them. Lu et al. 2022. https://arxiv.org/abs/2211.11030

    Args:
      speak: `(obs [D]) -> [M]`; variables of its closure may be traced, for a vmap over adversaries.
      num_messages: `M`.

    Raises:
      ValueError: observations that are not vectors, or no messages.
    """
    space = env.observation_space
    if not isinstance(space, Box) or len(space.shape) != 1:
        raise ValueError("cheap_talk needs a vector as observation; apply flatten_obs first")
    if not isinstance(num_messages, int) or num_messages < 1:
        raise ValueError(f"num_messages must be a positive integer, not {num_messages!r}")

    def with_messages(obs):
        messages = jnp.tanh(speak(obs))
        chex.assert_shape(messages, (num_messages,))
        return jnp.concatenate([obs, messages]).astype(jnp.float32)

    ends = {"low": np.full(num_messages, -1.0), "high": np.full(num_messages, 1.0)}
    low, high = (_join([_flat_bound(space, side), ends[side].astype(np.float32)]) for side in ends)
    return _map_obs(env, with_messages, Box(low, high, low.shape))


def _map_obs(env: Env, function, space) -> Env:
    """Applies `function` to `obs` and `next_obs`, which are then in `space`."""

    def mapped(timestep):
        return timestep.replace(obs=function(timestep.obs), next_obs=function(timestep.next_obs))

    def reset(key):
        state, timestep = env.reset(key)
        return state, mapped(timestep)

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, mapped(timestep)

    return layered("map_obs", env, env._replace(reset=reset, step=step, observation_space=space))


def _single(space, wrapper: str, role: str, remedy: str):
    if not isinstance(space, Box | Discrete | MultiDiscrete):
        raise ValueError(
            f"{wrapper} needs one {role} space, not a {type(space).__name__} of them; apply {remedy} first"
        )
    return space


def _flat(space, obs):
    """One leaf of an observation as a float32 vector."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.n, dtype=jnp.float32)
    if isinstance(space, MultiDiscrete):
        hot = [jax.nn.one_hot(obs[i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
        return jnp.concatenate(hot)
    return jnp.ravel(obs).astype(jnp.float32)


def _flat_bound(space, side: str):
    """`low` or `high` of one flattened leaf."""
    if isinstance(space, Box):
        bound = getattr(space, side)
        xp = jnp if isinstance(bound, jax.Array) else np
        return xp.ravel(xp.broadcast_to(bound, space.shape)).astype(np.float32)
    size = space.n if isinstance(space, Discrete) else sum(space.nvec)
    return np.full(size, 0.0 if side == "low" else 1.0, np.float32)


def _join(bounds: list):
    return (jnp if any(isinstance(b, jax.Array) for b in bounds) else np).concatenate(bounds)
