"""Where a run's rows go: a JSON-lines file, TensorBoard, Weights & Biases.

A row is a flat dict of one interval; values of several agents are lists. A sink takes rows and is closed.
"""

import codecs
import contextlib
import functools
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import files

Row = dict[str, Any]  # of one interval, by metric; values of several agents are lists


class Sink(NamedTuple):
    """Takes rows until it is closed."""

    write: Callable[[Row], None]
    close: Callable[[], None]


def read_jsonl(path: str | Path) -> list[Row]:
    """The rows of a file; a missing file has none. Damaged lines are left out and logged as warnings.

    The unfinished last line that a killed process leaves behind is normal, and left out without a warning.
    """
    rows, damage = read_rows(path)
    for text in damage[:MOST_WARNINGS]:
        _warn(text)
    if len(damage) > MOST_WARNINGS:
        _warn(f"{path}: {len(damage) - MOST_WARNINGS} more damaged lines are left out")
    return rows


MOST_WARNINGS = 5  # of one file


@functools.cache  # a command reads its rows several times
def _warn(text: str) -> None:
    logging.getLogger("jaxrl").warning("%s", text)


def read_rows(path: str | Path) -> tuple[list[Row], list[str]]:
    """The rows of a file, and what is damaged in it: one sentence for each line that is left out.

    A row is a JSON object whose `num_updates` is a whole number that no row before it has.
    """
    if not Path(path).exists():
        return [], []
    rows, damage, known = [], [], set()
    *lines, last = Path(path).read_bytes().split(b"\n")
    for number, line in enumerate([*lines, last] if last else lines, 1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line  # an editor was here
        row, trouble = _parsed(line)
        if row is not None and row["num_updates"] in known:
            trouble, row = f"it repeats the row of update {row['num_updates']}", None
        if row is not None:
            rows.append(row)
            known.add(row["num_updates"])
        elif number <= len(lines):  # the last line, without its end, was torn by a kill
            damage.append(f"{path}, line {number} is damaged and left out: {trouble}")
    return rows, damage


def _parsed(line: bytes) -> tuple[Row | None, str]:
    """The row in a line, or None and why it holds none."""
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


def jsonl(path: str | Path, keep_updates: int = 0) -> Sink:
    """Appends rows to a file, one JSON object a line, on disk when `write` returns.

    What is not a finite number is written as null. A file with damaged lines is kept as `FILE.damaged`
    before it is written anew.

    Args:
      keep_updates: rows of later updates than this are dropped first: a resumed run writes them anew.

    Raises:
      OSError: the file, which it names, cannot be written.
    """
    path = Path(path)
    rows = read_jsonl(path)
    if read_rows(path)[1]:
        files.replace(path.with_name(f"{path.name}.damaged"), path.read_bytes())
    files.replace(path, "".join(_line(row) for row in rows if row["num_updates"] <= keep_updates))
    file = files.open_to_append(path)

    def write(row):
        with _naming(path):
            files.write_all(file, _line(row).encode())

    return Sink(write, file.close)


@contextlib.contextmanager
def _naming(path: Path):
    """An OSError while writing names the file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _line(row) -> str:
    return json.dumps(plain(row)) + "\n"


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the file holds it: None for what is not a finite number."""
    return {name: finite(value) for name, value in row.items()}


def finite(value: Any) -> Any:
    """Lists and numbers with None for what is not finite, as JSON wants it."""
    if isinstance(value, list):
        return [finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def scalars(row: Row) -> dict[str, float]:
    """A row as single numbers: the mean over agents that have a value; what none has is left out."""
    result = {}
    for name, value in row.items():
        values = [v for v in (value if isinstance(value, list) else [value]) if v is not None]
        values = [v for v in values if math.isfinite(v)]
        if values:
            result[name] = sum(values) / len(values)
    return result


def tensorboard(directory: str | Path) -> Sink:
    """TensorBoard event files, by tensorboardX; one curve per metric, the mean over agents."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise ValueError("TensorBoard files need the extra: pip install 'jaxrl[tensorboard]'") from None
    writer = SummaryWriter(str(directory))

    def write(row):
        for name, value in scalars(row).items():
            writer.add_scalar(name, value, row["timesteps"])
        writer.flush()

    return Sink(write, writer.close)


def wandb(directory: str | Path, **init: Any) -> Sink:
    """Weights & Biases, the mean over agents; `WANDB_MODE=offline` needs no account."""
    try:
        import wandb as client
    except ImportError:
        raise ValueError("Weights & Biases needs the extra: pip install 'jaxrl[wandb]'") from None
    run = client.init(dir=str(directory), resume="allow", **init)
    return Sink(lambda row: run.log(scalars(row), step=row["timesteps"]), run.finish)
