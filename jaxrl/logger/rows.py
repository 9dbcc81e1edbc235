"""The rows of a run: as they are stored, and read back with their damage."""

import codecs
import collections
import contextlib
import functools
import json
import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxrl import files

Row = dict[str, Any]  # of one interval, by metric; values of several agents are lists


# Values for each agent: lists of one length in all rows of a file.
PER_AGENT = ("episode/return", "episode/length", "episode/count", "evaluation/return", "evaluation/length")
PER_AGENT += ("agent/died_at",)
SINGLE = ("_seconds", "_per_second")  # ends of the names of values for all agents together
LARGEST = 2**32  # bytes of a file of rows


def read_jsonl(path: str | Path, needed: Sequence[str] = (), only: Sequence[str] = ()) -> list[Row]:
    """The rows of a file; a missing file has none. Damaged lines are skipped and logged as warnings.

    An unfinished last line, which a killed process may leave, is skipped without a warning.

    Args:
      needed: further integers that every row has, in addition to `num_updates`.
      only: see `read_rows`.

    Raises:
      ValueError: it is not a regular file.
    """
    rows, damage = read_rows(path, needed, only)
    for text in damage[:MOST_WARNINGS]:
        _warn(text)
    if len(damage) > MOST_WARNINGS:
        _warn(f"{path}: {len(damage) - MOST_WARNINGS} more damaged lines are skipped")
    return rows


MOST_WARNINGS = 5  # of one file


@functools.cache  # a command reads its rows several times
def _warn(text: str) -> None:
    logging.getLogger("jaxrl").warning("%s", text)


def read_rows(
    path: str | Path, needed: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[list[Row], list[str]]:
    """The rows of a file, and its damage: one sentence for each line that is skipped.

    A row is a JSON object of numbers and lists of numbers (`wrong_with`), whose `num_updates` no earlier row
    has, and which has as many agents as most rows.

    Args:
      only: if given, rows have these values and those in `needed` alone, which takes a tenth of the time. The
        others are merely checked for characters that no number has.
    """
    if not Path(path).exists():
        return [], []
    data = files.read(path, LARGEST).removeprefix(codecs.BOM_UTF8)  # added by an editor
    *lines, last = data.split(b"\n")
    read = functools.partial(_some, needed=needed, wanted=_wanted((*needed, *only))) if only else _parsed
    parsed = [read(line, needed=needed) for line in ([*lines, last] if last else lines)]
    counts = collections.Counter(_agents_of(row) for row, _ in parsed if row)
    agents = next((count for count, _ in counts.most_common() if count is not None), None)
    rows, damage, known = [], [], set()
    for number, (row, trouble) in enumerate(parsed, 1):
        if row is not None and row["num_updates"] in known:
            trouble, row = f"it repeats the row of update {row['num_updates']}", None
        elif row is not None and (count := _agents_of(row)) not in (None, agents):
            trouble, row = f"it has the values of {count} agents, and other rows those of {agents}", None
        if row is not None:
            rows.append(row)
            known.add(row["num_updates"])
        elif number <= len(lines):  # an incomplete last line comes from a kill
            damage.append(f"{path}, line {number} is damaged and skipped: {trouble}")
    return rows, damage


def _parsed(line: bytes, needed: Sequence[str]) -> tuple[Row | None, str]:
    """The row in a line, or None and the reason why it is not a row."""
    if not line.strip():
        return None, "it is empty"
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return None, f"byte {error.start + 1} is not UTF-8"
    except (ValueError, RecursionError):
        return None, "it is not valid JSON"
    if trouble := wrong_with(row, needed):
        return None, trouble
    return row, ""


# A line as `json.dumps` writes it, and the values in it that are wanted, by name.
_NUMBERS = rb"[-+.0-9eE]+|null|\[[-+.0-9eE, nul\[\]]*\]"
_LINE = re.compile(rb'\{(?:"[ !#-\[\]-~]+": (?:%b)(?:, (?=")|(?=\})))+\}\r?' % _NUMBERS)


@functools.cache
def _wanted(names: tuple[str, ...]) -> re.Pattern[bytes]:
    either = b"|".join(re.escape(name.encode()) for name in ("num_updates", *names))
    return re.compile(rb'"(?:%b)": (?:\[[^\]]*\]|[^,}]*)' % either)


def _some(line: bytes, needed: Sequence[str], wanted: re.Pattern[bytes]) -> tuple[Row | None, str]:
    """As `_parsed`, but the row has the wanted values alone."""
    if _LINE.fullmatch(line):
        with contextlib.suppress(ValueError):
            row = json.loads(b"{%b}" % b", ".join(wanted.findall(line)))
            if not wrong_with(row, needed):
                return row, ""
    row, trouble = _parsed(line, needed)
    kept = row and {name: x for name, x in row.items() if wanted.match(b'"%b": ' % name.encode())}
    return kept, trouble


def num_lines(path: str | Path) -> int:
    """The number of complete lines of a file of rows; 0 if it is missing."""
    return files.read(Path(path), LARGEST).count(b"\n") if Path(path).exists() else 0


def wrong_with(row: Any, needed: Sequence[str] = ()) -> str:
    """Why a JSON value is not a row, or "".

    A row has numbers, null, and lists of these; `num_updates` and the names in `needed` are integers, the
    values of `PER_AGENT` are lists of one length, and those of `SINGLE` no lists.
    """
    if not isinstance(row, dict) or type(row.get("num_updates")) is not int:
        return "it is not a JSON object with a whole number num_updates"
    for name in {"num_updates", "timesteps", *needed} & {*row, *needed}:
        if type(row.get(name)) is not int or not 0 <= row[name] < 2**63:
            return f"{name} is not a whole number"
    for name, value in row.items():
        if name in PER_AGENT and not isinstance(value, list):
            return f"{name} is not a list"
        if name.endswith(SINGLE) and isinstance(value, list):
            return f"{name} is not a number"
        if not _numeric(value, 1 if name in PER_AGENT else 4):
            return f"{name!r} is not a number or a list of numbers"
    if len({len(row[name]) for name in PER_AGENT if name in row}) > 1:
        return "it has the values of different numbers of agents"
    return ""


def _numeric(value: Any, depth: int) -> bool:
    """Whether a value is a finite number, null, or a list of such values, nested at most `depth` times."""
    if isinstance(value, list):
        if not depth:
            return False
        if (kinds := set(map(type, value))) <= {float, type(None)}:  # thousands of agents
            known = [x for x in value if x is not None] if len(kinds) > 1 else value
            return kinds == {type(None)} or math.isfinite(sum(known)) or all(map(math.isfinite, known))
        return all(_numeric(x, depth - 1) for x in value)
    if type(value) is int:
        return abs(value) < 2**63
    return value is None or (type(value) is float and math.isfinite(value))


def _agents_of(row: Row) -> int | None:
    """The number of agents of a row; None if it has no values for each of them."""
    return next((len(row[name]) for name in PER_AGENT if name in row), None)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it is stored in the file: None for numbers that are not finite."""
    return {name: finite(value) for name, value in row.items()}


def finite(value: Any) -> Any:
    """Lists and numbers with None for values that are not finite, which JSON cannot represent."""
    if isinstance(value, list):
        return [finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
