"""One width of numbers, whatever JAX's default is: 32 bits.

With `JAX_ENABLE_X64=1` JAX makes numbers of 64 bits wherever no type is given. States, observations and
metrics are then narrowed to what they are without it, so that programs trace, carry a state of fixed types
and read each other's checkpoints in both modes. A state that the caller has cast to 64 bits stays so.
Without `JAX_ENABLE_X64` nothing here has an effect.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import Algorithm, PyTree

_NARROW = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32, "complex128": jnp.complex64}


def narrow(tree: PyTree) -> PyTree:
    """The same arrays, those of 64 bits as 32 bits; everything else, Python numbers included, as it is."""
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # JAX defines it when imported
        return tree

    def one(leaf):
        dtype = _NARROW.get(_dtype(leaf))
        return leaf if dtype is None else jnp.asarray(leaf, dtype)

    return jax.tree.map(one, tree)


def narrowed(algo: Algorithm) -> Algorithm:
    """The same algorithm in 32 bits: `init` makes such a state, and with it all else is of that width."""

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
