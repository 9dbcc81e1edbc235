"""Sweeps: trials of hyperparameters, each with several seeds, in as few programs as their shapes allow.

A sweep is a folder of ordinary runs. Trials that differ only in traced hyperparameters are lanes of one run
(a group); trials that need another program (config, environment, objective) are in another group. Therefore
a sweep that is stopped or killed can be resumed like a run, with bitwise the same results.

    sweep/
      sweep.json       the trials: written once, before training
      group-1/ ...     runs, see `runs`; confirm/ is the best trial with seeds that no trial has used
      results.jsonl    a line for each trial, best first, and one for the confirmation
"""

import contextlib
import dataclasses
import itertools
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl import envs, files, hosts, loop, records, sources
from jaxrl.experiments import diverged, folders, one_trial, runs, search
from jaxrl.experiments.runs import planning, training
from jaxrl.experiments.runs.searches import searched_outcome
from jaxrl.experiments.runs.trial import alone
from jaxrl.experiments.search import TRACED, Axis
from jaxrl.statistics import iqm

SEARCHES = ("auto", "grid", "random", "sobol", *search.KINDS, "optuna")
STATIC = ("--config.", "--env.", "--objective")


def axis(flag: str, text: str) -> Axis:
    """`0.9,0.95,0.99` are values, `0:1` is a range, `log:1e-4:1e-2` a logarithmic one, and `log:1e-4:1e-2:5`
    five values of it, ends included.

    Raises:
      ValueError: it is none of these, or empty.
    """
    if ":" not in text or flag == "--objective":  # a colon names a function in a file
        values = tuple(text.split(","))
        if not all(values) or len(set(values)) < len(values):
            raise ValueError(f"{flag} {text}: a value is missing or given twice")
        for value in values if flag.startswith(TRACED) else ():
            _number_of(flag, value)
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
        raise ValueError(f"{flag} {text} is not a range: write LOW:HIGH, log:LOW:HIGH or log:LOW:HIGH:COUNT")
    if not low < high or (log and low <= 0):
        limit = "0 < LOW < HIGH" if log else "LOW < HIGH"
        raise ValueError(f"{flag} {text} is an empty range: it needs {limit}")
    if len(parts) < 3:
        return Axis(flag, (), low, high, log)
    if count < 2:
        raise ValueError(f"{flag} {text}: a range of values needs at least 2 of them")
    values = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return Axis(flag, tuple(map(repr, values.tolist())))


def _number_of(flag: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        return float(text)
    raise ValueError(f"{flag} takes numbers, not {text!r}")


def axes_of(argv: list[str]) -> tuple[list[Axis], list[str]]:
    """The axes among the words of a command, and the remaining words.

    Raises:
      ValueError: a range for an option that takes only values, or an option that is given twice.
    """
    axes, rest = [], []
    words = [part for word in argv for part in (word.split("=", 1) if _option(word) else [word])]
    position = 0
    while position < len(words):
        word = words[position]
        value = words[position + 1] if position + 1 < len(words) else ""
        if _option(word) and re.search("," if word == "--objective" else "[,:]", value):
            axes.append(axis(word.replace("_", "-"), value))
            position += 2
            continue
        rest.append(word)
        position += 1
    for one in axes:
        if not one.values and not one.flag.startswith((TRACED, "--env.")):
            raise ValueError(f"{one.flag} needs values, not a range: {one.flag} A,B,C")
        if sum(other.flag == one.flag for other in axes) > 1 or one.flag in rest:
            raise ValueError(f"{one.flag} is given twice")
    return axes, rest


def _option(word: str) -> bool:
    return word.startswith((TRACED, *STATIC))


def in_lanes(axes: list[Axis], spec: runs.Spec) -> list[Axis]:
    """The axes; marks those that can be lanes of one program although they are not hyperparameters.

    Raises:
      ValueError: a range for an option that takes only values, or a range with an invalid end.
    """
    marked = []
    for one in axes:
        if one.flag.startswith("--env."):
            name = one.name.removeprefix("env.")
            number = isinstance(envs.REGISTRY[spec.environment].params().get(name), float)
            if number and runs.can_trace(spec, name, float(one.at(0.0))):
                one = one._replace(lanes=True)
                for text in one.values or (one.at(0.0), one.at(1.0)):
                    envs.make(spec.environment, **{**spec.env, name: _number_of(one.flag, text)})
        if not one.traced and not one.values:
            raise ValueError(f"{one.flag} needs values, not a range: {one.flag} A,B,C")
        marked.append(one)
    return marked


def resolved(axes: list[Axis], kind: str, trials: int) -> str:
    """The kind of search; "auto" is the grid if there is one and no number of trials is given."""
    grid = all(one.values for one in axes) and not trials
    return ("grid" if grid else "sobol") if kind == "auto" else kind


def draw(axes: list[Axis], kind: str, trials: int, seed: int) -> np.ndarray:
    """The position of each trial along the axes: `[T, D]` in [0, 1), for `Axis.at`.

    Args:
      kind: "grid" takes all combinations; "random" samples uniformly; "sobol" is a scrambled Sobol sequence
        (Sobol 1967). A search starts with the same sequence; on the device, in random order.
      trials: number of trials; 0 for a grid.

    Raises:
      ValueError: the search does not fit the axes or the number.
    """
    ranges = [one.flag for one in axes if not one.values]
    device, named = kind in search.KINDS, kind
    if kind in ("asha", "optuna"):
        kind = resolved(axes, "auto", trials)
    if kind == "grid":
        if ranges:
            raise ValueError(f"a grid needs values: give {ranges[0]} as A,B,C or LOW:HIGH:COUNT")
        if trials:
            raise ValueError("a grid has as many trials as combinations: leave --trials out")
        sides = [(np.arange(len(one.values)) + 0.5) / len(one.values) for one in axes]
        shares = np.array(list(itertools.product(*sides)))
        return np.random.default_rng(seed).permutation(shares) if device else shares
    if trials < 1:
        raise ValueError(f"--search {named} needs --trials, at least 1")
    if kind == "random":
        return np.random.default_rng(seed).random((trials, len(axes)))
    from scipy.stats import qmc

    with warnings.catch_warnings():  # SciPy warns unless the number is a power of two
        warnings.simplefilter("ignore", UserWarning)
        return qmc.Sobol(len(axes), seed=seed).random(trials)


def values_at(axes: list[Axis], shares: np.ndarray) -> list[tuple[str, ...]]:
    """The values of the trials at the positions from `draw`."""
    return [tuple(one.at(share) for one, share in zip(axes, row)) for row in shares]


class Group(NamedTuple):
    """The trials in one program: its Spec, and the numbers of its trials, in the order of the lanes."""

    spec: runs.Spec
    trials: tuple[int, ...]


def words_for(axes: list[Axis], values: tuple[str, ...]) -> list[str]:
    """The values of a trial as words of a command; `64x64` is written as two."""
    return [w for one, value in zip(axes, values) for w in (one.flag, *_words(one, value))]


def _words(one: Axis, value: str) -> list[str]:
    sizes = one.flag.startswith("--config.") and re.fullmatch(r"\d+(x\d+)+", value)
    return value.split("x") if sizes else [value]


def grouped(axes: list[Axis], trials: list[tuple[str, ...]], spec_of) -> list[Group]:
    """Groups of trials with the same static values, in the order of their first trials.

    Args:
      spec_of: `(words) -> Spec`: the Spec of the command with these values.
    """
    members: dict[tuple[str, ...], list[int]] = {}
    for number, values in enumerate(trials):
        static = tuple(value for one, value in zip(axes, values) if not one.traced)
        members.setdefault(static, []).append(number)
    groups = []
    for numbers in members.values():
        spec = spec_of(words_for(axes, trials[numbers[0]]))
        traced = [
            {one.name: float(value) for one, value in zip(axes, trials[number]) if one.traced}
            for number in numbers
        ]
        groups.append(Group(dataclasses.replace(spec, trials=tuple(traced)), tuple(numbers)))
    return groups


# The options of each kind of search, with their defaults; None: depends on other values.
OPTIONS_OF: dict[str, dict[str, int | None]] = {
    "asha": {"slots": None, "eta": 4, "rungs": 3},
    "pbt": {"decisions": 19},
    "cmaes": {"generations": 10},
    "openes": {"generations": 10},
    "optuna": {"generations": 10},
}


def options_of(kind: str, typed: dict[str, int | None]) -> dict[str, int | None]:
    """The options of a search: those that were given, otherwise the defaults.

    Raises:
      ValueError: an option that this search does not have.
    """
    known = OPTIONS_OF.get(kind, {})
    for name, value in typed.items():
        if value is not None and name not in known:
            users = [other for other, its in OPTIONS_OF.items() if name in its]
            raise ValueError(f"--{name} is for --search {' or '.join(users)}, not for {kind}: leave it out")
    return {name: default if typed[name] is None else typed[name] for name, default in known.items()}


def require_sense(axes: list[Axis], spec: runs.Spec) -> None:
    """Raises ValueError for a value of an axis, or an end of its range, that is invalid."""
    for one in axes:
        for text in one.values or (one.at(0.0), one.at(1.0)):
            runs.check_numbers(dataclasses.replace(spec, trials=({one.name: float(text)},)))


def searched(kind: str, axes: list[Axis], shares: np.ndarray, spec: runs.Spec, options) -> Group:
    """A search on the device as one group: the initial values of its slots, and its options.

    Args:
      options: of the search, as returned by `options_of`.

    Raises:
      ValueError: an axis that is not traced, or invalid numbers.
    """
    for one in axes:
        if not one.flag.startswith(TRACED):
            raise ValueError(f"--search {kind} varies {TRACED}* options only, not {one.flag}")
    trials = len(shares)
    slots = trials
    if kind == "asha":
        slots = max(1, trials // 8) if options["slots"] is None else options["slots"]
    chosen = {
        "kind": kind,
        "axes": [search.plain(one) for one in axes],
        "x": np.asarray(shares, np.float32).tolist(),
        "slots": slots,
    }
    require_sense(axes, spec)
    chosen |= {name: options[name] for name in OPTIONS_OF[kind] if name != "slots"}
    return Group(dataclasses.replace(spec, search=chosen), tuple(range(trials)))


def with_chunk(group: Group) -> Group:
    """The group with the fastest number of agents at a time, if it runs long enough to measure that."""
    chunk = planning.choose_chunk(group.spec)
    return group._replace(spec=dataclasses.replace(group.spec, chunk=chunk))


# --- the folder ----------------------------------------------------------------------------------


def create_folder(
    path: Path, axes, kind: str, trials, groups: list[Group], options: dict, command: list[str]
) -> None:
    """Writes `sweep.json`; `kind` is the search. ValueError if the folder is in use or not writable."""
    info = {
        "command": command,
        "axes": [search.plain(one) for one in axes],
        "search": kind,
        "trials": [list(values) for values in trials],
        "groups": [{"spec": group.spec.to_json(), "trials": list(group.trials)} for group in groups],
        "options": options,
        **runs.provenance(),
    }
    with folders.new(path, "sweep.json"):
        info |= {"sources": kept} if (kept := sources.keep(path, info["groups"])) else {}
        files.create(path / "sweep.json", json.dumps(info, indent=1, allow_nan=False) + "\n")


def is_sweep(path: Path) -> bool:
    return (path / "sweep.json").is_file()


def read(path: Path) -> tuple[dict[str, Any], list[Group]]:
    """The content of `sweep.json`. Raises ValueError if it cannot be read."""
    try:
        info = json.loads((path / "sweep.json").read_text())
        sources.remember(path, info.get("sources", {}))
        groups = [Group(runs.from_json(g["spec"]), tuple(g["trials"])) for g in info["groups"]]
        info["options"]["confirm_seeds"], info["options"]["batches"], info["trials"], info["search"]
        info["axes"] = list(map(search.from_plain, info["axes"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path / 'sweep.json'} was edited, or written by another version of jaxrl ({error})"
        ) from None
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path / 'sweep.json'} cannot be read: {error}") from None
    for number in range(2, info["options"]["batches"] + 1):  # those that have been requested so far
        folder = path / f"group-{number}"
        if not (folder / "run.json").exists():
            break
        groups.append(_batch(info, runs.from_json(runs.read_info(folder)["spec"])))
    return info, groups


def _batch(info: dict[str, Any], spec: runs.Spec) -> Group:
    """The next batch of an Optuna search as a group; its trials are added to `info`."""
    known = info["trials"]
    values = [[repr(trial[one.name]) for one in info["axes"]] for trial in spec.trials]
    numbers = tuple(range(len(known), len(known) + len(values)))
    known += values
    return Group(spec, numbers)


def next_batch(path: Path) -> Group | None:
    """Optuna's next batch after all previous ones; None if no batch is left."""
    info, groups = read(path)
    if len(groups) >= info["options"]["batches"]:
        return None
    first = groups[0].spec
    by_trial = sorted(results(path), key=lambda one: one["trial"])
    tried = [(one["values"], one["score"]) for one in by_trial]
    asked = search.ask(info["axes"], tried, len(first.trials), first.seed)
    trials = tuple({one.name: float(values[one.flag]) for one in info["axes"]} for values in asked)
    return _batch(info, dataclasses.replace(first, trials=trials))


# --- results --------------------------------------------------------------------------------------


def outcome(path: Path, spec: runs.Spec, training: bool = False) -> list[dict[str, Any]]:
    """The outcome of each trial of a run, from its last row of metrics: returns by seed, diverged agents.

    Scores depend on all trials that are shown: see `diverged.with_scores`.

    Args:
      training: use the returns of training even if there were evaluations, as a search does.
    """
    last, lost = records.outcome(path)
    returns = (not training and last.get("evaluation/return")) or last.get("episode/return")
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
    kind = (spec.search or {}).get("kind")
    if kind == "pbt":
        return None
    values = one_trial.values_of(path / f"group-{best['group']}", spec, best)
    return confirming(alone(spec, values), seeds)


def confirming(spec: runs.Spec, seeds: int) -> runs.Spec:
    """The run that trains one trial of a group again, with the hyperparameters of the group's Spec."""
    return dataclasses.replace(
        spec, trials=(), search=None, chunk=0, shard="agents", seed=spec.seed + spec.seeds, seeds=seeds
    )


def write_results(path: Path) -> list[dict[str, Any]]:
    """Writes `results.jsonl`; returns its lines. All processes must call it."""
    lines = results(path)
    again = confirmation(path)
    groups = read(path)[1]
    kind = (groups[0].spec.search or {}).get("kind")
    if again:
        what = outcome(path / "confirm", again, training=kind in search.KINDS)
        (what,) = diverged.with_scores(what, among=lines)
        # For an evolution strategy, the mean was trained again, not one of its candidates.
        lines.append({"confirms": None if kind in search.METHODS else lines[0]["trial"], **what})
    if kind == "pbt":
        lines.append({"confirms": "members", **evaluated_again(path / "group-1", lines)})
    text = "".join(json.dumps(one, allow_nan=False) + "\n" for one in lines)

    def write():
        files.replace(path / "results.jsonl", text)
        one_trial.record_best(path, len(groups))

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


def table(path: Path, most: int = 10) -> str:
    """The best trials, the diverged agents and the result of the confirmation, as text."""
    info, groups = read(path)
    ranked = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    again = ranked.pop() if "confirms" in ranked[-1] else None
    spec = groups[0].spec
    names = [one.flag.removeprefix("--") for one in info["axes"]]
    head = ["trial", *names, "score", "95 % interval"]
    searched = "steps" in ranked[0]
    rows = [
        [str(one["trial"]), *map(_short, one["values"].values()), _number(one["score"]), _ends(one)]
        + ([f"{one['steps']:,}"] if searched else [])
        for one in ranked[:most]
    ]
    head += ["steps"] if searched else []
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in (head, *rows)]
    if len(ranked) > most:
        lines.append(f"... and {len(ranked) - most} more in {path / 'results.jsonl'}")
    lines.append(_meaning(path, spec, len(ranked)))
    for one in ranked:
        for agent, step in one["died"].items():
            who = f"trial {one['trial']}, seed {agent}"
            lines.append(f"{who}: diverged at step {step:,} and counts as the worst agent of all trials")
    if again:
        lines.append(_confirmation_text(ranked, again))
    return "\n".join(lines)


def _meaning(path: Path, spec: runs.Spec, trials: int) -> str:
    """The definition of the score, and the cost of a search."""
    if not spec.search:
        return f"score: interquartile mean over {spec.seeds} seeds of the last return"
    spent = json.loads((path / "group-1" / "search.json").read_text())["steps"]
    if spec.search["kind"] == "pbt":
        return (
            f"trial: the best of {spec.slots} members of each of {spec.seeds} populations, with what it had "
            f"at the end; score: its last return; {spent:,} steps in all"
        )
    full = spec.steps * spec.seeds * trials
    return (
        f"score: interquartile mean over {spec.seeds} seeds of the return where a trial ended; "
        f"{spent:,} steps in all, {100 * spent / full:.0f} % of training every trial to its end"
    )


def _confirmation_text(ranked, again) -> str:
    """The result of the winner with new seeds or episodes."""
    value, ends = _number(again["score"]), _ends(again)
    count = len(again["per_seed"])
    if again["confirms"] is None:
        return f"the mean of the last generation, trained with {count} new seeds: {value} ({ends})"
    if again["confirms"] == "members":
        known = [one["score"] for one in ranked if one["score"] is not None]
        chosen = _number(float(iqm(known)) if known else None)
        # No difference is shown: members are selected by their returns with exploration.
        winners = f"the winners in {EPISODES} fresh episodes each: {value} ({ends})"
        return f"{winners}; chosen by training returns of {chosen}"
    lost = ranked[0]["score"] - again["score"] if again["score"] is not None else None
    line = f"trial {again['confirms']} again with {count} new seeds: {value} ({ends})"
    return f"{line}, {_number(lost)} less than as best of {len(ranked)}"


def _short(text: str) -> str:
    try:
        return text if len(text) < 8 else f"{float(text):.4g}"
    except ValueError:
        return text


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _ends(one: dict[str, Any]) -> str:
    return "–" if one["interval"] is None else " to ".join(map(_number, one["interval"]))


def carry_on(path: Path) -> int:
    """Continues a sweep from the state of its folder: its groups, the confirmation, the table."""
    info, groups = read(path)
    options = {name: value for name, value in info["options"].items() if name in runs.OPTIONS}

    def done(folder: Path, spec) -> int:
        made = hosts.by_leader((folder / "run.json").exists)
        return training.carry_on(folder, spec, options, None if made else info["command"], whole=path)

    for number in itertools.count(1):
        group = groups[number - 1] if number <= len(groups) else next_batch(path)
        if group is None:
            break
        if status := done(path / f"group-{number}", group.spec):
            return status
    again = hosts.by_leader(lambda: (best := confirmation(path)) and best.to_json())
    if again and (status := done(path / "confirm", runs.from_json(again))):
        return status
    write_results(path)
    if hosts.leads():
        print(table(path))
    return 0
