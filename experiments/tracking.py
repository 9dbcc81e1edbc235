"""Runs in TensorBoard, Weights & Biases and the CSV file: agents, settings, and statistics over seeds."""

import dataclasses
import logging
import re
from pathlib import Path
from typing import Any

from jaxrl import decode, fields, logger
from jaxrl.experiments import labels


@dataclasses.dataclass
class Options:
    """The options of a command that trains which do not affect what is computed."""

    save_every_seconds: float = 10.0  # minimum time between checkpoints; 0: one per interval
    csv: bool = False  # also write metrics.csv: a line per interval and agent
    tensorboard: bool = False  # also write TensorBoard files: a run per agent
    wandb: bool = False  # also log to Weights & Biases: a run per agent
    wandb_project: str = "jaxrl"  # project in Weights & Biases
    wandb_entity: str = ""  # user or team in Weights & Biases; otherwise the default one
    wandb_group: str = ""  # group of the runs; otherwise the name of the folder
    wandb_tags: tuple[str, ...] = ()  # tags of the runs
    tracked_runs: int = 64  # maximum number of tracked runs: statistics over seeds first, then agents
    compile_cache: bool = True  # cache compiled programs for later starts


def chosen(options: Any) -> dict[str, Any]:
    """The values of `Options` among all options of a command. Raises ValueError for an invalid one."""
    if not options.save_every_seconds >= 0:
        raise ValueError(f"save_every_seconds = {options.save_every_seconds} must be 0 or more")
    return {field.name: getattr(options, field.name) for field in dataclasses.fields(Options)}


def series(spec: Any, agents: list[dict[str, int]], most: int) -> list[logger.Series]:
    """The runs in TensorBoard and Weights & Biases: statistics over the seeds of each trial, and each agent.

    Args:
      spec: a `runs.Spec`, or that of a discovery.
      agents: see `agents_of`.
      most: maximum number, all statistics first; a warning reports how many agents are left out.
    """
    shown = []
    for start in range(0, len(agents), spec.seeds) if spec.seeds > 1 else ():
        trial = {what: number for what, number in agents[start].items() if what != "seed"}
        shown.append((_name(trial, "iqm"), "iqm", tuple(range(start, start + spec.seeds)), trial))
    shown += [(_name(agent), "agent", (lane,), agent) for lane, agent in enumerate(agents)]
    left_out = sum(kind == "agent" for _, kind, _, _ in shown[most:])
    if left_out:
        logging.getLogger("jaxrl").warning(
            "TensorBoard and Weights & Biases show %d runs; %d of %d agents have none: see --tracked-runs",
            *(most, left_out, len(agents)),
        )
    return [
        logger.Series(name, kind, lanes, identity | settings(spec, lanes[0]), _label(spec, lanes[0]))
        for name, kind, lanes, identity in shown[:most]
    ]


def _name(identity: dict[str, int], *more: str) -> str:
    return "-".join([*(f"{what}-{number}" for what, number in identity.items()), *more])


def _label(spec: Any, lane: int) -> str:
    """The values of the trial of an agent; "" without trials."""
    trials = getattr(spec, "trials", ())
    return labels.label(trials[lane // spec.seeds]).replace("_", "-") if trials else ""


def agents_of(path: Path, spec: Any) -> list[dict[str, int]]:
    """The identification of each agent of a run: its seed, and in a sweep the number of its trial.

    A search on the device trains several trials in a lane, in succession: there it is a slot.
    """
    seeds = [int(seed) for seed in spec.lane_seeds[: spec.agents]]
    if getattr(spec, "search", None):
        return [{"slot": lane // spec.seeds, "seed": seed} for lane, seed in enumerate(seeds)]
    if getattr(spec, "trials", ()):
        first = trial_numbers(path, len(spec.trials))
        return [{"trial": first[lane // spec.seeds], "seed": seed} for lane, seed in enumerate(seeds)]
    return [{"seed": seed} for seed in seeds]


@dataclasses.dataclass(frozen=True)
class _Group:
    trials: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Sweep:
    """What is needed of `sweep.json`."""

    groups: tuple[_Group, ...]
    trials: tuple[Any, ...] = ()


def trial_numbers(path: Path, count: int) -> list[int]:
    """The numbers of a run's trials in its sweep, as in `results.jsonl`."""
    group = re.fullmatch(r"group-(\d+)", path.name)
    if not group or not in_sweep(path):
        return list(range(count))
    sweep = decode.read_json(path.parent / "sweep.json", _Sweep)
    number, groups = int(group[1]) - 1, sweep.groups
    if number < len(groups):
        return list(groups[number].trials)
    begin = len(sweep.trials) + (number - len(groups)) * count  # a batch from Optuna
    return list(range(begin, begin + count))


def in_sweep(path: Path) -> bool:
    """Whether a run is a part of a sweep."""
    return (path.parent / "sweep.json").is_file()


def settings(spec: Any, lane: int) -> dict[str, int | float | str | bool]:
    """The settings of an agent, including the values of its trial, by dotted names: `hp.gamma`.

    In a search on the device, hyperparameters that it varies are left out: a lane has several values of each.
    """
    if not hasattr(spec, "hparams"):  # a discovery
        return _plain(fields.flatten(spec), ("seed", "seeds"))
    trial = spec.trials[lane // spec.seeds] if spec.trials else {}
    varied = {name: value for name, value in trial.items() if not name.startswith("env.")}
    searched = [f"hp.{axis['flag'].removeprefix('--hp.').replace('-', '_')}" for axis in _axes(spec)]
    parts = {
        "": {name: getattr(spec, name) for name in ("algorithm", "environment", "objective", "steps")},
        "hp.": fields.flatten(fields.replace(spec.hparams, varied)),
        "config.": fields.flatten(spec.config),
        "env.": spec.env_of(lane),
    }
    named = {prefix + name: value for prefix, part in parts.items() for name, value in part.items()}
    values = _plain(named, ("hp.total_updates", *searched))  # total_updates follows from steps
    return values | {f"hp.{name}": value for name, value in varied.items()}


def _axes(spec: Any) -> list[dict[str, Any]]:
    return spec.search["axes"] if spec.search else []


def _plain(values: dict[str, Any], without: tuple[str, ...]) -> dict[str, int | float | str | bool]:
    """Only numbers and words, sizes as `64x64`; arrays, such as weights, are left out."""
    plain = {}
    for name, value in values.items():
        if isinstance(value, tuple) and all(isinstance(x, int | float | str) for x in value):
            value = "x".join(map(str, value))
        in_array = name.rpartition(".")[2].isdigit()
        if isinstance(value, int | float | str) and value != "" and name not in without and not in_array:
            plain[name] = value
    return plain


def label(path: Path) -> str:
    """The label of a run: the name of its folder, preceded by that of its sweep if it is a part of one."""
    path = path.absolute()
    return f"{path.parent.name}-{path.name}" if in_sweep(path) else path.name


def group(path: Path) -> str:
    """The group of its runs in Weights & Biases: the name of its folder, or of that of its sweep."""
    path = path.absolute()
    return path.parent.name if in_sweep(path) else path.name


def unique(path: Path, started: str) -> str:
    """The prefix of its ids in Weights & Biases. The name alone would continue another run with that name."""
    name = re.sub(r"[^\w.-]", "-", label(path))[-80:]  # other characters are invalid, and more than 128
    return f"{name}-{''.join(filter(str.isdigit, started))}"
