"""Soft mixtures of experts: layers in which several networks process averages of the tokens of an input.

    dispatch = softmax over tokens of X Phi,   combine = softmax over slots of X Phi
    Y = combine f(dispatch^T X)

X are the `M` tokens of an input `[M, D]`, Phi `[D, n p]` is learned, and f applies expert i of `n` to its `p`
slots `[p, D]`, each of which is an average of all tokens. All is differentiable: no token is dropped, and
every expert has a gradient. Puigcerver et al. 2024, "From sparse to soft mixtures of experts",
https://arxiv.org/abs/2308.00951, section 2.1, without the normalization of section 2.3.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.cpu import matrix
from jaxrl.layers import dense


class Expert(nn.Module):
    """A network `[..., D] -> [..., F]` and one more layer, back to the size of a token, `[..., D]`."""

    body: nn.Module
    layer: Callable[..., nn.Module]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layer(x.shape[-1], 1.0, name="out")(self.body(x))


class SoftMixture(nn.Module):
    """A soft mixture of `n` experts with ceil(M / n) slots each, from `[..., M, D]` to `[..., M, D]`.

    The number of slots, the last layer of an expert and the initial Phi (normal with a variance of 1 / (n D))
    are those of the code for Obando-Ceron et al. 2024, "Mixtures of experts unlock parameter scaling for deep
    RL", https://arxiv.org/abs/2402.08609: there, D is the number of channels, and M that of positions.

    Attributes:
      body: what an expert consists of but for its last layer; the parameters of all experts are `[n, ...]`.
      layer: `(features, scale, name) -> module`, the last layer, from `jaxrl.layers`.
    """

    body: nn.Module
    num_experts: int
    layer: Callable[..., nn.Module] = dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tokens, size = x.shape[-2:]
        experts, slots = self.num_experts, -(-tokens // self.num_experts)
        phi = self.param("phi", nn.initializers.lecun_normal(), (size, experts, slots))
        logits = matrix.dot(x, phi.reshape(size, -1))
        dispatch, combine = jax.nn.softmax(logits, axis=-2), jax.nn.softmax(logits, axis=-1)
        averages = jnp.einsum("...ms,...md->...sd", dispatch, x)
        each = nn.vmap(
            Expert,
            in_axes=-3,
            out_axes=-3,
            variable_axes={"params": 0},
            split_rngs={"params": True, "noise": True},
            axis_size=experts,
        )
        apart = averages.reshape((*x.shape[:-2], experts, slots, size))
        return combine @ each(self.body, self.layer, name="experts")(apart).reshape(averages.shape)
