"""`jaxrl sweep ALGO ENV`: trains many trials, whose values are given as A,B,C or as LOW:HIGH."""

import dataclasses
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxrl import envs, fields, hosts
from jaxrl.experiments import config_file, labels, processes, runs, search
from jaxrl.experiments.options import UsageError, value_of, with_full_flags
from jaxrl.experiments.runs import estimate, training
from jaxrl.experiments.spec_options import dependent, parse_spec, print_note, train_options
from jaxrl.experiments.studies import sweep as sweeps

MANY = 10_000  # trials, which are drawn in less than a second


def sweep_options(algorithm: str, environment: str, objective_name: str, tuned_for: str = "") -> type:
    """The options of `jaxrl sweep ALGO ENV`: those of `train`, and how to search."""

    added = [(name, kind, None) for name, kind in _search_options().items()]
    kinds = ("auto", *search.SEARCHES)
    before = train_options(algorithm, environment, objective_name, tuned_for)

    @dataclasses.dataclass
    class Sweep(before):  # type: ignore[misc]  # a class made at run time
        """Trains many trials: options of --hp, --config and --env that are given as A,B,C or LOW:HIGH."""

        seeds: int = 8  # agents of each trial
        trials: int = 0  # number of trials; 0: all combinations
        search: Literal[kinds] = "auto"  # auto: grid if possible, otherwise a Sobol sequence
        confirm_seeds: int = 8  # new seeds with which the best trial is trained again; 0: none

    return dataclasses.make_dataclass("Sweep", added, bases=(Sweep,), namespace={"__doc__": Sweep.__doc__})


def _search_options() -> dict[str, Any]:
    """The types of the options of searches, with their help."""
    import tyro

    texts: dict[str, str] = {}
    for kind in search.SEARCHES.values():
        for name, option in kind.options.items():
            users = [other for other, its in search.SEARCHES.items() if name in its.options]
            default = "" if option.default is None else f"; default: {option.default}"
            texts[name] = f"{', '.join(users)}: {option.text}{default}"
    return {name: Annotated[int | None, tyro.conf.arg(help=text)] for name, text in texts.items()}


def command(argv: list[str]) -> int:
    """Trains the trials, or with `--dry-run` only compiles. Returns the exit status."""
    with processes.connected(argv):
        return _sweep(argv)


def _sweep(argv: list[str]) -> int:
    given = config_file.read(value_of("--from", argv, ""))
    argv = config_file.with_names(argv, given)
    if len([word for word in argv[:2] if not word.startswith("-")]) == 2:
        (algorithm, environment), (objective, preset_of) = argv[:2], dependent(argv, given)
        options = sweep_options(algorithm, environment, objective.partition(",")[0], preset_of)
        argv = with_full_flags(argv, options)
    axes, rest = sweeps.axes_of(argv)
    first = [*rest, *sweeps.first_words(axes)]
    spec, chosen, extra = parse_spec("sweep", sweep_options, first)
    axes = sweeps.in_lanes(axes, spec)
    axes = sweeps.typed(axes, partial(typed_value, rest, axes))
    if not axes:
        raise UsageError("a sweep needs something to try, as --hp.gamma 0.9,0.99 or --hp.gamma 0.9:1")
    if chosen.trials < 0 or chosen.confirm_seeds < 0:
        raise UsageError("--trials and --confirm-seeds must not be negative")
    kind = sweeps.resolved(axes, chosen.search, chosen.trials)
    searched = search.SEARCHES[kind]
    search_options = sweeps.options_of(kind, {name: getattr(chosen, name) for name in _search_options()})
    _require_memory(axes, search_options, spec, chosen)
    shares = sweeps.draw(axes, kind, chosen.trials, chosen.seed)
    trials = sweeps.values_at(axes, shares)

    if searched.batches:
        searched.batches.require()
        if static := [one.flag for one in axes if not one.traced]:
            raise UsageError(f"--search {kind} varies what one program can, not {static[0]}")
        if (search_options["generations"] or 0) < 1:
            raise UsageError(f"generations = {search_options['generations']} must be at least 1")
        sweeps.require_sense(axes, spec)
    if searched.device:
        groups = [sweeps.searched(kind, axes, shares, spec, search_options)]
    else:
        groups = sweeps.grouped(axes, trials, spec_of(rest, axes))
    for group in groups:  # errors are reported now, not after hours of training
        runs.build(group.spec)
        if chosen.confirm_seeds and not searched.populations:
            runs.build(sweeps.confirming(group.spec, chosen.confirm_seeds))
    print_note(spec, chosen)
    if chosen.dry_run and hosts.several():
        raise UsageError("--dry-run is for one process: leave --coordinator out")
    if not chosen.chunk and not hosts.several():
        if extra["compile_cache"]:
            runs.enable_compile_cache()
        groups = [sweeps.with_chunk(group) for group in groups]
    extra["confirm_seeds"] = chosen.confirm_seeds
    extra["batches"] = search_options["generations"] if searched.batches else 1
    with training.new_folder(chosen.out, runs.default_name(spec, "sweep-"), chosen.dry_run) as path:
        print(_plan(path, axes, trials, groups, extra["batches"]), flush=True)
        if not chosen.dry_run:
            command = ["jaxrl", "sweep", *argv]
            hosts.by_leader(lambda: sweeps.create_folder(path, axes, kind, trials, groups, extra, command))
            return sweeps.carry_on(path)
    for number, group in enumerate(groups, 1):
        training.dry_run(path / f"group-{number}", group.spec, extra)
    if extra["batches"] > 1:
        print(f"that is the first of {extra['batches']} batches")
    if chosen.confirm_seeds and not searched.populations:
        print(f"after that {chosen.confirm_seeds} agents more, for the best trial with new seeds")
    return 0


def _require_memory(axes, options: dict[str, int | None], spec: runs.Spec, chosen) -> None:
    """Raises ValueError if the agents do not fit into memory: before many trials are drawn, in minutes."""
    trials = search.number_of_trials(axes, chosen.trials)
    if trials <= MANY:  # then the programs of the groups are checked, which are exact
        return
    trials = sweeps.slots_of(trials, options)
    programs = math.prod(len(one.values) for one in axes if not one.traced)
    algo = runs.make(spec, envs.make(spec.environment, **spec.env))
    estimate.require_agents(algo, spec.seeds * (trials // programs), "--trials or --seeds")


def _parsed(rest: list[str], axes: list[search.Axis], flag: str, word: str) -> tuple[runs.Spec, Any]:
    """The Spec and the options of a command in which each axis has its first value, but one has this word."""
    axes = [one._replace(first=word) if one.flag == flag else one for one in axes]
    return parse_spec("sweep", sweep_options, [*rest, *sweeps.first_words(axes)])[:2]


def typed_value(rest: list[str], axes: list[search.Axis], flag: str, word: str) -> search.Value:
    """The value of an option for a word of the command."""
    value = _parsed(rest, axes, flag, word)[1]
    for part in flag.removeprefix("--").replace("-", "_").split("."):
        value = getattr(value, part)
    return value


def spec_of(rest: list[str], axes: list[search.Axis]) -> Callable[[dict[str, search.Value]], runs.Spec]:
    """`(values by flag) -> Spec`: that of the command with these values of options that are not traced.

    An objective has parameters and presets that depend on it, so that the command is parsed once for each.
    """
    parsed = cache(partial(_parsed, rest, axes, "--objective"))

    def with_values(values: dict[str, search.Value]) -> runs.Spec:
        spec, chosen = parsed(str(values.get("--objective", "")))
        for flag, value in values.items():
            part, _, name = flag.removeprefix("--").replace("-", "_").partition(".")
            if part == "config":
                spec = dataclasses.replace(spec, config=fields.replace(spec.config, {name: value}))
            elif part == "env":
                default = next(
                    field.default for field in dataclasses.fields(chosen.env) if field.name == name
                )
                env = {other: its for other, its in spec.env.items() if other != name}
                # As in `spec_options.understand`: a limit of steps is given even if it is the default.
                given = {name: value} if value != default or name == "max_steps" else {}
                spec = dataclasses.replace(spec, env=env | given)
        return spec

    return with_values


def _plan(path: Path, axes, trials, groups, batches: int) -> str:
    agents = sum(group.spec.agents for group in groups)
    times = f"{batches} batches of " if batches > 1 else ""
    lines = [f"{times}{len(trials)} trials, {agents} agents, {len(groups)} program(s); into {path}"]
    static = [one.flag for one in axes if not one.traced]
    for number, group in enumerate(groups, 1):
        values = [trials[group.trials[0]][i] for i, one in enumerate(axes) if not one.traced]
        what = "".join(f"  {flag} {labels.shown(value)}" for flag, value in zip(static, values))
        lines.append(f"  group-{number}: {len(group.trials)} trials x {group.spec.seeds} seeds{what}")
    return "\n".join(lines)
