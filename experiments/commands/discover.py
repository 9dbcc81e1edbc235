"""`jaxrl discover`: evolves an objective, saves it to a file, and evaluates it."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from jaxrl import sources
from jaxrl.discovery import evolve
from jaxrl.experiments import runs, tracking
from jaxrl.experiments.options import parse, value_of
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies.discover import presets, spec, study
from jaxrl.experiments.studies.discover.programs import build
from jaxrl.experiments.studies.discover.worlds import with_scale
from jaxrl.names import lookup
from jaxrl.train import use_cores


def options(preset_name: str) -> type:
    """The options of `jaxrl discover --preset PRESET`, with its defaults."""
    usual = lookup("preset", presets.PRESETS, preset_name)
    names = tuple(world.environment for world in usual.worlds)

    @dataclasses.dataclass
    class Specific:
        preset: Literal[tuple(presets.PRESETS)] = preset_name  # environments and sizes
        objective: str = usual.objective  # what is evolved: a name, or a file to start from
        width: int = usual.width  # units of a learned drift
        environments: tuple[str, ...] = names  # where agents are trained: names, files, or tabular
        steps: int = usual.worlds[0].steps  # per agent; other than the default: no transfer comparison
        generations: int = usual.generations  # generations of the evolution
        population: int = usual.evolve.population  # candidates per generation, in antithetic pairs
        tasks: int = usual.evolve.tasks  # training runs per candidate and environment
        std: float = usual.evolve.std  # of the candidates around the mean
        learning_rate: float = usual.evolve.learning_rate  # of the mean, by Adam
        ranks: Literal["centred", "pairs"] = usual.evolve.ranks  # among all, or in pairs with separate tasks
        seeds: int = usual.seeds  # independent discoveries, in parallel
        seed: int = usual.seed  # of the first discovery; the others follow
        intervals: int = usual.intervals  # rows of metrics, and evaluations on held-out tasks
        eval_tasks: int = usual.eval_episodes  # held-out tasks per evaluation
        held_out: int = usual.held_out  # held-out tasks of the final comparison
        out: Path | None = None  # folder of the discovery; otherwise one in runs/

    @dataclasses.dataclass
    class Discover(tracking.Options, Specific):  # in this order, the options of tracking are listed last
        """Evolves a policy objective over whole training runs, and compares it with tuned PPO."""

    return Discover


def command(argv: list[str]) -> int:
    """Runs the command. Raises ValueError for invalid options."""
    use_cores()
    chosen = parse(options(value_of("--preset", argv, "tabular")), argv, "jaxrl discover")
    extra = tracking.chosen(chosen)
    usual = presets.PRESETS[chosen.preset]
    names = tuple(world.environment for world in usual.worlds)
    worlds, transfers = usual.worlds, usual.transfers
    if chosen.environments != names:
        worlds = tuple(presets.default_world(name, chosen.steps) for name in chosen.environments)
        transfers = {}
    elif chosen.steps != worlds[0].steps:
        worlds = tuple(dataclasses.replace(world, steps=chosen.steps) for world in worlds)
        transfers = {}
    objective, start = _objective(chosen, usual)
    made = spec.Spec(
        objective=objective,
        width=chosen.width,
        worlds=worlds,
        evolve=evolve.Config(chosen.population, chosen.tasks, chosen.std, chosen.learning_rate, chosen.ranks),
        generations=chosen.generations,
        seed=chosen.seed,
        seeds=chosen.seeds,
        intervals=chosen.intervals,
        eval_episodes=chosen.eval_tasks,
        held_out=chosen.held_out,
        transfers=transfers,
        start=start,
    )
    if extra["compile_cache"]:
        runs.enable_compile_cache()
    build(made)  # reports errors before anything is measured
    made = dataclasses.replace(made, worlds=tuple(map(with_scale, made.worlds)))
    where = "-".join(sources.shown(name).replace(":", "-") for name in (objective, *study.places(made)))
    with training.new_folder(chosen.out, f"discover-{where}") as path:
        return training.carry_on(path, made, extra, command=["jaxrl", "discover", *argv], kind=study.KIND)


def _objective(chosen: Any, usual: spec.Spec) -> tuple[str, dict[str, Any] | None]:
    """The name of the objective in `--objective`, and its parameters if a file with parameters is given."""
    if not runs.is_file(chosen.objective):
        return sources.named(chosen.objective), None
    if chosen.width != usual.width:
        raise ValueError(f"--width is that of the drift in {chosen.objective}: leave it out")
    name, objective = runs.objective_given(chosen.objective)
    values = dataclasses.asdict(objective.params)
    return name, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32).tolist(), values)
