"""The statistic that stands for several agents wherever one number is shown."""

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
