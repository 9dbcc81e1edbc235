"""From `ALGO ENV [OPTIONS]` to a Spec: the options of an algorithm and an environment, and their values."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from jaxrl import envs, fields, hosts, sources
from jaxrl.envs import parameters
from jaxrl.envs.wrappers import RESETS
from jaxrl.experiments import config_file, preset_choice, runs, tracking, user_files
from jaxrl.experiments.options import UsageError, from_path, hidden, parse, value_of, with_full_flags
from jaxrl.names import lookup
from jaxrl.train import use_cores


def train_options(algorithm: str, environment: str, objective_name: str, tuned_for: str = "") -> type:
    """The options of `jaxrl train ALGO ENV` as a dataclass, with the preset's defaults."""
    module = runs.algorithm(algorithm)
    objective_name = runs.objective_name(module, objective_name)
    environment = user_files.environment(environment)
    with_objective = {"objective": runs.typed_params(objective_name)} if objective_name else {}
    parts = module.Config(), module.Hparams(**with_objective)
    chosen, _ = preset_choice.chosen_preset(algorithm, environment, objective_name, tuned_for, parts)
    config_default = fields.configured(parts[0], chosen.config)
    hp_default = runs.with_values(parts[1], chosen.hparams)
    of_objective = str if objective_name else hidden(str)
    env_options = environment_options(environment)
    env_default = env_options()

    @dataclasses.dataclass
    class Specific:
        from_: from_path() = None  # folder of a run, or TOML file, whose values are the defaults
        steps: int = chosen.steps  # environment steps per seed
        seeds: int = 1  # agents trained at once
        seed: int = 0  # of the first agent; the others follow
        objective: of_objective = objective_name  # policy objective, see `jaxrl list objectives`, or a file
        preset_of: str = tuned_for  # take the preset of this ALGO, or ALGO:ENV; also rainbow, crossq
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


def environment_options(environment: str) -> type:
    """The parameters of an environment as a dataclass, with their defaults."""
    import tyro

    entry = lookup("environment", envs.REGISTRY, environment)
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
    return dataclasses.make_dataclass("Env", env_fields, frozen=True)


def given_parameters(chosen: Any, limited: bool) -> dict[str, Any]:
    """The parameters of `environment_options` that differ from their defaults.

    Args:
      limited: whether a time limit is given. It is used even if it is the default, which depends on other
        parameters.
    """
    return {
        field.name: getattr(chosen, field.name)
        for field in dataclasses.fields(chosen)
        if getattr(chosen, field.name) != field.default or (field.name == "max_steps" and limited)
    }


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
    options = options_of(algorithm, environment, *dependent(argv, given))
    argv, default = with_full_flags(argv, options), config_file.applied(given, options(), environment)
    prog = f"jaxrl {command} {sources.shown(names[0])} {sources.shown(names[1])}"
    chosen = parse(options, argv[2:], prog, default)
    limited = "max_steps" in given.env(environment) or value_of("--env.max-steps", argv, "")
    env = given_parameters(chosen.env, limited)
    return algorithm, environment, options, chosen, env


def dependent(argv: list[str], given) -> tuple[str, str]:
    """The objective and `--preset-of` of a command, on which other options and defaults depend."""
    objective = value_of("--objective", argv, given.objective(sources.named(argv[0])))
    return objective, value_of("--preset-of", argv, given.values.get("preset_of", ""))


def parse_spec(command: str, options_of, argv: list[str]) -> tuple[runs.Spec, Any, dict[str, Any]]:
    """The Spec of a command, its options as given, and those that do not affect what is computed."""
    given = config_file.read(value_of("--from", argv, ""))
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


def print_note(spec, chosen) -> None:
    """Prints a note on standard error if there is no preset, or if parts of it are not used."""
    names = spec.algorithm, spec.environment, spec.objective
    note = preset_choice.note(*names, chosen.preset_of, (spec.config, spec.hparams))
    if note and not chosen.from_ and hosts.leads():
        print(f"jaxrl: note: {note}", file=sys.stderr)
