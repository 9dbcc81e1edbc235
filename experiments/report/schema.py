"""The records of a report, to which runs, sweeps and data files are converted, and their checks.

A source is a header and a record for each trial, best first; a run is a source of one trial. As JSON lines
(`data.write`, read again by `data.read`) a source is its header's line and then one line per trial:

    {"report": 1, "kind": "sweep", "name": "lr", "command": [...], "algorithm": "ppo", "environment":
     "CartPole-v1", "env": {...}, "objective": "ppo", "metric": "evaluation", "steps": 50000, "seed": 0,
     "seeds": 8, "axes": ["--hp.learning-rate"], "search": "sobol", "versions": {...}, "device": {...},
     "git_commit": "...", "started": "...", "wall_seconds": 12.3, "log_axes": ["--hp.learning-rate"],
     "slots": 12, "spent": 1474560}   of searches inside the program: trials at a time, total environment
       steps; of runs "settings", values by name, and "learning", as `learning.record` returns it; of
       sweeps "winner", the command that trains it
    {"trial": 3, "values": {"--hp.learning-rate": "0.003"}, "first_seed": 0, "per_seed": [...],
     "score": 497.0, "interval": [481.0, 500.0], "died": {"2": 4096}, "steps": 50176,
     "curve": {"timesteps": [...], "iqm": [...], "per_seed": [[...], ...]}}
    {"confirms": 3, ...}                 the same for the best trial, trained again with fresh seeds

A search adds the fields of `Winner`, `Candidate` or `Batched` to its trials. `confirms` is None for the mean
of an evolution strategy, and "members" for the winners of populations, evaluated again in `episodes`
episodes. A population is a trial with a single seed.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import decode
from jaxrl.experiments.search import Search, named

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Learning:
    """Metrics of the updates of a run: at `[T]` steps their IQM over agents, smallest and largest value."""

    timesteps: list[int]
    metrics: dict[str, list[tuple[float, float, float] | None]]

    def __post_init__(self):
        if any(len(points) != len(self.timesteps) for points in self.metrics.values()):
            raise ValueError("metrics must have a value for each of timesteps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """The types of a header's line; further fields are kept."""

    report: int
    name: str
    command: list[str]
    algorithm: str
    environment: str
    axes: list[str]
    steps: int
    seed: int
    seeds: int
    wall_seconds: float | None = None
    env: dict[str, Any] | None = None
    versions: dict[str, Any] | None = None
    device: dict[str, Any] | None = None
    objective: str | None = None
    metric: str | None = None
    search: str | None = None
    git_commit: str | None = None
    started: str | None = None
    log_axes: list[str] | None = None
    slots: int | None = None
    spent: int | None = None
    settings: dict[str, Any] | None = None
    learning: Learning | None = None
    winner: list[str] | None = None


@dataclasses.dataclass(frozen=True)
class Curve:
    """The returns of a trial over training: at `[T]` steps, of `[S, T]` seeds and their IQM `[T]`."""

    timesteps: list[int]
    iqm: list[float | None]
    per_seed: list[list[float | None]]

    def __post_init__(self):
        if {len(line) for line in (self.iqm, *self.per_seed)} != {len(self.timesteps)}:
            raise ValueError("iqm and per_seed must have a value for each of timesteps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """The types of a trial's line; further fields are kept."""

    values: dict[str, Any]
    per_seed: list[float | None]
    died: dict[str, int]
    steps: int
    first_seed: int
    score: float | None = None
    interval: tuple[float, float] | None = None
    curve: Curve | None = None
    confirms: int | str | None = None
    episodes: int | None = None

    def __post_init__(self):
        if not all(re.fullmatch("[0-9]{1,10}", seed) for seed in self.died):
            raise ValueError("died must have seeds as keys")
        drawn = range(self.first_seed, self.first_seed + len(self.curve.per_seed)) if self.curve else ()
        if self.curve and not {int(seed) for seed in self.died} <= set(drawn):
            raise ValueError("died must have seeds of the curve as keys")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Winner(Trial):
    """A winner of population-based training: its ancestors, and the values of each axis along them."""

    ancestry: list[int]
    path: dict[str, list[float]]

    def __post_init__(self):
        super().__post_init__()
        if not self.ancestry or any(len(line) != len(self.ancestry) for line in self.path.values()):
            raise ValueError("path must have a value for each of ancestry, which is not empty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate(Trial):
    """A candidate of an evolution strategy."""

    generation: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batched(Trial):
    """A trial of a search in batches."""

    batch: int


class Source(NamedTuple):
    """A run or a sweep: its header, its trials best first, and trials repeated with fresh seeds."""

    about: dict[str, Any]
    trials: list[dict[str, Any]]
    confirms: list[dict[str, Any]]


def kind_of(source: Source) -> Search:
    """The search that chose its trials."""
    return named(source.about.get("search"))


def parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    """The JSON object of a line of a file; raises ValueError if it is none."""
    where = f"{path}, line {number}, is broken"
    return decode.decode(decode.parse(line, where), dict[str, Any], where)


def trial_kind(one: dict[str, Any], search: str | None) -> type[Trial]:
    """The type of a trial's line."""
    kind = named(search)
    if "confirms" in one:
        return Trial
    if kind.populations:
        return Winner
    if kind.recommends:
        return Candidate
    return Batched if kind.batches else Trial


def check(path: Path, number: int, one: dict[str, Any], kind: type) -> None:
    """Raises ValueError if a value that the page needs is missing or of the wrong type."""
    decode.decode(one, kind, f"{path}, line {number}, is broken")
