"""Policy objectives as mirror learning writes them: L = r A - f(r, A), with a drift f >= 0.

Kuba et al. 2022. https://arxiv.org/abs/2201.02373. Run as a script, it prints the golden table.
"""

import json

import numpy as np

RATIOS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 4.0)
ADVANTAGES = (1.0, -1.0, 2.5, -2.5)


def ppo_drift(ratio, advantage, clip_eps=0.2):
    """The drift of clipping, in the notation of mirror learning: relu((r - clip(r)) A).

    Kuba et al. 2022, where the surrogate min(r A, clip(r) A) of Schulman et al. 2017, equation 7,
    is decomposed; the library uses the latter form.
    """
    clipped = min(max(ratio, 1 - clip_eps), 1 + clip_eps)
    return max((ratio - clipped) * advantage, 0.0)


def spo_drift(ratio, advantage, clip_eps=0.2):
    """|A| (r - 1)^2 / (2 eps), from the objective of Xie et al. 2024. https://arxiv.org/abs/2401.16025

    By design the surrogate of a good action is greatest at r = 1 + eps, of a bad one at 1 - eps,
    which `test_objectives` checks for the library without this formula.
    """
    return abs(advantage) * (ratio - 1) ** 2 / (2 * clip_eps)


def dpo_drift(ratio, advantage, alpha=2.0, beta=0.6):
    """relu(x - c tanh(x / c)), x and c by the sign of A, as the drift is printed.

    Lu et al. 2022, "Discovered Policy Optimisation". https://arxiv.org/abs/2210.05639. The library
    has a closed form without the difference of two large numbers.
    """
    if advantage >= 0:
        x, c = (ratio - 1) * advantage, alpha
    else:
        x, c = np.log(ratio) * advantage, beta
    return max(x - c * np.tanh(x / c), 0.0)


def two_sided_drift(ratio, advantage, clip_eps_low=0.2, clip_eps_high=0.28):
    """Clipping with separate bounds: "clip-higher" of Yu et al. 2025. https://arxiv.org/abs/2503.14476

    As a drift, after Kuba et al. 2022; the paper and the library have the minimum of two products.
    """
    clipped = min(max(ratio, 1 - clip_eps_low), 1 + clip_eps_high)
    return max((ratio - clipped) * advantage, 0.0)


def dual_difference(ratio, advantage, clip_eps=0.2, dual_clip=3.0):
    """Clipping bounded below for bad actions: max(min(r A, clip(r) A), c A) where A < 0.

    Ye et al. 2020, "Dual-clip PPO". https://arxiv.org/abs/1912.09729
    """
    clipped = ratio * advantage - ppo_drift(ratio, advantage, clip_eps)
    bounded = max(clipped, dual_clip * advantage) if advantage < 0 else clipped
    return ratio * advantage - bounded


def rollback_drift(ratio, advantage, clip_eps=0.2, slope=0.3):
    """r A less min(r A, F(r) A), where F continues from the edge of the clip with slope -alpha.

    Wang et al. 2019, "PPO with rollback", written as there: F(r) is -alpha r + (1 + alpha) times
    the edge beyond it, and r between the edges. https://arxiv.org/abs/1903.07940
    """
    if ratio <= 1 - clip_eps:
        rolled = -slope * ratio + (1 + slope) * (1 - clip_eps)
    elif ratio >= 1 + clip_eps:
        rolled = -slope * ratio + (1 + slope) * (1 + clip_eps)
    else:
        rolled = ratio
    return ratio * advantage - min(ratio * advantage, rolled * advantage)


def kl_drift(ratio, advantage, coef=1.0):
    """KL(old || new), sample by sample and never negative: r - 1 - log r.

    The penalty of Schulman et al. 2017, equation 8, by the third estimator of Schulman 2020,
    http://joschu.net/blog/kl-approx.html. `test_objectives` compares its mean with scipy's divergence.
    """
    return coef * (ratio - 1 - np.log(ratio))


def chi_square_drift(ratio, advantage, coef=1.0):
    """The chi-square divergence sum_a (new - old)^2 / old of Pearson, as a mean under the old policy.

    `test_objectives` compares its mean with that sum.
    """
    return coef * (ratio - 1) ** 2


def mdpo_drift(ratio, advantage, coef=1.0, anneal=1.0, updates=400, done=200):
    """(1 / t_k) KL(new || old), after `done` of `updates`: the step size t_k = 1 - k / K falls to 0.

    From the paper's on-policy update, E[A] - (1 / t_k) KL(pi, pi_k) (Tomar et al. 2020, section 4.1,
    https://arxiv.org/abs/2005.09814), and the schedule of the authors' code, `mdpo_on/mdpo.py` of
    https://github.com/manantomar/Mirror-Descent-Policy-Optimization: the mean divergence over a
    `learning_rate` that starts at 1 and loses 1 / K in every update. KL(new || old) is the mean under the
    old policy of r log r, to which 1 - r adds nothing. `coef` multiplies 1 / t_k, `anneal` is the fraction
    by which the step size decreases.
    """
    step_size = 1.0
    for _ in range(done):
        step_size -= anneal / updates
    return coef / step_size * (ratio * np.log(ratio) + (1 - ratio))


def p3o_difference(ratio, advantage, steepness=4.0):
    """r A less 4/k sigmoid(k (r - 1)) A: the scopic objective of Chen et al. 2022, without its divergence.

    https://arxiv.org/abs/2205.10047
    """
    return ratio * advantage - 4 / steepness / (1 + np.exp(-steepness * (ratio - 1))) * advantage


PROGRESS = 0.5  # the time at which objectives that change over training are compared
DRIFTS = {
    "ppo": ppo_drift,
    "asymmetric_clip": two_sided_drift,
    "dual_clip": dual_difference,
    "rollback": rollback_drift,
    "spo": spo_drift,
    "kl_penalty": kl_drift,
    "mdpo": mdpo_drift,
    "chi_square": chi_square_drift,
    "p3o": p3o_difference,
    "policy_gradient": lambda ratio, advantage: 0.0,
    "dpo": dpo_drift,
}


def surrogate(name, ratio, advantage, **params):
    """L = r A - f(r, A) for arrays, sample by sample."""
    drift = np.vectorize(lambda r, a: float(DRIFTS[name](r, a, **params)))
    return ratio * advantage - drift(ratio, advantage)


def golden_table() -> dict:
    rows = [
        {
            "objective": name,
            "advantage": advantage,
            "surrogate": [
                round(float(x), 5) for x in surrogate(name, np.array(RATIOS), np.full(len(RATIOS), advantage))
            ],
        }
        for name in ("ppo", "spo", "dpo", "rollback", "p3o", "dual_clip")
        for advantage in ADVANTAGES
        if name == "dpo" or abs(advantage) == 1.0
    ]
    return {
        "made_by": "python tests/reference/objectives.py > tests/golden/objectives.json "
        "(float64, default parameters, rounded to 5 decimals)",
        "ratio": list(RATIOS),
        "rows": rows,
    }


if __name__ == "__main__":
    print(json.dumps(golden_table(), indent=2))
