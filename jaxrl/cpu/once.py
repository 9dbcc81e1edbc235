"""Values that are worked out once, where the compiler would repeat them.

XLA's compiler for CPUs fuses what leads to an array into the loop that writes it, and works it out again for
each of its numbers, and for each array that needs it: a game's random words for each of the 700 cells of
its picture. It does not repeat reductions. `once` makes one: the larger of a number and the lowest there is.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import PyTree


def once(tree: PyTree) -> PyTree:
    """The same values; on a CPU each is in memory before anything is made of it.

    For what is cheap to keep, expensive to make and often used: draws, and the state from which a
    picture is made (docs/performance.md has what it gains). Not for constants: it would hide them from the
    compiler. Denormals may become 0, no other bit changes.
    Elsewhere than on a CPU it does nothing.

    Args:
      tree: a pytree of real numbers and truth values; random keys are left alone.
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
