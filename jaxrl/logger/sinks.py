"""Sinks that write rows to files: JSON lines, and a CSV table."""

import contextlib
import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import files
from jaxrl.logger.rows import Row, finite, plain, read_jsonl, read_rows


class Sink(NamedTuple):
    """Accepts rows until it is closed."""

    write: Callable[[Row], None]
    close: Callable[[], None]


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
