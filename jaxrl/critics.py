"""Value heads: what the outputs of a critic mean as values, and how they learn from targets.

    scalar      the value; Huber loss
    squared     the value; half the squared error
    c51         probabilities of `K` returns; cross-entropy with the distribution of the target on them
    qr          `K` quantiles of the return; quantile Huber loss
    iqn         quantiles at `K` fractions that the network draws; the same loss
    hl_gauss    probabilities of `K` intervals of the value; cross-entropy with a normal distribution
    two_hot     probabilities of `K` values; cross-entropy with the target divided between two of them

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
      implicit: outputs are `[..., K, 2]`, quantiles with their fractions (`jaxrl.q_networks`).
      points: `[K]`, if the value is their mean with the softmax of the outputs as probabilities; otherwise
        the value is the mean of the outputs, None.
    """

    num_outputs: int
    value: Callable[[jax.Array], jax.Array]
    loss: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    implicit: bool = False
    points: jax.Array | None = None


def _huber(q, reward, discount, next_q):
    chex.assert_equal_shape([q, reward, discount, next_q])
    target = reward + discount * next_q
    return optax.losses.huber_loss(q, target), jnp.abs(q - target)


def _squared(q, reward, discount, next_q):
    chex.assert_equal_shape([q, reward, discount, next_q])
    error = reward + discount * next_q - q
    return 0.5 * jnp.square(error), jnp.abs(error)


SCALAR = Head(1, lambda q: q, _huber)  # the value itself
SQUARED = SCALAR._replace(loss=_squared)


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

    def value(outputs):
        return jax.nn.softmax(outputs) @ points

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        moved = _divided(reward[:, None] + discount[:, None] * points, points)  # [B, K from, K to]
        target = jnp.einsum("bj,bjk->bk", jax.nn.softmax(next_outputs), moved)
        cross = optax.losses.softmax_cross_entropy(outputs, target)
        return cross, jax.lax.stop_gradient(cross)

    return Head(num_atoms, value, loss, points=points)


def _divided(x, points):
    """Probabilities `[..., K]` with the mean `x` `[...]`: not 0 at the two neighbours of `x` only."""
    x, width = jnp.clip(x, points[0], points[-1]), (points[-1] - points[0]) / (len(points) - 1)
    return jnp.maximum(0.0, 1.0 - jnp.abs(x[..., None] - points) / width)


def qr(num_quantiles: int = 51) -> Head:
    """Quantiles of the return, at the fractions (2 k + 1) / (2 K).

        loss = sum_k mean_j |tau_k - 1[u_jk < 0]| huber(u_jk),   u_jk = r + discount theta'_j - theta_k

    Dabney et al. 2018, "Distributional reinforcement learning with quantile regression",
    https://arxiv.org/abs/1710.10044.

    Raises:
      ValueError: fewer than two quantiles.
    """
    _require_quantiles(num_quantiles)
    fractions = (2.0 * jnp.arange(num_quantiles) + 1.0) / (2.0 * num_quantiles)

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        return _quantile_huber(outputs, fractions, reward, discount, next_outputs)

    return Head(num_quantiles, lambda outputs: outputs.mean(axis=-1), loss)


def iqn(num_fractions: int = 51) -> Head:
    """Quantiles `z_k` of the return at fractions `tau_k` that the network draws anew whenever it is applied.

        loss = sum_k mean_j |tau_k - 1[u_jk < 0]| huber(u_jk),   u_jk = r + discount z'_j - z_k

    Outputs are `[..., K, 2]`: z and tau of an implicit quantile network (`jaxrl.q_networks`). Dabney et al.
    2018, "Implicit quantile networks for distributional reinforcement learning",
    https://arxiv.org/abs/1806.06923, with the same number of fractions for the values, their targets and for
    acting. Evaluated without a key, the network has the fractions of `qr`.

    Raises:
      ValueError: fewer than two fractions.
    """
    _require_quantiles(num_fractions)

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        quantiles, fractions = outputs[..., 0], outputs[..., 1]
        return _quantile_huber(quantiles, fractions, reward, discount, next_outputs[..., 0])

    return Head(num_fractions, lambda outputs: outputs[..., 0].mean(axis=-1), loss, implicit=True)


def _quantile_huber(quantiles, fractions, reward, discount, next_quantiles):
    target = reward[:, None] + discount[:, None] * next_quantiles
    error = target[:, :, None] - quantiles[:, None, :]  # [B, j, k]
    weight = jnp.abs(fractions[..., None, :] - (error < 0.0))
    each = (weight * optax.losses.huber_loss(error)).mean(axis=1).sum(axis=1)
    return each, jax.lax.stop_gradient(each)


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
    deviation = smoothing * (high - low) / num_bins

    def spread(mean):
        below = jax.scipy.stats.norm.cdf(edges, mean[:, None], deviation)
        return jnp.diff(below, axis=1) / (below[:, -1:] - below[:, :1])

    return _classified((edges[1:] + edges[:-1]) / 2.0, spread, low, high)


def two_hot(low: float, high: float, num_atoms: int = 51) -> Head:
    """The value as a distribution on `num_atoms` points from `low` to `high`.

    The target of the probabilities has the mean `reward + discount * value(next)`, and is not 0 only at the
    two points next to it. Schrittwieser et al. 2020, appendix F, https://arxiv.org/abs/1911.08265, without
    their transformation of values; Hafner et al. 2023, https://arxiv.org/abs/2301.04104.

    Raises:
      ValueError: fewer than two points, or an empty range.
    """
    _require_range(low, high, num_atoms)
    points = jnp.linspace(low, high, num_atoms)
    return _classified(points, lambda mean: _divided(mean, points), low, high)


def _classified(points, spread, low, high):
    """A head with probabilities of `points` `[K]`; `spread` is their target for a value, `[B] -> [B, K]`."""

    def value(outputs):
        return jax.nn.softmax(outputs) @ points

    def loss(outputs, reward, discount, next_outputs):
        chex.assert_equal_shape([outputs, next_outputs])
        mean = jnp.clip(reward + discount * value(next_outputs), low, high)
        cross = optax.losses.softmax_cross_entropy(outputs, spread(mean))
        return cross, jax.lax.stop_gradient(jnp.abs(value(outputs) - mean))

    return Head(len(points), value, loss, points=points)


def fit(head: Head, outputs: jax.Array, target: jax.Array) -> jax.Array:
    """The loss `[...]` of outputs `[..., K]` for known values `target` `[...]`, such as lambda returns.

    It is that of a transition with the reward `target`, after which an episode ends.
    """
    flat, reward = outputs.reshape((-1, head.num_outputs)), target.reshape(-1)
    chex.assert_equal(len(flat), len(reward))
    return head.loss(flat, reward, jnp.zeros_like(reward), jnp.zeros_like(flat))[0].reshape(target.shape)


def require_scalar(head: Head, **options: bool) -> None:
    """Raises ValueError if an option is set which a head that is not scalar does not have."""
    for name, is_set in options.items():
        if is_set and head is not SCALAR:
            raise ValueError(f"{name} needs a scalar head or critic: leave {name} out, or take 'scalar'")


def make(name: str, low: float, high: float, num_atoms: int) -> Head:
    """A head by its name, with `num_atoms` outputs; a range is used only by those that need one."""
    heads = {
        "scalar": lambda: SCALAR,
        "squared": lambda: SQUARED,
        "c51": lambda: c51(low, high, num_atoms),
        "qr": lambda: qr(num_atoms),
        "iqn": lambda: iqn(num_atoms),
        "hl_gauss": lambda: hl_gauss(low, high, num_atoms),
        "two_hot": lambda: two_hot(low, high, num_atoms),
    }
    return lookup("head", heads, name)()


def _require_quantiles(count):
    require_positive(num_quantiles=count)
    if count < 2:
        raise ValueError(f"a distribution needs at least 2 quantiles, not {count}")


def _require_range(low, high, count):
    require_positive(num_atoms=count)
    if count < 2 or not low < high:
        raise ValueError(
            f"num_atoms = {count} values from {low} to {high}: give at least 2, and the smallest return first"
        )
