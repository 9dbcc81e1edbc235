"""What a sweep varies: axes from the words of a command, and the trials along them."""

import contextlib
import math
import re
from collections.abc import Callable

import numpy as np

from jaxrl import envs, memory
from jaxrl.experiments import runs, search
from jaxrl.experiments.search import TRACED, Axis, Value, drawn

STATIC = ("--config.", "--env.", "--objective")


def axis(flag: str, text: str) -> Axis:
    """`0.9,0.95,0.99` are values, `0:1` is a range, `log:1e-4:1e-2` a logarithmic one, and `log:1e-4:1e-2:5`
    five values of it, ends included.

    Raises:
      ValueError: it is none of these, or empty.
    """
    if ":" not in text or flag == "--objective":  # a colon names a function in a file
        words = tuple(text.split(","))
        if not all(words) or len(set(words)) < len(words):
            raise ValueError(f"{flag} {text}: a value is missing or given twice")
        numbers = flag.startswith(TRACED)
        return Axis(
            flag, tuple(_number_of(flag, word) for word in words) if numbers else words, first=words[0]
        )
    parts = text.removeprefix("log:").split(":")
    log = text.startswith("log:")
    try:
        low, high = float(parts[0]), float(parts[1])
        count = int(parts[2]) if len(parts) == 3 else 0
        good = len(parts) <= 3 and math.isfinite(low) and math.isfinite(high)
    except (ValueError, IndexError):
        good = False
    if not good:
        raise ValueError(f"{flag} {text} is not a range: write LOW:HIGH, log:LOW:HIGH or log:LOW:HIGH:COUNT")
    if not low < high or (log and low <= 0):
        limit = "0 < LOW < HIGH" if log else "LOW < HIGH"
        raise ValueError(f"{flag} {text} is an empty range: it needs {limit}")
    if len(parts) < 3:
        return Axis(flag, (), low, high, log, first=parts[0])
    if count < 2:
        raise ValueError(f"{flag} {text}: a range of values needs at least 2 of them")
    memory.require(f"{flag} {text}", {"the number of values": count * drawn.VALUE}, memory.on_machine())
    values = np.geomspace(low, high, count) if log else np.linspace(low, high, count)
    return Axis(flag, tuple(values.tolist()), first=parts[0])


def _number_of(flag: str, word: Value) -> float:
    """The number in a word of the command; that of a range already is one."""
    with contextlib.suppress(ValueError, TypeError):
        return float(word)  # type: ignore[arg-type]  # other values are refused
    raise ValueError(f"{flag} takes numbers, not {word!r}")


def axes_of(argv: list[str]) -> tuple[list[Axis], list[str]]:
    """The axes among the words of a command, and the remaining words.

    Raises:
      ValueError: a range for an option that takes only values, or an option that is given twice.
    """
    axes, rest = [], []
    words = [part for word in argv for part in (word.split("=", 1) if _option(word) else [word])]
    position = 0
    while position < len(words):
        word = words[position]
        value = words[position + 1] if position + 1 < len(words) else ""
        if _option(word) and re.search("," if word == "--objective" else "[,:]", value):
            axes.append(axis(word.replace("_", "-"), value))
            position += 2
            continue
        rest.append(word)
        position += 1
    for one in axes:
        if not one.values and not one.flag.startswith((TRACED, "--env.")):
            raise ValueError(f"{one.flag} needs values, not a range: {one.flag} A,B,C")
        if sum(other.flag == one.flag for other in axes) > 1 or one.flag in rest:
            raise ValueError(f"{one.flag} is given twice")
    return axes, rest


def _option(word: str) -> bool:
    return word.startswith((TRACED, *STATIC))


def in_lanes(axes: list[Axis], spec: runs.Spec) -> list[Axis]:
    """The axes; marks those that can be lanes of one program although they are not hyperparameters.

    Raises:
      ValueError: a range for an option that takes only values, or a range with an invalid end.
    """
    marked = []
    for one in axes:
        if one.flag.startswith("--env."):
            name = one.name.removeprefix("env.")
            number = isinstance(envs.REGISTRY[spec.environment].params().get(name), float)
            if number and runs.can_trace(spec, name, _number_of(one.flag, one.at(0.0))):
                numbers = tuple(_number_of(one.flag, word) for word in one.values)
                one = one._replace(lanes=True, values=numbers)
                for value in numbers or (one.at(0.0), one.at(1.0)):
                    envs.make(spec.environment, **{**spec.env, name: value})
        if not one.traced and not one.values:
            raise ValueError(f"{one.flag} needs values, not a range: {one.flag} A,B,C")
        marked.append(one)
    return marked


def resolved(axes: list[Axis], kind: str, trials: int) -> str:
    """The kind of search; "auto" is the grid if there is one and no number of trials is given."""
    return ("grid" if search.is_grid(axes, trials) else "sobol") if kind == "auto" else kind


def draw(axes: list[Axis], kind: str, trials: int, seed: int) -> np.ndarray:
    """The position of each trial along the axes: `[T, D]` in [0, 1), for `Axis.at`.

    Args:
      kind: one of `search.SEARCHES`.
      trials: number of trials; 0 for a grid.

    Raises:
      ValueError: the search does not fit the axes or the number.
    """
    return search.SEARCHES[kind].draw(axes, trials, seed)


def typed(axes: list[Axis], value_of: Callable[[str, str], Value]) -> list[Axis]:
    """The axes with values of the types of their options.

    Args:
      value_of: `(flag, word) -> value`: a word of the command as the option takes it.

    Raises:
      ValueError: a word that the option does not take.
    """

    def convert(one: Axis, value: Value) -> Value:
        if isinstance(value, str):
            return value_of(one.flag, value)
        like = value_of(one.flag, one.first)  # of a range with a number of values
        if isinstance(value, float) and isinstance(like, int) and not isinstance(like, bool):
            if value != round(value):
                raise ValueError(f"{one.flag} takes whole numbers, not {value:g}")
            return round(value)
        return value

    return [
        one if one.traced else one._replace(values=tuple(convert(one, value) for value in one.values))
        for one in axes
    ]


def values_at(axes: list[Axis], shares: np.ndarray) -> list[tuple[Value, ...]]:
    """The values of the trials at the positions from `draw`."""
    return [tuple(one.at(share) for one, share in zip(axes, row)) for row in shares]


def first_words(axes: list[Axis]) -> list[str]:
    """The first value of each axis, as words of the command."""
    return [word for one in axes for word in (one.flag, one.first)]
