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


DRIFTS = {"ppo": ppo_drift, "spo": spo_drift, "dpo": dpo_drift}


def surrogate(name, ratio, advantage, **params):
    """L = r A - f(r, A) for arrays, sample by sample."""
    drift = np.vectorize(lambda r, a: DRIFTS[name](r, a, **params))
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
        for name in DRIFTS
        for advantage in ADVANTAGES
        if name == "dpo" or abs(advantage) == 1.0
    ]
    return {
        "made_by": "python tests/reference/objectives.py > tests/golden/objectives.json "
        "(float64, clip_eps 0.2, alpha 2, beta 0.6, rounded to 5 decimals)",
        "ratio": list(RATIOS),
        "rows": rows,
    }


if __name__ == "__main__":
    print(json.dumps(golden_table(), indent=2))
