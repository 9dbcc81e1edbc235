"""Value heads: what the outputs of a critic mean as values, and how they learn from targets.

    scalar      the value; Huber loss
    c51         probabilities of `K` returns; cross-entropy with the distribution of the target on them
    qr          `K` quantiles of the return; quantile Huber loss
    hl_gauss    probabilities of `K` intervals of the value; cross-entropy with a normal distribution

The target is `reward + discount * next`, where `next` is a value or a distribution of returns. Axes: `B`
batch, `K` outputs for each value, which a scalar head does not have.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from jaxrl.names import lookup
from jaxrl.spaces import require_positive


class Head(NamedTuple):
    """Functions of a value head.

    Attributes:
      num_outputs: `K`; 1 for a scalar head.
      value: `(outputs [..., K]) -> [...]`; a scalar head: the same `[...]`.
      loss: `(outputs [B, K], reward [B], discount [B], next_outputs [B, K]) -> (loss [B], error [B])`. The
        error, which is not negative, is what replay priorities are made of.
    """

    num_outputs: int
    value: Callable[[jax.Array], jax.Array]
    loss: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def _huber(q, reward, discount, next_q):
    chex.assert_equal_shape([q, reward, discount, next_q])
    target = reward + discount * next_q
    return optax.losses.huber_loss(q, target), jnp.abs(q - target)


SCALAR = Head(1, lambda q: q, _huber)  # the value itself


def c51(low: float, high: float, num_atoms: int = 51) -> Head:
    """A categorical distribution of returns, on `num_atoms` points from `low` to `high`.

        m_k = sum_j p_j max(0, 1 - |clip(r + discount z_j, low, high) - z_k| / (z_1 - z_0))

    Each point of the target's distribution is divided between its two neighbours; the loss is the
    cross-entropy with `m`. Bellemare et al. 2017, "A distributional perspective on reinforcement learning",
    https://arxiv.org/abs/1707.06887.

    Raises:
      ValueError: fewer than two points, or an empty range.
    """
    _require_range(low, high, num_atoms)
    points = jnp.linspace(low, high, num_atoms)
    width = (high - low) / (num_atoms - 1)

    def value(outputs):
        return jax.nn.softmax(outputs) @ points

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        moved = jnp.clip(reward[:, None] + discount[:, None] * points, low, high)
        share = jnp.maximum(0.0, 1.0 - jnp.abs(moved[:, :, None] - points) / width)  # [B, K from, K to]
        target = jnp.einsum("bj,bjk->bk", jax.nn.softmax(next_outputs), share)
        cross = optax.losses.softmax_cross_entropy(outputs, target)
        return cross, jax.lax.stop_gradient(cross)

    return Head(num_atoms, value, loss)


def qr(num_quantiles: int = 51) -> Head:
    """Quantiles of the return, at the fractions (2 k + 1) / (2 K).

        loss = sum_k mean_j |tau_k - 1[u_jk < 0]| huber(u_jk),   u_jk = r + discount theta'_j - theta_k

    Dabney et al. 2018, "Distributional reinforcement learning with quantile regression",
    https://arxiv.org/abs/1710.10044.

    Raises:
      ValueError: fewer than two quantiles.
    """
    require_positive(num_quantiles=num_quantiles)
    if num_quantiles < 2:
        raise ValueError(f"a distribution needs at least 2 quantiles, not {num_quantiles}")
    fractions = (2.0 * jnp.arange(num_quantiles) + 1.0) / (2.0 * num_quantiles)

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        target = reward[:, None] + discount[:, None] * next_outputs
        error = target[:, :, None] - outputs[:, None, :]  # [B, j, k]
        weight = jnp.abs(fractions - (error < 0.0))
        each = (weight * optax.losses.huber_loss(error)).mean(axis=1).sum(axis=1)
        return each, jax.lax.stop_gradient(each)

    return Head(num_quantiles, lambda outputs: outputs.mean(axis=-1), loss)


def hl_gauss(low: float, high: float, num_bins: int = 51, smoothing: float = 0.75) -> Head:
    """The value as a histogram of `num_bins` intervals between `low` and `high`.

    The target of the probabilities is a normal distribution around `reward + discount * value(next)`, with a
    standard deviation of `smoothing` intervals, restricted to the range. Imani and White 2018,
    https://arxiv.org/abs/1806.04613; Farebrother et al. 2024, https://arxiv.org/abs/2403.03950.

    Raises:
      ValueError: fewer than two intervals, or an empty range.
    """
    _require_range(low, high, num_bins)
    edges = jnp.linspace(low, high, num_bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2.0
    deviation = smoothing * (high - low) / num_bins

    def value(outputs):
        return jax.nn.softmax(outputs) @ middles

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        mean = jnp.clip(reward + discount * value(next_outputs), low, high)
        below = jax.scipy.stats.norm.cdf(edges, mean[:, None], deviation)
        target = jnp.diff(below, axis=1) / (below[:, -1:] - below[:, :1])
        cross = optax.losses.softmax_cross_entropy(outputs, target)
        return cross, jax.lax.stop_gradient(jnp.abs(value(outputs) - mean))

    return Head(num_bins, value, loss)


def make(name: str, low: float, high: float, num_atoms: int) -> Head:
    """A head by its name, with `num_atoms` outputs; a range is used only by those that need one."""
    heads = {
        "scalar": lambda: SCALAR,
        "c51": lambda: c51(low, high, num_atoms),
        "qr": lambda: qr(num_atoms),
        "hl_gauss": lambda: hl_gauss(low, high, num_atoms),
    }
    return lookup("head", heads, name)()


def _require_range(low, high, count):
    require_positive(num_atoms=count)
    if count < 2 or not low < high:
        raise ValueError(
            f"num_atoms = {count} values from {low} to {high}: give at least 2, and the smallest return first"
        )
