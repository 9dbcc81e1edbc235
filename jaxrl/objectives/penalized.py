"""Objectives that penalize the distance from the old policy, and the plain policy gradient."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.fields import not_negative, positive, share
from jaxrl.objectives.ratios import bounded_ratio
from jaxrl.types import Objective


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
        return bounded_ratio(log_ratio) * advantages

    return Objective(Nothing(), apply)


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
        ratio = bounded_ratio(log_ratio)
        return ratio * advantages - params.coef * (ratio - 1.0 - log_ratio)

    return Objective(Penalty(coef), apply)


def chi_square(coef: float = 1.0) -> Objective:
    """A penalty on the chi-square divergence from the old policy.

    L = r A - coef (r - 1)^2
    """

    def apply(params, log_ratio, advantages, progress):
        del progress
        chex.assert_equal_shape([log_ratio, advantages])
        ratio = bounded_ratio(log_ratio)
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
    """On-policy Mirror Descent Policy Optimization: a mirror descent step by several gradient ascent steps.

        L = r A - coef / t (r log r - r + 1),   t = max(1 - anneal progress, 0.001)

    The divergence is KL(new || old), estimated per sample in a form that is never negative (the authors' code
    uses the mean divergence in closed form). With `anneal` 1 the step size t falls from 1 towards 0 as
    published, t_k = 1 - k / K in update k of K, so the weight 1 / t_k grows from 1 to K. With a smaller
    `anneal` it grows to 1 / (1 - anneal). The lower bound of t keeps the weight finite at progress 1, at the
    end of the schedule and beyond it. Off-policy MDPO (section 4.2) is the algorithm `mdpo`, with critics of
    actions and a replay. Tomar et al. 2020, section 4.1 and appendix.
    https://arxiv.org/abs/2005.09814
    """

    def apply(params, log_ratio, advantages, progress):
        chex.assert_equal_shape([log_ratio, advantages])
        step_size = jnp.maximum(1.0 - params.anneal * progress, SMALLEST_STEP)
        ratio, log_ratio = bounded_ratio(log_ratio), jnp.clip(log_ratio, -30.0, 30.0)
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
        softly = jax.nn.sigmoid(params.steepness * (bounded_ratio(log_ratio) - 1.0))
        return 4.0 / params.steepness * softly * advantages

    return Objective(Soft(steepness), apply)
