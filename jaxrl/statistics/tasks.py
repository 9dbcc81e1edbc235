"""Statistics over tasks, each of which has the returns of its seeds.

Stratified bootstrap intervals, performance profiles, the probability of improvement, and tests with Holm's
correction for several comparisons.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxrl.statistics.seeds import RESAMPLES, Estimate, interval_of

CUTS = {"IQM": lambda count: count // 4, "median": lambda count: (count - 1) // 2}


def across_tasks(
    tasks: Sequence, statistic: str = "IQM", confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """IQM or median of the runs of all tasks together, with a stratified bootstrap interval.

    All runs are sorted together, each with the weight `1 / (tasks * runs of its task)`, so that tasks have
    equal weight. Of `V` runs, the weight of `floor(V / 4)` runs is cut off at either end, and the rest is
    averaged (median: all but the middle one or two are cut off). The bootstrap draws seeds within each task,
    because tasks are fixed and seeds are random. With the same number of runs for every task the IQM is that
    of Agarwal et al. 2021, section 4; their median is over the means of tasks, which is uninformative for few
    tasks. https://arxiv.org/abs/2108.13264

    Args:
      tasks: for each task the returns `[S_m]` of its runs, on a common scale.

    Returns:
      An estimate without interval if a task has fewer than 2 runs.

    Raises:
      ValueError: there is no task, or a task has no runs.
    """
    tasks = _tasks(tasks)
    return _with_interval(lambda draws: _pooled(draws, statistic), [tasks], False, confidence, seed)


def difference(
    first: Sequence,
    second: Sequence,
    paired: bool,
    statistic: str = "IQM",
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """`across_tasks` of the first minus that of the second, with a stratified interval.

    With pairs (run `i` of both has the same seed) a resample draws pairs, so that effects of a seed on both
    cancel; otherwise both sides are drawn independently. Efron and Tibshirani 1993, chapters 8 and 16.

    Args:
      first, second: for each task the returns of its runs, tasks in the same order.

    Raises:
      ValueError: the numbers of tasks differ, or those of runs in a paired comparison.
    """
    first, second = _two(first, second, paired)
    return _with_interval(
        lambda one, other: _pooled(one, statistic) - _pooled(other, statistic),
        [first, second],
        paired,
        confidence,
        seed,
    )


def probability_of_improvement(
    first: Sequence, second: Sequence, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Probability that a run of the first beats a run of the second in a random task.

        P = mean over tasks of  U_m / (S_m * S'_m),   U_m = sum_ij [x_i > y_j] + [x_i = y_j] / 2

    `U` is Mann and Whitney's; the stratified bootstrap draws both sides within each task. Agarwal et al.
    2021, section 4.3. https://arxiv.org/abs/2108.13264

    Args:
      first, second: for each task the returns of its runs, tasks in the same order; scales can
        differ between tasks.

    Raises:
      ValueError: the numbers of tasks differ, or a task has no runs.
    """
    first, second = _two(first, second, paired=False)
    return _with_interval(_wins, [first, second], False, confidence, seed)


def performance_profile(
    tasks: Sequence, thresholds: ArrayLike, confidence: float = 0.95, seed: int = 0
) -> Estimate:
    """Fraction of runs above each threshold, tasks weighted equally, with a stratified bootstrap band.

        F(tau) = mean over tasks of  #{runs of the task with x > tau} / S_m

    Agarwal et al. 2021, section 4.2. https://arxiv.org/abs/2108.13264 The band is pointwise, not
    simultaneous for all thresholds.

    Args:
      tasks: for each task the returns of its runs, on a common scale.
      thresholds: `[K]`.

    Returns:
      Arrays `[K]`.
    """
    thresholds = np.asarray(thresholds, np.float64)

    def share(draws):
        return np.mean([(x[..., None] > thresholds).mean(axis=-2) for x in draws], axis=0)

    return _with_interval(share, [_tasks(tasks)], False, confidence, seed)


def signed_rank_p(differences: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that the differences of pairs are symmetric about 0.

    Pairs with a difference of 0 are dropped; if none remain, p is 1. With `n` pairs p is at least `2 / 2**n`,
    so fewer than 6 cannot reach 0.05. Wilcoxon 1945. https://doi.org/10.2307/3001968

    Args:
      differences: `[n]`, of all tasks together.
    """
    from scipy import stats

    differences = np.asarray(differences, np.float64)
    differences = differences[differences != 0]
    return float(stats.wilcoxon(differences).pvalue) if differences.size else 1.0


def permutation_p(first: Sequence, second: Sequence, num_resamples: int = 9999, seed: int = 0) -> float:
    """Two-sided p of a permutation test that two methods have the same distribution, for unpaired runs.

    Within each task the runs are permuted between the methods, and p is the fraction of permutations,
    including the observed one, whose probability of improvement is at least as far from 1/2 as the observed
    one:

        p = (1 + #{|P_perm - 1/2| >= |P - 1/2|}) / (1 + permutations)

    For one task that is Mann and Whitney's test, by sampling. Phipson and Smyth 2010.
    https://doi.org/10.2202/1544-6115.1585
    """
    from scipy import stats

    first, second = _two(first, second, paired=False)
    generator = np.random.default_rng(seed)
    shares = []
    for x, y in zip(first, second):  # ranks are permuted as their values would be
        ranks = np.tile(stats.rankdata(np.concatenate([x, y])), (num_resamples, 1))
        shares.append(_share(generator.permuted(ranks, axis=1), len(x)))
    seen = abs(_wins(first, second) - 0.5)
    as_far = np.abs(np.mean(shares, axis=0) - 0.5) >= seen - 1e-12
    return float((1 + as_far.sum()) / (1 + num_resamples))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's correction of several p-values, which controls the family-wise error rate.

        p'_(k) = max over j <= k of  min(1, (m - j + 1) * p_(j)),   p_(1) <= ... <= p_(m)

    Holm 1979. https://www.jstor.org/stable/4615733

    Args:
      p_values: `[m]`.

    Returns:
      `[m]`, in the given order.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    stepped = np.minimum(1.0, p_values[order] * np.arange(p_values.size, 0, -1))
    corrected = np.empty_like(p_values)
    corrected[order] = np.maximum.accumulate(stepped)
    return corrected


def _tasks(tasks) -> list[np.ndarray]:
    tasks = [np.asarray(values, np.float64).reshape(-1) for values in tasks]
    if not tasks or not all(values.size for values in tasks):
        raise ValueError("statistics over tasks need at least one task, and one run of each")
    return tasks


def _two(first, second, paired: bool):
    first, second = _tasks(first), _tasks(second)
    if len(first) != len(second):
        raise ValueError(f"both sides need the same tasks, not {len(first)} and {len(second)}")
    if paired and [x.size for x in first] != [y.size for y in second]:
        raise ValueError("pairs need as many runs on both sides of every task")
    return first, second


def _pooled(tasks, statistic: str):
    """IQM or median of all runs, tasks weighted equally; `tasks` are `[..., S_m]`."""
    values = np.concatenate(tasks, axis=-1)
    weights = np.concatenate([np.full(x.shape[-1], 1 / (len(tasks) * x.shape[-1])) for x in tasks])
    count = values.shape[-1]
    cut = CUTS[statistic](count) / count
    order = np.argsort(values, axis=-1)
    weights = weights[order]
    end = np.cumsum(weights, axis=-1)
    inside = np.maximum(np.minimum(end, 1 - cut) - np.maximum(end - weights, cut), 0.0)
    return (np.take_along_axis(values, order, -1) * inside).sum(-1) / inside.sum(-1)


def _wins(first, second):
    """Mean over tasks of the fraction of pairs that the first wins, ties as half; tasks are `[..., S_m]`."""
    from scipy import stats

    ranks = [stats.rankdata(np.concatenate(runs, axis=-1), axis=-1) for runs in zip(first, second)]
    return np.mean([_share(its, x.shape[-1]) for its, x in zip(ranks, first)], axis=0)


def _share(ranks: np.ndarray, mine: int) -> np.ndarray:
    """The fraction of pairs that the first `mine` runs win against the others; `ranks` `[..., S]` of all."""
    theirs = ranks.shape[-1] - mine
    return (ranks[..., :mine].sum(-1) - mine * (mine + 1) / 2) / (mine * theirs)


def _with_interval(statistic, sides, paired: bool, confidence: float, seed: int) -> Estimate:
    """`statistic(*sides)` and its interval of `confidence` over resamples of the runs within each task."""
    value = statistic(*sides)
    if any(x.size < 2 for side in sides for x in side):
        return Estimate(value, np.full_like(value, np.nan)[()], np.full_like(value, np.nan)[()])
    generator = np.random.default_rng(seed)
    resampled: list[list[np.ndarray]] = [[] for _ in sides]
    for runs in zip(*sides):
        draws = None
        for side, x in zip(resampled, runs):
            if draws is None or not paired:
                draws = generator.integers(x.size, size=(RESAMPLES, x.size))
            side.append(x[draws])
    return Estimate(value, *interval_of(statistic(*resampled), confidence))
