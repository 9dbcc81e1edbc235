"""Draws and checks of actions that an action mask allows."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.spaces import Discrete, sample
from jaxrl.types import PyTree


def parts_of(space: Any, mask: jax.Array) -> list[jax.Array]:
    """An action mask split into one part per choice; the mask of a MultiDiscrete concatenates them."""
    sizes = [space.n] if isinstance(space, Discrete) else space.nvec
    return jnp.split(mask, np.cumsum(sizes)[:-1], axis=-1)


def sample_allowed(space: Any, key: jax.Array, mask: jax.Array | None) -> PyTree:
    """A uniform draw from the allowed actions; with a mask, the space is one Discrete or MultiDiscrete."""
    if mask is None:
        return sample(space, key)
    parts = parts_of(space, mask)
    # The r-th allowed one with uniform r: one random number per choice, independent of the mask.
    draws = jax.random.uniform(key, (len(parts),))
    chosen = []
    for part, draw in zip(parts, draws):
        rank = jnp.cumsum(part.astype(jnp.int32))
        r = jnp.minimum((draw * rank[-1]).astype(jnp.int32), rank[-1] - 1)
        chosen.append(jnp.argmax(rank > r))
    action = chosen[0] if isinstance(space, Discrete) else jnp.stack(chosen)
    return action.astype(space.dtype)


def is_allowed(space: Any, action: PyTree, mask: jax.Array | None) -> jax.Array:
    """Whether a mask allows an action; None allows all."""
    if mask is None:
        return jnp.ones((), bool)
    parts = parts_of(space, mask)
    allowed = [
        jnp.any(part & (np.arange(len(part)) == choice))
        for part, choice in zip(parts, jnp.reshape(jnp.asarray(action), len(parts)))
    ]
    return jnp.all(jnp.stack(allowed))
