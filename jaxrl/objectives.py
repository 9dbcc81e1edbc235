"""Policy objectives as values. Each gives the surrogate to maximise, per sample.

Every `apply(params, log_ratio, advantages, progress)` takes arrays of one shape and returns that
shape; `log_ratio` is log pi(a|s) - log pi_old(a|s). At `log_ratio = 0` the value is the advantage
and its derivative by the ratio is the advantage: the first step after a rollout is the policy
gradient, whichever objective is chosen.
"""

import chex
import jax.numpy as jnp
from flax import struct

from jaxrl.types import Objective


def _ratio(log_ratio):
    # Bounded: an infinite ratio in the branch that is not taken would make its gradient `nan`.
    return jnp.exp(jnp.minimum(log_ratio, 30.0))


@struct.dataclass
class Clip:
    """The parameter of the clipped objectives.

    Attributes:
      clip_eps: how far the probability ratio may move from 1 before that stops to pay.
    """

    clip_eps: float = 0.2


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
    """Simple Policy Optimization: a parabola whose top is where Proximal Policy Optimization clips.

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
class Drift:
    """The parameters of Discovered Policy Optimisation.

    Attributes:
      alpha: how much a good action may gain, in units of the surrogate.
      beta: the same for a bad action, in units of its log-ratio.
    """

    alpha: float = 2.0
    beta: float = 0.6


def dpo(alpha: float = 2.0, beta: float = 0.6) -> Objective:
    """Discovered Policy Optimisation: the closed form that was read off a meta-learned drift.

        A >= 0:  L = r A - relu((r - 1) A - alpha tanh((r - 1) A / alpha))
        A <  0:  L = r A - relu(A log r - beta tanh(A log r / beta))

    Where the gate is open the difference of two large numbers is written out, so that a ratio that
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


OBJECTIVES = {"ppo": ppo, "spo": spo, "dpo": dpo}
