"""The stages of an experiment of meta-learning, from the state of its folder."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

from jaxrl import decode
from jaxrl.experiments import folders, runs
from jaxrl.experiments.studies import Study, study, without
from jaxrl.experiments.studies.meta import tune, two_colours
from jaxrl.experiments.studies.parts import Part
from jaxrl.experiments.verdict import Verdict, screen
from jaxrl.files import quoted

MARK, RESULT = "meta.json", "result.json"
EXPERIMENTS: dict[str, Any] = {"tune": tune, "two-colours": two_colours}  # modules, see `tune`


@dataclasses.dataclass(frozen=True)
class Plan:
    """The content of `meta.json`: an experiment and what its `prepare` returned."""

    experiment: Literal["tune", "two-colours"]
    settings: dict[str, Any]
    objective: Any
    command: tuple[str, ...]


def carry_on(path: Path) -> int:
    """Continues an experiment from the state of its folder, and prints the result."""
    plan, _ = study.read(path, MARK, Plan)
    module = EXPERIMENTS[plan.experiment]
    options = decode.decode(plan.settings, module.Options, path / MARK)
    with folders.claim(path):
        try:
            if not (path / RESULT).is_file() and not _measure(path, plan, module, options):
                print(f"stopped; continue with: jaxrl resume {quoted(path)}")
                return 130
        except KeyboardInterrupt:
            print(f"jaxrl: interrupted; continue with: jaxrl resume {quoted(path)}", file=sys.stderr)
            return 130
    print(screen(verdict(path)))
    print(f"records in {path / RESULT}")
    return 0


def _measure(path: Path, plan: Plan, module: Any, options: Any) -> bool:
    """Writes the result. Returns False if the experiment was interrupted."""
    result = module.measure(path, options, plan.objective)
    if result is None:
        return False
    facts = {"experiment": plan.experiment, "settings": plan.settings, **runs.provenance(), **result}
    study.once(path / RESULT, module.Result, lambda: facts)
    return True


def verdict(path: Path) -> Verdict:
    """The result of a complete experiment."""
    module = EXPERIMENTS[study.read(path, MARK, Plan)[0].experiment]
    return module.verdict(study.result(path, RESULT, module.Result))


def curves(path: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The returns of the agents of each meta-learner, which only `tune` has."""
    if study.read(path, MARK, Plan)[0].experiment != "tune":
        raise without(path, "returns")
    return [(path.name, rows) for _, rows in runs.curves_of(path / tune.LEARNING)]


def parts(path: Path) -> list[Part]:
    """The parts of the experiment, and its result."""
    plan, _ = study.read(path, MARK, Plan)
    module = EXPERIMENTS[plan.experiment]
    options = decode.decode(plan.settings, module.Options, path / MARK)
    return [*module.parts(path, options), Part("result", path / RESULT)]


STUDY = Study(carry_on, verdict, curves, parts=parts)
