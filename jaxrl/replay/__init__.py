"""Replays: what the environments of an agent did lately, to learn from it again. See docs/replay.md."""

from jaxrl.replay.keeping import keep
from jaxrl.replay.kinds import (
    PrioritizedRows,
    Replay,
    importance_weights,
    prioritized,
    sequence,
    uniform,
)
from jaxrl.replay.lanes import choose, holds_replay
from jaxrl.replay.rows import Batch, Rows, Sequences
from jaxrl.replay.words import Packing, packing

__all__ = [
    "Batch",
    "Packing",
    "PrioritizedRows",
    "Replay",
    "Rows",
    "Sequences",
    "choose",
    "holds_replay",
    "importance_weights",
    "keep",
    "packing",
    "prioritized",
    "sequence",
    "uniform",
]
