"""Policy objectives as mirror learning writes them: L = r A - f(r, A), with a drift f >= 0.

Kuba et al. 2022. https://arxiv.org/abs/2201.02373. Run as a script, it prints the golden table.
"""

import json

import numpy as np

RATIOS = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 4.0)
ADVANTAGES = (1.0, -1.0, 2.5, -2.5)


def ppo_drift(ratio, advantage, clip_eps=0.2):
    """What clipping takes away: relu((r - clip(r)) A). Schulman et al. 2017."""
    clipped = min(max(ratio, 1 - clip_eps), 1 + clip_eps)
    return max((ratio - clipped) * advantage, 0.0)


def spo_drift(ratio, advantage, clip_eps=0.2):
    """|A| (r - 1)^2 / (2 eps). Xie et al. 2024. https://arxiv.org/abs/2401.16025"""
    return abs(advantage) * (ratio - 1) ** 2 / (2 * clip_eps)


def dpo_drift(ratio, advantage, alpha=2.0, beta=0.6):
    """relu(x - c tanh(x / c)), x and c by the sign of A. Lu et al. 2022.

    https://arxiv.org/abs/2210.05639
    """
    if advantage >= 0:
        x, c = (ratio - 1) * advantage, alpha
    else:
        x, c = np.log(ratio) * advantage, beta
    return max(x - c * np.tanh(x / c), 0.0)


def two_sided_drift(ratio, advantage, clip_eps_low=0.2, clip_eps_high=0.28):
    """Clipping with sides of their own. Yu et al. 2025. https://arxiv.org/abs/2503.14476"""
    clipped = min(max(ratio, 1 - clip_eps_low), 1 + clip_eps_high)
    return max((ratio - clipped) * advantage, 0.0)


def dual_difference(ratio, advantage, clip_eps=0.2, dual_clip=3.0):
    """Clipping bounded below for bad actions. Ye et al. 2020. https://arxiv.org/abs/1912.09729"""
    clipped = ratio * advantage - ppo_drift(ratio, advantage, clip_eps)
    bounded = max(clipped, dual_clip * advantage) if advantage < 0 else clipped
    return ratio * advantage - bounded


def rollback_drift(ratio, advantage, clip_eps=0.2, slope=0.3):
    """Falls beyond the clip. Wang et al. 2019. https://arxiv.org/abs/1903.07940"""
    beyond = ratio - 1 - clip_eps if advantage >= 0 else 1 - clip_eps - ratio
    return (1 + slope) * max(beyond, 0.0) * abs(advantage)


def kl_drift(ratio, advantage, coef=1.0):
    """KL(old || new), sample by sample and never negative: r - 1 - log r."""
    return coef * (ratio - 1 - np.log(ratio))


def chi_square_drift(ratio, advantage, coef=1.0):
    return coef * (ratio - 1) ** 2


def mdpo_drift(ratio, advantage, coef=1.0, anneal=1.0):
    """KL(new || old), with a weight that grows, half way. Tomar et al. 2020."""
    return coef * (1 - anneal * (1 - PROGRESS)) * (ratio * np.log(ratio) - ratio + 1)


def p3o_difference(ratio, advantage, steepness=4.0):
    """r A less 4/k sigmoid(k (r - 1)) A. Chen et al. 2022. https://arxiv.org/abs/2205.10047"""
    return ratio * advantage - 4 / steepness / (1 + np.exp(-steepness * (ratio - 1))) * advantage


PROGRESS = 0.5  # where objectives are compared that change over training
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
