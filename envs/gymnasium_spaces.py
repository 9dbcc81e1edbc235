"""Spaces, observations and actions in the form of Gymnasium."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import PyTree


def gymnasium_space(space: PyTree) -> Any:
    """One of our spaces as Gymnasium's."""
    from gymnasium import spaces

    if isinstance(space, Discrete):
        return spaces.Discrete(space.n)
    if isinstance(space, MultiDiscrete):
        return spaces.MultiDiscrete(np.asarray(space.nvec))
    if isinstance(space, Box):
        dtype = np.dtype(np.uint8) if np.dtype(space.dtype) == bool else np.dtype(space.dtype)
        low, high = (
            _within(np.broadcast_to(np.asarray(b), space.shape), dtype) for b in (space.low, space.high)
        )
        return spaces.Box(low, high, tuple(space.shape), dtype)  # type: ignore[arg-type]  # takes dtypes too
    if isinstance(space, dict) and all(isinstance(name, str) for name in space):
        return spaces.Dict({name: gymnasium_space(child) for name, child in space.items()})
    if isinstance(space, tuple | list):
        return spaces.Tuple([gymnasium_space(child) for child in space])
    raise ValueError(f"Gymnasium has no space like {space!r}: apply jaxrl.envs.wrappers.flatten_obs")


def _within(bound: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A bound as `dtype`; for integers, infinity becomes their minimum or maximum."""
    if not np.issubdtype(dtype, np.integer):
        return bound.astype(dtype)
    # Not with np.clip: 2**31 - 1 is not a float32, and the nearest float32 does not fit into an int32.
    least, greatest = (dtype.type(end) for end in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    below, above = bound <= least, bound >= greatest
    return np.select([below, above], [least, greatest], np.where(below | above, 0, bound).astype(dtype))


def to_numpy(space: PyTree, value: Any) -> Any:
    """A value in the form of Gymnasium's space, single or batched."""
    if isinstance(space, dict):
        return {name: to_numpy(child, value[name]) for name, child in space.items()}
    if isinstance(space, tuple | list):
        return tuple(to_numpy(child, x) for child, x in zip(space, value))
    if isinstance(space, Box):
        return value.astype(np.uint8) if np.dtype(space.dtype) == bool else value
    value = value.astype(np.int64)
    return value[()] if value.ndim == 0 else value


def from_gymnasium(space: PyTree, action: Any, batch: tuple[int, ...]) -> Any:
    """An action of Gymnasium's space in our form; `batch` is its leading shape."""
    if isinstance(space, dict):
        return {name: from_gymnasium(child, action[name], batch) for name, child in space.items()}
    if isinstance(space, tuple | list):
        return type(space)(from_gymnasium(child, x, batch) for child, x in zip(space, action))
    given = np.asarray(action)
    wanted = (*batch, *space.shape)
    if given.shape != wanted:
        raise ValueError(f"an action must have the shape {wanted}, not {given.shape}")
    if isinstance(space, Box):
        if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise ValueError(f"an action must consist of finite numbers, not {action!r}")
    else:
        sizes = space.n if isinstance(space, Discrete) else space.nvec
        if given.dtype.kind not in "iu" or not ((given >= 0) & (given < np.asarray(sizes))).all():
            raise ValueError(f"an action must consist of integers from 0 to below {sizes}, not {action!r}")
    return jnp.asarray(given.astype(space.dtype))
