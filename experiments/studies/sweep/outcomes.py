"""The outcomes of the trials, their ranking, and the confirmation of the best."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl import files, hosts, loop, records
from jaxrl.experiments import diverged, runs, search
from jaxrl.experiments.runs.searches import searched_outcome
from jaxrl.experiments.runs.trial import alone
from jaxrl.experiments.studies.sweep import best as best_trial
from jaxrl.experiments.studies.sweep.folder import batch, read
from jaxrl.experiments.studies.sweep.groups import Group, confirming


def outcome(
    path: Path, spec: runs.Spec, training: bool = False, rows: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """The outcome of each trial of a run, from its last row of metrics: returns by seed, diverged agents.

    Scores depend on all trials that are shown: see `diverged.with_scores`.

    Args:
      training: use the returns of training even if there were evaluations, as a search does.
      rows: of the run, if they have been read already.
    """
    return agents_of_row(*records.outcome(path, rows), spec, training)


def agents_of_row(
    row: dict[str, Any], lost: dict[int, int], spec: runs.Spec, training: bool = False
) -> list[dict[str, Any]]:
    """For each trial of a run its returns by seed in a row, and its diverged agents.

    Args:
      lost: by lane, the steps at which agents diverged; empty: as the row says.
    """
    lost = lost or records.first_diverged([row])
    returns = (not training and row.get("evaluation/return")) or row.get("episode/return")
    returns = returns or [None] * spec.agents
    outcomes = []
    for trial in range(max(1, len(spec.trials))):
        lanes = range(trial * spec.seeds, (trial + 1) * spec.seeds)
        diverged_at = {lane - lanes[0] + spec.seed: lost[lane] for lane in lanes if lane in lost}
        per_seed = [returns[lane] for lane in lanes]
        outcomes.append({"first_seed": spec.seed, "per_seed": per_seed, "died": diverged_at})
    return outcomes


def results(path: Path) -> list[dict[str, Any]]:
    """All trials with their values and outcomes, best first; those without a score last."""
    info, groups = read(path)
    trials = []
    for number, group in enumerate(groups, 1):
        folder = path / f"group-{number}"
        if group.spec.search:
            trials += [{"group": number, **one} for one in searched_outcome(folder)]
            continue
        for trial, what in zip(group.trials, outcome(folder, group.spec), strict=True):
            values = dict(zip((one.flag for one in info["axes"]), info["trials"][trial]))
            trials.append({"trial": trial, "group": number, "values": values, **what})

    def rank(one):  # trials that were trained for longer are above others
        known = one["score"] is not None
        return not known, -one.get("steps", 0), -(one["score"] or 0.0), one["trial"]

    return sorted(diverged.with_scores(trials), key=rank)


def next_batch(path: Path) -> Group | None:
    """Optuna's next batch after all previous ones; None if no batch is left."""
    info, groups = read(path)
    if len(groups) >= info["options"]["batches"]:
        return None
    first = groups[0].spec
    by_trial = sorted(results(path), key=lambda one: one["trial"])
    tried = [(one["values"], one["score"]) for one in by_trial]
    batches = search.SEARCHES[info["search"]].batches
    assert batches is not None
    asked = batches.ask(info["axes"], tried, len(first.trials), first.seed)
    trials = tuple({one.name: values[one.flag] for one in info["axes"]} for values in asked)
    return batch(info, dataclasses.replace(first, trials=trials))


def confirmation(path: Path) -> runs.Spec | None:
    """The run that trains the best trial again, with seeds that no trial has used; None if there is none.

    The score of the best of many trials is biased upwards by the selection: only new seeds give an unbiased
    estimate. For an evolution strategy, the mean of the last generation is trained.
    """
    info, groups = read(path)
    best = results(path)[0]
    seeds = info["options"]["confirm_seeds"]
    if not seeds or best["score"] is None:
        return None
    spec = groups[best["group"] - 1].spec
    if search.named(info["search"]).populations:
        return None
    values = best_trial.values_of(path / f"group-{best['group']}", spec, best)
    return confirming(alone(spec, values), seeds)


def write_results(path: Path) -> list[dict[str, Any]]:
    """Writes `results.jsonl`; returns its lines. All processes must call it."""
    lines = results(path)
    again = confirmation(path)
    info, groups = read(path)
    kind = search.named(info["search"])
    if again:
        what = outcome(path / "confirm", again, training=kind.device is not None)
        (what,) = diverged.with_scores(what, among=lines)
        # For an evolution strategy, the mean was trained again, not one of its candidates.
        lines.append({"confirms": None if kind.recommends else lines[0]["trial"], **what})
    if kind.populations:
        lines.append({"confirms": "members", **evaluated_again(path / "group-1", lines)})
    text = "".join(json.dumps(one, allow_nan=False) + "\n" for one in lines)

    def write():
        files.replace(path / "results.jsonl", text)
        best_trial.record_best(path, len(groups))

    hosts.by_leader(write)
    return lines


EPISODES = 128  # for the evaluation of the selected members of population based training


def fresh_returns(path: Path) -> tuple[runs.Spec, np.ndarray]:
    """A run, and the mean return `[P]` of each of its agents over `EPISODES` new episodes."""
    kept = runs.from_json(runs.read_info(path)["spec"])
    spec = dataclasses.replace(kept, eval_episodes=EPISODES)
    programs = runs.build(spec)._replace(identity=kept.to_json())
    at = loop.restore(programs, path, to_train=False)
    keys = hosts.place(runs.evaluation_keys(spec, at.num_updates, domain=4), programs.sharding)
    returns = hosts.fetch(programs.evaluate(at.state, keys)).returns
    return kept, np.asarray(returns, np.float64).mean(axis=1)


def evaluated_again(path: Path, chosen: list[dict[str, Any]]) -> dict[str, Any]:
    """The best members, evaluated in new episodes; hyperparameters that change cannot be trained again."""
    spec, returns = fresh_returns(path)
    # A trial in `chosen` is a population, that of one of the seeds.
    by_seed = sorted(chosen, key=lambda one: one["trial"])
    per_seed = [float(returns[one["member"] * spec.seeds + one["trial"]]) for one in by_seed]
    known = [
        value if diverged.lost(one) == 0 and math.isfinite(value) else None
        for one, value in zip(by_seed, per_seed)
    ]
    (what,) = diverged.with_scores([{"per_seed": known, "died": {}}])
    return {**what, "episodes": EPISODES}
