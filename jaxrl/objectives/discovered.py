"""Objectives with a drift that was learned, and the closed form derived from one."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.fields import positive
from jaxrl.objectives.ratios import bounded_ratio
from jaxrl.types import Objective


@struct.dataclass
class Drift:
    """The parameters of Discovered Policy Optimisation.

    Attributes:
      alpha: scale at which the gain of a good action saturates, in units of the surrogate.
      beta: the same for a bad action, in units of its log-ratio.
    """

    alpha: float = positive(2.0)
    beta: float = positive(0.6)


def dpo(alpha: float = 2.0, beta: float = 0.6) -> Objective:
    """Discovered Policy Optimisation: the closed form derived from a meta-learned drift.

        A >= 0:  L = r A - relu((r - 1) A - alpha tanh((r - 1) A / alpha))
        A <  0:  L = r A - relu(A log r - beta tanh(A log r / beta))

    Where a relu is positive, the difference of two large numbers is simplified by hand, so that a ratio that
    overflows does not become `nan`. Lu et al. 2022. https://arxiv.org/abs/2210.05639
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = bounded_ratio(log_ratio)
        up = (ratio - 1.0) * advantages
        down = log_ratio * advantages
        gained = advantages + params.alpha * jnp.tanh(up / params.alpha)
        rolled_back = ratio * advantages - down + params.beta * jnp.tanh(down / params.beta)
        positive = advantages >= 0.0
        moved = jnp.where(positive, gained, rolled_back)
        return jnp.where(positive == (log_ratio > 0.0), moved, ratio * advantages)

    return Objective(Drift(alpha, beta), apply)


@struct.dataclass
class DriftNet:
    """The weights of a learned drift: `hidden [F, H]` and `out [H]`, without biases."""

    hidden: jax.Array
    out: jax.Array


def lpo(params: DriftNet | None = None, width: int = 128) -> Objective:
    """Learned Policy Optimisation: the drift is a small network, added to the drift of the clipped surrogate.

        f = relu( relu((r - clip(r, 0.8, 1.2)) A) + out . tanh(x hidden) - 1e-4 )
        x = (b, A b),   b = (log r, log^2 r, 1 - r, (1 - r)^2)

    Without biases the network is 0 at r = 1 for any weights, and subtracting 1e-4 makes the drift flat
    there. Lu et al. 2022, https://arxiv.org/abs/2210.05639; features and margin as in their code.

    Args:
      params: weights; by default all 0, which is the clipped surrogate to within 1e-4.
      width: `H`, if no weights are given.
    """
    return _learned(params, width, timed=False)


def ta_lpo(params: DriftNet | None = None, width: int = 128) -> Objective:
    """Temporally-Aware Learned Policy Optimisation: the drift can change over training.

        x = (b, A b, progress b, progress A b),   otherwise as `lpo`

    Jackson et al. 2024. https://arxiv.org/abs/2402.05828
    """
    return _learned(params, width, timed=True)


def _learned(params, width, timed):
    num_features = 16 if timed else 8
    params = params or DriftNet(jnp.zeros((num_features, width)), jnp.zeros(width))
    if params.hidden.shape[-2] != num_features:
        given = params.hidden.shape[-2]
        raise ValueError(f"weights for {given} features, not {num_features}: lpo has 8, ta_lpo 16")

    def apply(params, log_ratio, advantages, progress):
        chex.assert_equal_shape([log_ratio, advantages])
        log_ratio = jnp.clip(log_ratio, -20.0, 20.0)  # the square of larger values would overflow
        ratio = jnp.exp(log_ratio)
        base = jnp.stack([log_ratio, jnp.square(log_ratio), 1.0 - ratio, jnp.square(1.0 - ratio)], axis=-1)
        x = jnp.concatenate([base, advantages[..., None] * base], axis=-1)
        if timed:
            x = jnp.concatenate([x, progress * x], axis=-1)
        clipped = jnp.maximum((ratio - jnp.clip(ratio, 0.8, 1.2)) * advantages, 0.0)
        drift = jnp.maximum(clipped + jnp.tanh(x @ params.hidden) @ params.out - 1e-4, 0.0)
        chex.assert_equal_shape([drift, advantages])
        return ratio * advantages - drift

    return Objective(params, apply)


def random_drift(key: jax.Array, timed: bool = False, width: int = 128, scale: float = 0.1) -> DriftNet:
    """Weights of `lpo` (or, `timed`, of `ta_lpo`), normal with a standard deviation of `scale`."""
    hidden_key, out_key = jax.random.split(key)
    hidden = scale * jax.random.normal(hidden_key, (16 if timed else 8, width))
    return DriftNet(hidden, scale * jax.random.normal(out_key, (width,)))
