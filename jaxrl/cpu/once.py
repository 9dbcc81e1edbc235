"""Values that are computed once, where the compiler would recompute them.

XLA's compiler for CPUs fuses the operations that lead to an array into the loop that writes it, and repeats
them for each element, and for each array that needs them: a game's random bits for each of the 700 cells of
its image. It does not repeat reductions. `once` is one: the maximum of each number and the lowest value.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import PyTree


def once(tree: PyTree) -> PyTree:
    """The same values; on a CPU each is written to memory before it is used.

    For values that are cheap to store, expensive to compute and often used: random numbers, and the state
    from which an image is rendered (see docs/performance.md for the gain). Not for constants: the compiler
    would no longer recognize them. Denormals may become 0, no other bit changes.
    On other devices than CPUs it has no effect.

    Args:
      tree: a pytree of real numbers and booleans; random keys are returned unchanged.
    """
    return jax.tree.map(_once, tree)


def _once(x):
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return x
    return jax.lax.platform_dependent(x, cpu=_reduced, default=lambda x: x)


def _reduced(x):
    if x.dtype == bool:
        return jnp.any(jnp.stack([x, jnp.zeros_like(x)]), axis=0)
    lowest = -jnp.inf if jnp.issubdtype(x.dtype, jnp.floating) else jnp.iinfo(x.dtype).min
    return jnp.max(jnp.stack([x, jnp.full_like(x, lowest)]), axis=0)
