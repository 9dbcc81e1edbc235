"""Objectives that bound how far the ratio may move: PPO's clipping and its relatives."""

import chex
import jax.numpy as jnp
from flax import struct

from jaxrl.fields import not_negative, positive
from jaxrl.objectives.ratios import bounded_ratio
from jaxrl.types import Objective


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
        ratio = bounded_ratio(log_ratio)
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
        ratio = bounded_ratio(log_ratio)
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
        ratio = bounded_ratio(log_ratio)
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
        ratio = bounded_ratio(log_ratio)
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
        ratio = bounded_ratio(log_ratio)
        beyond = jnp.sign(advantages) * (ratio - 1.0) - params.clip_eps
        drift = (1.0 + params.slope) * jnp.maximum(beyond, 0.0) * jnp.abs(advantages)
        return ratio * advantages - drift

    return Objective(Rollback(clip_eps, slope), apply)
