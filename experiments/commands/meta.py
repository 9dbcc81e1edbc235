"""`jaxrl meta EXPERIMENT`: the experiments of docs/meta.md."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxrl import sources
from jaxrl.compile_cache import enable_compile_cache
from jaxrl.experiments import options
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies.meta import study
from jaxrl.experiments.studies.study import new
from jaxrl.names import lookup
from jaxrl.train import use_cores


def options_of(name: str) -> type:
    """The options of `jaxrl meta EXPERIMENT`."""
    module: Any = lookup("experiment", study.EXPERIMENTS, name)

    @dataclasses.dataclass
    class Meta(module.Options):
        """Meta-learning: hyperparameters by meta-gradients (tune), or an entropy coefficient that depends on
        recent reward (two-colours). The options differ between the experiments."""

        experiment: Annotated[Literal[tuple(study.EXPERIMENTS)], options.positional()] = name  # which one
        out: Path | None = None  # folder; otherwise one in runs/

    return Meta


def command(argv: list[str]) -> int:
    """Runs an experiment and prints its result. Returns the exit status."""
    experiment = argv[0] if argv and not argv[0].startswith("-") else "tune"
    chosen = options.parse(options_of(experiment), argv, "jaxrl meta")
    if not argv:
        raise options.UsageError(
            f"meta needs an experiment, {' or '.join(study.EXPERIMENTS)}: jaxrl meta tune"
        )
    if chosen.out and chosen.out.suffix == ".json":
        raise options.UsageError(f"--out {chosen.out} is the folder of result.json: leave .json out")
    use_cores()
    enable_compile_cache()
    module = study.EXPERIMENTS[chosen.experiment]
    names = (field.name for field in dataclasses.fields(module.Options))
    settings, objective = module.prepare(module.Options(**{name: getattr(chosen, name) for name in names}))
    place = f"-{sources.shown(settings.env)}" if hasattr(settings, "env") else ""
    name = f"meta-{chosen.experiment}{place}".replace(":", "-")
    with training.new_folder(chosen.out, name) as path:
        with new(path, study.MARK) as write:
            plan = {"experiment": chosen.experiment, "settings": dataclasses.asdict(settings)}
            write({**plan, "objective": objective, "command": ["jaxrl", "meta", *argv]})
        print(f"meta-learning, {chosen.experiment}; into {path}", flush=True)
        return study.carry_on(path)
