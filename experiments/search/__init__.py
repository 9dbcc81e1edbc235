"""The searches of `jaxrl sweep`: `jaxrl.search` described in a Spec and as results, and Optuna."""

from jaxrl.experiments.search.axis import TRACED, Axis, AxisRecord, Value, as_number, from_plain, plain
from jaxrl.experiments.search.batches import ask, require
from jaxrl.experiments.search.lanes import Piece, pieces
from jaxrl.experiments.search.record import KINDS, make, outcome
from jaxrl.experiments.search.so_far import scored_trials, updates_at_most, values_at
from jaxrl.search import METHODS, SearchState, on_host, over

__all__ = [
    "KINDS",
    "METHODS",
    "TRACED",
    "Axis",
    "AxisRecord",
    "Piece",
    "SearchState",
    "Value",
    "as_number",
    "ask",
    "from_plain",
    "make",
    "on_host",
    "outcome",
    "over",
    "pieces",
    "plain",
    "require",
    "scored_trials",
    "updates_at_most",
    "values_at",
]
