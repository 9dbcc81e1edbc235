"""Statistics over seeds, tasks and trials, on the host, with NumPy; SciPy is imported when used.

Over seeds: the interquartile mean and bootstrap intervals. Over tasks (`tasks`: for each environment the
returns of its seeds): stratified intervals, performance profiles, the probability of improvement, tests with
Holm's correction. Over the trials of a sweep: the fraction of the score's variance that an axis explains.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl.statistics import iqm as iqm

RESAMPLES = 2000


class Estimate(NamedTuple):
    """A number or array, with both ends of its interval, which are nan if there is no interval."""

    value: Any
    low: Any
    high: Any

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())


def bootstrap_interval(
    values,
    statistic: Callable = np.mean,
    num_resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
):
    """Percentile bootstrap interval of a statistic over seeds.

    Seeds are drawn with replacement `num_resamples` times, and the interval contains the middle
    `confidence` of the statistics. All columns share the draws, because a seed is drawn as a whole: the
    band around a curve is as smooth as the curves. The same values give the same interval.
    Efron 1979. https://doi.org/10.1214/aos/1176344552

    With few seeds it tends to be too narrow, because it only contains values that were observed.

    Args:
      values: `[S, ...]`, seeds first.
      statistic: called as `statistic(values, axis=...)`: `np.mean`, `np.median`, `iqm`.

    Returns:
      The lower and the upper end, each `[...]`.

    Raises:
      ValueError: there are fewer than two seeds, or `confidence` is not between 0 and 1.
    """
    values = np.asarray(values, np.float64)
    if values.ndim == 0 or len(values) < 2:
        raise ValueError("a bootstrap interval needs the values of at least 2 seeds")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    num_seeds = len(values)
    draws = np.random.default_rng(seed).integers(num_seeds, size=(num_resamples, num_seeds))
    columns = values.reshape(num_seeds, -1)
    tail = (1 - confidence) / 2
    # All resamples of a long curve at once would take gigabytes.
    block = max(1, 4_000_000 // draws.size)
    parts = []
    for start in range(0, max(1, columns.shape[1]), block):
        estimates = statistic(columns[draws, start : start + block], axis=1)
        parts.append(np.quantile(estimates, (tail, 1 - tail), axis=0))
    low, high = np.concatenate(parts, axis=1).reshape(2, *values.shape[1:])
    return low[()], high[()]


# --- over tasks ---------------------------------------------------------------------------------

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


def performance_profile(tasks: Sequence, thresholds, confidence: float = 0.95, seed: int = 0) -> Estimate:
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


def signed_rank_p(differences) -> float:
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
    first, second = _two(first, second, paired=False)
    generator = np.random.default_rng(seed)
    one, other = [], []
    for x, y in zip(first, second):
        both = np.tile(np.concatenate([x, y]), (num_resamples, 1))
        dealt = generator.permuted(both, axis=1)
        one.append(dealt[:, : len(x)])
        other.append(dealt[:, len(x) :])
    seen = abs(_wins(first, second) - 0.5)
    as_far = np.abs(_wins(one, other) - 0.5) >= seen - 1e-12
    return float((1 + as_far.sum()) / (1 + num_resamples))


def holm(p_values) -> np.ndarray:
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

    shares = []
    for x, y in zip(first, second):
        mine, theirs = x.shape[-1], y.shape[-1]
        ranks = stats.rankdata(np.concatenate([x, y], axis=-1), axis=-1)[..., :mine].sum(-1)
        shares.append((ranks - mine * (mine + 1) / 2) / (mine * theirs))
    return np.mean(shares, axis=0)


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
    return Estimate(value, *_ends(statistic(*resampled), confidence))


def _ends(estimates, confidence: float = 0.95):
    tail = (1 - confidence) / 2
    low, high = np.quantile(estimates, (tail, 1 - tail), axis=0)
    return low[()], high[()]


# --- over the trials of a sweep -----------------------------------------------------------------

MIN_TRIALS = 8  # with fewer, fractions of variance are mostly noise


def main_effect(values: Sequence, scores, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Fraction of the variance of the score that one axis explains alone: its first-order Sobol index.

        S = Var(E[score | axis]) / Var(score)

    Estimated by dividing the trials into bins along the axis (a bin for each value if there are few,
    otherwise about `sqrt(N)` bins, 16 at most, with equal numbers of trials) and comparing the variance
    between bins with that within bins; `epsilon^2` subtracts the variance between bins that is expected by
    chance:

        epsilon^2 = (SS_between - (bins - 1) * MS_within) / SS_total

    Interactions with other axes are not included. Sobol 1993; first-order functional ANOVA as in
    Hutter et al. 2014 (http://proceedings.mlr.press/v32/hutter14.html), with bins in place of a forest, as in
    Plischke et al. 2013 (https://doi.org/10.1016/j.ejor.2012.11.047); epsilon^2 from Kelley 1935
    (https://doi.org/10.1073/pnas.21.9.554). It assumes that the axes were varied independently.

    Args:
      values: `[N]`, of the axis: numbers, or any other values as categories.
      scores: `[N]`.

    Returns:
      The fraction, clipped to between 0 and 1. Its interval is a bootstrap over trials, shifted so that its
      centre is the estimate (a resample repeats trials, which looks like an effect). All nan if there are
      fewer than 8 trials, only one value, equal scores, or about as many categories as trials.
    """
    scores = np.asarray(scores, np.float64)
    bins = bins_of(values)
    count = scores.size
    if count < MIN_TRIALS or np.ptp(scores) == 0 or not 1 < bins.shape[1] <= count // 2:
        return Estimate(np.nan, np.nan, np.nan)
    centred = scores - scores.mean()
    value = _epsilon_squared(np.ones((1, count)), bins, centred)[0]
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    resampled = _epsilon_squared(weights.astype(np.float64), bins, centred)
    low, high = _ends(resampled, confidence) + value - resampled.mean()
    return Estimate(*(float(np.clip(x, 0.0, 1.0)) for x in (value, low, high)))


def bins_of(values) -> np.ndarray:
    """Which bin of an axis each trial is in, one-hot `[N, bins]`: see `main_effect`."""
    distinct, index = np.unique(np.asarray(values), return_inverse=True)
    most = int(np.clip(round(np.sqrt(len(values))), 2, 16))
    if len(distinct) > most and np.issubdtype(distinct.dtype, np.number):
        before = np.concatenate([[0], np.cumsum(np.bincount(index))])[index]  # trials with smaller values
        index = np.unique(before * most // len(values), return_inverse=True)[1]
    return np.eye(index.max() + 1)[index]


def _epsilon_squared(weights, bins, scores):
    """Epsilon squared for each row of `weights` `[R, N]`, the number of times that each trial counts."""
    sizes, sums = weights @ bins, weights @ (bins * scores[:, None])
    count, total = weights.sum(1), weights @ scores
    spread = weights @ scores**2 - total**2 / count
    between = (sums**2 / np.maximum(sizes, 1)).sum(1) - total**2 / count
    used = (sizes > 0).sum(1)
    within = (spread - between) / np.maximum(count - used, 1)
    return (between - (used - 1) * within) / np.where(spread > 0, spread, 1.0)


def rank_correlation(values, scores, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Spearman's correlation of an axis with the score: 1 if more is always better, -1 if always worse.

    It is near 0 for an axis with its best value in the middle, even if that axis matters. The interval is a
    bootstrap over trials. Spearman 1904. https://doi.org/10.2307/1412159

    Args:
      values, scores: `[N]`, numbers.

    Returns:
      All nan for fewer than 8 trials, or if one side is constant.
    """
    from scipy import stats

    values, scores = np.asarray(values, np.float64), np.asarray(scores, np.float64)
    count = scores.size
    if count < MIN_TRIALS or np.ptp(values) == 0 or np.ptp(scores) == 0:
        return Estimate(np.nan, np.nan, np.nan)
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    draws[0] = np.arange(count)

    def ranks(x):
        ranked = stats.rankdata(x[draws], axis=1)
        return ranked - ranked.mean(axis=1, keepdims=True)

    x, y = ranks(values), ranks(scores)
    size = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    correlations = np.divide((x * y).sum(1), size, out=np.zeros_like(size), where=size > 0)
    return Estimate(float(correlations[0]), *map(float, _ends(correlations[1:], confidence)))
