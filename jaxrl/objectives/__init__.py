"""Policy objectives as values. Each returns the surrogate to maximize, per sample.

Every `apply(params, log_ratio, advantages, progress)` takes arrays of one shape and returns that
shape; `log_ratio` is log pi(a|s) - log pi_old(a|s), `r` its exponential, `A` the advantage. At r = 1
the derivative with respect to r is the advantage: the first step after a rollout is the policy gradient for
every objective.

In mirror learning (Kuba et al. 2022, https://arxiv.org/abs/2201.02373) an objective is r A minus a drift
f(r, A). No exact step lowers the return if f >= 0, f(1, A) = 0 and df/dr(1, A) = 0. All objectives here have
such a drift except those in `NOT_DRIFTS`.
"""

from jaxrl.objectives.clipped import (
    Clip,
    Dual,
    Rollback,
    TwoSided,
    asymmetric_clip,
    dual_clip,
    ppo,
    rollback,
    spo,
)
from jaxrl.objectives.discovered import Drift, DriftNet, dpo, lpo, random_drift, ta_lpo
from jaxrl.objectives.mixed import Mixed, mixture
from jaxrl.objectives.penalized import (
    SMALLEST_STEP,
    Mirror,
    Nothing,
    Penalty,
    Soft,
    chi_square,
    kl_penalty,
    mdpo,
    p3o,
    policy_gradient,
)
from jaxrl.objectives.registry import LEARNED, NOT_DRIFTS, OBJECTIVES
from jaxrl.objectives.symbolic_drift import ADVANTAGE, MOVED, TERMS, Terms, symbolic, terms

__all__ = [
    "ADVANTAGE",
    "LEARNED",
    "MOVED",
    "NOT_DRIFTS",
    "OBJECTIVES",
    "SMALLEST_STEP",
    "TERMS",
    "Clip",
    "Drift",
    "DriftNet",
    "Dual",
    "Mirror",
    "Mixed",
    "Nothing",
    "Penalty",
    "Rollback",
    "Soft",
    "Terms",
    "TwoSided",
    "asymmetric_clip",
    "chi_square",
    "dpo",
    "dual_clip",
    "kl_penalty",
    "lpo",
    "mdpo",
    "mixture",
    "p3o",
    "policy_gradient",
    "ppo",
    "random_drift",
    "rollback",
    "spo",
    "symbolic",
    "ta_lpo",
    "terms",
]
