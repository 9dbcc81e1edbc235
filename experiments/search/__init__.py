"""The searches of `jaxrl sweep`: how trials are chosen, described in a Spec, and recorded."""

from jaxrl.experiments.search.axis import TRACED, Axis, AxisRecord, Value, as_number, from_plain, plain
from jaxrl.experiments.search.drawn import is_grid, number_of_trials
from jaxrl.experiments.search.kind import InBatches, OnDevice, Option, Piece, Search
from jaxrl.experiments.search.record import make, outcome, pieces, scored_trials, updates_at_most, values_at
from jaxrl.experiments.search.registry import SEARCHES, named, on_device
from jaxrl.search import SearchState, on_host, over

__all__ = [
    "SEARCHES",
    "TRACED",
    "Axis",
    "AxisRecord",
    "InBatches",
    "OnDevice",
    "Option",
    "Piece",
    "Search",
    "SearchState",
    "Value",
    "as_number",
    "from_plain",
    "is_grid",
    "make",
    "named",
    "number_of_trials",
    "on_device",
    "on_host",
    "outcome",
    "over",
    "pieces",
    "plain",
    "scored_trials",
    "updates_at_most",
    "values_at",
]
