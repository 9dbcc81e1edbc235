"""Scores of trials, some of whose agents may have diverged.

The functions of `jaxrl.diverged`, which define how such agents count, are imported here as well.
"""

import functools
from collections.abc import Sequence
from typing import Any

from jaxrl.diverged import Trial, counted, curve, known, lost, unknown, worst
from jaxrl.statistics import bootstrap_interval, iqm

__all__ = ["Trial", "counted", "curve", "known", "lost", "unknown", "with_scores", "worst"]


def with_scores(trials: Sequence[Trial], among: Sequence[Trial] = ()) -> list[Trial]:
    """The trials with `score`, the interquartile mean over all their agents, and its 95 % `interval`.

    Both are None if no agent has a return, or if the trials are `unknown`.

    Args:
      among: other trials that are shown with these.
    """
    shown = [*trials, *among]
    least = float("nan") if unknown(shown) else worst(shown)
    return [{**trial, **_score(counted(trial, least))} for trial in trials]


def _score(values: list[float]) -> dict[str, Any]:
    interval = list(_interval(tuple(values))) if len(values) > 1 else None
    return {"score": float(iqm(values)) if values else None, "interval": interval}


@functools.lru_cache(maxsize=10_000)
def _interval(values: tuple[float, ...]) -> tuple[float, float]:
    """The interval, computed once: reports compute the scores of what they have read again."""
    low, high = bootstrap_interval(values, iqm)
    return float(low), float(high)
