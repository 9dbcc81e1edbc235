"""Fully connected layers, without and with noise."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.cpu import matrix
from jaxrl.initializers import orthogonal


def dense(features: int, scale: float = 2.0**0.5, name: str | None = None, use_bias: bool = True) -> nn.Dense:
    """A layer with orthogonal weights and zero biases."""
    return nn.Dense(features, use_bias, kernel_init=orthogonal(scale), dot_general=matrix.dot, name=name)


def noisy_dense(features: int, scale: float = 1.0, name: str | None = None) -> "NoisyDense":
    """A layer with noise, which takes the arguments of `dense`; initial values do not depend on `scale`."""
    del scale
    return NoisyDense(features, name=name)


class NoisyDense(nn.Module):
    """A layer whose weights are drawn in each call, with means and standard deviations that are learned.

        y = x (W + S * f(e) f(d)^T) + b + s * f(d),   f(z) = sign(z) sqrt(|z|),   e, d ~ N(0, 1)

    `x` has `D` numbers and `y` has `F`; `e` is `[D]` and `d` is `[F]`, the same for a whole batch. At first W
    and b are uniform between -1 / sqrt(D) and 1 / sqrt(D), and S = s = 0.5 / sqrt(D). Factorised noise of
    Fortunato et al. 2018, "Noisy networks for exploration", https://arxiv.org/abs/1706.10295.

    `apply(..., rngs={"noise": key})` draws e and d; without the key they are 0: y = x W + b.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1], self.features)
        bound = shape[0] ** -0.5
        deviation = nn.initializers.constant(0.5 * bound)
        kernel = self.param("kernel", _uniform, shape, bound)
        bias = self.param("bias", _uniform, shape[1:], bound)
        kernel_sigma = self.param("kernel_sigma", deviation, shape)
        bias_sigma = self.param("bias_sigma", deviation, shape[1:])
        if self.has_rng("noise"):
            z = jax.random.normal(self.make_rng("noise"), (sum(shape),), jnp.float32)
            into, out = jnp.split(jnp.sign(z) * jnp.sqrt(jnp.abs(z)), [shape[0]])
            kernel += kernel_sigma * jnp.outer(into, out)
            bias += bias_sigma * out
        return matrix.dot(x, kernel) + bias


def _uniform(key, shape, bound):
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)
