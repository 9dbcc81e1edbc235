"""Observations as inputs of a network: one float32 array, or a pytree of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.spaces import Box, Discrete, MultiDiscrete, flat_size
from jaxrl.types import PyTree


def use_cnn(space: PyTree, torso: str) -> bool:
    """Whether `torso` (of `policies.NetworkConfig`) means a convolution for observations of `space`.

    Raises:
      ValueError: another name, or "cnn" for a space without an image, a Box `[H, W, C]`.
    """
    if torso not in ("auto", "mlp", "cnn", "soft_moe"):
        raise ValueError(f"torso {torso!r} is not known: take 'auto', 'mlp', 'cnn' or 'soft_moe'")
    shapes = [leaf.shape for leaf in jax.tree.leaves(space) if isinstance(leaf, Box)]
    large = any(map(is_image, shapes))
    # In a pytree, only images that are at least as large as a kernel are convolved.
    if torso == "cnn" and not large and not (isinstance(space, Box) and len(space.shape) == 3):
        raise ValueError(f"torso 'cnn' needs images [H, W, C], not {space}: take torso 'mlp'")
    return torso == "cnn" or (torso != "mlp" and large)


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether an observation of this shape is an image `[H, W, C]`, not smaller than a 3x3 kernel."""
    return len(shape) == 3 and min(shape[:2]) >= 3


def splitter(space: PyTree) -> Callable:
    """`(x [..., D]) -> pytree`: the parts of an observation that `encode` has concatenated.

    A Box is returned in its shape, `[..., *shape]`; discrete parts remain one-hot, `[..., n]`.
    """
    leaves, treedef = jax.tree.flatten(space)
    sizes = [flat_size(leaf) for leaf in leaves]

    def split(x):
        parts = jnp.split(x, np.cumsum(sizes)[:-1], axis=-1)
        shapes = [(*leaf.shape,) if isinstance(leaf, Box) else (size,) for leaf, size in zip(leaves, sizes)]
        return treedef.unflatten(part.reshape((*x.shape[:-1], *shape)) for part, shape in zip(parts, shapes))

    return split


def encode(space: PyTree, obs: PyTree, flat: bool = True) -> jax.Array:
    """An observation as float32 for a network: one vector `[..., D]`, or in its original shape for a torso.

    Discrete and MultiDiscrete parts become one-hot, the parts of a pytree are concatenated. Bytes, that is
    parts whose space is uint8 from 0 to 255, are divided by 255; other numbers and flags keep their values.

    Args:
      obs: leaves `[..., *space.shape]`.
      flat: False keeps the shape of a single Box (images).

    Raises:
      ValueError: an observation of another structure or shape.
    """
    _require_shapes(space, obs)
    if not flat and isinstance(space, Box):
        return _floats(space, obs)
    spaces, treedef = jax.tree.flatten(space)
    parts = [_encode(s, o) for s, o in zip(spaces, treedef.flatten_up_to(obs))]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _require_shapes(space: PyTree, obs: PyTree) -> None:
    spaces, treedef = jax.tree.flatten(space)
    try:
        leaves = treedef.flatten_up_to(obs)
    except ValueError:
        raise ValueError(f"an observation must have the structure of its space, {space}") from None
    for leaf, x in zip(spaces, leaves):
        shape, given = tuple(leaf.shape), tuple(getattr(x, "shape", ()))  # a Python number has none
        if isinstance(x, dict | list | tuple) or given[max(len(given) - len(shape), 0) :] != shape:
            what = f"of the shape {given}" if hasattr(x, "shape") else f"that is a {type(x).__name__}"
            wanted = "".join(f", {size}" for size in shape)
            raise ValueError(f"an observation {what} does not fit its space [...{wanted}]")


def _encode(space, obs):
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs, space.n, dtype=jnp.float32)
    if isinstance(space, MultiDiscrete):
        parts = [jax.nn.one_hot(obs[..., i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
        return jnp.concatenate(parts, axis=-1)
    batch = obs.shape[: obs.ndim - len(space.shape)]
    return _floats(space, obs).reshape((*batch, -1))


def _floats(space, obs):
    """Values of a Box as float32; those of an image in bytes are scaled to 0 .. 1."""
    x = obs.astype(jnp.float32)
    return x / 255.0 if holds_bytes(space) else x


def holds_bytes(space: Box) -> bool:
    """Whether a Box contains bytes over their whole range, as images do: uint8 from 0 to 255."""
    bounds = (space.low, space.high)
    if np.dtype(space.dtype) != np.uint8 or any(isinstance(bound, jax.core.Tracer) for bound in bounds):
        return False
    low, high = (np.asarray(bound) for bound in bounds)
    return bool(np.all(low == 0) and np.all(high == 255))
