"""The statistic that summarizes several agents wherever a single number is shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def iqm(values: np.ndarray | Sequence[float], axis: int | None = 0) -> Any:
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
