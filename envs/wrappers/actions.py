"""Wrappers of actions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers.layers import layered
from jaxrl.spaces import Box
from jaxrl.types import Env


@struct.dataclass
class Sticky:
    """An environment's state and its last executed action; `started` is true if there is one."""

    inner: Any
    previous: Any
    started: jax.Array


def sticky_actions(env: Env, probability: float = 0.25) -> Env:
    """Executes the previous action instead of the chosen one, with a probability.

    The previous action is the one that was executed, which may itself be a repetition; the first step of
    an episode never repeats. Machado et al. 2018. https://arxiv.org/abs/1709.06009
    """
    known = not isinstance(probability, jax.core.Tracer)
    if np.shape(probability) or (known and not 0.0 <= np.asarray(probability) <= 1.0):
        raise ValueError(f"probability must be one number between 0 and 1, not {probability!r}")

    def reset(key):
        state, timestep = env.reset(key)
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), env.action_space)
        return Sticky(state, nothing, jnp.zeros((), bool)), timestep

    def step(key, state, action):
        stick_key, step_key = jax.random.split(key)
        stick = state.started & jax.random.bernoulli(stick_key, probability)
        executed = jax.tree.map(
            lambda old, new: jnp.where(stick, old, new).astype(old.dtype), state.previous, action
        )
        inner, timestep = env.step(step_key, state.inner, executed)
        return Sticky(inner, executed, jnp.ones((), bool)), timestep

    return layered("sticky_actions", env, env._replace(reset=reset, step=step))


def clip_action(env: Env) -> Env:
    """Accepts any real action and clips it to the Box; the new action space is unbounded."""
    space = _action_box(env, "clip_action")

    def step(key, state, action):
        return env.step(key, state, jnp.clip(action, space.low, space.high))

    return layered(
        "clip_action",
        env,
        env._replace(step=step, action_space=Box(-np.inf, np.inf, space.shape, space.dtype)),
    )


def rescale_action(env: Env) -> Env:
    """Rescales the actions to [-1, 1]: -1 is the Box's lower bound, 1 its upper bound; clips to them."""
    space = _action_box(env, "rescale_action")
    for bound in (space.low, space.high):
        # gymnax represents "unbounded" by the largest float32; the value of a traced bound is unknown.
        if not isinstance(bound, jax.core.Tracer) and np.any(np.abs(bound) > 1e30):
            raise ValueError("rescale_action needs a Box with finite bounds; apply clip_action instead")

    def step(key, state, action):
        scaled = space.low + (action + 1.0) * 0.5 * (space.high - space.low)
        return env.step(key, state, jnp.clip(scaled, space.low, space.high).astype(space.dtype))

    return layered(
        "rescale_action", env, env._replace(step=step, action_space=Box(-1.0, 1.0, space.shape, space.dtype))
    )


def _action_box(env: Env, wrapper: str) -> Box:
    if not isinstance(env.action_space, Box):
        raise ValueError(
            f"{wrapper} needs one Box as action space, not {type(env.action_space).__name__}; leave it out"
        )
    return env.action_space
