"""Spaces of observations and actions: Discrete, MultiDiscrete, Box, and pytrees of them.

A space is a leaf: it is not registered as a pytree, so the leaves of a tree of spaces are the spaces.
"""

import dataclasses
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import PyTree


@dataclasses.dataclass(frozen=True)
class Discrete:
    """The integers 0 .. n - 1, int32 scalars."""

    n: int

    shape = ()
    dtype = np.dtype(np.int32)

    def __post_init__(self) -> None:
        require_positive(n=self.n)


@dataclasses.dataclass(frozen=True)
class MultiDiscrete:
    """Several Discrete choices at once, an int32 vector `[len(nvec)]`."""

    nvec: tuple[int, ...]

    dtype = np.dtype(np.int32)

    def __post_init__(self) -> None:
        if not len(self.nvec):
            raise ValueError("a MultiDiscrete space needs at least one choice, as MultiDiscrete((3, 2))")
        for n in self.nvec:
            require_positive(n=n)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.nvec),)


@dataclasses.dataclass(frozen=True, eq=False)
class Box:
    """Arrays of `shape` between `low` and `high`, which broadcast to it and may be infinite."""

    low: Any
    high: Any
    shape: tuple[int, ...]
    dtype: Any = np.dtype(np.float32)  # noqa: RUF009 (immutable)

    def __post_init__(self) -> None:
        if any(isinstance(bound, jax.core.Tracer) for bound in (self.low, self.high)):
            return
        low, high = (np.asarray(bound) for bound in (self.low, self.high))
        try:
            fits = np.broadcast_shapes(low.shape, high.shape, tuple(self.shape)) == tuple(self.shape)
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"bounds {low.shape} and {high.shape} do not fit a Box of the shape {self.shape}"
            )
        if not np.all(low <= high):  # also NaN
            raise ValueError(f"low must not be above high in a Box, nor NaN: low = {low}, high = {high}")


Space = Discrete | MultiDiscrete | Box


def sample(space: PyTree, key: jax.Array) -> PyTree:
    """A uniform sample; if a Box has only one bound, from within 1 of it, if it has none, of 0."""
    leaves, treedef = jax.tree.flatten(space)
    keys = jax.random.split(key, max(len(leaves), 1))
    return jax.tree.unflatten(treedef, [_sample(leaf, k) for leaf, k in zip(leaves, keys)])


def _sample(space: Space, key: jax.Array) -> jax.Array:
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, space.n, space.dtype)
    if isinstance(space, MultiDiscrete):
        return jax.random.randint(key, space.shape, 0, jnp.asarray(space.nvec), space.dtype)
    # gymnax represents "unbounded" by the largest float32: the width would overflow to infinity.
    huge = 1e30
    low = jnp.broadcast_to(jnp.asarray(space.low, jnp.float32), space.shape)
    high = jnp.broadcast_to(jnp.asarray(space.high, jnp.float32), space.shape)
    no_low, no_high = low < -huge, high > huge
    low, high = (
        jnp.where(no_low, jnp.where(no_high, -1.0, high - 1.0), low),
        jnp.where(no_high, jnp.where(no_low, 1.0, low + 1.0), high),
    )
    if not jnp.issubdtype(space.dtype, jnp.floating):
        draw = jax.random.uniform(key, space.shape, minval=low, maxval=high + 1.0)
        return jnp.clip(jnp.floor(draw), low, high).astype(space.dtype)
    return jax.random.uniform(key, space.shape, minval=low, maxval=high).astype(space.dtype)


def contains(space: PyTree, value: PyTree) -> jax.Array:
    """Whether `value` has the structure, shape and kind of dtype (checked in Python) and range (traced).

    Returns:
      A boolean scalar.
    """
    if jax.tree.structure(space) != jax.tree.structure(value):
        return jnp.asarray(False)
    checks = jax.tree.map(_contains, space, value)
    return jnp.all(jnp.asarray(jax.tree.leaves(checks)))


def _contains(space: Space, value: jax.Array) -> jax.Array:
    value = jnp.asarray(value)
    if value.shape != tuple(space.shape) or not _same_kind(value.dtype, space.dtype):
        return jnp.asarray(False)
    if not jnp.issubdtype(value.dtype, jnp.floating) and value.dtype.itemsize < 4:
        value = value.astype(jnp.int32)  # an int8 cannot be compared with 300
    if isinstance(space, Box):
        return jnp.all((value >= space.low) & (value <= space.high))
    return jnp.all((value >= 0) & (value < jnp.asarray(getattr(space, "nvec", getattr(space, "n", 0)))))


def _same_kind(a, b) -> bool:
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return [jnp.issubdtype(a, k) for k in kinds] == [jnp.issubdtype(b, k) for k in kinds]


def flat_size(space: PyTree) -> int:
    """The size of a flattened observation; a Discrete one is one-hot."""
    sizes = jax.tree.map(
        lambda s: (
            s.n
            if isinstance(s, Discrete)
            else sum(s.nvec)
            if isinstance(s, MultiDiscrete)
            else int(np.prod(s.shape))
        ),
        space,
    )
    return sum(jax.tree.leaves(sizes))


def require_bounded_box(space: PyTree, option: str) -> None:
    """Raises ValueError for an option that needs a single bounded Box, if `space` is another one."""
    if not isinstance(space, Box):
        raise ValueError(f"{option} requires continuous actions, but this environment has {space}")
    bounds = [b for b in (space.low, space.high) if not isinstance(b, jax.core.Tracer)]
    if any(np.any(np.abs(b) > 1e30) for b in bounds):
        raise ValueError(f"{option} needs actions with finite bounds, not {space}")


def require_counts(config: Any, *names: str) -> None:
    """Raises ValueError if a count in a config is not an integer of at least 1, or `config` not a Config."""
    for name in names:
        if not hasattr(config, name):
            given = repr(config) if isinstance(config, int | float | str) else f"a {type(config).__name__}"
            raise ValueError(f"config must be a Config with {name} and other options, not {given}")
        value = getattr(config, name)
        if not isinstance(value, Integral):
            raise ValueError(f"{name} = {value!r} must be a whole number")
        if value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")


def require_positive(**counts: Any) -> None:
    """Raises ValueError if a count is not a whole number of at least 1; traced ones are not checked."""
    for name, value in counts.items():
        if isinstance(value, jax.core.Tracer):
            continue
        array = np.asarray(value)
        if array.shape or array.dtype.kind not in "iu" or array < 1:
            raise ValueError(f"{name} = {value!r} must be a whole number of at least 1")


def require_division(what: str, size: int, num_minibatches: int, name: str = "num_minibatches") -> None:
    """Raises ValueError if a batch is not divisible into its minibatches, whose number is called `name`."""
    if size % num_minibatches:
        near = [n for n in range(num_minibatches, 0, -1) if size % n == 0]
        raise ValueError(f"{what} = {size} is not divisible by {name} = {num_minibatches}: give {near[0]}")
