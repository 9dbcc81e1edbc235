"""Random damage to the JSON of files, and the check that it is reported in one line.

A format of a file is one entry of `test_fuzz.FORMATS`: how a valid file is written and by what it is read.
"""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A format, whose files are damaged.

    Attributes:
      make: `() -> valid JSON value`: of a file, or a list of lines.
      write: `(folder, text)`: writes a file with this JSON text; the text of a damaged file need not be JSON.
      read: `(folder)`: reads it by everything that does. Raises ValueError for bad files.
      lines: the file has a JSON value in each line.
    """

    make: Callable[[], Any]
    write: Callable[[Path, str], None]
    read: Callable[[Path], Any]
    lines: bool = False


def deep(levels: int) -> list:
    inner: list = []
    for _ in range(levels):
        inner = [inner]
    return inner


VALUES = (None, True, False, 0, -1, 1, 2, 3.5, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", "x")
VALUES += ("\x1b[2J\n", "ppo", "../../x", "1", [], {}, [[]], [None], ["x"], [1, 2, 3], {"x": 1}, {"": None})
VALUES += (deep(70), deep(150))


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all values inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def damaged(value: Any, dice: random.Random) -> tuple[Any, str]:
    """The value with one to three changes, and what they are."""
    value, changes = copy.deepcopy(value), []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        place = dice.choice(places(value))
        if not place:
            if dice.random() < 0.1:
                value = copy.deepcopy(dice.choice(VALUES))
                changes.append(f"all = {str(value)[:40]!r}")
            continue
        holder = value
        for key in place[:-1]:
            holder = holder[key]
        kind, key = dice.choice(("delete", "replace", "replace", "replace", "swap", "rename")), place[-1]
        changes.append(f"{kind} {'.'.join(map(str, place))}")
        if kind == "delete":
            del holder[key]
        elif kind == "swap":  # with the value of another place
            other = value
            for part in dice.choice(places(value)):
                other = other[part]
            holder[key] = copy.deepcopy(other)
        elif kind == "rename" and isinstance(holder, dict):
            holder[dice.choice(("", "x", key.upper(), f"{key} "))] = holder.pop(key)
        else:
            holder[key] = copy.deepcopy(dice.choice(VALUES))
            changes[-1] += f" = {str(holder[key])[:40]!r}"
    return value, "; ".join(changes)


def as_text(value: Any, lines: bool, dice: random.Random) -> str:
    """The JSON of a value; sometimes cut, or with a character replaced."""
    lines = lines and isinstance(value, list)
    text = "".join(json.dumps(line) + "\n" for line in value) if lines else json.dumps(value)
    if dice.random() < 0.05:
        return text[: dice.randrange(len(text) + 1)]
    if text and dice.random() < 0.05:
        at = dice.randrange(len(text))
        text = text[:at] + dice.choice('"{}[],:\x00é0 \n') + text[at + 1 :]
    return text


def failures(one: Format, folder: Path, times: int, seed: int) -> list[str]:
    """What happened to damaged files that were neither read nor refused in one line."""
    dice, found, valid = random.Random(seed), [], one.make()
    one.write(folder, as_text(valid, one.lines, random.Random(0)))
    one.read(folder)  # the undamaged file
    for number in range(times):
        value, changes = damaged(valid, dice)
        one.write(folder, as_text(value, one.lines, dice))
        try:
            one.read(folder)
        except ValueError as error:
            if "\n" in str(error) or len(str(error)) > 2000:
                found.append(f"{number}: {changes}: {str(error)[:500]!r}")
        except Exception as error:
            last = error.__traceback__
            while last.tb_next:
                last = last.tb_next
            where = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
            found.append(f"{number}: {changes}: {type(error).__name__} at {where}: {str(error)[:200]}")
    return found
