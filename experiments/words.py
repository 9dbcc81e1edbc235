"""Formats of numbers on a command line: `1e6` and `100_000` for counts, `64x64` for sizes of layers."""

import dataclasses
import re
from typing import Any

_EXPONENT = re.compile(r"[+-]?\d+(\.\d+)?[eE]\+?\d{1,2}")
_SIZES = re.compile(r"\d+(x\d+)+")


def whole_number(text: str) -> int:
    """`20`, `20_000` or `2e4` as an int. Raises ValueError as `int` does."""
    if _EXPONENT.fullmatch(text):
        digits, _, exponent = text.lower().partition("e")
        whole, _, fraction = digits.partition(".")
        zeros = int(exponent) - len(fraction.rstrip("0"))
        if zeros >= 0:
            return int(whole + fraction.rstrip("0")) * 10**zeros
    return int(text)


def registry() -> Any:
    """A registry that makes tyro parse integers with `whole_number`."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec

    rules = ConstructorRegistry()

    @rules.primitive_rule
    def _(kind):
        if kind.type is not int:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=lambda words: whole_number(words[0]),
            is_instance=lambda value: isinstance(value, int),
            str_from_instance=lambda value: [str(value)],
        )

    return rules


def with_sizes(argv: list[str], options: Any) -> list[str]:
    """The words of a command, with `--config.network.hidden-sizes 64x64` replaced by `... 64 64`.

    Args:
      options: a dataclass, whose tuple fields take sizes.
    """
    flags, words, after = set(_tuples(options)), [], False
    for word in argv:
        flag, equals, value = word.partition("=")
        if flag.replace("_", "-") in flags and equals and _SIZES.fullmatch(value):
            words += [flag, *value.split("x")]
        elif after and _SIZES.fullmatch(word):
            words += word.split("x")
        else:
            words.append(word)
        after = word.replace("_", "-") in flags
    return words


def _tuples(options: Any, prefix: str = "--") -> list[str]:
    """The flags of a dataclass, or of an instance of one, that take several integers."""
    names = []
    for field in dataclasses.fields(options):
        name, default = prefix + field.name.strip("_").replace("_", "-"), getattr(options, field.name, None)
        if dataclasses.is_dataclass(default):
            names += _tuples(default, f"{name}.")
        elif isinstance(default, tuple) and all(isinstance(one, int) for one in default):
            names.append(name)
    return names
