"""Statistics over the trials of a sweep: how much of the score an axis explains, and in which direction."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxrl.statistics.seeds import RESAMPLES, Estimate, interval_of

MIN_TRIALS = 8  # with fewer, fractions of variance are mostly noise


def main_effect(values: Sequence, scores: ArrayLike, confidence: float = 0.95, seed: int = 0) -> Estimate:
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
    low, high = np.asarray(interval_of(resampled, confidence)) + value - resampled.mean()
    return Estimate(*(float(np.clip(x, 0.0, 1.0)) for x in (value, low, high)))


def bins_of(values: Sequence) -> np.ndarray:
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


def rank_correlation(
    values: ArrayLike, scores: ArrayLike, confidence: float = 0.95, seed: int = 0
) -> Estimate:
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
    return Estimate(float(correlations[0]), *map(float, interval_of(correlations[1:], confidence)))
