"""32-bit numbers, independent of JAX's default width.

With `JAX_ENABLE_X64=1` JAX creates 64-bit numbers wherever no dtype is given. States, observations and
metrics are then converted to the dtypes that they have without it, so that the carry of a scan has fixed
types, and checkpoints are compatible between both modes. A state that the caller has cast to 64 bits is not
converted. Without `JAX_ENABLE_X64` nothing here has an effect.
"""

import contextlib

import jax
import jax.numpy as jnp

from jaxrl.checks import require_key
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
    """The same algorithm in 32 bits: `init` returns such a state, from which all other widths follow.

    Its `init` raises ValueError without a random key, and its `update` for the state of another algorithm.
    """

    kind = getattr(algo.update, "__globals__", {}).get("TrainState")

    def of(function, name):
        def call(first, *args, **kwargs):
            if name == "init":
                require_key(first, "write init(key, hp)")
            if name == "update" and kind and not isinstance(first, kind):
                given = f"{type(first).__module__}.{type(first).__qualname__}"
                wanted = f"{kind.__module__}.{kind.__qualname__}"
                raise ValueError(f"this algorithm needs the state of its init, {wanted}, not a {given}")
            with _usual_promotion():
                return convert(function, first, args, kwargs)

        def convert(function, first, args, kwargs):
            if any(_dtype(leaf) == "float64" for leaf in jax.tree.leaves(first)):
                return function(first, *args, **kwargs)  # a state that was made float64 on purpose
            return narrow(function(first, *narrow(args), **narrow(kwargs)))

        return function and call

    # `act` and `collect` also take a part of a state, such as the parameters of a policy that only acts.
    names = ("init", "update", "act", "collect", "evaluate_actions")
    return algo._replace(**{name: of(getattr(algo, name), name) for name in names})


@contextlib.contextmanager
def _usual_promotion():
    """JAX's usual rules for shapes and dtypes; a caller's stricter ones are meant for the caller's code."""
    chosen = (getattr(jax.config, f"jax_numpy_{name}_promotion") for name in ("rank", "dtype"))
    if tuple(chosen) == ("allow", "standard"):
        yield
        return
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def _dtype(leaf) -> str:
    return str(getattr(leaf, "dtype", ""))
