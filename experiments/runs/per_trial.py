"""The rows of a run with several trials as rows of each trial: a curve is that of one trial, with its seeds.

A statistic over all agents of such a run would mix different hyperparameters.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import records
from jaxrl.experiments import labels, search, tracking
from jaxrl.experiments.runs.searches import searched_outcome
from jaxrl.experiments.runs.spec import Spec
from jaxrl.statistics import iqm

RETURNS = ("episode/return", "evaluation/return")
LANES = (*RETURNS, records.DIVERGED)  # values by agent that a row of a trial keeps
Rows = list[dict[str, Any]]


class Trial(NamedTuple):
    """A trial of a run: its number in the sweep, its values by flag, and its rows, which have its agents."""

    number: int
    values: dict[str, Any]
    rows: Rows

    @property
    def label(self) -> str:
        return f"trial {self.number}: {labels.label(self.values)}"


def trials_of(path: Path, spec: Spec, rows: Rows) -> list[Trial]:
    """The trials of a run in the order of their numbers; of a search, those that it has trained.

    Raises:
      ValueError: it is a search that is not complete, which has not recorded its trials yet.
    """
    if spec.search:
        return _of_search(path, spec, rows)
    numbers = tracking.trial_numbers(path, len(spec.trials))
    trials = []
    for place, (number, values) in enumerate(zip(numbers, spec.trials)):
        lanes = tuple(range(place * spec.seeds, (place + 1) * spec.seeds))
        named = {flag_of(name): value for name, value in values.items()}
        trials.append(Trial(number, named, [_of_lanes(row, lanes) for row in rows]))
    return trials


def flag_of(name: str) -> str:
    """The option that a name in `Spec.trials` is: `--hp.objective.clip-eps`, `--env.length`."""
    return ("--" if name.startswith("env.") else "--hp.") + name.replace("_", "-")


def _of_search(path: Path, spec: Spec, rows: Rows) -> list[Trial]:
    """Only training returns: an evaluation follows the decision that may have replaced the agents.

    A row that contains updates of two trials is left out. The last point of a trial is the score that was
    recorded for it.
    """
    assert spec.search is not None
    outcomes = searched_outcome(path)
    if not math.isfinite(spec.hparams.total_updates):
        raise ValueError(f"{path / 'run.json'} was edited: hparams.total_updates is missing")
    updates = int(spec.hparams.total_updates)
    found = search.pieces(spec.search, updates, spec.seeds, outcomes)
    steps = _steps_per_update(rows)
    trials = []
    for one in sorted(outcomes, key=lambda one: one["trial"]):
        own = found.get(one["trial"], [])
        begun = round(own[0].first * steps) if own else 0
        inside = [(row, piece.lanes) for piece in own for row in _within(rows, piece)]
        mine = [{**_of_lanes(row, lanes), "timesteps": row["timesteps"] - begun} for row, lanes in inside]
        mine = [row for row in mine if row["timesteps"] < one["steps"]]
        last = {"timesteps": one["steps"], "num_updates": 0, RETURNS[0]: one["per_seed"]}
        trials.append(Trial(one["trial"], one["values"], mine + [last] * bool(one["steps"])))
    return trials


def _within(rows: Rows, piece: search.Piece) -> Iterator[dict[str, Any]]:
    """The rows that contain updates of this piece only, without evaluations."""
    before = 0
    for row in rows:
        if piece.first <= before and row["num_updates"] <= piece.last:
            yield {name: x for name, x in row.items() if name != RETURNS[1]}
        before = row["num_updates"]


def _steps_per_update(rows: Rows) -> float:
    if not rows:
        return 0.0
    first = rows[0] if len(rows) > 1 else {"timesteps": 0, "num_updates": 0}
    updates = rows[-1]["num_updates"] - first["num_updates"]
    return (rows[-1]["timesteps"] - first["timesteps"]) / max(updates, 1)


def _of_lanes(row: dict[str, Any], lanes: tuple[int, ...]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("timesteps", "num_updates") if name in row}
    return kept | {name: [row[name][lane] for lane in lanes] for name in LANES if row.get(name)}


def last_return(trial: Trial) -> float:
    """The interquartile mean of the last returns of a trial; -inf if it has none."""
    row = trial.rows[-1] if trial.rows else {}
    values = row.get("evaluation/return") or row.get("episode/return") or []
    known = [x for x in values if x is not None and math.isfinite(x)]
    return float(iqm(known)) if known else -math.inf
