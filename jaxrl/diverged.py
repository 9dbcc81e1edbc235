"""How agents that diverged count: as the worst return that any agent shown reached.

An agent has diverged when its parameters, losses or gradients are no longer finite numbers (see
`train.diverged`). To leave such agents out would reward a method for its failures, and what they return is no
measure either: with discrete actions the argmax of NaN is a valid action. An agent without a return, in whose
run no episode has ended, counts like them. Reports, comparisons, sweeps and Optuna all use these functions.

A trial is a record with `per_seed`, its returns (None where there is none), and `died`, the seeds that
diverged with the step; `first_seed` says which seeds these are.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Trial = dict[str, Any]


def known(trial: Trial) -> list[float | None]:
    """Returns by seed, None of the agents that diverged or have none."""
    lost = {int(seed) for seed in trial.get("died") or ()}
    numbered = enumerate(trial["per_seed"], trial.get("first_seed", 0))
    return [None if seed in lost or x is None or not math.isfinite(x) else float(x) for seed, x in numbered]


def lost(trial: Trial) -> int:
    """How many agents diverged or have no return."""
    return known(trial).count(None)


def worst(trials: Iterable[Trial]) -> float:
    """The worst return that an agent of these trials reached; nan where none has one."""
    return min((x for trial in trials for x in known(trial) if x is not None), default=math.nan)


def counted(trial: Trial, least: float) -> list[float]:
    """Returns by seed, those of agents that diverged replaced by `least`; empty where that is nan."""
    return [] if math.isnan(least) else [least if x is None else x for x in known(trial)]


def curve(trial: Trial) -> np.ndarray:
    """The returns of a trial's `curve` `[S, R]`, of an agent that diverged the worst of the others' then."""
    steps = np.array(trial["curve"]["timesteps"])
    returns = np.array(trial["curve"]["per_seed"], np.float64).reshape(-1, len(steps))
    gone = np.zeros(returns.shape, bool)
    for seed, step in (trial.get("died") or {}).items():
        gone[int(seed) - trial.get("first_seed", 0)] = steps >= step
    rest = np.where(gone | ~np.isfinite(returns), np.inf, returns).min(axis=0, initial=np.inf)
    return np.where(gone, np.where(np.isfinite(rest), rest, np.nan), returns)


def unknown(trials: Sequence[Trial]) -> bool:
    """Whether in every trial at least half of the agents diverged: the worst of the rest says little then."""
    return all(2 * lost(trial) >= len(trial["per_seed"]) for trial in trials)
