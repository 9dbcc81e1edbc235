"""`jaxrl compare`: objectives, environments and seeds in as few programs as possible."""

import dataclasses
from pathlib import Path
from typing import Literal

from jaxrl.experiments import options, spec_options
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies.compare.methods import BASELINE, SEARCHES

OVERRIDES = ("--config.", "--hp.", "--env.")


def command(argv: list[str]) -> int:
    """Compares objectives, or shows earlier results. Returns the exit status."""
    from jaxrl.experiments import runs
    from jaxrl.experiments.studies.compare import folder, study, table
    from jaxrl.train import use_cores

    @dataclasses.dataclass
    class Compare:
        """Trains PPO with several objectives and reports which are better than tuned PPO.

        PPO is tuned first, then all are trained with seeds that the tuning has not used. Options of `jaxrl
        train` that begin with --config., --hp. or --env. apply to every environment.
        """

        environments: tuple[str, ...] = ()  # see `jaxrl list envs`
        objectives: tuple[str, ...] = ()  # see `jaxrl list objectives`; default: all. PPO is always included
        algorithms: tuple[
            str, ...
        ] = ()  # to compare with PPO, by name or as files; then no objectives by default
        seeds: int = 8  # agents of each objective, with seeds that the tuning has not used
        steps: int = 0  # environment steps per agent; 0: the preset's
        trials: int = 16  # settings of PPO that are tried, its preset first; 1: the preset as it is
        tune_seeds: int = 4  # agents of each trial of the tuning
        search: Literal[SEARCHES] = "sobol"  # how the trials are chosen
        own_tuning: bool = False  # also tune every other objective, with as many trials
        programs: Literal["mixed", "each"] = "mixed"  # all objectives in one program, or one for each
        seed: int = 0  # of the first agent of the tuning
        intervals: int = 10  # rows of metrics, and evaluations, over a run
        eval_episodes: int = 32  # episodes of each evaluation, per seed
        save_every_seconds: float = 10.0  # minimum time between checkpoints; 0: one per interval
        compile_cache: bool = True  # cache compiled programs for later starts
        out: Path | None = None  # folder; otherwise one in runs/
        estimate: bool = True  # print memory and time of every program before training
        dry_run: bool = False  # print them and stop
        show: Path | None = None  # only print the tables of this results.jsonl

    argv, words = _divided(argv)
    if any(word.replace("_", "-").startswith("--hp.objective") for word in words):
        raise options.UsageError(
            "--hp.objective.* cannot be set here: objectives have their published parameters, or are tuned"
        )
    chosen = options.parse(Compare, argv, "jaxrl compare")
    if chosen.show:
        print(table.text(table.read(chosen.show)))
        return 0
    use_cores()
    plan = _plan(chosen, words, ["jaxrl", "compare", *argv, *words])
    programs = [(spec, folder.expected(plan, spec)) for spec in plan.specs]
    for _, its in programs:  # errors are reported now, not after hours of training
        for program in its:
            runs.build(program.spec)
    agents = sum(program.spec.agents for _, its in programs for program in its)
    count = sum(len(its) for _, its in programs)
    number = len(chosen.algorithms)
    others = f" and {number} other algorithm{'s' * (number > 1)}" if number else ""
    what = f"{len(plan.objectives)} objective(s){others} in {len(plan.specs)} environment(s)"
    with training.new_folder(
        chosen.out, runs.default_name(plan.specs[0], "compare-"), chosen.dry_run
    ) as path:
        print(f"{what}: {agents} agents, {count} program(s); into {path}", flush=True)
        if chosen.estimate or chosen.dry_run:
            _estimate(programs, chosen.compile_cache)
        if chosen.dry_run:
            print("nothing trained, nothing written")
            return 0
        folder.create(path, plan)
        return study.carry_on(path)


def _divided(argv: list[str]) -> tuple[list[str], list[str]]:
    """The options of the comparison, and those of `jaxrl train` that apply to every environment's run."""
    ours: list[str] = []
    others: list[str] = []
    mine = True
    for word in argv:
        if word.startswith("--"):
            mine = not word.startswith(OVERRIDES)
        (ours if mine else others).append(word)
    return ours, others


def _plan(chosen, words: list[str], typed: list[str]):
    """The Plan for the options. Raises ValueError for inconsistent options."""
    from jaxrl import objectives, sources
    from jaxrl.experiments.studies.compare import folder, methods

    if not chosen.environments:
        raise options.UsageError(
            "compare needs environments, for example --environments CartPole-v1 Pendulum-v1"
        )
    for name in chosen.environments:
        if chosen.environments.count(name) > 1:
            raise options.UsageError(f"environment {name} is given twice")
    for name in ("trials", "tune_seeds", "seeds", "eval_episodes"):
        if getattr(chosen, name) < 1:
            raise options.UsageError(f"{name} = {getattr(chosen, name)} must be at least 1")
    if chosen.seed < 0:
        raise options.UsageError(f"seed = {chosen.seed} must not be negative")
    if chosen.steps < 0:
        raise options.UsageError(f"steps = {chosen.steps} must be positive, or 0 for the preset's")
    usual = [BASELINE] if chosen.algorithms else objectives.OBJECTIVES
    names = [sources.named(name) for name in chosen.objectives or usual]
    methods.require_names(names)
    names = [BASELINE, *(name for name in names if name != BASELINE)]
    algorithms = [sources.named(name) for name in chosen.algorithms]
    for name in algorithms:
        if algorithms.count(name) > 1 or name == BASELINE:
            raise options.UsageError(
                f"algorithm {sources.shown(name)} is given twice: {BASELINE} is always included"
            )
    if len(names) + len(algorithms) < 2:
        raise options.UsageError(f"compare needs an objective other than {BASELINE}: --objectives dpo spo")
    specs, rivals = [], []
    for environment in chosen.environments:
        given = ["--seeds", chosen.seeds, "--seed", chosen.seed + chosen.tune_seeds]
        given += ["--intervals", chosen.intervals, "--eval-episodes", chosen.eval_episodes]
        given += ["--save-every-seconds", chosen.save_every_seconds]
        given += ["--steps", chosen.steps] if chosen.steps else []
        given += [] if chosen.compile_cache else ["--no-compile-cache"]
        given = [*map(str, given), *words]
        spec, _, extra = spec_options.parse_spec(
            "compare", spec_options.train_options, [BASELINE, environment, *given]
        )
        specs.append(spec)
        for name, typed_name in zip(algorithms, chosen.algorithms):
            same = ["--steps", str(spec.steps), *_preset_of(name, spec.environment)]
            rivals.append(
                spec_options.parse_spec(
                    "compare", spec_options.train_options, [typed_name, environment, *given, *same]
                )[0]
            )
    places = [folder.place(spec) for spec in specs]
    if len(set(places)) < len(places):
        raise options.UsageError(
            f"two of the environments are called {max(places, key=places.count)}: rename one"
        )
    return folder.Plan(
        specs=tuple(specs),
        objectives=tuple(names),
        trials=chosen.trials,
        tune_seeds=chosen.tune_seeds,
        search=chosen.search,
        own_tuning=chosen.own_tuning,
        mixed=chosen.programs == "mixed",
        command=tuple(typed),
        extra=extra,
        rivals=tuple(rivals),
    )


def _preset_of(name: str, environment: str) -> list[str]:
    """The option with which an algorithm's file uses PPO's preset, if there is one."""
    from jaxrl import sources
    from jaxrl.experiments import presets

    known = presets.preset(BASELINE, environment) is not presets.ANY
    return ["--preset-of", BASELINE] if known and sources.is_name(name) else []


def _estimate(programs, compile_cache: bool) -> None:
    """Prints the cost of each program, extrapolated from running it for a second."""
    from jaxrl import sources
    from jaxrl.experiments.runs import planning

    for spec, its in programs:
        for program in its:
            lanes = f"{program.spec.slots} x {program.spec.seeds} agents"
            text = planning.in_a_process(program.spec, compile_cache).replace("\n", "; ")
            print(f"{sources.shown(spec.environment)}, {program.folder} ({lanes}): {text}", flush=True)
