"""Pytrees of arrays as rows of 32-bit words, and back, without loss.

Flags take a bit, bytes a byte, half-precision numbers two bytes; leaves of the same width share words. A
10x10x4 observation of a MinAtar game, all flags, is 13 words instead of the 400 of float32 numbers. Axes: `W`
words.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import PyTree

_UNSIGNED = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}
_WIDE = {"float64": jnp.float32, "int64": jnp.int32}  # what JAX_ENABLE_X64 may make of 32-bit numbers


class Packing(NamedTuple):
    """How trees of one kind are stored."""

    pack: Callable[[PyTree], jax.Array]  # leaves `[..., *shape]` -> `[..., W]`, uint32
    unpack: Callable[[jax.Array], PyTree]  # the inverse
    num_words: int  # `W`


class _Leaf(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype  # as given and returned
    bits: int  # per number, in the row: 1, 8, 16 or 32

    @property
    def size(self) -> int:
        """Numbers of `bits` bits; a 64-bit number is two of 32."""
        return math.prod(self.shape) * max(1, self.dtype.itemsize // 4)


def packing(example: PyTree) -> Packing:
    """The packing of trees like `example`.

        >>> import jax.numpy as jnp
        >>> from jaxrl.replay import packing
        >>> rows = packing({"board": jnp.zeros((10, 10, 4), bool), "clock": jnp.zeros(2, jnp.uint8)})
        >>> rows.num_words, rows.unpack(jnp.zeros((5, 14), jnp.uint32))["board"].shape
        (14, (5, 10, 10, 4))

    Args:
      example: arrays, `jax.ShapeDtypeStruct`s or spaces, without batch axes. The integers of a `Discrete` or
        `MultiDiscrete` space are stored in one or two bytes if its size permits.

    Raises:
      ValueError: numbers that cannot be stored, such as random keys or complex numbers.
    """
    examples, treedef = jax.tree.flatten(example)
    leaves = [_leaf(one) for one in examples]
    widths = sorted({leaf.bits for leaf in leaves}, reverse=True)
    groups = [(bits, [i for i, leaf in enumerate(leaves) if leaf.bits == bits]) for bits in widths]
    counts = [-(-sum(leaves[i].size for i in members) * bits // 32) for bits, members in groups]

    def pack(tree: PyTree) -> jax.Array:
        arrays = [jnp.asarray(x) for x in treedef.flatten_up_to(tree)]
        parts = []
        for bits, members in groups:
            flat = [_as_unsigned(arrays[i], leaves[i]) for i in members]
            parts.append(_to_words(_joined(flat), bits))
        return _joined(parts)

    def unpack(words: jax.Array) -> PyTree:
        arrays: list[Any] = [None] * len(leaves)
        start = 0
        for (bits, members), count in zip(groups, counts):
            numbers = _from_words(words[..., start : start + count], bits)
            start += count
            at = 0
            for i in members:
                arrays[i] = _as_given(numbers[..., at : at + leaves[i].size], leaves[i])
                at += leaves[i].size
        return treedef.unflatten(arrays)

    return Packing(pack, unpack, sum(counts))


def _leaf(example) -> _Leaf:
    shape, dtype = tuple(example.shape), example.dtype
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    plain = not jax.dtypes.issubdtype(dtype, jax.dtypes.extended)
    if not plain or not any(jnp.issubdtype(dtype, kind) for kind in kinds):
        raise ValueError(f"a replay stores real numbers, integers and flags, not {dtype}")
    dtype = np.dtype(dtype)
    largest = max(getattr(example, "nvec", (getattr(example, "n", 0),)))  # of a space of integers
    if dtype.kind == "b":
        bits = 1
    elif largest:
        bits = 8 if largest <= 2**8 else 16 if largest <= 2**16 else 32
    else:
        bits = min(8 * dtype.itemsize, 32)
    return _Leaf(shape, dtype, bits)


def _joined(parts: list[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _as_unsigned(x: jax.Array, leaf: _Leaf) -> jax.Array:
    """`[..., size]`: flags as they are, other numbers as unsigned integers of `bits` bits."""
    batch = x.shape[: x.ndim - len(leaf.shape)]
    if x.shape[len(batch) :] != leaf.shape:
        raise ValueError(f"rows of this replay hold numbers of the shape {leaf.shape}, not {x.shape}")
    if x.dtype != leaf.dtype and _WIDE.get(str(x.dtype)) != leaf.dtype:
        raise ValueError(f"rows of this replay hold {leaf.dtype}, not {x.dtype}")
    x = x.astype(leaf.dtype)
    if leaf.bits == 1:
        return x.reshape((*batch, -1))
    unsigned = _UNSIGNED[leaf.bits]
    if leaf.bits < 8 * leaf.dtype.itemsize <= 32:  # integers of a small space
        return x.astype(unsigned).reshape((*batch, -1))
    return jax.lax.bitcast_convert_type(x, unsigned).reshape((*batch, -1))


def _as_given(numbers: jax.Array, leaf: _Leaf) -> jax.Array:
    batch, width = numbers.shape[:-1], 8 * leaf.dtype.itemsize
    if leaf.bits == 1 or leaf.bits < width <= 32:
        return numbers.reshape((*batch, *leaf.shape)).astype(leaf.dtype)
    pairs = (2,) if width == 64 else ()
    return jax.lax.bitcast_convert_type(numbers.reshape((*batch, *leaf.shape, *pairs)), leaf.dtype)


def _to_words(numbers: jax.Array, bits: int) -> jax.Array:
    """`[..., n]` unsigned integers (or flags) as `[..., W]` words; the last one is filled up with zeros."""
    if bits == 32:
        return numbers
    per_word, batch = 32 // bits, numbers.shape[:-1]
    missing = -numbers.shape[-1] % per_word
    numbers = jnp.pad(numbers, [(0, 0)] * len(batch) + [(0, missing)]).reshape((*batch, -1, per_word))
    return (numbers.astype(jnp.uint32) << _shifts(bits)).sum(axis=-1, dtype=jnp.uint32)


def _from_words(words: jax.Array, bits: int) -> jax.Array:
    """The inverse of `_to_words`, in the dtype of that width, with what it was filled up with."""
    if bits == 32:
        return words
    numbers = (words[..., None] >> _shifts(bits)) & jnp.uint32(2**bits - 1)
    numbers = numbers.reshape((*words.shape[:-1], -1))
    return numbers != 0 if bits == 1 else numbers.astype(_UNSIGNED[bits])


def _shifts(bits: int) -> jax.Array:
    return jnp.arange(0, 32, bits, dtype=jnp.uint32)
