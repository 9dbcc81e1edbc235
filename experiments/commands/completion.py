"""`jaxrl completion bash|zsh|fish`: a script that completes commands, names and options in a shell.

All words are in the script, so that completing starts no Python. It has the names of the installed version:
algorithms, environments, objectives, and the options of every command, algorithm and environment.
"""

import dataclasses
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from jaxrl import sources
from jaxrl.experiments import options
from jaxrl.experiments.commands import known, load
from jaxrl.experiments.completion_scripts import SHELLS, TRAINING, Tables, script

# The origins of environments whose parameters are known without importing a library that is slow to import.
CHEAP = ("jaxrl", "gymnax")
# What is completed after a command, by position, apart from arguments with fixed choices: the key of a list.
POSITIONS = {
    **dict.fromkeys(TRAINING, ("algorithms", "environments")),
    "talk": ("environments",),
    "horizon": ("environments",),
    "drift": ("objectives",) * 8,
    "list": ("lists",),
    "benchmark": ("suites",),
    "help": ("commands",),
}
# The values of options that are names.
VALUES = {
    "--objective": "objectives",
    "--objectives": "objectives",
    "--preset-of": "algorithms",
    "--algorithms": "algorithms",
    "--environments": "environments",
}


def command(argv: list[str]) -> int:
    """Prints the script for a shell. Returns the exit status."""

    @dataclasses.dataclass
    class Completion:
        """Prints a script that completes `jaxrl` in a shell; docs/running.md shows where to put it."""

        shell: Annotated[Literal[SHELLS], options.positional()]  # the shell that reads the script

    chosen = options.parse(Completion, argv, "jaxrl completion")
    print(script(chosen.shell, tables()), end="")
    return 0


def tables() -> Tables:
    """The words of the installed version."""
    from jaxrl import envs, objectives
    from jaxrl.algos import ALGORITHMS
    from jaxrl.experiments.benchmark.command import SUITES

    lists = {
        "algorithms": _names(ALGORITHMS),
        "environments": _names(envs.REGISTRY),
        "objectives": _names(objectives.OBJECTIVES),
        "lists": ["algos", "envs", "objectives", "presets", "all"],
        "suites": sorted(SUITES),
        "commands": list(known()),
    }
    options: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    values: dict[str, list[str]] = {}
    for name in known():
        listed = _listed(_dataclass(name, "ppo") if name in TRAINING else _dataclass(name))
        flags = [one for one in listed if one.startswith("--") and not (name in TRAINING and "." in one)]
        options[name] = ["--help", *flags]
        values |= {f"{name} {flag}": lists.get(VALUES.get(flag, ""), listed[flag]) for flag in flags}
        fixed = [listed[one] for one in listed if not one.startswith("--")]
        places |= _numbered(name, [lists[one] for one in POSITIONS.get(name, ())] or fixed)
    places |= _numbered("help", [lists["commands"]])
    algorithms = {name: _of_algorithm(name) for name in lists["algorithms"]}
    environments = {name: _of_environment(envs.REGISTRY[name]) for name in lists["environments"]}
    general = {flag for name in TRAINING for flag in options[name]}
    taken = [general | _shortened(table) for table in (environments, algorithms)]
    return Tables(
        commands=["help", *known()],
        options=options,
        algorithms={name: _with_short(flags, taken[0]) for name, flags in algorithms.items()},
        environments={name: _with_short(flags, taken[1]) for name, flags in environments.items()},
        places=places,
        values=values,
    )


def _names(registry: Iterable[str]) -> list[str]:
    """What is part of the package; a colon, which separates words in bash, is only in names of variants."""
    return sorted(name for name in registry if ":" not in name and not sources.is_name(name))


def _numbered(command: str, places: list[list[str]]) -> dict[str, list[str]]:
    return {f"{command} {number}": words for number, words in enumerate(places, 1)}


def _dataclass(command: str, *algorithm: str) -> Any:
    """The dataclass of a command's options, or an instance of it."""
    names = [*algorithm, "CartPole-v1"] if algorithm else []
    try:
        load(command)([*names, options.DESCRIBE])
    except options.Described as described:
        return described.options
    raise AssertionError(f"{command} does not use options.parse")


def _listed(options: Any, prefix: str = "--") -> dict[str, list[str]]:
    """The options and positional arguments (without dashes) of a dataclass, each with its fixed choices."""
    import tyro

    kinds = typing.get_type_hints(
        options if isinstance(options, type) else type(options), include_extras=True
    )
    listed: dict[str, list[str]] = {}
    for field in dataclasses.fields(options):
        kind, default = kinds[field.name], getattr(options, field.name, None)
        marks = typing.get_args(kind)[1:] if typing.get_origin(kind) is Annotated else ()
        kind = typing.get_args(kind)[0] if marks else kind
        name = field.name.strip("_").replace("_", "-")
        choices = list(typing.get_args(kind)) if typing.get_origin(kind) is Literal else []
        if dataclasses.is_dataclass(default):
            listed |= _listed(default, f"{prefix}{name}.")
        elif tyro.conf.Positional in marks:
            listed[name] = choices
        elif tyro.conf.Suppress not in marks:
            listed[f"{prefix}{'no-' if default is True else ''}{name}"] = choices
    return listed


def _of_algorithm(name: str) -> list[str]:
    """The options that an algorithm adds, with those of all objectives if it takes one."""
    from jaxrl import fields, objectives

    listed = [one for one in _listed(_dataclass("train", name)) if one.startswith(("--config.", "--hp."))]
    if any(one.startswith("--hp.objective.") for one in listed):
        params = {key for make in objectives.OBJECTIVES.values() for key in fields.numbers(make().params)}
        listed += [f"--hp.objective.{key.replace('_', '-')}" for key in params]
    return sorted(set(listed))


def _of_environment(entry: Any) -> list[str]:
    """The options that an environment adds; only the common ones if its library must be imported for more."""
    params = dict(entry.params()) if entry.origin.startswith(CHEAP) else {}
    names = sorted(params | ({} if entry.wrapped else {"max_steps": None, "resets": None}))
    return [f"--env.{name.replace('_', '-')}" for name in names]


def _short(flag: str) -> str:
    """`--gamma` for `--hp.gamma`."""
    return f"--{flag.removeprefix('--').rpartition('.')[2]}"


def _shortened(table: dict[str, list[str]]) -> set[str]:
    return {_short(flag) for flags in table.values() for flag in flags}


def _with_short(flags: list[str], taken: set[str]) -> list[str]:
    """Options, and their short forms where these are unique; `taken` are those that are not."""
    short = list(map(_short, flags))
    return [*flags, *(one for one in short if short.count(one) == 1 and one not in taken)]
