"""The command line: `jaxrl train`, `sweep`, `resume`, `evaluate`, `plot`, `render`, `list` and more.

Flags are generated from dataclasses: one for every field of a Config and an Hparams, with its comment as
help and the value in the environment's preset as default. Invalid input results in one line on standard
error and exit status 2; JAXRL_TRACEBACK=1 shows the traceback.
"""

import atexit
import contextlib
import dataclasses
import gc
import importlib
import io
import itertools
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxrl.experiments import errors

# Commands in modules of their own, whose `command(argv)` returns the status; the others are functions here.
MODULES = {
    "report": "report.command",
    "benchmark": "benchmark.command",
    "profile": "profile",
    "compare": "compare.command",
    "discover": "discover.command",
    "distil": "discover.distil",
    "drift": "drift_plots",
    "talk": "cheap_talk",
    "new": "new",
    "export": "export",
    "watch": "watch",
    "completion": "completion",
}
COMMANDS = ("train", "sweep", "resume", "evaluate", "plot", "render", "list", *MODULES)


class UsageError(ValueError):
    """Arguments that cannot be parsed."""


DESCRIBE = "--describe-options"  # the only option of a command whose options are listed for completion


class Described(UsageError):
    """Raised by `parse` for `DESCRIBE`; `options` is the dataclass of the command."""

    options: type


def main(argv: list[str] | None = None, command=None) -> int:
    """Runs a command. Returns the exit status: 0, 2 for bad input, 130 when interrupted.

    Args:
      command: `(argv) -> status`, for programs other than `jaxrl`.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    # Imports and tracing allocate many objects and free few: garbage collection would take a sixth of the
    # start, and another second at exit, where nothing needs to be freed.
    collecting = gc.isenabled()
    gc.disable()
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):  # a dash that a terminal cannot show must not end a run
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")
    try:
        with _warnings_shown():
            status = (command or dispatch)(argv)
            sys.stdout.flush()  # here, where a closed output is handled
            return status
    except SystemExit as stop:  # raised by tyro after printing help
        return stop.code or 0
    except BrokenPipeError:  # the output was closed, as in `jaxrl list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("JAXRL_TRACEBACK") or not (text := errors.in_one_line(error)):
            raise
        print(f"jaxrl: error: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxrl: interrupted", file=sys.stderr)
        return 130
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Prints warnings that the library logs, such as damaged lines of a file, on standard error."""
    log, handler = logging.getLogger("jaxrl"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("jaxrl: warning: %(message)s"))
    log.addHandler(handler)
    # Other packages change the level of the root logger, and disable the loggers that exist.
    before = log.level, log.disabled
    log.setLevel(logging.WARNING)
    log.disabled = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.disabled = before[1]


def dispatch(argv: list[str]) -> int:
    from jaxrl import names
    from jaxrl.experiments import hints  # noqa: F401 (explains names of algorithms)

    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] == "help":
        return dispatch([*argv[1:], "--help"])
    if argv[0] == "--version":
        import jaxrl

        print(f"jaxrl {jaxrl.__version__}")
        return 0
    name = names.lookup("command", {command: command for command in COMMANDS}, argv[0])
    if name in MODULES:
        return importlib.import_module(f"jaxrl.experiments.{MODULES[name]}").command(argv[1:])
    command = dict(zip(COMMANDS, (train, sweep, resume, evaluate, plot, render, list_)))[name]
    with _processes(argv[1:]) if command in (train, sweep, resume) else contextlib.nullcontext():
        return command(argv[1:])


@contextlib.contextmanager
def _processes(argv: list[str]):
    """Connects to the other processes, if there are several: must happen before JAX's backend starts."""
    flags = ("--coordinator", "--num-processes", "--process-id", "--join-seconds")
    words = [f"--{word[2:].replace('_', '-')}" if word.startswith("--") else word for word in argv]
    given = {flag: _value_of(flag, words, "") for flag in flags}
    if not any(given.values()) or {"-h", "--help"} & set(argv):
        yield
        return
    from jaxrl import hosts

    for flag in flags[1:]:
        if given[flag] and not re.fullmatch(r"-?\d+", given[flag]):
            raise UsageError(f"{flag} takes a whole number, not {given[flag]}")
    numbers = [int(given[flag]) if given[flag] else None for flag in flags[1:]]
    with hosts.joined(given["--coordinator"], *numbers[:2], 60 if numbers[2] is None else numbers[2]):
        yield


USAGE = """\
usage: jaxrl COMMAND ...

  train ALGO ENV      train agents, all seeds at once        jaxrl train ppo CartPole-v1 --seeds 8
  train --from RUN    the same again, or from a TOML file    [--seeds 16] and other changes
  sweep ALGO ENV      many trials in one program             jaxrl sweep ppo CartPole-v1 --hp.gamma 0.9,0.99
  resume RUN          continue a run that was stopped        [--steps N], or beyond its end
  watch RUN           the progress of a run in another process   [--once]
  evaluate RUN        returns over fresh episodes            [--episodes N] [--json]
  plot RUN...         learning curves with intervals         [--out FILE.png]
  report PATH...      runs and sweeps as one page            [--out FILE.html] [--data FILE.csv]
  render RUN          an episode as a GIF; of brax, a page   [--seed K] [--out FILE.gif | FILE.html]
  export RUN          the trained policy for NumPy, JAX, ONNX or C   [--format npz|stablehlo|onnx|c]
  discover            evolves a policy objective             jaxrl discover --preset tabular
  distil FILE         a formula for a learned objective
  list [WHAT [WORD]]  algos, envs, objectives or presets     jaxrl list envs breakout
  benchmark [SUITE]   speeds beside other libraries: train, population, envs or compile
  profile ALGO ENV    where the time of an update goes     [--updates N] [--operations N] [--json]
  compare             objectives beside tuned PPO            --environments ENV... [--objectives NAME...]
  drift NAME...       what objectives do to a ratio: a plot  [--out FILE.png]
  talk ENV            evolve messages that harm, help or steer an agent   [--mode harm]
  new KIND FILE       a file to start from: algorithm, env or objective   [--from ALGO]
  completion SHELL    a script that completes commands and names: bash, zsh or fish

ALGO, ENV and objectives may be Python files of yours: jaxrl train ./my_ppo.py ./my_env.py:walk
`jaxrl help COMMAND` shows all options; `jaxrl train ALGO ENV --help` those of train, with the defaults."""


def parse(options: type, args: list[str], prog: str, default: Any = None) -> Any:
    """Parses with tyro, whose boxed error messages are reduced to one sentence.

    Args:
      default: an instance of `options` with other default values.
    """
    import tyro

    from jaxrl.experiments import words

    if args == [DESCRIBE]:
        described = Described(f"{DESCRIBE} is for completion")
        described.options = options
        raise described
    output, args = io.StringIO(), words.with_sizes(args, options)
    defaults = {"default": default} if default else {}
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(options, args=args, prog=prog, registry=words.registry(), **defaults)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_sentence(output.getvalue(), options, prog)) from None


def _sentence(box: str, options: type, prog: str) -> str:
    """The message in one of tyro's boxes, with a suggestion for an unknown flag."""
    from jaxrl.experiments import hints

    box = re.sub(r"\x1b\[[0-9;]*m", "", box)
    # Horizontal rules, in Unicode or in ASCII, separate title, message and help.
    message = re.split(r"^.*[─-]{3,}\W*$", box, flags=re.MULTILINE)[1]
    text = " ".join(message.replace("│", " ").split()).rstrip(".")
    for pattern, plainly in PLAINLY.items():
        text = re.sub(pattern, plainly, text)
    known = flags(options)
    unknown = [flag for flag in re.findall(r"--[\w.-]+", text) if flag not in known]
    hint = hints.of_flag(unknown[0], known) if unknown else ""
    return f"{text}.{hint} `{prog} --help` shows all options."


# Messages of Python and tyro, and clearer ones.
PLAINLY = {
    r"Error parsing (\S+): invalid literal for int.* base 10: (.*)": r"\1 takes a whole number, not \2",
    r"Error parsing (\S+): could not convert string to float: (.*)": r"\1 takes a number, not \2",
    r"Error parsing (\S+): no type matching (\S+) could .* from \[(.*?)\].*": r"\1 takes \2, not \3",
}


def flags(options: Any, prefix: str = "--") -> list[str]:
    """All flags of a dataclass or of an instance of one, including those of its nested dataclasses."""
    names = []
    for field in dataclasses.fields(options):
        name, default = prefix + field.name.strip("_").replace("_", "-"), getattr(options, field.name, None)
        names += flags(default, f"{name}.") if dataclasses.is_dataclass(default) else [name]
    return names


def with_full_flags(argv: list[str], options: Any) -> list[str]:
    """The words of a command, with shortened, unambiguous flags written in full.

    `--learning-rate` becomes `--hp.learning-rate`, `--config.no-squash` becomes `--config.network.no-squash`.
    """
    known = [flag.removeprefix("--") for flag in flags(options)]
    return [_with_full_flag(word, known) if word.startswith("--") else word for word in argv]


def _with_full_flag(word: str, known: list[str]) -> str:
    flag, equals, value = word.removeprefix("--").partition("=")
    flag = flag.replace("_", "-")
    *path, last = flag.split(".")
    if flag in known:
        return word
    for no in ("", "no-"):
        names = [*path, last.removeprefix(no)]
        full = [name.split(".") for name in known if is_short_for(".".join(names), name)]
        if len(full) == 1 and last.startswith(no):
            return f"--{'.'.join([*full[0][:-1], no + full[0][-1]])}{equals}{value}"
    return word


def is_short_for(short: str, full: str) -> bool:
    """Whether a dotted name can be shortened so: the same last part, and some of the others in order."""
    parts, rest = short.split("."), iter(full.split("."))
    return full.rpartition(".")[2] == parts[-1] and all(part in rest for part in parts)


# --- train -------------------------------------------------------------------------------------


def train_options(algorithm: str, environment: str, objective_name: str, tuned_for: str = "") -> type:
    """The options of `jaxrl train ALGO ENV` as a dataclass, with the preset's defaults."""
    import tyro

    from jaxrl import envs, fields
    from jaxrl.envs import parameters
    from jaxrl.envs.wrappers import RESETS
    from jaxrl.experiments import runs, tracking, user_files
    from jaxrl.experiments.presets import chosen_preset
    from jaxrl.names import lookup

    module = runs.algorithm(algorithm)
    objective_name = runs.objective_name(module, objective_name)
    environment = user_files.environment(environment)
    entry = lookup("environment", envs.REGISTRY, environment)
    with_objective = {"objective": runs.typed_params(objective_name)} if objective_name else {}
    parts = module.Config(), module.Hparams(**with_objective)
    chosen, _ = chosen_preset(algorithm, environment, objective_name, tuned_for, parts)
    config_default = fields.configured(parts[0], chosen.config)
    hp_default = runs.with_values(parts[1], chosen.hparams)
    of_objective = str if objective_name else _hidden(str)
    texts = parameters.texts(environment, entry.make)
    kinds = {name: (type(value), value) for name, value in entry.params().items()}
    if not entry.wrapped:  # otherwise the file has both built in
        if entry.max_steps is not None or "max_steps" not in kinds:
            kinds.pop("max_steps", None)
            kinds["max_steps"] = (int if entry.max_steps else int | None, entry.max_steps)
        kinds["resets"] = (Literal[RESETS], entry.resets)
    env_fields = [
        (name, Annotated[kind, tyro.conf.arg(help=texts.get(name))], value)
        for name, (kind, value) in kinds.items()
    ]
    env_options = dataclasses.make_dataclass("Env", env_fields, frozen=True)
    env_default = env_options()

    @dataclasses.dataclass
    class Specific:
        from_: _from() = None  # folder of a run, or TOML file, whose values are the defaults
        steps: int = chosen.steps  # environment steps per seed
        seeds: int = 1  # agents trained at once
        seed: int = 0  # of the first agent; the others follow
        objective: of_objective = objective_name  # policy objective, see `jaxrl list objectives`, or a file
        preset_of: str = tuned_for  # take the preset of this ALGO, or ALGO:ENV
        intervals: int = 20  # rows of metrics, and evaluations, over the run
        eval_episodes: int = 16  # episodes of each evaluation, per seed; 0: none
        shard: Literal["agents", "envs"] = "agents"  # distribute agents over devices, or environments of one
        coordinator: str = ""  # several processes: ADDRESS:PORT of process 0, or auto
        num_processes: int | None = None  # several processes: how many
        process_id: int | None = None  # several processes: which one this is, from 0
        join_seconds: int = 60  # several processes: how long to wait for the others to connect
        out: Path | None = None  # folder of the run; otherwise one in runs/
        chunk: int = 0  # agents that a device updates at a time; 0: automatic
        dry_run: bool = False  # check and compile everything, print memory and time, write nothing
        config: module.Config = config_default  # static settings
        hp: module.Hparams = hp_default  # traced hyperparameters
        env: env_options = env_default  # parameters of the environment

    @dataclasses.dataclass
    class Train(tracking.Options, Specific):  # in this order, the options of tracking are listed last
        """Trains `--seeds` agents in one program and saves the run in a folder."""

    return Train


def understand(
    command: str, options_of, argv: list[str], given=None
) -> tuple[str, str, type, Any, dict[str, Any]]:
    """Parses `jaxrl COMMAND ALGO ENV [OPTIONS]`.

    Args:
      options_of: `(algorithm, environment, objective, preset_of) -> dataclass`, like `train_options`.
      given: the values of a file, which options on the command line replace.

    Returns:
      ALGO, ENV, the dataclass, an instance of it, and the parameters of the environment to set.
    """
    from jaxrl import sources
    from jaxrl.experiments import config_file, user_files
    from jaxrl.train import use_cores

    given = given or config_file.Given()
    names = [a for a in argv[:2] if not a.startswith("-")]
    if len(names) < 2:
        if {"-h", "--help"} & set(argv):
            print(
                f"usage: jaxrl {command} ALGO ENV [OPTIONS]\n\n`jaxrl {command} ppo CartPole-v1 --help` "
                "shows the options with the defaults of both; `jaxrl list` shows what there is."
            )
            raise SystemExit(0)
        raise UsageError(f"{command} needs an algorithm and an environment: jaxrl {command} ppo CartPole-v1")
    algorithm, environment = names
    use_cores(quiet=True)
    algorithm, environment = sources.named(algorithm), user_files.environment(environment)
    options = options_of(algorithm, environment, *_dependent(argv, given))
    argv, default = with_full_flags(argv, options), config_file.applied(given, options(), environment)
    prog = f"jaxrl {command} {sources.shown(names[0])} {sources.shown(names[1])}"
    chosen = parse(options, argv[2:], prog, default)
    limited = "max_steps" in given.env(environment) or _value_of("--env.max-steps", argv, "")
    env = {
        field.name: getattr(chosen.env, field.name)
        for field in dataclasses.fields(chosen.env)
        # A limit that is given is used even if it is the default, which depends on other parameters.
        if getattr(chosen.env, field.name) != field.default or (field.name == "max_steps" and limited)
    }
    return algorithm, environment, options, chosen, env


def _dependent(argv: list[str], given) -> tuple[str, str]:
    """The objective and `--preset-of` of a command, on which other options and defaults depend."""
    from jaxrl import sources

    objective = _value_of("--objective", argv, given.objective(sources.named(argv[0])))
    return objective, _value_of("--preset-of", argv, given.values.get("preset_of", ""))


def train(argv: list[str]) -> int:
    from jaxrl.experiments import runs
    from jaxrl.experiments.runs import training

    spec, chosen, extra = parse_spec("train", train_options, argv)
    usual = training.kind_of_training()

    def announcement(*arguments):
        text = usual.announcement(*arguments)  # first, so that no note is printed before an error
        _say_presets(spec, chosen)
        return text

    with training.new_folder(chosen.out, runs.default_name(spec), chosen.dry_run) as path:
        if chosen.dry_run:
            return training.dry_run(path, spec, extra)
        kind = usual._replace(announcement=announcement)
        return training.carry_on(path, spec, extra, command=["jaxrl", "train", *argv], kind=kind)


def _say_presets(spec, chosen) -> None:
    """Prints a note on standard error if there is no preset, or if parts of it are not used."""
    from jaxrl import hosts
    from jaxrl.experiments import presets

    names = spec.algorithm, spec.environment, spec.objective
    note = presets.note(*names, chosen.preset_of, (spec.config, spec.hparams))
    if note and not chosen.from_ and hosts.leads():
        print(f"jaxrl: note: {note}", file=sys.stderr)


def parse_spec(command: str, options_of, argv: list[str]) -> tuple[Any, Any, dict[str, Any]]:
    """The Spec of a command, its options as given, and those that do not affect what is computed."""
    from jaxrl.experiments import config_file, runs, tracking

    given = config_file.read(_value_of("--from", argv, ""))
    argv = config_file.with_names(argv, given)
    algorithm, environment, options, chosen, env = understand(command, options_of, argv, given)
    weights = given.weights(chosen.objective)
    if weights is None:
        objective, hparams = runs.with_objective(chosen.objective, chosen.hp)
    else:
        objective, hparams = chosen.objective, chosen.hp.replace(objective=weights)
    spec = runs.Spec(
        algorithm=algorithm,
        environment=environment,
        env=env,
        objective=objective,
        config=chosen.config,
        hparams=hparams,
        steps=chosen.steps,
        seed=chosen.seed,
        seeds=chosen.seeds,
        intervals=chosen.intervals,
        eval_episodes=chosen.eval_episodes,
        chunk=chosen.chunk,
        shard=chosen.shard,
    )
    extra = tracking.chosen(chosen)
    if chosen.hp.total_updates != options.hp.total_updates:
        raise UsageError("--hp.total-updates follows from --steps: leave it out")
    return spec, chosen, extra


# --- sweep -------------------------------------------------------------------------------------


def sweep_options(algorithm: str, environment: str, objective_name: str, tuned_for: str = "") -> type:
    """The options of `jaxrl sweep ALGO ENV`: those of `train`, and how to search."""
    from jaxrl.experiments.sweep import SEARCHES

    @dataclasses.dataclass
    class Sweep(train_options(algorithm, environment, objective_name, tuned_for)):
        """Trains many trials: options of --hp, --config and --env that are given as A,B,C or LOW:HIGH."""

        seeds: int = 8  # agents of each trial
        trials: int = 0  # number of trials; 0: all combinations
        search: Literal[SEARCHES] = "auto"  # auto: grid if possible, otherwise a Sobol sequence
        confirm_seeds: int = 8  # new seeds with which the best trial is trained again; 0: none
        slots: int | None = None  # asha: trials at a time; default: an eighth of all
        eta: int | None = None  # asha: one of this many trials continues from a rung; default: 4
        rungs: int | None = None  # asha: number of evaluations of a trial, including the last; default: 3
        decisions: int | None = None  # pbt: how often copies of the best replace the worst; default: 19
        generations: int | None = None  # cmaes, openes, optuna: number of batches of trials; default: 10

    return Sweep


def sweep(argv: list[str]) -> int:
    from jaxrl import hosts
    from jaxrl.experiments import config_file, runs, search
    from jaxrl.experiments import sweep as sweeps
    from jaxrl.experiments.runs import training

    given = config_file.read(_value_of("--from", argv, ""))
    argv = config_file.with_names(argv, given)
    if len([word for word in argv[:2] if not word.startswith("-")]) == 2:
        objective, preset_of = _dependent(argv, given)
        options = sweep_options(*argv[:2], objective.partition(",")[0], preset_of)
        argv = with_full_flags(argv, options)
    axes, rest = sweeps.axes_of(argv)
    firsts = [one.at(0.0) for one in axes]
    spec, chosen, extra = parse_spec("sweep", sweep_options, [*rest, *sweeps.words_for(axes, firsts)])
    axes = sweeps.in_lanes(axes, spec)
    if not axes:
        raise UsageError("a sweep needs something to try, as --hp.gamma 0.9,0.99 or --hp.gamma 0.9:1")
    if chosen.trials < 0 or chosen.confirm_seeds < 0:
        raise UsageError("--trials and --confirm-seeds must not be negative")
    kind = sweeps.resolved(axes, chosen.search, chosen.trials)
    names = sorted({name for its in sweeps.OPTIONS_OF.values() for name in its})
    search_options = sweeps.options_of(kind, {name: getattr(chosen, name) for name in names})
    shares = sweeps.draw(axes, kind, chosen.trials, chosen.seed)
    trials = sweeps.values_at(axes, shares)

    def spec_of(words):
        return parse_spec("sweep", sweep_options, [*rest, *words])[0]

    if kind == "optuna":
        search.require()
        if static := [one.flag for one in axes if not one.traced]:
            raise UsageError(f"--search optuna varies what one program can, not {static[0]}")
        if search_options["generations"] < 1:
            raise UsageError(f"generations = {search_options['generations']} must be at least 1")
        sweeps.require_sense(axes, spec)
    if kind in search.KINDS:
        groups = [sweeps.searched(kind, axes, shares, spec, search_options)]
    else:
        groups = sweeps.grouped(axes, trials, spec_of)
    for group in groups:  # errors are reported now, not after hours of training
        runs.build(group.spec)
        if chosen.confirm_seeds and kind != "pbt":
            runs.build(sweeps.confirming(group.spec, chosen.confirm_seeds))
    _say_presets(spec, chosen)
    if chosen.dry_run and hosts.several():
        raise UsageError("--dry-run is for one process: leave --coordinator out")
    if not chosen.chunk and not hosts.several():
        if extra["compile_cache"]:
            runs.enable_compile_cache()
        groups = [sweeps.with_chunk(group) for group in groups]
    extra["confirm_seeds"] = chosen.confirm_seeds
    extra["batches"] = search_options["generations"] if kind == "optuna" else 1
    with training.new_folder(chosen.out, runs.default_name(spec, "sweep-"), chosen.dry_run) as path:
        print(_plan(path, axes, trials, groups, extra["batches"]), flush=True)
        if not chosen.dry_run:
            command = ["jaxrl", "sweep", *argv]
            hosts.by_leader(lambda: sweeps.create_folder(path, axes, kind, trials, groups, extra, command))
            return carry_on_sweep(path)
    for number, group in enumerate(groups, 1):
        training.dry_run(path / f"group-{number}", group.spec, extra)
    if extra["batches"] > 1:
        print(f"that is the first of {extra['batches']} batches")
    if chosen.confirm_seeds and kind != "pbt":
        print(f"after that {chosen.confirm_seeds} agents more, for the best trial with new seeds")
    return 0


def _plan(path: Path, axes, trials, groups, batches: int) -> str:
    agents = sum(group.spec.agents for group in groups)
    times = f"{batches} batches of " if batches > 1 else ""
    lines = [f"{times}{len(trials)} trials, {agents} agents, {len(groups)} program(s); into {path}"]
    static = [one.flag for one in axes if not one.traced]
    for number, group in enumerate(groups, 1):
        values = [trials[group.trials[0]][i] for i, one in enumerate(axes) if not one.traced]
        what = "".join(f"  {flag} {value}" for flag, value in zip(static, values))
        lines.append(f"  group-{number}: {len(group.trials)} trials x {group.spec.seeds} seeds{what}")
    return "\n".join(lines)


def carry_on_sweep(path: Path) -> int:
    """Continues a sweep from the state of its folder: its groups, the confirmation, the table."""
    from jaxrl import hosts
    from jaxrl.experiments import runs
    from jaxrl.experiments import sweep as sweeps
    from jaxrl.experiments.runs import training

    info, groups = sweeps.read(path)
    options = {name: value for name, value in info["options"].items() if name in runs.OPTIONS}

    def done(folder: Path, spec) -> int:
        made = hosts.by_leader((folder / "run.json").exists)
        return training.carry_on(folder, spec, options, None if made else info["command"], whole=path)

    for number in itertools.count(1):
        group = groups[number - 1] if number <= len(groups) else sweeps.next_batch(path)
        if group is None:
            break
        if status := done(path / f"group-{number}", group.spec):
            return status
    again = hosts.by_leader(lambda: (best := sweeps.confirmation(path)) and best.to_json())
    if again and (status := done(path / "confirm", runs.from_json(again))):
        return status
    sweeps.write_results(path)
    if hosts.leads():
        print(sweeps.table(path))
    return 0


def _value_of(flag: str, argv: list[str], default: str) -> str:
    """The last value given for a flag that other flags depend on."""
    value = default
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            value = argv[i + 1]
        if word.startswith(flag + "="):
            value = word.partition("=")[2]
    return value


# --- the commands on runs ----------------------------------------------------------------------


def resume(argv: list[str]) -> int:
    from jaxrl.experiments import runs
    from jaxrl.experiments import sweep as sweeps
    from jaxrl.experiments.runs import training
    from jaxrl.train import use_cores

    @dataclasses.dataclass
    class Resume:
        """Continues a run as if it had never stopped; with --steps also beyond its end.

        The schedules of an extended run end at its new length: the learning rate of a finished run, 0 by
        default, rises to its value at this step in a run of the new length. `run.json` lists the earlier
        lengths.
        """

        run: Annotated[Path, _positional()]  # folder of the run
        steps: int | None = None  # total environment steps per seed, more than it has now
        coordinator: str = ""  # several processes, possibly another number than before: see `jaxrl train`
        num_processes: int | None = None  # several processes: how many
        process_id: int | None = None  # several processes: which one this is, from 0
        join_seconds: int = 60  # several processes: how long to wait for the others to connect

    chosen = parse(Resume, argv, "jaxrl resume")
    path = chosen.run
    use_cores(quiet=True)
    if chosen.steps is not None:
        from jaxrl.experiments.runs import extend

        extend.extend(path, chosen.steps)
    if sweeps.is_sweep(path):
        return carry_on_sweep(path)
    # Recognized by their files, so that only the necessary modules are imported.
    if (path / "comparison.json").is_file():
        from jaxrl.experiments.compare.command import carry_on as carry_on_comparison

        return carry_on_comparison(path)
    if (path / "talk.json").is_file():
        from jaxrl.experiments import cheap_talk

        return cheap_talk.carry_on(path)
    info = runs.read_info(path)
    if "worlds" in info["spec"]:
        from jaxrl.experiments.discover import command

        return command.resume(path, info)
    return training.carry_on(path, runs.from_json(info["spec"]), info["options"])


def evaluate(argv: list[str]) -> int:
    from jaxrl.experiments import reports

    @dataclasses.dataclass
    class Evaluate:
        """Returns of a run's policies over new episodes, with keys that training has not used."""

        run: Annotated[Path, _positional()]  # folder of the run
        episodes: int = 128  # per seed
        best: bool = False  # the best saved checkpoint instead of the last
        json: bool = False  # print one JSON object

    chosen = parse(Evaluate, argv, "jaxrl evaluate")
    print(reports.evaluation(chosen.run, chosen.episodes, chosen.best, chosen.json))
    return 0


def plot(argv: list[str]) -> int:
    from jaxrl.experiments import folders, runs

    @dataclasses.dataclass
    class Plot:
        """Learning curves of one or more runs."""

        runs: Annotated[tuple[Path, ...], _positional()]  # folders of runs
        out: Path | None = None  # PNG file; otherwise curves.png in the run; of several, here

    chosen = parse(Plot, argv, "jaxrl plot")
    if not chosen.runs:
        raise UsageError("plot needs a run: jaxrl plot RUN")
    out = chosen.out or folders.default_output(chosen.runs, "curves.png")
    print(runs.plot_curves(list(chosen.runs), out))
    return 0


def render(argv: list[str]) -> int:
    from jaxrl.experiments import reports

    @dataclasses.dataclass
    class Render:
        """An episode by the trained policy: a GIF, or for environments of brax a web page."""

        run: Annotated[Path, _positional()]  # folder of the run
        seed: int | None = None  # agent to show; otherwise the one of median return
        out: Path | None = None  # .gif, or .html for brax; otherwise episode.gif or .html in the run
        max_steps: int = 500  # the longest episode to show
        best: bool = False  # the best saved checkpoint instead of the last

    chosen = parse(Render, argv, "jaxrl render")
    print(reports.render(chosen.run, chosen.out, chosen.seed, chosen.max_steps, chosen.best))
    return 0


def list_(argv: list[str]) -> int:
    from jaxrl.experiments import reports

    @dataclasses.dataclass
    class List:
        """Lists algos, envs, objectives, presets, or all of them."""

        what: Annotated[str, _positional()] = "all"  # one of them
        word: Annotated[str, _positional()] = ""  # only lines that contain this, in any case

    chosen = parse(List, argv, "jaxrl list")
    print(reports.listed(chosen.what, chosen.word))
    return 0


def _positional():
    import tyro

    return tyro.conf.Positional


def _from():
    import tyro

    return Annotated[Path | None, tyro.conf.arg(name="from")]


def _hidden(kind: type):
    import tyro

    return Annotated[kind, tyro.conf.Suppress]


if __name__ == "__main__":
    sys.exit(main())
