"""Options of commands: flags from dataclasses, parsed by tyro, with errors of one sentence.

There is a flag for every field, with its comment as help and its value as default.
"""

import contextlib
import dataclasses
import io
import re
from pathlib import Path
from typing import Annotated, Any

from jaxrl.experiments import hints, words


class UsageError(ValueError):
    """Arguments that cannot be parsed."""


DESCRIBE = "--describe-options"  # the only option of a command whose options are listed for completion


class Described(UsageError):
    """Raised by `parse` for `DESCRIBE`; `options` is the dataclass of the command."""

    options: type


def parse(options: type, args: list[str], prog: str, default: Any = None) -> Any:
    """Parses with tyro, whose boxed error messages are reduced to one sentence.

    Args:
      default: an instance of `options` with other default values.
    """
    import tyro

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


def value_of(flag: str, argv: list[str], default: str) -> str:
    """The last value given for a flag that other flags depend on."""
    value = default
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            value = argv[i + 1]
        if word.startswith(flag + "="):
            value = word.partition("=")[2]
    return value


def positional() -> Any:
    """Marks a field that is given without a flag: `Annotated[Path, positional()]`."""
    import tyro

    return tyro.conf.Positional


def from_path() -> Any:
    """The type of the field of `--from`, which is a keyword of Python."""
    import tyro

    return Annotated[Path | None, tyro.conf.arg(name="from")]


def hidden(kind: type) -> Any:
    """The type of a field that has no flag."""
    import tyro

    return Annotated[kind, tyro.conf.Suppress]
