"""Where a run's rows go: a JSON-lines file, TensorBoard, Weights & Biases.

A row is a flat dict of one interval; values of several agents are lists. A sink takes rows and is closed.
"""

import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Sink(NamedTuple):
    """Takes rows until it is closed."""

    write: Callable  # (row) -> None
    close: Callable  # () -> None


def read_jsonl(path) -> list[dict[str, Any]]:
    """The rows of a file up to a line that is none, torn by a kill; a missing file has none."""
    rows = []
    if Path(path).exists():
        for line in Path(path).read_text(errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            if not isinstance(row, dict) or not isinstance(row.get("num_updates"), int):
                break
            rows.append(row)
    return rows


def jsonl(path, keep_updates: int = 0) -> Sink:
    """Appends rows to a file, one JSON object a line, on disk when `write` returns.

    What is not a finite number is written as null.

    Args:
      keep_updates: rows of later updates than this are dropped first: a resumed run writes them anew.

    Raises:
      OSError: the file, which it names, cannot be written.
    """
    path = Path(path)
    kept = [row for row in read_jsonl(path) if row["num_updates"] <= keep_updates]
    replacement = path.with_suffix(".tmp")
    # Without buffers: what a full disk has refused must not be tried again by `close`.
    try:
        with _naming(path), replacement.open("wb", buffering=0) as file:
            _append(file, "".join(_line(row) for row in kept))
        os.replace(replacement, path)
    except OSError:
        replacement.unlink(missing_ok=True)
        raise
    file = path.open("ab", buffering=0)

    def write(row):
        with _naming(path):
            _append(file, _line(row))

    return Sink(write, file.close)


def _append(file, text: str) -> None:
    data = text.encode()
    while data:
        data = data[file.write(data) :]
    os.fsync(file.fileno())


@contextlib.contextmanager
def _naming(path: Path):
    """An error while writing does not say by itself of which file it tells."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _line(row) -> str:
    return json.dumps({name: finite(value) for name, value in row.items()}) + "\n"


def finite(value):
    """Lists and numbers with None for what is not finite, as JSON wants it."""
    if isinstance(value, list):
        return [finite(x) for x in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def scalars(row) -> dict[str, float]:
    """A row as single numbers: the mean over agents that have a value; what none has is left out."""
    result = {}
    for name, value in row.items():
        values = [v for v in (value if isinstance(value, list) else [value]) if v is not None]
        values = [v for v in values if math.isfinite(v)]
        if values:
            result[name] = sum(values) / len(values)
    return result


def tensorboard(directory) -> Sink:
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


def wandb(directory, **init) -> Sink:
    """Weights & Biases, the mean over agents; `WANDB_MODE=offline` needs no account."""
    try:
        import wandb as client
    except ImportError:
        raise ValueError("Weights & Biases needs the extra: pip install 'jaxrl[wandb]'") from None
    run = client.init(dir=str(directory), resume="allow", **init)
    return Sink(lambda row: run.log(scalars(row), step=row["timesteps"]), run.finish)
