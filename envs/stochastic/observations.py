"""Observations with errors, or with parts missing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.stochastic.common import HIDE, NOISE, is_known, require_fit, require_probability, select
from jaxrl.spaces import Box, Discrete, MultiDiscrete, sample
from jaxrl.types import Env, Number, PyTree


def noisy_obs(env: Env, scale: Number = 0.0, flip_probability: Number = 0.0, salt: int = 0) -> Env:
    """Measurement errors, independent in every component and step: type 3.1.

    Floats get Gaussian noise and are not clipped, so their bounds become infinite. With `flip_probability`,
    bools are flipped, and integers and discrete values are replaced by a uniform draw from their range.

    Args:
      scale: standard deviation, in the units of the observation; a number, or an array that broadcasts
        to every float leaf.
      flip_probability: of every bool, integer or discrete component; a number, or an array that broadcasts
        to every such leaf.

    Raises:
      ValueError: the arguments do not apply to any part of these observations, or do not fit their shapes.
    """
    spaces, treedef = jax.tree.flatten(env.observation_space)
    floats = [_is_float(space) for space in spaces]
    scale, flip_probability = _array(scale), _array(flip_probability)
    require_probability(flip_probability, "flip_probability", [s.shape for s in spaces if not _is_float(s)])
    require_fit(scale, "scale", [s.shape for s in spaces if _is_float(s)])
    if is_known(scale) and np.any(np.asarray(scale) < 0):
        raise ValueError(f"scale must not be negative, not {scale!r}")
    noisy, flipping = not _is_zero(scale), not _is_zero(flip_probability)
    if (noisy or flipping) and not ((noisy and any(floats)) or (flipping and not all(floats))):
        remedy = "scale" if flipping else "flip_probability"
        raise ValueError(f"this noise does not apply to {env.observation_space}: give {remedy} instead")

    def disturb(key, obs):
        keys = jax.random.split(jax.random.fold_in(key, NOISE + salt), len(spaces))
        leaves = treedef.flatten_up_to(obs)
        return treedef.unflatten([noise(*leaf) for leaf in zip(spaces, keys, leaves)])

    def noise(space, key, x):
        if _is_float(space):
            added = x + (scale * jax.random.normal(key, x.shape)).astype(x.dtype)
            return jnp.where(jnp.asarray(scale) == 0, x, added)  # -0.0 + 0.0 is 0.0
        flip_key, value_key = jax.random.split(key)
        flip = jax.random.bernoulli(flip_key, flip_probability, x.shape)
        return jnp.where(flip, ~x if x.dtype == bool else sample(space, value_key), x)

    def unbounded(space):
        return Box(-np.inf, np.inf, space.shape, space.dtype) if noisy and _is_float(space) else space

    return _show(env, disturb, jax.tree.map(unbounded, env.observation_space))


def partial_obs(
    env: Env, mask: PyTree | None = None, hide_probability: Number | None = None, salt: int = 0
) -> Env:
    """Hides parts of the observation: type 3.2.

        partial_obs(cartpole, mask=[True, False, True, False])      positions, no velocities
        partial_obs(breakout, hide_probability=0.5)                 whole frames, as in flickering Atari

    A hidden number is 0 and a hidden bool is false. A hidden discrete value is `n`, an additional value,
    because 0 is a valid one. Each step is hidden independently, including the first one of an episode. The
    action mask stays visible. Flickering: Hausknecht and Stone 2015. https://arxiv.org/abs/1507.06527

    Args:
      mask: true for components that are always visible, broadcast to the observation; a pytree if the
        observation is one. By default none.
      hide_probability: probability that all other components are hidden, together, in a step; 1 by default if
        there is a mask.

    Raises:
      ValueError: for a mask that does not fit, or if neither is given.
    """
    if mask is None and hide_probability is None:
        raise ValueError("partial_obs needs a mask, a hide_probability or both: nothing would be hidden")
    hide_probability = 1.0 if hide_probability is None else hide_probability
    require_probability(hide_probability, "hide_probability")
    spaces, treedef = jax.tree.flatten(env.observation_space)
    visible = _masks(spaces, treedef, mask)

    def hide(key, obs):
        hidden = jax.random.bernoulli(jax.random.fold_in(key, HIDE + salt), hide_probability)
        leaves = treedef.flatten_up_to(obs)
        return treedef.unflatten(
            [jnp.where(hidden & ~seen, blank(space), x) for space, seen, x in zip(spaces, visible, leaves)]
        )

    def blank(space):
        value = {Discrete: lambda: space.n, MultiDiscrete: lambda: space.nvec}.get(type(space), lambda: 0)()
        return jnp.asarray(value, space.dtype)

    def with_blank(space, seen):
        if _is_zero(hide_probability) or seen.all():
            return space
        if isinstance(space, Discrete):
            return Discrete(space.n + 1)
        if isinstance(space, MultiDiscrete):
            return MultiDiscrete(tuple(n if s else n + 1 for n, s in zip(space.nvec, seen)))
        if np.dtype(space.dtype) == bool:
            return space
        xp = jnp if any(isinstance(b, jax.Array) for b in (space.low, space.high)) else np
        low = xp.where(seen, space.low, xp.minimum(space.low, 0)).astype(space.dtype)
        high = xp.where(seen, space.high, xp.maximum(space.high, 0)).astype(space.dtype)
        return Box(low, high, space.shape, space.dtype)

    return _show(env, hide, treedef.unflatten([with_blank(*leaf) for leaf in zip(spaces, visible)]))


def _show(env: Env, change: Callable, space: PyTree) -> Env:
    """Returns `change(key, obs)` as the observation, which is in `space`; also changes `next_obs`."""

    # Two computations of one value can be rounded differently, so if obs is next_obs it stays the same array.
    def reset(key):
        state, timestep = env.reset(key)
        obs = change(key, timestep.obs)
        return state, timestep.replace(obs=obs, next_obs=obs)

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        obs = next_obs = change(key, timestep.next_obs)
        if timestep.next_obs is not timestep.obs:  # true in raw environments
            obs = select(timestep.first, change(key, timestep.obs), next_obs)
        return state, timestep.replace(obs=obs, next_obs=next_obs)

    return env._replace(reset=reset, step=step, observation_space=space)


def _masks(spaces, treedef, mask) -> list[np.ndarray]:
    """For every leaf of the observation, a mask of the components that are always visible."""
    if mask is None:
        return [np.zeros(space.shape, bool) for space in spaces]
    try:
        masks = [np.asarray(m) for m in treedef.flatten_up_to(mask)]
        if any(m.dtype == object for m in masks):  # a dict, which NumPy would convert to one bool
            raise TypeError("a mask must consist of bools")
        return [np.broadcast_to(m.astype(bool), s.shape) for m, s in zip(masks, spaces)]
    except (ValueError, TypeError) as error:
        wanted = treedef.unflatten([tuple(s.shape) for s in spaces])
        raise ValueError(f"mask must fit observations of shape {wanted}, not be {mask!r}") from error


def _is_float(space) -> bool:
    return jnp.issubdtype(space.dtype, jnp.floating)


def _is_zero(value) -> bool:
    return is_known(value) and not np.any(np.asarray(value))


def _array(value):
    """Converts lists to arrays, for arithmetic; numbers and arrays are unchanged."""
    return np.asarray(value) if isinstance(value, list | tuple) else value
