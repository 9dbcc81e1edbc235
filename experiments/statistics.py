"""Statistics over seeds: the interquartile mean and bootstrap intervals. NumPy only, on the host."""

from collections.abc import Callable

import numpy as np


def iqm(values, axis: int | None = 0):
    """Interquartile mean: the mean of what is left when a quarter is cut off at either end.

    Of `n` sorted values the lowest and the highest `floor(n / 4)` are dropped; fewer than four are
    simply averaged. Less swayed by one lucky or failed seed than the mean, less jumpy than the
    median. Agarwal et al. 2021, section 4.3. https://arxiv.org/abs/2108.13264

    Args:
      values: `[S, ...]`, seeds first; `axis=None` takes all values together.
    """
    values = np.asarray(values, np.float64)
    if axis is None:
        values, axis = values.reshape(-1), 0
    num_values = values.shape[axis]
    if num_values == 0:
        raise ValueError("the interquartile mean of no values is not defined")
    cut = num_values // 4
    middle = np.sort(values, axis=axis).take(range(cut, num_values - cut), axis=axis)
    return middle.mean(axis=axis)


def bootstrap_interval(
    values,
    statistic: Callable = np.mean,
    num_resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
):
    """Percentile bootstrap interval of a statistic over seeds.

    Seeds are drawn with replacement `num_resamples` times, and the interval holds the middle
    `confidence` of the statistics. All columns share the draws, for a seed is drawn as a whole: the
    band around a curve is as smooth as the curves are. The same values give the same interval.
    Efron 1979. https://doi.org/10.1214/aos/1176344552

    With few seeds it is too narrow rather than too wide: it cannot know what no seed has shown.

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
    # All resamples of a long curve at once would fill gigabytes.
    block = max(1, 4_000_000 // draws.size)
    parts = []
    for start in range(0, max(1, columns.shape[1]), block):
        estimates = statistic(columns[draws, start : start + block], axis=1)
        parts.append(np.quantile(estimates, (tail, 1 - tail), axis=0))
    low, high = np.concatenate(parts, axis=1).reshape(2, *values.shape[1:])
    return low[()], high[()]
