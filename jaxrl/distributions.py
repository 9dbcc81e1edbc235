"""Distributions of actions, for every action space, from one vector of network outputs.

A *raw* action is stored, and densities refer to it; `bound` converts it to the action that the environment
receives. For a Box the raw action is the sample of the Gaussian, so that a tanh never has to be inverted.
This is the only file that uses distrax (imported on first use, because the import takes a second).
"""

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import PyTree


class Distribution(NamedTuple):
    """A distribution of raw actions with batch axes `[...]`."""

    sample: Callable[[jax.Array], PyTree]  # (key) -> action
    mode: Callable[[], PyTree]  # the most likely action
    log_prob: Callable[[PyTree], jax.Array]  # (action) -> `[...]`
    entropy: Callable[[], jax.Array]  # `[...]`


def num_outputs(space: PyTree) -> int:
    """Number of network outputs for the distribution over `space`, without log standard deviations."""
    return sum(_width(leaf) for leaf in jax.tree.leaves(space))


def num_log_stds(space: PyTree) -> int:
    """Number of log standard deviations that follow them: one for each number of a Box."""
    return sum(_width(leaf) for leaf in jax.tree.leaves(space) if isinstance(leaf, Box))


def _width(space) -> int:
    if isinstance(space, Discrete):
        return space.n
    if isinstance(space, MultiDiscrete):
        return sum(space.nvec)
    return int(np.prod(space.shape))


def make(
    space: PyTree, outputs: jax.Array, squash: bool = False, action_mask: jax.Array | None = None
) -> Distribution:
    """The distribution over `space` that a policy's outputs parameterize.

    Discrete and MultiDiscrete: categorical, the outputs are logits. Box: a diagonal Gaussian with
    the outputs as mean, or with `squash` that Gaussian transformed by `bound`'s tanh, with the exact
    log-density and entropy of the squashed action. A pytree of spaces: independent parts.

    Args:
      outputs: `[..., num_outputs(space) + num_log_stds(space)]`, part after part; the log standard
        deviations of all Box parts are at the end.
      action_mask: true where an action is allowed; `[..., n]` for a Discrete, `[..., sum(nvec)]` for a
        MultiDiscrete space.

    Raises:
      ValueError: a mask for a space that does not support masks.
    """
    leaves, treedef = jax.tree.flatten(space)
    if action_mask is not None and (len(leaves) != 1 or isinstance(leaves[0], Box)):
        raise ValueError(f"an action mask needs one Discrete or MultiDiscrete action space, not {space}")
    parts, at, std_at = [], 0, num_outputs(space)
    for leaf in leaves:
        width = _width(leaf)
        own = outputs[..., at : at + width]
        at += width
        if isinstance(leaf, Box):
            parts.append(_gaussian(leaf, own, outputs[..., std_at : std_at + width], squash))
            std_at += width
        elif isinstance(leaf, MultiDiscrete):
            parts.append(_multi_categorical(leaf.nvec, own, action_mask))
        else:
            parts.append(_categorical(own, action_mask))
    return parts[0] if treedef == jax.tree.structure(0) else _joint(parts, treedef)


def kl(
    space: PyTree, outputs: jax.Array, other_outputs: jax.Array, action_mask: jax.Array | None = None
) -> jax.Array:
    """The exact divergence KL(p || q) of the distributions that two sets of outputs parameterize.

        categorical:  sum_a p(a) (log p(a) - log q(a))
        Gaussian:     sum_i [(mu_p - mu_q)^2 / std_q^2 + exp(2 d) - 1 - 2 d] / 2,   d = log std_p - log std_q

    The divergence of MultiDiscrete and of a pytree is the sum over the parts. Squashing the actions does not
    change it: a divergence is invariant under invertible maps. Kullback and Leibler 1951.
      https://doi.org/10.1214/aoms/1177729694

    Args:
      outputs, other_outputs: of p and of q, `[..., num_outputs(space) + num_log_stds(space)]` as for `make`.
      action_mask: true where an action is allowed, for both distributions, as for `make`.

    Returns:
      `[...]`, not negative except for rounding.
    """
    total: Any = 0.0
    at, std_at = 0, num_outputs(space)
    for leaf in jax.tree.leaves(space):
        width = _width(leaf)
        p, q = (x[..., at : at + width] for x in (outputs, other_outputs))
        at += width
        if isinstance(leaf, Box):
            log_p, log_q = (x[..., std_at : std_at + width] for x in (outputs, other_outputs))
            std_at += width
            total += _gaussian_kl(p, log_p, q, log_q)
        else:
            total += _categorical_kl(
                leaf.nvec if isinstance(leaf, MultiDiscrete) else (leaf.n,), p, q, action_mask
            )
    return total


def _categorical_kl(sizes, p, q, mask):
    ends = np.cumsum(sizes)[:-1]
    masks = [None] * len(sizes) if mask is None else jnp.split(mask, ends, axis=-1)
    total = 0.0
    for own, other, allowed in zip(jnp.split(p, ends, axis=-1), jnp.split(q, ends, axis=-1), masks):
        log_p, log_q = (jax.nn.log_softmax(_masked(x, allowed)) for x in (own, other))
        total += (jnp.exp(log_p) * (log_p - log_q)).sum(-1)
    return total


def _gaussian_kl(mean_p, log_p, mean_q, log_q):
    wider = 2.0 * (log_p - log_q)
    shift = jnp.square((mean_p - mean_q) * jnp.exp(-log_q))
    return 0.5 * (shift + jnp.expm1(wider) - wider).sum(-1)


def _masked(logits, mask):
    # Finite, so that 0 * log 0 stays 0 in the entropy and in its gradient.
    return logits if mask is None else jnp.where(mask, logits, -1e9)


def _distrax() -> Any:
    """The package. It imports others that use deprecated names of JAX, which must be no error here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import distrax
    return distrax


def _categorical(logits, mask) -> Distribution:
    logits = _masked(logits, mask)
    inner = _distrax().Categorical(logits=logits)
    # distrax's `sample` checks every sample for `nan`, which takes longer than sampling.
    sample = partial(jax.random.categorical, logits=logits)
    return Distribution(sample, inner.mode, inner.log_prob, inner.entropy)


def _multi_categorical(nvec, logits, mask) -> Distribution:
    ends = np.cumsum(nvec)[:-1]
    masks = [None] * len(nvec) if mask is None else jnp.split(mask, ends, axis=-1)
    parts = [_categorical(x, m) for x, m in zip(jnp.split(logits, ends, axis=-1), masks)]

    def sample(key):
        keys = jax.random.split(key, len(parts))
        return jnp.stack([part.sample(k) for part, k in zip(parts, keys)], axis=-1)

    return Distribution(
        sample,
        lambda: jnp.stack([part.mode() for part in parts], axis=-1),
        lambda action: _sum(part.log_prob(action[..., i]) for i, part in enumerate(parts)),
        lambda: _sum(part.entropy() for part in parts),
    )


def _sum(values: Iterable[jax.Array]) -> Any:
    return sum(values)


def _gaussian(space: Box, mean, log_std, squash: bool) -> Distribution:
    std = jnp.exp(log_std)
    inner = _distrax().MultivariateNormalDiag(mean, std)

    def flat(action):
        return action.reshape((*action.shape[: action.ndim - len(space.shape)], -1))

    def shaped(action):
        return action.reshape(action.shape[:-1] + tuple(space.shape))

    def log_prob(action):
        log_density = inner.log_prob(flat(action))
        return log_density - _log_slope(space, flat(action)).sum(-1) if squash else log_density

    def entropy():
        if not squash:
            return inner.entropy()
        # E[log slope] over the Gaussian, by quadrature in each dimension: no noise, no key. Nodes are
        # equidistant: with Gauss-Hermite nodes a wide Gaussian (std 3) would be wrong by several percent.
        nodes = np.linspace(-5.0, 5.0, 33)
        weights = np.exp(-0.5 * nodes**2)
        points = mean + std * nodes.reshape((-1,) + (1,) * mean.ndim)
        slopes = jnp.tensordot(weights / weights.sum(), _log_slope(space, points), axes=1)
        return inner.entropy() + slopes.sum(-1)

    return Distribution(
        lambda key: shaped(inner.sample(seed=key)), lambda: shaped(inner.mode()), log_prob, entropy
    )


def _log_slope(space: Box, raw):
    """log |d bound / d raw| `[..., d]`: log(1 - tanh^2) without cancellation, plus the Box's scale."""
    low, high = (jnp.broadcast_to(jnp.asarray(x), space.shape).reshape(-1) for x in _range(space))
    return 2.0 * (np.log(2.0) - raw - jax.nn.softplus(-2.0 * raw)) + jnp.log((high - low) / 2.0)


def _range(space: Box):
    return jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32)


def _joint(parts, treedef) -> Distribution:
    def each(function, actions):
        return _sum(function(part, a) for part, a in zip(parts, treedef.flatten_up_to(actions)))

    def sample(key):
        keys = jax.random.split(key, len(parts))
        return treedef.unflatten([part.sample(k) for part, k in zip(parts, keys)])

    return Distribution(
        sample,
        lambda: treedef.unflatten([part.mode() for part in parts]),
        lambda actions: each(lambda part, a: part.log_prob(a), actions),
        lambda: _sum(part.entropy() for part in parts),
    )


def bound(space: PyTree, action: PyTree, squash: bool = False) -> PyTree:
    """The action that the environment receives for a raw one: moved into every Box by clipping or by tanh.

    With `squash` every Box must be bounded.
    """

    def leaf(space, action):
        if not isinstance(space, Box):
            return action
        low, high = _range(space)
        if squash:
            action = low + (high - low) * 0.5 * (jnp.tanh(action) + 1.0)  # rounding can exceed a bound
        return jnp.clip(action, low, high)

    return jax.tree.map(leaf, space, action)
