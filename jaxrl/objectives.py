"""Policy objectives as values. Each returns the surrogate to maximize, per sample.

Every `apply(params, log_ratio, advantages, progress)` takes arrays of one shape and returns that
shape; `log_ratio` is log pi(a|s) - log pi_old(a|s), `r` its exponential, `A` the advantage. At r = 1
the derivative with respect to r is the advantage: the first step after a rollout is the policy gradient for
every objective.

In mirror learning (Kuba et al. 2022, https://arxiv.org/abs/2201.02373) an objective is r A minus a drift
f(r, A). No exact step lowers the return if f >= 0, f(1, A) = 0 and df/dr(1, A) = 0. All objectives here have
such a drift except those in `NOT_DRIFTS`.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.fields import not_negative, positive, share
from jaxrl.types import Objective


def _ratio(log_ratio):
    # Bounded: an infinite ratio in the branch that is not selected would make the gradient `nan`.
    return jnp.exp(jnp.minimum(log_ratio, 30.0))


@struct.dataclass
class Nothing:
    """No parameters."""


def policy_gradient() -> Objective:
    """The plain policy gradient, by importance sampling: the new policy is not constrained.

    L = r A
    """

    def apply(params, log_ratio, advantages, progress):
        del params, progress
        chex.assert_equal_shape([log_ratio, advantages])
        return _ratio(log_ratio) * advantages

    return Objective(Nothing(), apply)


@struct.dataclass
class Clip:
    """The parameter of the clipped objectives.

    Attributes:
      clip_eps: how far the probability ratio can move from 1 before the objective is clipped.
    """

    clip_eps: float = positive(0.2)


def ppo(clip_eps: float = 0.2) -> Objective:
    """Proximal Policy Optimization's clipped surrogate.

        L = min(r A, clip(r, 1 - clip_eps, 1 + clip_eps) A)

    Schulman et al. 2017. https://arxiv.org/abs/1707.06347
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        clipped = jnp.clip(ratio, 1.0 - params.clip_eps, 1.0 + params.clip_eps)
        return jnp.minimum(ratio * advantages, clipped * advantages)

    return Objective(Clip(clip_eps), apply)


def spo(clip_eps: float = 0.2) -> Objective:
    """Simple Policy Optimization: a parabola whose maximum is where Proximal Policy Optimization clips.

        L = r A - |A| (r - 1)^2 / (2 clip_eps)

    Xie et al. 2024. https://arxiv.org/abs/2401.16025
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        penalty = jnp.abs(advantages) * jnp.square(ratio - 1.0) / (2.0 * params.clip_eps)
        return ratio * advantages - penalty

    return Objective(Clip(clip_eps), apply)


@struct.dataclass
class TwoSided:
    """The parameters of the clipped objective with separate lower and upper bounds.

    Attributes:
      clip_eps_low: how far the ratio can fall below 1 before the objective is clipped.
      clip_eps_high: how far it can rise above 1.
    """

    clip_eps_low: float = positive(0.2)
    clip_eps_high: float = positive(0.28)


def asymmetric_clip(clip_eps_low: float = 0.2, clip_eps_high: float = 0.28) -> Objective:
    """The clipped surrogate with a larger upper bound: unlikely actions can gain more probability.

        L = min(r A, clip(r, 1 - clip_eps_low, 1 + clip_eps_high) A)

    Yu et al. 2025 (DAPO's "clip-higher"). https://arxiv.org/abs/2503.14476
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        clipped = jnp.clip(ratio, 1.0 - params.clip_eps_low, 1.0 + params.clip_eps_high)
        return jnp.minimum(ratio * advantages, clipped * advantages)

    return Objective(TwoSided(clip_eps_low, clip_eps_high), apply)


@struct.dataclass
class Dual:
    """The parameters of the dual clip.

    Attributes:
      clip_eps: as in the clipped objective.
      dual_clip: the ratio beyond which the loss of a bad action no longer grows.
    """

    clip_eps: float = positive(0.2)
    dual_clip: float = positive(3.0)


def dual_clip(clip_eps: float = 0.2, dual_clip: float = 3.0) -> Objective:
    """The clipped surrogate, also bounded below: samples of bad actions with a large ratio have no gradient.

        A >= 0:  L = min(r A, clip(r) A)
        A <  0:  L = max(min(r A, clip(r) A), dual_clip A)

    Not a drift: where the bound is active, L is above r A. Ye et al. 2020. https://arxiv.org/abs/1912.09729
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        clipped = jnp.clip(ratio, 1.0 - params.clip_eps, 1.0 + params.clip_eps)
        surrogate = jnp.minimum(ratio * advantages, clipped * advantages)
        bounded = jnp.maximum(surrogate, params.dual_clip * advantages)
        return jnp.where(advantages < 0.0, bounded, surrogate)

    return Objective(Dual(clip_eps, dual_clip), apply)


@struct.dataclass
class Rollback:
    """The parameters of the rollback objective.

    Attributes:
      clip_eps: how far the ratio can move from 1 before it is pushed back.
      slope: how strongly, as a fraction of the advantage.
    """

    clip_eps: float = positive(0.2)
    slope: float = not_negative(0.3)


def rollback(clip_eps: float = 0.2, slope: float = 0.3) -> Objective:
    """PPO with rollback: where Proximal Policy Optimization is flat, this objective decreases.

        f = (1 + slope) relu(r - 1 - clip_eps) A        for A >= 0
        f = (1 + slope) relu(1 - clip_eps - r) (-A)     for A <  0

    Wang et al. 2019, "Truly Proximal Policy Optimization". https://arxiv.org/abs/1903.07940
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        beyond = jnp.sign(advantages) * (ratio - 1.0) - params.clip_eps
        drift = (1.0 + params.slope) * jnp.maximum(beyond, 0.0) * jnp.abs(advantages)
        return ratio * advantages - drift

    return Objective(Rollback(clip_eps, slope), apply)


@struct.dataclass
class Penalty:
    """The parameter of the penalized objectives.

    Attributes:
      coef: weight of the penalty, in units of the advantage.
    """

    coef: float = not_negative(1.0)


def kl_penalty(coef: float = 1.0) -> Objective:
    """A penalty on the divergence from the old policy, KL(old || new), in a form that is never negative.

        L = r A - coef (r - 1 - log r)

    Schulman et al. 2017, section 4, with a fixed coefficient. https://arxiv.org/abs/1707.06347
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        return ratio * advantages - params.coef * (ratio - 1.0 - log_ratio)

    return Objective(Penalty(coef), apply)


def chi_square(coef: float = 1.0) -> Objective:
    """A penalty on the chi-square divergence from the old policy.

    L = r A - coef (r - 1)^2
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = _ratio(log_ratio)
        return ratio * advantages - params.coef * jnp.square(ratio - 1.0)

    return Objective(Penalty(coef), apply)


@struct.dataclass
class Mirror:
    """The parameters of Mirror Descent Policy Optimization.

    Attributes:
      coef: weight of the divergence at the start, the inverse of the first step size.
      anneal: fraction by which the step size has decreased at the end, linearly; 0: constant.
    """

    coef: float = not_negative(1.0)
    anneal: float = share(1.0)


SMALLEST_STEP = 1e-3  # of `mdpo`: the published step size of the last of 1,000 updates


def mdpo(coef: float = 1.0, anneal: float = 1.0) -> Objective:
    """Mirror Descent Policy Optimization: a mirror descent step by several gradient ascent steps.

        L = r A - coef / t (r log r - r + 1),   t = max(1 - anneal progress, 0.001)

    The divergence is KL(new || old), estimated per sample in a form that is never negative (the authors' code
    uses the mean divergence in closed form). With `anneal` 1 the step size t falls from 1 towards 0 as
    published, t_k = 1 - k / K in update k of K, so the weight 1 / t_k grows from 1 to K. With a smaller
    `anneal` it grows to 1 / (1 - anneal). The lower bound of t keeps the weight finite at progress 1, at the
    end of the schedule and beyond it. Tomar et al. 2020, section 4.1 and appendix.
    https://arxiv.org/abs/2005.09814
    """

    def apply(params, log_ratio, advantages, progress):
        chex.assert_equal_shape([log_ratio, advantages])
        step_size = jnp.maximum(1.0 - params.anneal * progress, SMALLEST_STEP)
        ratio, log_ratio = _ratio(log_ratio), jnp.clip(log_ratio, -30.0, 30.0)
        return ratio * advantages - params.coef / step_size * (ratio * log_ratio - ratio + 1.0)

    return Objective(Mirror(coef, anneal), apply)


@struct.dataclass
class Soft:
    """The parameter of the sigmoid objective.

    Attributes:
      steepness: of the sigmoid.
    """

    steepness: float = positive(4.0)


def p3o(steepness: float = 4.0) -> Objective:
    """Preconditioned Proximal Policy Optimization (P3O): the ratio is clipped softly by a sigmoid.

        L = 4/k sigmoid(k (r - 1)) A,   k = steepness

    Not a drift: the ratio is damped as strongly where it moves against the advantage. Chen et al. 2022,
    without their divergence term. https://arxiv.org/abs/2205.10047
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        softly = jax.nn.sigmoid(params.steepness * (_ratio(log_ratio) - 1.0))
        return 4.0 / params.steepness * softly * advantages

    return Objective(Soft(steepness), apply)


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
        ratio = _ratio(log_ratio)
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


def random_drift(key: jax.Array, timed: bool = False, width: int = 128, scale: float = 0.1) -> DriftNet:
    """Weights of `lpo` (or, `timed`, of `ta_lpo`), normal with a standard deviation of `scale`."""
    hidden_key, out_key = jax.random.split(key)
    hidden = scale * jax.random.normal(hidden_key, (16 if timed else 8, width))
    return DriftNet(hidden, scale * jax.random.normal(out_key, (width,)))


@struct.dataclass
class Mixed:
    """The parameters of a mixture: `weights [M]`, and the parameters of the parts."""

    weights: jax.Array
    parts: tuple


def mixture(*parts: Objective, weights: jax.Array | np.ndarray | None = None) -> Objective:
    """A weighted sum of objectives; with a one-hot row per agent, `vmap` runs over different objectives.

        mixed = mixture(ppo(), dpo(), spo())
        rows = jax.vmap(lambda row: mixed.params.replace(weights=row))(jnp.eye(3))   # one of the three each

    Args:
      weights: `[M]`, by default all equal. They should sum to 1.
    """
    if weights is None:
        weights = jnp.full(len(parts), 1.0 / len(parts))
    if jnp.shape(weights)[-1:] != (len(parts),):
        raise ValueError(f"{len(parts)} objectives need as many weights, not {jnp.shape(weights)}")

    def apply(params, log_ratio, advantages, progress):
        each = [part.apply(own, log_ratio, advantages, progress) for part, own in zip(parts, params.parts)]
        return jnp.tensordot(params.weights, jnp.stack(each), axes=1)

    return Objective(Mixed(jnp.asarray(weights), tuple(part.params for part in parts)), apply)


OBJECTIVES: dict[str, Callable[..., Objective]] = {
    "ppo": ppo,
    "asymmetric_clip": asymmetric_clip,
    "dual_clip": dual_clip,
    "rollback": rollback,
    "spo": spo,
    "kl_penalty": kl_penalty,
    "mdpo": mdpo,
    "chi_square": chi_square,
    "p3o": p3o,
    "policy_gradient": policy_gradient,
    "dpo": dpo,
}
LEARNED: dict[str, Callable[..., Objective]] = {"lpo": lpo, "ta_lpo": ta_lpo, "symbolic": symbolic}
NOT_DRIFTS = ("dual_clip", "p3o")
