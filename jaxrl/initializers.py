"""Initial values of parameters."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn


def orthogonal(scale: float = 2.0**0.5) -> nn.initializers.Initializer:
    """A flax initializer: a random matrix with orthonormal rows or columns, times `scale`.

    Uniform over such matrices (Haar). Saxe et al. 2014, https://arxiv.org/abs/1312.6120. Computed by
    Gram-Schmidt instead of LAPACK's QR, which flax uses: batched over a population, QR waits on a
    thread of JAX's CPU pool for other threads of the same pool, and can therefore deadlock
    (docs/thread_pool.md).

    Returns:
      `(key, shape, dtype) -> [..., out]`; a kernel of more than two axes counts as `[prod(...), out]`.
    """

    def init(key, shape, dtype=jnp.float32):
        return _orthogonal(key, tuple(shape), scale, dtype)

    return init


# flax traces an initializer whenever a layer is applied, to compare shapes: a quarter of the time to trace an
# update. `jit` traces it once per shape, and `inline` leaves the operations as they are.
@partial(jax.jit, static_argnums=(1, 2, 3), inline=True)
def _orthogonal(key, shape, scale, dtype):
    rows, columns = math.prod(shape[:-1]), shape[-1]
    long, short = max(rows, columns), min(rows, columns)
    gaussian = jax.random.normal(key, (short, long))

    def orthonormalize(i, basis):
        # Vectors from i on are still zero. Projecting twice removes the rounding error of the first.
        vector = gaussian[i]
        for _ in range(2):
            vector = vector - (basis @ vector) @ basis
        return basis.at[i].set(vector / jnp.linalg.norm(vector))

    basis = jax.lax.fori_loop(0, short, orthonormalize, jnp.zeros_like(gaussian))
    matrix = basis if rows == short else basis.T
    return (scale * matrix).reshape(shape).astype(dtype)
