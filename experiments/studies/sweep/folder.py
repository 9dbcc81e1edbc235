"""The folder of a sweep: `sweep.json`, `results.jsonl`, and the groups that they and the runs describe."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrl import decode, files
from jaxrl.experiments import runs, search
from jaxrl.experiments.search import AxisRecord, Value, as_number
from jaxrl.experiments.studies import study
from jaxrl.experiments.studies.sweep.groups import Group

MARK = "sweep.json"


@dataclasses.dataclass
class GroupRecord:
    """A group in `sweep.json`: the Spec of its run, and the numbers of its trials."""

    spec: dict[str, Any]
    trials: tuple[int, ...]


@dataclasses.dataclass
class Options:
    """The options of a sweep: those of its runs are checked where they are read."""

    confirm_seeds: int
    batches: int


@dataclasses.dataclass
class SweepRecord:
    """What is needed of `sweep.json`. Earlier versions wrote the values of hyperparameters as text."""

    command: list[str]
    axes: tuple[AxisRecord, ...]
    search: str
    trials: tuple[tuple[Value, ...], ...]
    groups: tuple[GroupRecord, ...]
    options: Options

    def __post_init__(self) -> None:
        if not self.axes or not self.groups:
            raise ValueError("must have axes and groups")
        axes = [one.axis for one in self.axes]
        for number, values in enumerate(self.trials):
            if len(values) != len(axes):
                raise ValueError(
                    f"must have {len(axes)} values for each trial, not {len(values)} for {number}"
                )
        self.trials = tuple(
            tuple(as_number(axis.flag, x) if axis.traced else x for axis, x in zip(axes, values))
            for values in self.trials
        )
        numbers = [number for group in self.groups for number in group.trials]
        known = range(len(self.trials)) if self.trials else numbers
        if wrong := [number for number in numbers if number not in known]:
            raise ValueError(f"has no trial {wrong[0]}, which is one of a group")


@dataclasses.dataclass
class TrialLine:
    """A trial in `results.jsonl`, with what the searches add to it."""

    trial: int
    values: dict[str, Value]
    per_seed: list[float | None]
    score: float | None
    died: dict[str, int]
    group: int = 1
    first_seed: int | None = None
    interval: list[float] | None = None
    steps: int | None = None
    member: int | None = None
    ancestry: list[int] | None = None
    path: dict[str, list[float]] | None = None
    generation: int | None = None
    rung: int | None = None


@dataclasses.dataclass
class ConfirmLine:
    """The confirmation in `results.jsonl`: of a trial, of the mean of a strategy (None), or of "members"."""

    confirms: int | str | None
    per_seed: list[float | None]
    score: float | None
    died: dict[str, int]
    first_seed: int | None = None
    interval: list[float] | None = None
    episodes: int | None = None


def create_folder(
    path: Path, axes, kind: str, trials, groups: list[Group], options: dict, command: list[str]
) -> None:
    """Writes `sweep.json`; `kind` is the search. ValueError if the folder is in use or not writable."""
    plan = {
        "command": command,
        "axes": [search.plain(one) for one in axes],
        "search": kind,
        "trials": [list(values) for values in trials],
        "groups": [{"spec": group.spec.to_json(), "trials": list(group.trials)} for group in groups],
        "options": options,
    }
    with study.new(path, MARK) as write:
        write(plan)


def is_sweep(path: Path) -> bool:
    return (path / MARK).is_file()


def read(path: Path) -> tuple[dict[str, Any], list[Group]]:
    """The content of `sweep.json`, its axes and trials typed, and the groups.

    Raises:
      ValueError: it cannot be read, or was written by another version: one line with the file and the field.
    """
    record, info = study.read(path, MARK, SweepRecord)
    groups = [Group(runs.from_json(one.spec), one.trials) for one in record.groups]
    info |= {"axes": [one.axis for one in record.axes], "trials": list(record.trials)}
    for number in range(2, record.options.batches + 1):  # those that have been requested so far
        folder = path / f"group-{number}"
        if not (folder / "run.json").exists():
            break
        groups.append(batch(info, runs.from_json(runs.read_info(folder)["spec"])))
    return info, groups


def batch(info: dict[str, Any], spec: runs.Spec) -> Group:
    """The next batch of an Optuna search as a group; its trials are added to `info`."""
    known = info["trials"]
    values = [tuple(trial[one.name] for one in info["axes"]) for trial in spec.trials]
    numbers = tuple(range(len(known), len(known) + len(values)))
    known += values
    return Group(spec, numbers)


def read_results(path: Path) -> list[dict[str, Any]]:
    """The lines of `results.jsonl`: the trials, best first, and the confirmation, if there is one.

    Raises:
      ValueError: it cannot be read, or has no trials: one line with the file, the line and the field.
    """
    file = path / "results.jsonl"
    try:
        lines = decode.read_jsonl(file, dict)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        decode.decode(line, ConfirmLine if "confirms" in line else TrialLine, f"{file}, line {number}")
    if not lines or "confirms" in lines[0]:
        raise ValueError(f"{file} has no trials: continue with `jaxrl resume {files.quoted(path)}`")
    return lines
