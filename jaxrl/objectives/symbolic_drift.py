"""A drift given as a formula."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.types import Objective


@struct.dataclass
class Terms:
    """The parameter of `symbolic`: `coefs [2 K]`, of `TERMS` and then of `progress` times each of them."""

    coefs: jax.Array


def _up(x):
    return jnp.maximum(x, 0.0)


# Factors of the terms of a symbolic drift, all 0 at r = 1: how far the ratio has moved up or down (`MOVED`),
# times how good or bad the action was (`ADVANTAGE`).
MOVED = {
    "relu(r - 1)": lambda r: _up(r - 1.0),
    "relu(-log r)": lambda r: _up(-jnp.log(r)),
    "relu(r - 1)^2": lambda r: jnp.square(_up(r - 1.0)),
    "relu(-log r)^2": lambda r: jnp.square(_up(-jnp.log(r))),
    "relu(r - 1.2)": lambda r: _up(r - 1.2),
    "relu(0.8 - r)": lambda r: _up(0.8 - r),
}
ADVANTAGE = {
    "": jnp.ones_like,
    " relu(A)": _up,
    " relu(-A)": lambda A: _up(-A),
    " relu(A)^2": lambda A: jnp.square(_up(A)),
    " relu(-A)^2": lambda A: jnp.square(_up(-A)),
}
TERMS = tuple(moved + advantage for moved in MOVED for advantage in ADVANTAGE)


def terms(ratio: jax.Array, advantages: jax.Array) -> jax.Array:
    """The value of each of `TERMS`, `[..., K]`."""
    moved = jnp.stack([function(ratio) for function in MOVED.values()], axis=-1)
    advantage = jnp.stack([function(advantages) for function in ADVANTAGE.values()], axis=-1)
    return (moved[..., :, None] * advantage[..., None, :]).reshape(*ratio.shape, len(TERMS))


def symbolic(params: Terms | None = None) -> Objective:
    """A drift given as a formula, a sum of few terms; a learned drift can be distilled into it.

        f = relu( sum_k (c_k + d_k progress) TERMS_k(r, A) - 1e-4 )

    For any coefficients f is 0 in a neighbourhood of r = 1, as for `lpo`.

    Args:
      params: the `c_k` and then the `d_k`; by default all 0, which is the policy gradient.
    """

    def apply(params, log_ratio, advantages, progress):
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = jnp.exp(jnp.clip(log_ratio, -20.0, 20.0))
        each = terms(ratio, advantages)
        each = jnp.concatenate([each, progress * each], axis=-1)
        drift = jnp.maximum(each @ params.coefs - 1e-4, 0.0)
        return ratio * advantages - drift

    return Objective(params or Terms(jnp.zeros(2 * len(TERMS))), apply)
