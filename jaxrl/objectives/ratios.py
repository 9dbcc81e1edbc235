"""The probability ratio of a sample."""

import jax
import jax.numpy as jnp


def bounded_ratio(log_ratio: jax.Array) -> jax.Array:
    """r = exp(log_ratio), at most e^30."""
    # Bounded: an infinite ratio in the branch that is not selected would make the gradient `nan`.
    return jnp.exp(jnp.minimum(log_ratio, 30.0))
