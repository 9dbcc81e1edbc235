"""The effective horizon: how far a learner must look ahead of the random policy to act well.

    Q^1_t(s, a) = r(s, a) + gamma sum_s' p(s'|s, a) mean_a' Q^1_{t+1}(s', a')         the random policy's Q
    Q^{k+1}_t(s, a) = r(s, a) + gamma sum_s' p(s'|s, a) max_a' Q^k_{t+1}(s', a')      t = 0 .. T - 1, Q_T = 0

A process is k-QVI-solvable if every policy that is greedy in Q^k is optimal. Many environments are solved at
k = 1, by acting greedily in the random policy's values, and then random exploration is enough to learn.
Laidlaw, Russell and Dragan 2023, "Bridging RL Theory and Practice with the Effective Horizon",
https://arxiv.org/abs/2304.09853, for deterministic processes, with the code of its authors,
https://github.com/cassidylaidlaw/effective-horizon; Laidlaw, Zhu, Russell and Dragan 2024, "The Effective
Horizon Explains Deep RL Performance in Stochastic Environments", https://arxiv.org/abs/2312.08369.

    found = horizon.analyse(mdp, 20)       # any object with the fields of `Table`
    int(found.k), float(found.effective_horizon)
    near = horizon.near_optimal(mdp, 20)   # the same for 95% of the optimum, not from the papers

All functions are traceable and may be vmapped over tables. Gaps shrink exponentially with the distance of a
reward: use float64 tables, under `jax.enable_x64()`. Axes: `T` time, `S` states, `A` actions, `K` for k.
"""

from jaxrl.horizon.analysis import MOST_K, Analysis, analyse, gaps, solvable
from jaxrl.horizon.near import NearOptimal, exactly, near_optimal, worst_return
from jaxrl.horizon.values import TOLERANCE, Table, Values, action_values, iterate, reward_after

__all__ = [
    "MOST_K",
    "TOLERANCE",
    "Analysis",
    "NearOptimal",
    "Table",
    "Values",
    "action_values",
    "analyse",
    "exactly",
    "gaps",
    "iterate",
    "near_optimal",
    "reward_after",
    "solvable",
    "worst_return",
]
