"""What other commands show of a sweep: the curves of its trials, and the agents of its winner."""

from pathlib import Path

from jaxrl import files, records
from jaxrl.experiments import labels, runs, search
from jaxrl.experiments.plot import Curves
from jaxrl.experiments.runs import per_trial
from jaxrl.experiments.studies import Agents
from jaxrl.experiments.studies.sweep.best import BEST, require_winner
from jaxrl.experiments.studies.sweep.folder import read, read_results


def curves_of(path: Path) -> Curves:
    """The curves of the trials that have been trained, in the order of the results, and of the confirmation.

    Raises:
      ValueError: no trial has rows of metrics yet, or the search is not complete.
    """
    info, groups = read(path)
    flags = [axis.flag for axis in info["axes"]]
    trials: list[per_trial.Trial] = []
    for number in range(1, len(groups) + 1):
        folder = path / f"group-{number}"
        if not (folder / "run.json").exists() or not (rows := records.rows(folder)):
            continue
        spec = runs.from_json(runs.read_info(folder)["spec"])  # with the number of updates
        for one in per_trial.trials_of(folder, spec, rows):
            fixed = info["trials"][one.number] if one.number < len(info["trials"]) else ()
            trials.append(one._replace(values=dict(zip(flags, fixed)) | one.values))
    if not trials:
        raise ValueError(f"{path} has no rows of metrics yet: let it train for an interval first")
    again: Curves = []
    if (path / "results.jsonl").exists():
        lines = read_results(path)
        place = {one["trial"]: i for i, one in enumerate(lines) if "trial" in one}
        trials.sort(key=lambda one: place.get(one.number, len(place)))
        if (rows := records.rows(path / "confirm")) and lines[-1].get("confirms") is not None:
            again = [(f"trial {lines[-1]['confirms']}, fresh seeds", rows)]
    else:
        trials.sort(key=per_trial.last_return, reverse=True)
    return again + [(one.label, one.rows) for one in trials]


def winner_of(path: Path) -> Agents:
    """The agents of a complete sweep's winner: those that confirmed it, otherwise those that selected it.

    Raises:
      ValueError: the sweep is not complete, or its winner has no agents: a search on the device trains other
        trials in its lanes, and the mean of an evolution strategy is not trained.
    """
    require_winner(path)
    groups, lines = read(path)[1], read_results(path)
    best = lines[0]
    label = f"trial {best['trial']} ({labels.label(best['values'])})"
    if (path / "confirm" / "run.json").exists():
        if lines[-1].get("confirms", 0) is None:
            label = "the mean of the last generation"
        return Agents(path / "confirm", None, label)
    number, trial = best.get("group", 1), best["trial"]
    folder, spec = path / f"group-{number}", groups[number - 1].spec
    if spec.search and search.named(spec.search["kind"]).populations:
        members = [(one["trial"], one["member"]) for one in lines if "member" in one]
        lanes = [member * spec.seeds + seed for seed, member in sorted(members)]
        return Agents(folder, tuple(lanes), "the winners of the populations")
    if spec.search:
        best_file = files.quoted(path / BEST)
        text = f"{path} keeps no agents of its best trial, since it was not trained again"
        raise ValueError(f"{text}: train it, `jaxrl train --from {best_file}`")
    place = groups[number - 1].trials.index(trial)
    return Agents(folder, tuple(range(place * spec.seeds, (place + 1) * spec.seeds)), label)
