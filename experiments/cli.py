"""The command line: `jaxrl train`, `resume`, `evaluate`, `plot`, `render`, `list`.

Flags come from the dataclasses: every field of a Config and an Hparams is one, with its comment as
help and the preset of the environment as default. What a person can get wrong ends in one line on
standard error and exit status 2; JAXRL_TRACEBACK=1 shows where it came from.
"""

import contextlib
import dataclasses
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

COMMANDS = ("train", "resume", "evaluate", "plot", "render", "list")


class UsageError(ValueError):
    """Arguments that cannot be understood."""


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns the exit status: 0, 2 for bad input, 130 when interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return dispatch(argv)
    except (ValueError, OSError) as error:
        if os.environ.get("JAXRL_TRACEBACK"):
            raise
        print(f"jaxrl: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxrl: interrupted", file=sys.stderr)
        return 130


def dispatch(argv: list[str]) -> int:
    from jaxrl import names

    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] == "--version":
        import jaxrl

        print(f"jaxrl {jaxrl.__version__}")
        return 0
    table = dict(zip(COMMANDS, (train, resume, evaluate, plot, render, list_)))
    return names.lookup("command", table, argv[0])(argv[1:])


USAGE = """\
usage: jaxrl COMMAND ...

  train ALGO ENV      train agents, all seeds at once        jaxrl train ppo CartPole-v1 --seeds 8
  resume RUN          go on with a run that was stopped
  evaluate RUN        returns over fresh episodes            [--episodes N] [--json]
  plot RUN...         learning curves with intervals         [--out FILE.png]
  render RUN          a GIF of an episode                    [--seed K] [--out FILE.gif]
  list [WHAT]         algos, envs, objectives or presets

`jaxrl COMMAND --help` shows all options; of train, after ALGO and ENV, with the defaults of both."""


def parse(options: type, args: list[str], prog: str, default: Any = None) -> Any:
    """tyro, with its boxes made one sentence."""
    import tyro

    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            kwargs = {} if default is None else {"default": default}
            return tyro.cli(options, args=args, prog=prog, **kwargs)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UsageError(_sentence(told.getvalue(), prog)) from None


def _sentence(box: str, prog: str) -> str:
    """The message of one of tyro's boxes, and the flag that was perhaps meant."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()
    inside = [line.strip("│ ") for line in lines if not line.startswith(("╭", "╰"))]
    text = " ".join(" ".join(inside).split())
    message = re.split(r"─{3,}|Perhaps you meant:|Argument helptext:|For full helptext", text)[0].strip()
    _, _, hints = text.partition("Perhaps you meant:")
    flags = re.findall(r"--[\w.-]+", hints)
    hint = f" Perhaps you meant {flags[0]}." if flags else ""
    return f"{message.rstrip('.')}.{hint} `{prog} --help` shows all options."


# --- train -------------------------------------------------------------------------------------


def train_options(algorithm: str, environment: str, objective_name: str) -> type:
    """The options of `jaxrl train ALGO ENV` as a dataclass, with the preset's defaults."""
    from jaxrl import envs, objectives
    from jaxrl.experiments import runs
    from jaxrl.experiments.presets import preset
    from jaxrl.names import lookup

    module = runs.algorithm(algorithm)
    entry = lookup("environment", envs.REGISTRY, environment)
    params = runs.objective(objective_name).params
    chosen = preset(algorithm, environment)
    config_default = module.Config(**chosen.config)
    hp_default = module.Hparams(**chosen.hparams, objective=params)
    env_fields = [(name, type(value), value) for name, value in entry.params().items()]
    if entry.max_steps is not None:
        env_fields = [f for f in env_fields if f[0] != "max_steps"]
        env_fields.append(("max_steps", int, entry.max_steps))
    env_options = dataclasses.make_dataclass("Env", env_fields, frozen=True)

    @dataclasses.dataclass
    class Train:
        """Trains `--seeds` agents side by side in one program and keeps the run in a folder."""

        steps: int = chosen.steps  # environment steps per seed
        seeds: int = 1  # agents trained at once
        seed: int = 0  # of the first agent; the others follow
        objective: str = objective_name  # policy objective, see `jaxrl list objectives`
        intervals: int = 20  # rows of metrics, and evaluations, over the run
        eval_episodes: int = 16  # episodes of each evaluation, per seed; 0: none
        save_every_seconds: float = 10.0  # least time between checkpoints; 0: one per interval
        out: Path | None = None  # folder of the run; otherwise one in runs/
        tensorboard: bool = False  # also write TensorBoard files into the folder
        wandb: bool = False  # also log to Weights & Biases
        compile_cache: bool = True  # keep compiled programs for the next start
        config: module.Config = config_default  # what compiles
        hp: module.Hparams = hp_default  # what is traced
        env: env_options = env_options()  # parameters of the environment

    return Train


def train(argv: list[str]) -> int:
    from jaxrl.experiments import runs

    names = [a for a in argv[:2] if not a.startswith("-")]
    if len(names) < 2:
        if {"-h", "--help"} & set(argv):
            print(
                "usage: jaxrl train ALGO ENV [OPTIONS]\n\n`jaxrl train ppo CartPole-v1 --help` shows "
                "the options with the defaults of both; `jaxrl list` shows what there is."
            )
            return 0
        raise UsageError("train needs an algorithm and an environment: jaxrl train ppo CartPole-v1")
    algorithm, environment = names
    prog = f"jaxrl train {algorithm} {environment}"
    objective = _value_of("--objective", argv, "ppo")
    options = train_options(algorithm, environment, objective)
    chosen = parse(options, argv[2:], prog)
    env = {
        field.name: getattr(chosen.env, field.name)
        for field in dataclasses.fields(chosen.env)
        if getattr(chosen.env, field.name) != field.default
    }
    spec = runs.Spec(
        algorithm=algorithm,
        environment=environment,
        env=env,
        objective=chosen.objective,
        config=chosen.config,
        hparams=chosen.hp,
        steps=chosen.steps,
        seed=chosen.seed,
        seeds=chosen.seeds,
        intervals=chosen.intervals,
        eval_episodes=chosen.eval_episodes,
    )
    programs = runs.build(spec)
    path = chosen.out or runs.default_folder(spec)
    extra = {
        "tensorboard": chosen.tensorboard,
        "wandb": chosen.wandb,
        "compile_cache": chosen.compile_cache,
        "save_every_seconds": chosen.save_every_seconds,
    }
    runs.create_folder(path, spec, extra)
    return carry_on(path, spec, programs, extra)


def _value_of(flag: str, argv: list[str], default: str) -> str:
    """What is given for a flag that other flags depend on."""
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return default


def carry_on(path: Path, spec, programs, extra: dict[str, Any]) -> int:
    """Trains a run from where its folder stands, and says how it went."""
    from jaxrl import checkpoint
    from jaxrl.experiments import reporters, runs, trainer

    begun = time.perf_counter()
    if extra["compile_cache"]:
        runs.enable_compile_cache()
    print(runs.announcement(spec, programs, path), flush=True)
    folder = path / "checkpoints"
    at = trainer.restore(programs, spec, path) if checkpoint.latest(folder) is not None else None
    steps = programs.algo.steps_per_update
    title = f"{spec.algorithm} {spec.environment}"
    reporter = reporters.choose(title, programs.num_updates, steps, spec.seeds)
    sinks = []
    try:
        reporter.status("compiling ...")
        compiled = trainer.compile_programs(programs, spec)
        compile_seconds = time.perf_counter() - begun
        memory = "" if compiled.memory is None else f", {reporters.size(compiled.memory)} while training"
        reporter.status(f"compiled in {compile_seconds:.1f} s{memory}")
        at = at or trainer.start(programs, spec, compiled)
        sinks = runs.open_sinks(path, spec, at.num_updates, extra)
        at, complete = trainer.fit(
            programs, spec, path, compiled, at, reporter, sinks, extra["save_every_seconds"]
        )
    finally:
        reporter.close()
        for sink in sinks:
            sink.close()
    wall = time.perf_counter() - begun
    runs.record_session(path, at.num_updates, compile_seconds, wall)
    if not complete:
        print(
            f"stopped and saved after {at.num_updates} of {programs.num_updates} updates; "
            f"go on with: jaxrl resume {path}"
        )
        return 130
    if at.num_updates:
        runs.plot_curves([path], path / "curves.png")
    print(runs.closing(path, spec, wall, compile_seconds))
    return 0


# --- the commands on runs ----------------------------------------------------------------------


def resume(argv: list[str]) -> int:
    from jaxrl.experiments import runs

    @dataclasses.dataclass
    class Resume:
        """Goes on with a run as if it had never stopped."""

        run: Annotated[Path, _positional()]  # folder of the run

    path = parse(Resume, argv, "jaxrl resume").run
    info = runs.read_info(path)
    spec = runs.from_json(info["spec"])
    return carry_on(path, spec, runs.build(spec), info["options"])


def evaluate(argv: list[str]) -> int:
    from jaxrl.experiments import reports

    @dataclasses.dataclass
    class Evaluate:
        """Returns of a run's policies over fresh episodes, with keys that training has not used."""

        run: Annotated[Path, _positional()]  # folder of the run
        episodes: int = 128  # per seed
        best: bool = False  # the best checkpoint instead of the last
        json: bool = False  # print one JSON object

    chosen = parse(Evaluate, argv, "jaxrl evaluate")
    print(reports.evaluation(chosen.run, chosen.episodes, chosen.best, chosen.json))
    return 0


def plot(argv: list[str]) -> int:
    from jaxrl.experiments import runs

    @dataclasses.dataclass
    class Plot:
        """Learning curves of one or more runs."""

        runs: Annotated[tuple[Path, ...], _positional()]  # folders of runs
        out: Path | None = None  # PNG file; otherwise curves.png in the first run

    chosen = parse(Plot, argv, "jaxrl plot")
    if not chosen.runs:
        raise UsageError("plot needs a run: jaxrl plot RUN")
    print(runs.plot_curves(list(chosen.runs), chosen.out or chosen.runs[0] / "curves.png"))
    return 0


def render(argv: list[str]) -> int:
    from jaxrl.experiments import reports

    @dataclasses.dataclass
    class Render:
        """A GIF of an episode by the trained policy."""

        run: Annotated[Path, _positional()]  # folder of the run
        seed: int | None = None  # agent to show; otherwise the one of median return
        out: Path | None = None  # GIF file; otherwise episode.gif in the run
        max_steps: int = 500  # the longest episode to show
        best: bool = False  # the best checkpoint instead of the last

    chosen = parse(Render, argv, "jaxrl render")
    out = chosen.out or chosen.run / "episode.gif"
    print(reports.render(chosen.run, out, chosen.seed, chosen.max_steps, chosen.best))
    return 0


def list_(argv: list[str]) -> int:
    from jaxrl.experiments import reports
    from jaxrl.names import lookup

    print(lookup("list", reports.LISTS, argv[0] if argv else "all")())
    return 0


def _positional():
    import tyro

    return tyro.conf.Positional


if __name__ == "__main__":
    sys.exit(main())
