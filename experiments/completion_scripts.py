"""The scripts of `jaxrl completion`, one for each shell, from tables of words."""

import re
import textwrap
from typing import NamedTuple

TRAINING = ("train", "sweep", "profile")  # their options depend on the algorithm and the environment
SHELLS = ("bash", "zsh", "fish")


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
