"""Sinks for the rows of a run: a JSON-lines file, a CSV file, TensorBoard, Weights & Biases.

A row is a flat dict of one interval; values of several agents are lists. A sink has `write` and `close`.
"""

from jaxrl.logger.rows import Row, finite, num_lines, plain, read_jsonl, read_rows, wrong_with
from jaxrl.logger.sinks import Sink, csv_file, jsonl
from jaxrl.logger.trackers import Series, scalars, tensorboard, wandb

__all__ = [
    "Row",
    "Series",
    "Sink",
    "csv_file",
    "finite",
    "jsonl",
    "num_lines",
    "plain",
    "read_jsonl",
    "read_rows",
    "scalars",
    "tensorboard",
    "wandb",
    "wrong_with",
]
