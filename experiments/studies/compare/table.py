"""The tables of a comparison, from its records alone: `jaxrl compare --show FILE.jsonl` prints them again.

The first record contains command, versions and device. One with `method` has the returns of that method in
an environment by seed; one with `tuning` is a trial of the tuning, on other seeds.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl import decode, logger
from jaxrl.experiments import diverged, reference
from jaxrl.experiments.verdict import Table, Verdict, screen
from jaxrl.statistics import (
    Estimate,
    across_tasks,
    difference,
    holm,
    probability_of_improvement,
    signed_rank_p,
)


def line(record: dict[str, Any]) -> str:
    """A record as a line of JSON."""
    return json.dumps(_plain(record), allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return logger.finite(value)


@dataclasses.dataclass(frozen=True)
class About:
    """The first record: how the settings were chosen."""

    command: tuple[str, ...]
    trials: int
    tune_seeds: int
    search: str = "sobol"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The record of a method in an environment."""

    method: str
    environment: str
    values: dict[str, float]
    steps: int
    first_seed: int
    per_seed: tuple[float | None, ...]
    died: dict[str, int]

    def __post_init__(self):
        if not self.per_seed or not all(seed.isdigit() for seed in self.died):
            raise ValueError("must have returns in per_seed, and seeds in died")


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file. Raises ValueError if they are not those of a comparison."""
    try:
        records = decode.read_jsonl(path, dict)
        counts: dict[str, int] = {}
        for number, one in enumerate(records, 1):
            where = f"line {number}"
            if number == 1:
                decode.decode(one, About, where)
            elif "method" in one:
                count = len(decode.decode(one, Outcome, where).per_seed)
                if counts.setdefault(one["environment"], count) != count:
                    raise ValueError(f"{where}: per_seed must have as many values as that of other methods")
        if not counts:
            raise ValueError("no line has a method")
    except ValueError as error:
        raise ValueError(f"{path} holds no records of a comparison ({error})") from None
    return records


def returns(records: list[dict[str, Any]], environment: str) -> dict[str, np.ndarray]:
    """The returns `[S]` of each method in an environment, by seed.

    Agents that diverged count with the worst return of any agent in this environment.
    """
    here = [one for one in records if one.get("environment") == environment and "method" in one]
    least = diverged.worst(here)
    if math.isnan(least):
        raise ValueError(f"no agent has a return in {environment}: train for more steps")
    return {one["method"]: np.array(diverged.counted(one, least)) for one in here}


def environments(records: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(one["environment"] for one in records if "method" in one))


def ranges(records: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """The returns of each environment that are scaled to 0 and 1, if there are references: see `reference`.

    They are valid only for the environments' default parameters.
    """
    changed = any(str(word).startswith("--env.") for word in records[0]["command"])
    known = {} if changed else reference.ranges()
    return {place: known[place] for place in environments(records) if place in known}


def scaled(held: dict[str, np.ndarray], ends: tuple[float, float]) -> dict[str, np.ndarray]:
    """Returns of an environment, scaled so that the `ends` become 0 and 1."""
    low, high = ends
    return {name: (values - low) / (high - low) for name, values in held.items()}


def against_baseline(tasks: list[dict[str, np.ndarray]]) -> dict[str, dict[str, Any]]:
    """For each method the IQM; compared with the first, the probability of improvement, difference, and p.

    Runs with the same seed are pairs; p is that of Wilcoxon's test, with Holm's correction over the methods.

    Args:
      tasks: for each environment, by method, the returns `[S]`; for several environments on a common scale.
    """
    baseline, *others = tasks[0]
    first = [task[baseline] for task in tasks]
    rows: dict[str, dict[str, Any]] = {baseline: {"iqm": across_tasks(first)}}
    for name in others:
        theirs = [task[name] for task in tasks]
        rows[name] = {
            "iqm": across_tasks(theirs),
            "better": probability_of_improvement(theirs, first),
            "by": difference(theirs, first, paired=True),
            "p": signed_rank_p(np.concatenate(theirs) - np.concatenate(first)),
        }
    for name, p in zip(others, holm([rows[name]["p"] for name in others]) if others else ()):
        rows[name]["p"] = float(p)
    return rows


HEAD = (
    "method",
    "IQM",
    "95 % interval",
    "beats PPO",
    "95 % interval",
    "IQM less PPO's",
    "95 % interval",
    "p",
)


def verdict(records: list[dict[str, Any]]) -> Verdict:
    """Tables for every environment and for all together, and how the settings were chosen."""
    about, places = records[0], environments(records)
    tasks = [returns(records, place) for place in places]
    parts: list[Table | str] = []
    for place, task in zip(places, tasks):
        here = [one for one in records if one.get("environment") == place and "method" in one]
        count, first = len(here[0]["per_seed"]), here[0]["first_seed"]
        title = f"{place}: {here[0]['steps']:,} steps, seeds {first} to {first + count - 1}"
        notes = (*_settings(here), *_diverged(here))
        parts.append(Table(title, HEAD, _rows(against_baseline([task])), notes))
    if len(places) > 1:
        known = [list(task) for task in tasks]
        if any(names != known[0] for names in known):
            raise ValueError("the environments have different methods: compare each separately")
        parts.append(_together(dict(zip(places, tasks)), ranges(records)))
    title = f"{len(tasks[0])} methods in {', '.join(places)}"
    return Verdict(title, (*parts, _notes(about, records)))


def text(records: list[dict[str, Any]]) -> str:
    """The verdict as text."""
    return screen(verdict(records))


def _together(tasks: dict[str, dict[str, np.ndarray]], ends: dict[str, tuple[float, float]]) -> Table:
    """The table over all environments with reference returns."""
    without = [place for place in tasks if place not in ends]
    left = f"without reference returns, and so left out: {', '.join(without)}" if without else ""
    if len(ends) < 2:
        return Table(f"all environments together: at least 2 need reference returns; {left}")
    title = f"{len(ends)} environments together, returns from 0 (random policy) to 1 (PPO with its preset)"
    rows = _rows(against_baseline([scaled(tasks[place], ends[place]) for place in ends]))
    return Table(title, HEAD, rows, (left,) if left else ())


def _rows(by_method: dict[str, dict[str, Any]]) -> tuple[tuple[str, ...], ...]:
    baseline, *others = by_method
    rows = []
    for name in [baseline, *sorted(others, key=lambda name: -by_method[name]["iqm"].value)]:
        one = by_method[name]
        cells = [name, _number(one["iqm"].value), _ends(one["iqm"])]
        if name == baseline:
            cells += ["–"] * 5
        else:
            cells += [_number(one["better"].value, 2), _ends(one["better"], 2)]
            cells += [_number(one["by"].value), _ends(one["by"]), f"{one['p']:.2g}"]
        rows.append(tuple(cells))
    return tuple(rows)


def _settings(here: list[dict[str, Any]]) -> list[str]:
    """The tuned settings of the baseline, and of other methods with their own settings."""
    lines = []
    for one in here:
        if one is here[0] or one["method"].endswith("(own tuning)"):
            values = ", ".join(f"{n.removeprefix('objective.')} {x:.4g}" for n, x in one["values"].items())
            lines.append(f"{one['method']}: {values}")
    return lines


def _diverged(here: list[dict[str, Any]]) -> list[str]:
    return [
        f"{one['method']}, seed {seed}: diverged at step {step:,}, counts as the worst of all methods"
        for one in here
        for seed, step in one["died"].items()
    ]


def _notes(about: dict[str, Any], records: list[dict[str, Any]]) -> str:
    separately = any(one.get("method", "").endswith("(own tuning)") for one in records)
    if about["trials"] < 2:
        chosen = "PPO has its preset, which was not tuned here; the others have its settings"
    else:
        by = "asha over" if about.get("search") == "asha" else "the best of"
        chosen = (
            f"PPO was tuned over clip, learning rate, annealing and entropy ({by} {about['trials']} trials x "
            f"{about['tune_seeds']} other seeds, the preset among them); the others have their published "
            "parameters and PPO's learning rate, annealing and entropy"
        )
        chosen += "; (own tuning): tuned with as many trials" if separately else ""
    count = len({one["method"] for one in records if "method" in one}) - 1
    seeds = min(len(one["per_seed"]) for one in records if "method" in one)
    least = min(1.0, count * 2.0 ** (1 - seeds))
    few = f" With {seeds} seeds and {count} other method(s), no p in a single "
    few += f"environment can be below {least:.2g}."
    note = (
        f"{chosen}. IQM: interquartile mean of the last return. beats PPO: probability that a run of the "
        "method has a higher return than a run of PPO with these settings. Intervals: bootstrap over seeds, "
        "within each environment. p: Wilcoxon's signed-rank test on pairs with the same seed, with Holm's "
        "correction over all methods."
    )
    return note + (few if least > 0.05 else "")


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}" if digits < 4 else f"{value:.4g}"


def _ends(estimate: Estimate, digits: int = 4) -> str:
    if not estimate.known:
        return "–"
    return f"{_number(estimate.low, digits)} to {_number(estimate.high, digits)}"
