"""Sweeps: trials of other hyperparameters, each with several seeds, in as few programs as their shapes allow.

A sweep is a folder of ordinary runs. All trials that differ in traced hyperparameters alone are lanes of
one run (a group); trials that need another program (config, environment, objective) are in another. So a
sweep stops, is killed and goes on as a run does, to the bit.

    sweep/
      sweep.json       what is tried: written once, before anything is trained
      group-1/ ...     runs, see `runs`; confirm/ is the best trial with seeds that no trial has had
      results.jsonl    a line for each trial, best first, and one for the confirmation
"""

import contextlib
import dataclasses
import itertools
import json
import math
import os
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl import logger
from jaxrl.experiments import runs
from jaxrl.experiments.statistics import bootstrap_interval, iqm

SEARCHES = ("auto", "grid", "random", "sobol")
TRACED = "--hp."
STATIC = ("--config.", "--env.", "--objective")


class Axis(NamedTuple):
    """What is tried for one option: `values`, or the range from `low` to `high`, perhaps logarithmic."""

    flag: str
    values: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False

    @property
    def traced(self) -> bool:
        return self.flag.startswith(TRACED)

    def at(self, share: float) -> str:
        """The value at a share in [0, 1) of the way through the axis."""
        if self.values:
            return self.values[int(share * len(self.values))]
        if self.log:
            return repr(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return repr(float(self.low + share * (self.high - self.low)))


def axis(flag: str, text: str) -> Axis:
    """`0.9,0.95,0.99` are values, `0:1` is a range, `log:1e-4:1e-2` a logarithmic one, and `log:1e-4:1e-2:5`
    five values of it, ends included.

    Raises:
      ValueError: it is none of these, or empty.
    """
    if ":" not in text:
        values = tuple(text.split(","))
        if not all(values) or len(set(values)) < len(values):
            raise ValueError(f"{flag} {text}: a value is missing or there twice")
        for value in values if flag.startswith(TRACED) else ():
            with contextlib.suppress(ValueError):
                float(value)
                continue
            raise ValueError(f"{flag} takes numbers, not {value!r}")
        return Axis(flag, values)
    parts = text.removeprefix("log:").split(":")
    log = text.startswith("log:")
    try:
        low, high = float(parts[0]), float(parts[1])
        count = int(parts[2]) if len(parts) == 3 else 0
        good = len(parts) <= 3 and math.isfinite(low) and math.isfinite(high)
    except (ValueError, IndexError):
        good = False
    if not good:
        raise ValueError(f"{flag} {text} is no range: write LOW:HIGH, log:LOW:HIGH or log:LOW:HIGH:COUNT")
    if not low < high or (log and low <= 0):
        limit = "0 < LOW < HIGH" if log else "LOW < HIGH"
        raise ValueError(f"{flag} {text} is an empty range: it needs {limit}")
    if len(parts) < 3:
        return Axis(flag, (), low, high, log)
    if count < 2:
        raise ValueError(f"{flag} {text}: a range of values needs at least 2 of them")
    values = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return Axis(flag, tuple(map(repr, values.tolist())))


def axes_of(argv: list[str]) -> tuple[list[Axis], list[str]]:
    """The axes among the words of a command, and the words that are left.

    Raises:
      ValueError: a static option has a range, or an option comes twice.
    """
    found, rest = [], []
    words = [part for word in argv for part in (word.split("=", 1) if _option(word) else [word])]
    position = 0
    while position < len(words):
        word = words[position]
        value = words[position + 1] if position + 1 < len(words) else ""
        if _option(word) and re.search(r"[,:]", value):
            found.append(axis(word.replace("_", "-"), value))
            position += 2
            continue
        rest.append(word)
        position += 1
    for one in found:
        if not one.traced and not one.values:
            raise ValueError(f"{one.flag} needs values, not a range: {one.flag} A,B,C")
        if sum(other.flag == one.flag for other in found) > 1 or one.flag in rest:
            raise ValueError(f"{one.flag} is given twice")
    return found, rest


def _option(word: str) -> bool:
    return word.startswith((TRACED, *STATIC))


def draw(axes: list[Axis], search: str, trials: int, seed: int) -> list[tuple[str, ...]]:
    """A value of each axis for each trial.

    Args:
      search: "grid" takes all combinations; "random" draws; "sobol" spreads draws evenly (a scrambled
        Sobol sequence, Sobol 1967); "auto" is the grid where there is one and no number of trials is given.
      trials: how many; 0 for a grid.

    Raises:
      ValueError: the search does not fit the axes or the number.
    """
    ranges = [one.flag for one in axes if not one.values]
    if search == "auto":
        search = "grid" if not ranges and not trials else "sobol"
    if search == "grid":
        if ranges:
            raise ValueError(f"a grid needs values: give {ranges[0]} as A,B,C or LOW:HIGH:COUNT")
        if trials:
            raise ValueError("a grid has as many trials as combinations: leave --trials out")
        return list(itertools.product(*(one.values for one in axes)))
    if trials < 1:
        raise ValueError(f"--search {search} needs --trials, at least 1")
    if search == "random":
        shares = np.random.default_rng(seed).random((trials, len(axes)))
    else:
        from scipy.stats import qmc

        with warnings.catch_warnings():  # its balance is best for powers of two, which nobody must choose
            warnings.simplefilter("ignore", UserWarning)
            shares = qmc.Sobol(len(axes), seed=seed).random(trials)
    return [tuple(one.at(share) for one, share in zip(axes, row)) for row in shares]


class Group(NamedTuple):
    """Trials that one program runs: its Spec, and the numbers of its trials, in the order of the lanes."""

    spec: runs.Spec
    trials: tuple[int, ...]


def words_for(axes: list[Axis], values: tuple[str, ...]) -> list[str]:
    """The values of a trial as words of a command; `64x64` is written as two."""
    return [w for one, value in zip(axes, values) for w in (one.flag, *_words(one, value))]


def _words(one: Axis, value: str) -> list[str]:
    sizes = one.flag.startswith("--config.") and re.fullmatch(r"\d+(x\d+)+", value)
    return value.split("x") if sizes else [value]


def grouped(axes: list[Axis], trials: list[tuple[str, ...]], spec_of) -> list[Group]:
    """Trials with the same static values together, in the order in which they first come.

    Args:
      spec_of: `(words) -> Spec`: what the command means with these values.
    """
    members: dict[tuple[str, ...], list[int]] = {}
    for number, values in enumerate(trials):
        static = tuple(value for one, value in zip(axes, values) if not one.traced)
        members.setdefault(static, []).append(number)
    groups = []
    for numbers in members.values():
        spec = spec_of(words_for(axes, trials[numbers[0]]))
        traced = [
            {_name(one): float(value) for one, value in zip(axes, trials[number]) if one.traced}
            for number in numbers
        ]
        groups.append(Group(dataclasses.replace(spec, trials=tuple(traced)), tuple(numbers)))
    return groups


def _name(one: Axis) -> str:
    """`--hp.objective.clip-eps` as `objective.clip_eps`."""
    return one.flag.removeprefix(TRACED).replace("-", "_")


# --- the folder ----------------------------------------------------------------------------------


def create_folder(path: Path, axes, trials, groups: list[Group], options: dict, command: list[str]) -> None:
    """Writes `sweep.json`. Raises ValueError where the folder is taken, or cannot be written."""
    if (path / "sweep.json").exists() or (path / "run.json").exists():
        raise ValueError(f"{path} is taken: go on with `jaxrl resume {path}` or choose another --out")
    info = {
        "command": command,
        "axes": [one.flag for one in axes],
        "trials": [list(values) for values in trials],
        "groups": [{"spec": group.spec.to_json(), "trials": list(group.trials)} for group in groups],
        "options": options,
        **runs.provenance(),
    }
    temporary = path / "sweep.json.tmp"
    try:
        path.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(info, indent=1, allow_nan=False) + "\n")
        os.replace(temporary, path / "sweep.json")
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror or error}; choose another --out") from None


def is_sweep(path: Path) -> bool:
    return (path / "sweep.json").is_file()


def read(path: Path) -> tuple[dict[str, Any], list[Group]]:
    """What stands in `sweep.json`. Raises ValueError where that cannot be read."""
    try:
        info = json.loads((path / "sweep.json").read_text())
        groups = [Group(runs.from_json(g["spec"]), tuple(g["trials"])) for g in info["groups"]]
        info["options"]["confirm_seeds"], info["axes"], info["trials"]
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path / 'sweep.json'} cannot be read: {error}") from None
    return info, groups


# --- what came of it ------------------------------------------------------------------------------


def outcome(path: Path, spec: runs.Spec) -> list[dict[str, Any]]:
    """Of each trial of a run, by its last row of metrics: returns by seed, score, interval, and who died.

    An agent is dead from the first interval in which a loss or a gradient of it is no finite number. The
    score is the interquartile mean over the agents that live, none where most are dead.
    """
    rows = logger.read_jsonl(path / "metrics.jsonl")
    if not rows:
        raise ValueError(f"{path} has no rows of metrics: go on with `jaxrl resume {path.parent}`")
    last = rows[-1]
    returns = last.get("evaluation/return") or last.get("episode/return")
    found = []
    for trial in range(max(1, len(spec.trials))):
        lanes = range(trial * spec.seeds, (trial + 1) * spec.seeds)
        died = {lane - lanes[0] + spec.seed: step for lane in lanes if (step := _died(rows, lane))}
        living = [returns[lane] for lane in lanes if lane - lanes[0] + spec.seed not in died]
        living = [value for value in living if value is not None]
        score = float(iqm(living)) if 2 * len(living) > spec.seeds else None
        interval = None
        if len(living) > 1:
            interval = [float(end) for end in bootstrap_interval(living, iqm)]
        per_seed = [returns[lane] for lane in lanes]
        found.append({"score": score, "interval": interval, "per_seed": per_seed, "died": died})
    return found


def _died(rows, lane: int) -> int | None:
    for row in rows:
        watched = [value for name, value in row.items() if name.startswith(("loss/", "grad/"))]
        if any(values[lane] is None for values in watched):
            return row["timesteps"]
    return None


def results(path: Path) -> list[dict[str, Any]]:
    """Every trial with its values and its outcome, best first; those without a score last."""
    info, groups = read(path)
    found = []
    for number, group in enumerate(groups, 1):
        outcomes = outcome(path / f"group-{number}", group.spec)
        for trial, what in zip(group.trials, outcomes, strict=True):
            values = dict(zip(info["axes"], info["trials"][trial]))
            found.append({"trial": trial, "group": number, "values": values, **what})
    return sorted(found, key=lambda one: (one["score"] is None, -(one["score"] or 0.0), one["trial"]))


def confirmation(path: Path) -> runs.Spec | None:
    """The run that trains the best trial again, with seeds that no trial has had; None where none is wanted.

    The best of many trials looks better than it is, for chance chose it too: only new seeds tell how good
    it is.
    """
    info, groups = read(path)
    best = results(path)[0]
    seeds = info["options"]["confirm_seeds"]
    if not seeds or best["score"] is None:
        return None
    group = groups[best["group"] - 1]
    values = group.spec.trials[group.trials.index(best["trial"])]
    hparams = runs.with_values(group.spec.hparams, values)
    return dataclasses.replace(
        group.spec, hparams=hparams, trials=(), seed=group.spec.seed + group.spec.seeds, seeds=seeds
    )


def write_results(path: Path) -> list[dict[str, Any]]:
    """Writes `results.jsonl`; returns its lines."""
    found = results(path)
    again = confirmation(path)
    if again:
        (what,) = outcome(path / "confirm", again)
        found.append({"confirms": found[0]["trial"], **what})
    temporary = path / "results.jsonl.tmp"
    temporary.write_text("".join(json.dumps(one, allow_nan=False) + "\n" for one in found))
    os.replace(temporary, path / "results.jsonl")
    return found


def table(path: Path, most: int = 10) -> str:
    """The best trials, who died, and what the confirmation says, as text."""
    info, groups = read(path)
    found = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    again = found.pop() if "confirms" in found[-1] else None
    seeds = groups[0].spec.seeds
    names = [flag.removeprefix("--") for flag in info["axes"]]
    head = ["trial", *names, "score", "95 % interval"]
    rows = [
        [str(one["trial"]), *map(_short, one["values"].values()), _number(one["score"]), _ends(one)]
        for one in found[:most]
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in (head, *rows)]
    if len(found) > most:
        lines.append(f"... and {len(found) - most} more in {path / 'results.jsonl'}")
    lines.append(f"score: interquartile mean over {seeds} seeds of the last return")
    for one in found:
        for agent, step in one["died"].items():
            lines.append(f"trial {one['trial']}, seed {agent}: dead (no finite loss) by step {step:,}")
    if again:
        lost = found[0]["score"] - again["score"] if again["score"] is not None else math.nan
        lines.append(
            f"trial {again['confirms']} again with {len(again['per_seed'])} new seeds: "
            f"{_number(again['score'])} ({_ends(again)}), {_number(lost)} less than as best of {len(found)}"
        )
    return "\n".join(lines)


def _short(text: str) -> str:
    try:
        return text if len(text) < 8 else f"{float(text):.4g}"
    except ValueError:
        return text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _ends(one: dict[str, Any]) -> str:
    return "–" if one["interval"] is None else " to ".join(map(_number, one["interval"]))
