"""What is compared: methods, which are objectives with settings, and the programs that train them.

A program trains many methods at once: their objectives are the parts of one mixture, whose weights in every
lane are one-hot.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl import fields, sources
from jaxrl.experiments import runs, search
from jaxrl.experiments.studies import sweep as sweeps
from jaxrl.types import Objective

BASELINE = "ppo"
SEARCHES = ("sobol", "random", "asha")

# The axes for every objective, around the preset: annealing and the entropy bonus with these values and the
# preset's, the learning rate smaller and larger by up to this factor.
VALUES = {"lr_decay": (0.0, 1.0), "ent_coef": (0.0, 0.001, 0.003, 0.01, 0.03)}
WIDTH = 5.0

# Ranges of the parameters of objectives; for others, smaller and larger by up to a factor of four.
RANGES = {
    "clip_eps": "log:0.05:0.8",
    "clip_eps_low": "log:0.05:0.8",
    "clip_eps_high": "log:0.05:0.8",
    "dual_clip": "log:1.5:6",
    "slope": "log:0.03:3",
    "coef": "log:0.1:10",
    "anneal": "0.0,1.0",
}


class Method(NamedTuple):
    """An objective, and the hyperparameters `values` that replace those of the preset.

    Those of the objective are called `objective.NAME`. `own` is true if they were tuned for it; `algorithm`
    is one other than PPO, by name or as a file.
    """

    objective: str
    values: dict[str, float]
    own: bool = False
    algorithm: str = BASELINE

    @property
    def name(self) -> str:
        if self.algorithm != BASELINE:
            return sources.shown(self.algorithm) + ".py" * sources.is_name(self.algorithm)
        tuned = " (tuned)" if self.objective == BASELINE else " (own tuning)"
        name = Path(self.objective).stem if runs.is_file(self.objective) else sources.shown(self.objective)
        return name + (tuned if self.own else "")


class Program(NamedTuple):
    """A run whose trials are methods, in this order; for a search, one method represents the objective."""

    folder: str
    spec: runs.Spec
    methods: tuple[Method, ...]


def require_names(names: list[str]) -> None:
    """Raises ValueError for unknown or duplicate objectives."""
    for name in names:
        if runs.is_mixture(name):
            raise ValueError(f"{name} is a mixture: give its objectives separately")
        if names.count(name) > 1:
            raise ValueError(f"objective {name} is given twice")
        runs.objective_given(name)
    files = [Path(name).name for name in names if runs.is_file(name)]
    if len(set(files)) < len(files):
        raise ValueError(f"two of the files {', '.join(files)} have the same name: rename one of them")


def axes(spec: runs.Spec, objective: str) -> list[sweeps.Axis]:
    """The axes of the tuning of an objective, around the hyperparameters of `spec`."""
    rate = spec.hparams.learning_rate
    tuned_axes = [sweeps.axis("--hp.learning-rate", f"log:{rate / WIDTH!r}:{rate * WIDTH!r}")]
    for name, values in VALUES.items():
        known = sorted({*values, float(getattr(spec.hparams, name))})
        tuned_axes.append(sweeps.axis(f"--hp.{name.replace('_', '-')}", ",".join(map(repr, known))))
    for name, value in _parameters(objective).items():
        text = RANGES.get(name, f"log:{value / 4!r}:{value * 4!r}" if value > 0 else "")
        if text:
            tuned_axes.append(sweeps.axis(f"--hp.objective.{name.replace('_', '-')}", text))
    return tuned_axes


def _parameters(objective: str) -> dict[str, float]:
    """The scalar parameters of an objective, which can be tuned."""
    return fields.numbers(runs.objective(objective).params)


def shares(
    spec: runs.Spec, objective: str, tuned_axes: list[sweeps.Axis], kind: str, trials: int
) -> np.ndarray:
    """The positions of the trials along the axes `[T, D]`; the first is the preset with defaults."""
    start = fields.numbers(with_objective(spec, objective).hparams)
    centre = np.array([[_share(one, start[one.name]) for one in tuned_axes]])
    drawn = sweeps.draw(tuned_axes, "random" if kind == "random" else "sobol", trials - 1, spec.seed)
    return np.concatenate([centre, drawn])


def _share(one: sweeps.Axis, value: float) -> float:
    """The position of a value along an axis: the inverse of `Axis.at`."""
    if one.values:
        return ([search.as_number(one.flag, x) for x in one.values].index(value) + 0.5) / len(one.values)
    return math.log(value / one.low) / math.log(one.high / one.low)


def tuning(spec: runs.Spec, names: list[str], kind: str, trials: int, mixed: bool) -> list[Program]:
    """The programs that tune objectives, with `trials` of each; none if there is nothing to choose from.

    Args:
      spec: the preset, with the seeds of the tuning.
      mixed: all in one program. A search that decides during training (asha) has one for each.
    """
    if trials < 2:
        return []
    if kind == "asha":
        options = sweeps.options_of(kind, {})
        groups = []
        for name in names:
            with_name = with_objective(spec, name)
            tuned_axes = axes(spec, name)
            drawn = shares(spec, name, tuned_axes, kind, trials)
            groups.append(sweeps.searched(kind, tuned_axes, drawn, with_name, options).spec)
        pairs = zip(names, groups, strict=True)
        return [Program(f"tune-{i}", one, (Method(name, {}),)) for i, (name, one) in enumerate(pairs, 1)]
    methods = []
    for name in names:
        tuned_axes = axes(spec, name)
        for values in sweeps.values_at(tuned_axes, shares(spec, name, tuned_axes, kind, trials)):
            methods.append(
                Method(name, {one.name: search.as_number(one.flag, x) for one, x in zip(tuned_axes, values)})
            )
    return packed(spec, methods, "tune", mixed)


def packed(spec: runs.Spec, methods: list[Method], folder: str, mixed: bool) -> list[Program]:
    """Methods as trials: of one mixture, or, without `mixed`, of a program for each objective."""
    names = list(dict.fromkeys(one.objective for one in methods))
    if mixed or len(names) == 1:
        return [Program(folder, _together(spec, names, methods), tuple(methods))]
    groups = [[one for one in methods if one.objective == name] for name in names]
    return [
        Program(f"{folder}-{i}", _together(spec, [name], group), tuple(group))
        for i, (name, group) in enumerate(zip(names, groups), 1)
    ]


def with_objective(spec: runs.Spec, name: str) -> runs.Spec:
    """The same run with another objective, with its published parameters."""
    return _with(spec, *runs.objective_given(name))


def _with(spec: runs.Spec, name: str, objective: Objective) -> runs.Spec:
    hparams = spec.hparams.replace(objective=objective.params)
    return dataclasses.replace(spec, objective=name, hparams=hparams)


def _together(spec: runs.Spec, names: list[str], methods: list[Method]) -> runs.Spec:
    """A run whose trials are the methods, all with objectives in `names`."""
    trials = [_trial(one, names) for one in methods]
    return dataclasses.replace(_with(spec, *runs.together(names)), trials=tuple(trials))


def _trial(method: Method, names: list[str]) -> dict[str, float]:
    """A method as a trial of the mixture of all `names`: a row of weights, and the parameters of its part."""
    if len(names) == 1:
        return dict(method.values)
    position = names.index(method.objective)
    weights = {f"objective.weights.{i}": float(i == position) for i in range(len(names))}
    return weights | {
        name.replace("objective.", f"objective.parts.{position}."): value
        for name, value in method.values.items()
    }


def reported(
    names: list[str], best: dict[str, dict[str, float]], tuned: bool, own_tuning: bool
) -> list[Method]:
    """The methods that are trained on the reported seeds.

    The baseline as tuned, or its preset; every other objective with its published parameters and the
    baseline's other settings; and, with `own_tuning`, also with the settings from its own tuning.

    Args:
      best: the best values for each objective that was tuned, and always for the baseline.
    """
    of_all = {name: value for name, value in best[BASELINE].items() if not name.startswith("objective.")}
    methods = [Method(BASELINE, best[BASELINE], own=tuned)]
    for name in names:
        if name != BASELINE:
            methods.append(Method(name, of_all))
            if tuned and own_tuning:
                methods.append(Method(name, best[name], own=True))
    return methods


def rivals(specs: list[runs.Spec], best: dict[str, float]) -> list[Program]:
    """A program for each other algorithm, on the reported seeds.

    A file, as a variant of PPO, uses the settings chosen for the baseline, if it has such hyperparameters; an
    algorithm with its own presets keeps them.
    """
    programs = []
    for number, spec in enumerate(specs, 1):
        values = best if sources.is_name(spec.algorithm) else {}
        known = fields.numbers(spec.hparams)
        values = {name: value for name, value in values.items() if name in known}
        with_values = dataclasses.replace(spec, trials=(values,) if values else ())
        method = Method(spec.objective, values, algorithm=spec.algorithm)
        programs.append(Program(f"algorithm-{number}", with_values, (method,)))
    return programs


def outcomes(path: Any, program: Program) -> list[dict[str, Any]]:
    """The outcomes of the trials of a program, in their order: objective, values, returns by seed.

    For a search, sorted by length of training, then by score.
    """
    if program.spec.search:
        trials = sweeps.searched_outcome(path)
        for one in trials:
            named = {_name(flag): float(text) for flag, text in one["values"].items()}
            one |= {"objective": program.methods[0].objective, "values": named}
        return trials
    pairs = zip(program.methods, sweeps.outcome(path, program.spec), strict=True)
    return [{"objective": one.objective, "values": one.values, **what} for one, what in pairs]


def _name(flag: str) -> str:
    return sweeps.Axis(flag).name


def best_of(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """The trial with the best score; the first one of equal trials, so the preset unless another is better.

    Raises:
      ValueError: no trial has a score, since in each at least half of the agents diverged.
    """
    known = [one for one in trials if one["score"] is not None]
    if not known:
        name = trials[0]["objective"]
        raise ValueError(
            f"tuning {name}: in every trial at least half of the agents diverged; give a lower "
            "--hp.learning-rate"
        )
    return max(known, key=lambda one: (one.get("steps", 0), one["score"]))
