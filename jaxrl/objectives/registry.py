"""Objectives by name."""

from collections.abc import Callable

from jaxrl.objectives.clipped import asymmetric_clip, dual_clip, ppo, rollback, spo
from jaxrl.objectives.discovered import dpo, lpo, ta_lpo
from jaxrl.objectives.penalized import chi_square, kl_penalty, mdpo, p3o, policy_gradient
from jaxrl.objectives.symbolic_drift import symbolic
from jaxrl.types import Objective

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
