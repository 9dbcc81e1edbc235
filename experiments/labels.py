"""Trials of a sweep as text: short names of options, and their values."""

import math
from collections.abc import Iterable, Mapping
from typing import Any


def short_names(flags: Iterable[str]) -> dict[str, str]:
    """For each flag its last part, `learning-rate`; more of it if several flags end with that."""
    flags = [*flags]
    last = [flag.rpartition(".")[2].removeprefix("--") for flag in flags]
    return {
        flag: name if last.count(name) == 1 else flag.removeprefix("--").removeprefix("hp.")
        for flag, name in zip(flags, last)
    }


def shown(value: Any) -> str:
    """A value of an option: numbers with four digits, sizes as `64x64`."""
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    if isinstance(value, str):  # of a sweep by an earlier version, which kept numbers as text
        try:
            number = float(value)
        except ValueError:
            return value
        return value if len(value) < 8 or not math.isfinite(number) else f"{number:.4g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def label(values: Mapping[str, Any]) -> str:
    """The values of a trial by flag as `learning-rate 0.01, num-steps 16`."""
    names = short_names(values)
    return ", ".join(f"{names[flag]} {shown(value)}" for flag, value in values.items())
