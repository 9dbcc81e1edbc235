"""The records of the folders of runs, sweeps and `jaxrl.fit`."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from jaxrl import files, fit_record, sources
from jaxrl.experiments import labels, search
from jaxrl.experiments.report.learning import record
from jaxrl.experiments.report.schema import FORMAT, Source, check, trial_kind
from jaxrl.statistics import iqm

CURVE_POINTS = 40  # with more intervals, some are omitted: a figure cannot show them
METRICS = {"evaluation": "evaluation/return", "training": "episode/return"}


def read_run(path: Path, detailed: bool = False) -> Source:
    """The records of a run; raises ValueError if it is part of a search or has no rows.

    Args:
      detailed: with its settings and the metrics of its updates.
    """
    from jaxrl import records
    from jaxrl.experiments import runs, tracking

    info = runs.read_info(path)
    spec = runs.from_json(info["spec"])
    if spec.search:
        raise ValueError(
            f"{path} is part of a search: report the whole search, `jaxrl report {files.quoted(path.parent)}`"
        )
    whole = detailed and not spec.trials
    if not (rows := records.rows(path, () if whole else records.OUTCOME)):
        raise ValueError(
            f"{path} has nothing finished yet: continue with `jaxrl resume {files.quoted(path)}`"
        )
    source = _source_of(path, rows, info, info["spec"], spec, _wall_seconds(info))
    if whole:
        own = {
            name: value
            for name, value in tracking.settings(spec, 0).items()
            if name.startswith(("hp.", "config.", "env."))
        }
        source = _plain(source._replace(about=source.about | {"settings": own, "learning": record(rows)}))
    return source


def read_fit(path: Path) -> Source:
    """The records of a run by `jaxrl.fit`, whose environment has a name if `envs.make` has returned it."""
    from jaxrl import records

    record = fit_record.read(path)
    info = {"command": [], **vars(record)}
    numbers = {name: getattr(record.run, name) for name in ("seed", "seeds", "steps")}
    run = {"algorithm": record.algorithm, "objective": "", "env": record.env, **numbers}
    run["environment"] = record.environment or "unnamed environment"
    spec = SimpleNamespace(trials=(), **numbers)
    rows = records.rows(path)
    if not rows or _metric(rows, None) is None:
        raise ValueError(f"{path} has no returns yet: let it train for an interval in which an episode ends")
    return _source_of(path, rows, info, run, spec, rows[-1].get("elapsed_seconds"))


def _source_of(path: Path, rows: list, info: dict, written: dict, spec, wall_seconds: float | None) -> Source:
    """The records of a run with these rows; `written` is the spec as its folder has it."""
    from jaxrl.experiments import diverged
    from jaxrl.experiments.studies import sweep

    tried = spec.trials or ({},)
    agents = max(len(rows[-1].get(name) or ()) for name in METRICS.values())
    if agents not in (0, len(tried) * spec.seeds):
        file, wanted = path / "metrics.jsonl", len(tried) * spec.seeds
        raise ValueError(f"{file} has the values of {agents} agents, and the run has {wanted}")
    axes = [("--" if name.startswith("env.") else "--hp.") + name.replace("_", "-") for name in tried[0]]
    outcomes = diverged.with_scores(sweep.outcome(path, spec, rows=rows))
    trials = [
        {"trial": number, "values": dict(zip(axes, values.values())), **outcome} | _lanes(rows, spec, number)
        for number, (values, outcome) in enumerate(zip(tried, outcomes))
    ]
    trials.sort(key=lambda one: (one["score"] is None, -(one["score"] or 0.0)))
    about = {"kind": "run", **_about(path, info, written, rows), "axes": axes}
    return _plain(Source(about | {"wall_seconds": wall_seconds}, trials, []))


def read_sweep(path: Path) -> Source:
    """The records of a sweep; raises ValueError if it is broken or has no trials."""
    from jaxrl import records
    from jaxrl.experiments import runs
    from jaxrl.experiments.runs import per_trial
    from jaxrl.experiments.runs.command_line import train_words
    from jaxrl.experiments.studies import sweep

    info, groups = sweep.read(path)
    if not (path / "results.jsonl").exists():
        raise ValueError(
            f"{path} has nothing finished yet: continue with `jaxrl resume {files.quoted(path)}`"
        )
    kind, searched = info["search"], _searched(path, info["axes"], groups[0].spec)
    trials, confirms, rows = [], [], {}
    searched_rows: dict[int, list[dict[str, Any]]] | None = None
    for number, one in enumerate(sweep.read_results(path), 1):
        one["values"] = {flag: _plain_value(value) for flag, value in one.get("values", {}).items()}
        if "confirms" in one:
            # Winners that were only evaluated again, in fresh episodes, have no separate run.
            trained = one["confirms"] != "members"
            folder = path / ("confirm" if trained else "group-1")
            spec = runs.from_json(runs.read_info(folder)["spec"]) if trained else groups[0].spec
            lane = 0 if trained else None
            same = (trial["values"] for trial in trials if trial.get("trial") == one["confirms"])
            one["values"] = searched["recommended"] if one["confirms"] is None else next(same, {})
            one |= {} if trained else {"steps": max(trial["steps"] for trial in trials)}
        else:
            group = one.pop("group", 0)
            folder = path / f"group-{group}"
            # Only if all trials train in parallel does each have fixed lanes.
            spec = groups[group - 1].spec if 0 < group <= len(groups) else groups[0].spec
            known = not spec.search and one.get("trial") in groups[group - 1].trials
            lane = groups[group - 1].trials.index(one["trial"]) if known else None
            one |= {"batch": group} if search.named(kind).batches else {}
            one |= {"first_seed": spec.seed + one["trial"]} if search.named(kind).populations else {}
        if folder not in rows:
            rows[folder] = records.rows(folder, records.OUTCOME)
        if spec.search and "trial" in one:
            if searched_rows is None:
                written = runs.from_json(runs.read_info(folder)["spec"])
                made = per_trial.trials_of(folder, written, rows[folder])
                searched_rows = {trial.number: trial.rows for trial in made}
            one = {**_curve(searched_rows.get(one["trial"], []), METRICS["training"]), **one}
        one = {**_lanes(rows[folder], spec, lane, groups[0].spec.search), **one}
        check(path / "results.jsonl", number, one, trial_kind(one, kind))
        (confirms if "confirms" in one else trials).append(one)
    first = next((searched for searched in rows.values() if searched), [])
    about = {"kind": "sweep", **_about(path, info, info["groups"][0]["spec"], first)}
    about |= {"axes": [one.flag for one in info["axes"]], "search": kind}
    about |= {"log_axes": [one.flag for one in info["axes"] if one.log]} | searched["about"]
    kept = (folder for folder in rows if (folder / "run.json").is_file())
    about["wall_seconds"] = sum(_wall_seconds(runs.read_info(folder)) for folder in kept)
    if found := sweep.winner(path):
        about["winner"] = ["jaxrl", "train", *(train_words(found[0]) or ["--from", sweep.BEST])]
    return _plain(Source(about, trials, confirms))


def _searched(path: Path, axes, spec) -> dict[str, Any]:
    """The results that a search inside the program recorded: fields of the header, and recommended values."""
    from jaxrl.experiments.runs.searches import read_search

    if not spec.search:
        return {"about": {}, "recommended": {}}
    record = read_search(path / "group-1")
    values = record["recommended"] or {}
    recommended = {one.flag: values[one.name] for one in axes if one.name in values}
    return {"about": {"slots": spec.slots, "spent": record["steps"]}, "recommended": recommended}


def _plain_value(value: Any) -> Any:
    """A value of an axis as the page shows it; sizes are text."""
    return labels.shown(value) if isinstance(value, list | bool | None) else value


def _about(path: Path, info: dict, spec: dict, rows: list[dict]) -> dict[str, Any]:
    """The fields of the header that runs and sweeps share."""
    kept = ("algorithm", "environment", "env", "objective", "steps", "seed", "seeds")
    return {
        "report": FORMAT,
        "name": path.resolve().name,
        "command": [_without_folders(word) for word in info.get("command", ())],
        **{name: sources.shown(x) if isinstance(x := spec[name], str) else x for name in kept},
        "metric": _metric(rows, spec.get("search")),
        "search": None,
        **{name: info.get(name) for name in ("versions", "device", "git_commit", "started")},
    }


def _metric(rows: list[dict], search: dict | None) -> str | None:
    """The kind of the returns; a search inside the program selects by those of training."""
    names = ["training"] if search else METRICS
    return next((name for name in names if rows and rows[-1].get(METRICS[name])), None)


def _without_folders(word: str) -> str:
    """A word of a command; an absolute path is replaced by its name."""
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{Path(value).name}" if value.startswith(("/", "~")) else word


def _lanes(rows: list[dict], spec, trial: int | None, search: dict | None = None) -> dict[str, Any]:
    """First seed, steps and curve of a trial of a run; its seeds are adjacent in the rows."""
    rows = rows if trial is not None else []
    facts = {"first_seed": spec.seed, "steps": rows[-1]["timesteps"] if rows else spec.steps}
    metric = METRICS.get(_metric(rows, search) or "")
    lanes = slice((trial or 0) * spec.seeds, ((trial or 0) + 1) * spec.seeds)
    known = [{"timesteps": row["timesteps"], metric: row[metric][lanes]} for row in rows if row.get(metric)]
    return {**facts, **_curve(known, metric)}


def _curve(rows: list[dict[str, Any]], metric: str | None) -> dict[str, Any]:
    """The curve of a trial whose agents the rows have; empty if it has no returns."""
    known = [(row["timesteps"], row[metric]) for row in rows if metric and row.get(metric)]
    points = [one for one in known if any(value is not None for value in one[1])]  # an episode has ended
    if not points:
        return {}
    kept = np.unique(np.linspace(0, len(points) - 1, CURVE_POINTS).round().astype(int))
    points = [points[index] for index in kept]
    living = [[value for value in values if value is not None] for _, values in points]
    curve = {
        "timesteps": [steps for steps, _ in points],
        "iqm": [_short(iqm(values)) if values else None for values in living],
        "per_seed": [list(map(_short, seed)) for seed in zip(*(values for _, values in points))],
    }
    return {"curve": curve}


def _short(value) -> float | None:
    """Rounds to five digits, more than a figure can show."""
    return None if value is None else float(f"{value:.5g}")


def _wall_seconds(info: dict[str, Any]) -> float:
    """The training time of a run, summed over its sessions; `info` is the content of its `run.json`."""
    return sum(one.get("wall_seconds", 0.0) for one in info["sessions"])


def _plain(source: Source) -> Source:
    """The source as it would be read back from a file, so that both give the same page."""
    return Source(*json.loads(json.dumps(source, allow_nan=False)))
