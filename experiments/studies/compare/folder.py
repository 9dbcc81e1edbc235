"""A comparison as a folder of ordinary runs, which can be stopped, killed and resumed like runs.

comparison/
  comparison.json        what is compared: written once, before training
  CartPole-v1/tune/ ...  runs, see `runs`: trials of the tuning, then the methods on other seeds
  CartPole-v1/report/
  results.jsonl          all unaggregated scores, with versions, device and command: see `table`
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from jaxrl import files, sources
from jaxrl.experiments import diverged, folders, runs, search
from jaxrl.experiments.studies import study
from jaxrl.experiments.studies import sweep as sweeps
from jaxrl.experiments.studies.compare import methods, table

MARK = "comparison.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
      specs: for each environment the preset as a run of the baseline, with the reported seeds; in the file as
        JSON, and so are `rivals`.
      objectives: their names, the baseline first.
      trials, tune_seeds, search: of the tuning; its seeds precede the reported ones.
      own_tuning: the other objectives are tuned as well, with as many trials.
      mixed: all objectives in one program per environment, instead of a program each.
      extra: options that do not affect what is computed.
      rivals: runs of other algorithms in the same environments, with the reported seeds.
    """

    specs: tuple[Any, ...]
    objectives: tuple[str, ...]
    trials: int
    tune_seeds: int
    search: Literal[methods.SEARCHES]
    own_tuning: bool
    mixed: bool
    command: tuple[str, ...]
    extra: dict[str, Any]
    rivals: tuple[Any, ...] = ()

    @property
    def tuned(self) -> list[str]:
        """The objectives that are tuned."""
        return list(self.objectives if self.own_tuning else self.objectives[:1])


def place(spec: runs.Spec) -> str:
    """The folder of an environment."""
    return sources.shown(spec.environment).replace("/", "-").replace(":", "-")


def tuning(plan: Plan, spec: runs.Spec) -> list[methods.Program]:
    """The programs that tune in an environment."""
    before = dataclasses.replace(spec, seed=spec.seed - plan.tune_seeds, seeds=plan.tune_seeds)
    return methods.tuning(before, plan.tuned, plan.search, plan.trials, plan.mixed)


def best_of(plan: Plan, path: Path, spec: runs.Spec) -> dict[str, dict[str, Any]]:
    """For each objective that was tuned in an environment, its best trial, and the trials it was chosen from.

    If nothing was tuned, it is the preset.
    """
    outcomes = []
    for program in tuning(plan, spec):
        outcomes += methods.outcomes(path / place(spec) / program.folder, program)
    if not outcomes:
        return {name: {"values": preset(spec, name), "trials": []} for name in plan.tuned}
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in diverged.with_scores(outcomes):
        by_name.setdefault(one["objective"], []).append(one)
    return {name: {**methods.best_of(trials), "trials": trials} for name, trials in by_name.items()}


def preset(spec: runs.Spec, objective: str) -> dict[str, float]:
    """The values of the first trial of a tuning."""
    tuned_axes = methods.axes(spec, objective)
    (values,) = sweeps.values_at(tuned_axes, methods.shares(spec, objective, tuned_axes, "random", 2)[:1])
    return {one.name: search.as_number(one.flag, x) for one, x in zip(tuned_axes, values)}


def reporting(plan: Plan, spec: runs.Spec, best: dict[str, dict[str, Any]]) -> list[methods.Program]:
    """The programs whose agents are reported."""
    values = {name: one["values"] for name, one in best.items()}
    chosen = methods.reported(list(plan.objectives), values, plan.trials > 1, plan.own_tuning)
    others = [one for one in plan.rivals if one.environment == spec.environment]
    packed = methods.packed(spec, chosen, "report", plan.mixed)
    return [*packed, *methods.rivals(others, values[methods.BASELINE])]


def expected(plan: Plan, spec: runs.Spec) -> list[methods.Program]:
    """All programs of an environment, before tuning: as if the preset were the best trial."""
    best = {name: {"values": preset(spec, name)} for name in plan.tuned}
    return [*tuning(plan, spec), *reporting(plan, spec, best)]


def create(path: Path, plan: Plan) -> None:
    """Writes `comparison.json`. Raises ValueError if the folder is in use or cannot be written."""
    with study.new(path, MARK) as write:
        kept = {"objectives": tuple(_keep(path, name) for name in plan.objectives)}
        written = {
            name: tuple(spec.to_json() for spec in getattr(plan, name)) for name in ("specs", "rivals")
        }
        write(vars(plan) | kept | written)


def _keep(path: Path, name: str) -> str:
    """Copies an objective's file into the folder, as the original may change; other names are unchanged."""
    if not runs.is_file(name):
        return name
    file = _file_name(name)
    if file in (*folders.marks(), *folders.RECORDS):
        raise ValueError(f"{name} has the name of a file of the comparison: rename it")
    files.replace(path / file, Path(name).read_bytes())
    return file


def _kept(path: Path, name: str) -> str:
    """The path of an objective's copy in the folder's current place; other names are unchanged."""
    return str(path / _file_name(name)) if runs.is_file(name) else name


def _file_name(name: str) -> str:
    """The name of an objective's file, without folders; other names are unchanged."""
    return Path(name).name if runs.is_file(name) else sources.shown(name)


def read(path: Path) -> tuple[Plan, dict[str, Any]]:
    """The Plan in `comparison.json`, and its whole content. Raises ValueError if it cannot be read."""
    plan, info = study.read(path, MARK, Plan)
    specs, rivals = (tuple(map(runs.from_json, each)) for each in (plan.specs, plan.rivals))
    objectives = tuple(_kept(path, name) for name in plan.objectives)
    return dataclasses.replace(plan, specs=specs, rivals=rivals, objectives=objectives), info


def spec_of(folder: Path, program: methods.Program) -> runs.Spec:
    """The run of a program: as it was started, or with the fastest number of agents at a time.

    Raises:
      ValueError: it was started with other trials than this version of jaxrl would choose.
    """
    if (folder / "run.json").exists():
        kept = runs.from_json(runs.read_info(folder)["spec"])
        # An earlier version wrote the paths of files here.
        named = runs.is_file(kept.objective) or kept.objective == program.spec.objective
        if not named or kept.trials != program.spec.trials or kept.search != program.spec.search:
            raise ValueError(
                f"{folder} was edited, or started by a version of jaxrl that tries other settings: start "
                "again with another --out"
            )
        return kept
    return sweeps.with_chunk(sweeps.Group(program.spec, ())).spec


def remaining(path: Path, plan: Plan) -> Iterator[tuple[Path, methods.Program]]:
    """The programs, each after all previous ones have been trained to the end."""
    for spec in plan.specs:
        for program in tuning(plan, spec):
            yield path / place(spec) / program.folder, program
        for program in reporting(plan, spec, best_of(plan, path, spec)):
            yield path / place(spec) / program.folder, program


def write_results(path: Path) -> list[dict[str, Any]]:
    """Writes `results.jsonl` of a complete comparison; returns its lines."""
    plan, info = read(path)
    about = {name: info.get(name) for name in ("command", "versions", "device", "git_commit", "started")}
    lines = [{**about, "search": plan.search, "trials": plan.trials, "tune_seeds": plan.tune_seeds}]
    for spec in plan.specs:
        best = best_of(plan, path, spec)
        ran = {"environment": sources.shown(spec.environment), "steps": spec.steps, "first_seed": spec.seed}
        for program in reporting(plan, spec, best):
            trials = methods.outcomes(path / place(spec) / program.folder, program)
            for one, what in zip(program.methods, trials):
                kept = {"per_seed": what["per_seed"], "died": what["died"]}
                named = {"method": one.name, "objective": _file_name(one.objective)}
                if one.algorithm != methods.BASELINE:
                    named["algorithm"] = sources.shown(one.algorithm)
                lines.append({**named, "values": one.values, **ran, **kept})
        for name, chosen in best.items():
            for number, one in enumerate(chosen["trials"]):
                kept = {key: one[key] for key in ("values", "score", "steps", "per_seed") if key in one}
                where = sources.shown(spec.environment)
                tried = {"tuning": _file_name(name), "trial": number, "environment": where}
                lines.append({**tried, "first_seed": spec.seed - plan.tune_seeds, **kept})
    files.replace(path / "results.jsonl", "".join(table.line(one) for one in lines))
    return lines
