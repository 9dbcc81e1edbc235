"""Sinks for the rows of a run: a JSON-lines file, a CSV file, TensorBoard, Weights & Biases.

A row is a flat dict of one interval; values of several agents are lists. A sink has `write` and `close`.
"""

import codecs
import contextlib
import csv
import functools
import io
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import files
from jaxrl.statistics import iqm

Row = dict[str, Any]  # of one interval, by metric; values of several agents are lists


class Sink(NamedTuple):
    """Accepts rows until it is closed."""

    write: Callable[[Row], None]
    close: Callable[[], None]


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


def jsonl(path: str | Path, keep_updates: int = 0) -> Sink:
    """Appends rows to a file, one JSON object per line, flushed to disk when `write` returns.

    Numbers that are not finite are written as null. A file with damaged lines is kept as `FILE.damaged`
    before it is rewritten.

    Args:
      keep_updates: rows of later updates are removed first: a resumed run writes them again.

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
    """Makes an OSError while writing name the file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _line(row) -> str:
    return json.dumps(plain(row)) + "\n"


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


def csv_file(path: str | Path, rows_path: str | Path, agents: Sequence[dict[str, Any]]) -> Sink:
    """A table with a line for each row and agent, from the rows in `rows_path`, which `jsonl` writes first.

    The columns are `num_updates` and `timesteps`, those of `agents`, then the metrics. A cell is empty if the
    value is not finite. The table is rewritten when it is opened, and when a new metric occurs.

    Args:
      agents: what identifies each agent, by column: `{"trial": 0, "seed": 3}`.

    Raises:
      OSError: the file, which it names, cannot be written.
    """
    path = Path(path)
    columns: list[str] = []
    file: io.FileIO | None = None
    first = ["num_updates", "timesteps", *agents[0]]

    def text(rows, header=False):
        buffer = io.StringIO()
        table = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        if header:
            table.writeheader()
        for row in rows:
            table.writerows(agent | _of_lane(row, lane, len(agents)) for lane, agent in enumerate(agents))
        return buffer.getvalue()

    def rewrite():
        nonlocal columns, file
        rows = read_jsonl(rows_path)
        columns = list(dict.fromkeys([*first, *(name for row in rows for name in row)]))
        close()
        files.replace(path, text(rows, header=True))
        file = files.open_to_append(path)

    def write(row):
        with _naming(path):
            if file and set(row) <= set(columns):
                files.write_all(file, text([row]).encode())
            else:
                rewrite()

    def close():
        if file:
            file.close()

    rewrite()
    return Sink(write, close)


def _of_lane(row, lane: int, lanes: int) -> dict[str, Any]:
    """The values of one agent in a row; None for values that are not finite."""
    return {
        name: finite(value[lane] if isinstance(value, list) and len(value) == lanes else value)
        for name, value in row.items()
    }


class Series(NamedTuple):
    """One run in TensorBoard or Weights & Biases: an agent, or a statistic of several.

    Attributes:
      name: of that run, unique in a folder.
      kind: `agent` or `iqm`.
      lanes: the values of a row that are shown: those of one agent, or the IQM and the range over several.
      settings: hyperparameters and other identifying values, numbers and strings by name.
    """

    name: str
    kind: str
    lanes: tuple[int, ...]
    settings: dict[str, Any]


def scalars(row: Row, lanes: Sequence[int] | None = None) -> dict[str, float]:
    """A row as scalars: the interquartile mean (IQM) over agents; metrics without any value are omitted.

    Args:
      lanes: the agents; None: all. With several, the range is included: `NAME_min` and `NAME_max`.
    """
    result = {}
    for name, value in row.items():
        several = isinstance(value, list)
        values = value if several else [value]
        if several and lanes is not None:
            values = [value[lane] for lane in lanes if lane < len(value)]
        values = [v for v in values if v is not None and math.isfinite(v)]
        if not values:
            continue
        result[name] = float(iqm(values))
        if several and lanes is not None and len(lanes) > 1:
            result |= {f"{name}_min": float(min(values)), f"{name}_max": float(max(values))}
    return result


SHOWN = ("evaluation/return", "episode/return")  # shown with the hyperparameters in TensorBoard's table


def tensorboard(directory: str | Path, series: Sequence[Series], after: int = 0) -> Sink:
    """TensorBoard event files, by tensorboardX: a folder for each of `series`, with its hyperparameters.

    Args:
      after: for a resumed run, the `timesteps` of its last row; TensorBoard discards later data.
    """
    try:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams
    except ImportError:
        raise ValueError("TensorBoard files need the extra: pip install 'jaxrl[tensorboard]'") from None
    purge = {"purge_step": after + 1} if after else {}
    writers = [SummaryWriter(str(Path(directory) / one.name), **purge) for one in series]
    for one, writer in zip(series, writers):
        if not after:
            for summary in hparams(one.settings, dict.fromkeys(SHOWN))[:2]:  # the third marks the end
                writer.file_writer.add_summary(summary)

    def write(row):
        for one, writer in zip(series, writers):
            for name, value in scalars(row, one.lanes).items():
                writer.add_scalar(name, value, row["timesteps"])
            writer.flush()

    def close():
        for writer in writers:
            writer.close()

    return Sink(write, close)


def wandb(directory: str | Path, series: Sequence[Series], label: str, unique: str, **init: Any) -> Sink:
    """A run of Weights & Biases for each of `series`; `WANDB_MODE=offline` needs no account.

    A resumed run continues them.

    Args:
      label: prefix of the names of the runs.
      unique: prefix of their ids: the same after a resume, and different from that of any other run.
      init: for `wandb.init`: project, group, ...
    """
    try:
        import wandb as client
    except ImportError:
        raise ValueError("Weights & Biases needs the extra: pip install 'jaxrl[wandb]'") from None
    init = {"dir": str(directory), "resume": "allow", "reinit": "create_new", **init}
    runs = [
        client.init(
            name=f"{label}-{one.name}",
            id=f"{unique}-{one.name}",
            job_type=one.kind,
            config=one.settings,
            **init,
        )
        for one in series
    ]

    def write(row):
        for one, run in zip(series, runs):
            run.log(scalars(row, one.lanes), step=row["timesteps"])

    def close():
        for run in runs:
            run.finish()

    return Sink(write, close)
