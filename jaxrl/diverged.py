"""The returns of diverged agents: each counts with the worst return of all agents shown.

An agent has diverged when its parameters, losses or gradients are no longer finite (see `train.diverged`).
Excluding such agents would reward a method for its failures, and their returns are not meaningful either:
with discrete actions the argmax of NaN is a valid action. An agent without a return, because no episode has
ended, is treated in the same way. Reports, comparisons, sweeps and Optuna all use these functions.

A trial is a record with `per_seed`, its returns (None for a seed without one), and `died`, the seeds that
diverged with the step; `first_seed` is the first of the seeds.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Trial = dict[str, Any]


def known(trial: Trial) -> list[float | None]:
    """Returns by seed; None for agents that diverged or have no return."""
    lost = {int(seed) for seed in trial.get("died") or ()}
    numbered = enumerate(trial["per_seed"], trial.get("first_seed", 0))
    return [None if seed in lost or x is None or not math.isfinite(x) else float(x) for seed, x in numbered]


def lost(trial: Trial) -> int:
    """The number of agents that diverged or have no return."""
    return known(trial).count(None)


def worst(trials: Iterable[Trial]) -> float:
    """The worst return of an agent in these trials; nan if there is none."""
    return min((x for trial in trials for x in known(trial) if x is not None), default=math.nan)


def counted(trial: Trial, least: float) -> list[float]:
    """Returns by seed, those of diverged agents replaced by `least`; empty if that is nan."""
    return [] if math.isnan(least) else [least if x is None else x for x in known(trial)]


def curve(trial: Trial) -> np.ndarray:
    """Returns `[S, R]` of a trial's `curve`; for a diverged agent, the worst of the others at that time."""
    steps = np.array(trial["curve"]["timesteps"])
    returns = np.array(trial["curve"]["per_seed"], np.float64).reshape(-1, len(steps))
    gone = np.zeros(returns.shape, bool)
    for seed, step in (trial.get("died") or {}).items():
        gone[int(seed) - trial.get("first_seed", 0)] = steps >= step
    rest = np.where(gone | ~np.isfinite(returns), np.inf, returns).min(axis=0, initial=np.inf)
    return np.where(gone, np.where(np.isfinite(rest), rest, np.nan), returns)


def unknown(trials: Sequence[Trial]) -> bool:
    """Whether at least half of the agents of every trial diverged, so that the rest is not representative."""
    return all(2 * lost(trial) >= len(trial["per_seed"]) for trial in trials)
