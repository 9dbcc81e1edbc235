"""32-bit numbers, independent of JAX's default width.

With `JAX_ENABLE_X64=1` JAX creates 64-bit numbers wherever no dtype is given. States, observations and
metrics are then converted to the dtypes that they have without it, so that the carry of a scan has fixed
types, and checkpoints are compatible between both modes. A state that the caller has cast to 64 bits is not
converted. Without `JAX_ENABLE_X64` nothing here has an effect.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import Algorithm, PyTree

_NARROW = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32, "complex128": jnp.complex64}


def narrow(tree: PyTree) -> PyTree:
    """The same arrays, with 32 instead of 64 bits; other leaves, including Python numbers, are unchanged."""
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # JAX defines it when imported
        return tree

    def one(leaf):
        dtype = _NARROW.get(_dtype(leaf))
        return leaf if dtype is None else jnp.asarray(leaf, dtype)

    return jax.tree.map(one, tree)


def narrowed(algo: Algorithm) -> Algorithm:
    """The same algorithm in 32 bits: `init` returns such a state, from which all other widths follow."""

    def of(function):
        def call(first, *args, **kwargs):
            if any(_dtype(leaf) == "float64" for leaf in jax.tree.leaves(first)):
                return function(first, *args, **kwargs)  # a state that was made float64 on purpose
            return narrow(function(first, *narrow(args), **narrow(kwargs)))

        return function and call

    names = ("init", "update", "act", "collect", "evaluate_actions")
    return algo._replace(**{name: of(getattr(algo, name)) for name in names})


def _dtype(leaf) -> str:
    return str(getattr(leaf, "dtype", ""))
