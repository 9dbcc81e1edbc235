"""Search for hyperparameters inside the compiled program: `over` applies a Strategy to an algorithm."""

from jaxrl.experiments.search.asha import asha
from jaxrl.experiments.search.batches import ask, require
from jaxrl.experiments.search.evolution import METHODS, evolution
from jaxrl.experiments.search.over import Decision, SearchState, Strategy, over
from jaxrl.experiments.search.pbt import pbt
from jaxrl.experiments.search.record import KINDS, make, on_host, outcome
from jaxrl.experiments.search.space import Space, box, subtree

__all__ = [
    "KINDS",
    "METHODS",
    "Decision",
    "SearchState",
    "Space",
    "Strategy",
    "asha",
    "ask",
    "box",
    "evolution",
    "make",
    "on_host",
    "outcome",
    "over",
    "pbt",
    "require",
    "subtree",
]
