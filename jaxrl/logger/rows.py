"""The rows of a run: as they are stored, and read back with their damage."""

import codecs
import functools
import json
import logging
import math
from pathlib import Path
from typing import Any

Row = dict[str, Any]  # of one interval, by metric; values of several agents are lists


def read_jsonl(path: str | Path) -> list[Row]:
    """The rows of a file; a missing file has none. Damaged lines are skipped and logged as warnings.

    An unfinished last line, which a killed process may leave, is skipped without a warning.
    """
    rows, damage = read_rows(path)
    for text in damage[:MOST_WARNINGS]:
        _warn(text)
    if len(damage) > MOST_WARNINGS:
        _warn(f"{path}: {len(damage) - MOST_WARNINGS} more damaged lines are skipped")
    return rows


MOST_WARNINGS = 5  # of one file


@functools.cache  # a command reads its rows several times
def _warn(text: str) -> None:
    logging.getLogger("jaxrl").warning("%s", text)


def read_rows(path: str | Path) -> tuple[list[Row], list[str]]:
    """The rows of a file, and its damage: one sentence for each line that is skipped.

    A row is a JSON object whose `num_updates` is an integer that no earlier row has.
    """
    if not Path(path).exists():
        return [], []
    rows, damage, known = [], [], set()
    *lines, last = Path(path).read_bytes().split(b"\n")
    for number, line in enumerate([*lines, last] if last else lines, 1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line  # added by an editor
        row, trouble = _parsed(line)
        if row is not None and row["num_updates"] in known:
            trouble, row = f"it repeats the row of update {row['num_updates']}", None
        if row is not None:
            rows.append(row)
            known.add(row["num_updates"])
        elif number <= len(lines):  # an incomplete last line comes from a kill
            damage.append(f"{path}, line {number} is damaged and skipped: {trouble}")
    return rows, damage


def _parsed(line: bytes) -> tuple[Row | None, str]:
    """The row in a line, or None and the reason why it is not a row."""
    if not line.strip():
        return None, "it is empty"
    try:
        row = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return None, f"byte {error.start + 1} is not UTF-8"
    except (ValueError, RecursionError):
        return None, "it is not valid JSON"
    if not isinstance(row, dict) or type(row.get("num_updates")) is not int:
        return None, "it is not a JSON object with a whole number num_updates"
    return row, ""


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
