"""The best trial of a run that is a part of a sweep: for `--from`, `config.toml` and the confirmation."""

import shlex
import tomllib
from pathlib import Path
from typing import Any

from jaxrl import files
from jaxrl.experiments import labels, runs, search
from jaxrl.experiments.runs import config, searches
from jaxrl.experiments.runs.command_line import train_words
from jaxrl.experiments.runs.trial import FIRST, alone, first
from jaxrl.experiments.studies.sweep.folder import read, read_results

BEST = "best.toml"


def values_of(path: Path, spec: runs.Spec, best: dict[str, Any]) -> dict[str, float]:
    """The values with which a run of a sweep is to be trained again, those that one program can vary.

    Args:
      path: the folder of the run.
      best: a trial, as in `results.jsonl`. An evolution strategy recommends the mean of its last generation
        instead.
    """
    if spec.search and search.named(spec.search["kind"]).recommends:
        return searches.read_search(path)["recommended"]
    axes = read(path.parent)[0]["axes"]
    return {one.name: search.as_number(one.flag, best["values"][one.flag]) for one in axes if one.traced}


def best(path: Path, spec: runs.Spec) -> runs.Spec | None:
    """The run of the best trial of a run; None if the sweep that it is a part of has no results yet."""
    file = path.parent / "results.jsonl"
    if not (path.parent / "sweep.json").exists() or not file.exists():
        return None
    ranked = read_results(path.parent)  # best first
    mine = [one for one in ranked if path.name == f"group-{one.get('group')}" and one["score"] is not None]
    return alone(spec, values_of(path, spec, mine[0])) if mine else None


def winner(path: Path) -> tuple[runs.Spec, dict[str, Any]] | None:
    """The run of the best trial of a complete sweep, with the seeds of the sweep, and its line of results.

    None if no trial has a score.
    """
    groups = read(path)[1]
    best = read_results(path)[0]
    if best["score"] is None:
        return None
    spec = groups[best["group"] - 1].spec
    return alone(spec, values_of(path / f"group-{best['group']}", spec, best)), best


def require_winner(path: Path) -> runs.Spec:
    """The run of the best trial of a sweep. Raises ValueError if it is not known."""
    if not (path / "results.jsonl").exists():
        text = f"{path} is not complete, so its best trial is not known"
        raise ValueError(f"{text}: continue with `jaxrl resume {files.quoted(path)}`")
    if found := winner(path):
        return found[0]
    raise ValueError(f"no trial of {path} has a score, so that there is no best one to train again")


def write_winner(path: Path) -> str:
    """Writes `best.toml` into the folder of a complete sweep, unless somebody has edited the file.

    Returns:
      What the configuration is, and the commands that train it.
    """
    if not (found := winner(path)):
        return ""
    spec, one = found
    info, groups = read(path)
    kind = search.named(info["search"])
    what = f"trial {one['trial']}, {labels.label(one['values'])}"
    if kind.recommends:
        recommended = values_of(path / "group-1", groups[0].spec, one)
        named = {axis.flag: recommended[axis.name] for axis in info["axes"]}
        what = f"the mean of the last generation, {labels.label(named)}"
    if kind.populations:
        what += ", the last values of a schedule"
    file = path / BEST
    text = config.text(spec, info.get("sources", {}), f"The best of {path.name}: {what}.")
    kept = file.exists() and _values_in(file) != tomllib.loads(text)
    if not kept:
        files.replace(file, text)
    lines = [f"best: {what}"]
    lines.append(f"jaxrl train --from {files.quoted(file)}" + "  # which was edited, and is kept" * kept)
    if words := train_words(spec):
        lines.append(f"jaxrl train {shlex.join(words)}")
    return "\n".join(lines)


def _values_in(file: Path) -> dict[str, Any] | None:
    """The values in a TOML file; None if it is damaged."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def require_best(path: Path, spec: runs.Spec) -> runs.Spec:
    """The run of the best trial of a run. Raises ValueError if it is not known."""
    if chosen := best(path, spec):
        return chosen
    in_sweep = (path.parent / "sweep.json").exists()
    finish = f"finish the sweep, `jaxrl resume {files.quoted(path.parent)}`, or " if in_sweep else ""
    raise ValueError(
        f"{path} has several trials, and the best is not known: {finish}give {path / 'config.toml'}, which "
        "has the values of the first"
    )


def record_best(path: Path, number_of_groups: int) -> None:
    """Writes the values of the best trial into the `config.toml` of every group of a complete sweep."""
    for folder in (path / f"group-{number}" for number in range(1, number_of_groups + 1)):
        info = runs.read_info(folder)
        spec = runs.from_json(info["spec"])
        if chosen := best(folder, spec):
            at_mean = search.named((spec.search or {}).get("kind")).recommends
            which = "at the mean of the last generation" if at_mean else "of the best trial"
            copies = info.get("sources", {})
            config.replace(folder, (first(spec), FIRST), (chosen, which), copies)
