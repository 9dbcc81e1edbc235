"""Statistics over seeds: the interquartile mean, and bootstrap intervals."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000


def iqm(values: ArrayLike, axis: int | None = 0) -> Any:
    """Interquartile mean: the mean without the lowest and the highest quarter of the values.

    Of `n` sorted values the lowest and the highest `floor(n / 4)` are dropped; fewer than four are
    simply averaged. It is less affected by a single lucky or failed seed than the mean, and has less
    variance than the median. Agarwal et al. 2021, section 4.3. https://arxiv.org/abs/2108.13264

    Args:
      values: `[S, ...]`, seeds first; `axis=None` pools all values.
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
    values: ArrayLike,
    statistic: Callable = np.mean,
    num_resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Any, Any]:
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


def interval_of(estimates: np.ndarray, confidence: float = 0.95) -> tuple[Any, Any]:
    """Both ends, each `[...]`, of the middle `confidence` of the estimates `[R, ...]` of `R` resamples."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(estimates, (tail, 1 - tail), axis=0)
    return low[()], high[()]
