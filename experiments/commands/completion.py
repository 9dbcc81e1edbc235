"""`jaxrl completion bash|zsh|fish`: a script that completes commands, names and options in a shell.

All words are in the script, so that completing starts no Python. It has the names of the installed version:
algorithms, environments, objectives, and the options of every command, algorithm and environment.
"""

import dataclasses
import re
import textwrap
import typing
from typing import Annotated, Any, Literal, NamedTuple

from jaxrl.experiments import options
from jaxrl.experiments.commands import COMMANDS, load

SHELLS = ("bash", "zsh", "fish")
# Commands whose options depend on an algorithm and an environment.
TRAINING = ("train", "sweep", "profile")
# The origins of environments whose parameters are known without importing a library that is slow to import.
CHEAP = ("jaxrl", "gymnax")
# What is completed after a command, by position, apart from arguments with fixed choices: the key of a list.
POSITIONS = {
    **dict.fromkeys(TRAINING, ("algorithms", "environments")),
    "talk": ("environments",),
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


class Tables(NamedTuple):
    """What can be completed; each table maps a key to words.

    Attributes:
      options: of each command; those of an algorithm or an environment are in the next two.
      algorithms, environments: the options that they add to the commands in `TRAINING`, long and short.
      places: by `COMMAND NUMBER`, the words at a position after the command.
      values: by `COMMAND OPTION`, the values of an option.
    """

    commands: list[str]
    options: dict[str, list[str]]
    algorithms: dict[str, list[str]]
    environments: dict[str, list[str]]
    places: dict[str, list[str]]
    values: dict[str, list[str]]


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

    # A colon, which separates words in bash, is only in the names of variants.
    names = [name for name in sorted(envs.REGISTRY) if ":" not in name]
    lists = {
        "algorithms": sorted(ALGORITHMS),
        "environments": names,
        "objectives": sorted(objectives.OBJECTIVES),
        "lists": ["algos", "envs", "objectives", "presets", "all"],
        "suites": sorted(SUITES),
        "commands": list(COMMANDS),
    }
    options, places, values = {}, {}, {}
    for name in COMMANDS:
        listed = _listed(_dataclass(name, "ppo") if name in TRAINING else _dataclass(name))
        flags = [one for one in listed if one.startswith("--") and not (name in TRAINING and "." in one)]
        options[name] = ["--help", *flags]
        values |= {f"{name} {flag}": lists.get(VALUES.get(flag, ""), listed[flag]) for flag in flags}
        fixed = [listed[one] for one in listed if not one.startswith("--")]
        places |= _numbered(name, [lists[one] for one in POSITIONS.get(name, ())] or fixed)
    places |= _numbered("help", [lists["commands"]])
    algorithms = {name: _of_algorithm(name) for name in ALGORITHMS}
    environments = {name: _of_environment(envs.REGISTRY[name]) for name in names}
    general = {flag for name in TRAINING for flag in options[name]}
    taken = [general | _shortened(table) for table in (environments, algorithms)]
    return Tables(
        commands=["help", *COMMANDS],
        options=options,
        algorithms={name: _with_short(flags, taken[0]) for name, flags in algorithms.items()},
        environments={name: _with_short(flags, taken[1]) for name, flags in environments.items()},
        places=places,
        values=values,
    )


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
    listed = {}
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


# --- the scripts ---------------------------------------------------------------------------------------

# For bash and zsh; which set `word` (to be completed), `before` it, `command`, `position`, and the names.
WORDS = """\
_jaxrl_words() {{
    found=
    if ((position == 0)); then
        found="{commands}"
    elif [[ $word == -* ]]; then
        case $command in
{options}
        esac
        case $command in
            {training})
                case $algorithm in
{algorithms}
                esac
                case $environment in
{environments}
                esac ;;
        esac
    else
        case "$command $before" in
{values}
            *" -"*) ;;  # the value of an option
            *) case "$command $position" in
{places}
            esac ;;
        esac
    fi
}}
"""
BASH = """\
# Completion of jaxrl in bash, written by `jaxrl completion bash`.
{words}_jaxrl() {{
    local found word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
    local position=$((COMP_CWORD - 1)) command=${{COMP_WORDS[1]}}
    local algorithm=${{COMP_WORDS[2]}} environment=${{COMP_WORDS[3]}}
    _jaxrl_words
    COMPREPLY=($(compgen -W "$found" -- "$word"))
}}
complete -o default -F _jaxrl jaxrl
"""
ZSH = """\
#compdef jaxrl
# Completion of jaxrl in zsh, written by `jaxrl completion zsh`.
{words}_jaxrl() {{
    local found word=$PREFIX before=${{words[CURRENT - 1]}} position=$((CURRENT - 2))
    local command=${{words[2]}} algorithm=${{words[3]}} environment=${{words[4]}}
    _jaxrl_words
    compadd -- ${{=found}} || _files
}}
if [[ ${{funcstack[1]}} == _jaxrl ]]; then _jaxrl "$@"; else compdef _jaxrl jaxrl; fi
"""
FISH = """\
# Completion of jaxrl in fish, written by `jaxrl completion fish`.
function __jaxrl_words
    set -l before (commandline -opc)
    set -l position (math (count $before) - 1)
    if test $position -eq 0
        printf '%s\\n' {commands}
    else if string match -q -- '-*' (commandline -ct)
        switch "$before[2]"
{options}
        end
        if contains -- "$before[2]" {training}
            switch "$before[3]"
{algorithms}
            end
            switch "$before[4]"
{environments}
            end
        end
    else
        switch "$before[2] $before[-1]"
{values}
            case '* -*'  # the value of an option
            case '*'
                switch "$before[2] $position"
{places}
                end
        end
    end
end
function __jaxrl
    __jaxrl_words | string match -- (commandline -ct)'*'
end
complete -c jaxrl -f -n 'test (count (__jaxrl)) -gt 0' -a '(__jaxrl)'
"""


def script(shell: str, known: Tables) -> str:
    """The script for a shell that completes these words."""
    fish = shell == "fish"
    training = (" " if fish else "|").join(TRAINING)
    parts = {name: _cases(getattr(known, name), fish) for name in Tables._fields if name != "commands"}
    parts |= {"commands": " ".join(known.commands), "training": training}
    if fish:
        return FISH.format(**parts)
    return {"bash": BASH, "zsh": ZSH}[shell].format(words=WORDS.format(**parts))


def _cases(table: dict[str, list[str]], fish: bool) -> str:
    """The branches of a `case`, in fish of a `switch`; keys with the same words share one."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for key, words in table.items():
        if words:
            shared.setdefault(tuple(words), []).append(f"'{key}'")
    for word in {word for words in shared for word in words}:
        assert re.fullmatch(r"[\w./-]+", word), f"{word} would need quotes"
    if fish:
        branches = [
            f"case {' '.join(keys)}\n    printf '%s\\n' {' '.join(words)}" for words, keys in shared.items()
        ]
    else:
        branches = [
            f'{"|".join(keys)})\n    found+=" {" ".join(words)}" ;;' for words, keys in shared.items()
        ]
    return textwrap.indent("\n".join(branches), " " * 16)
