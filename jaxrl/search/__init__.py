"""Search for hyperparameters inside the compiled program: `over` applies a Strategy to an algorithm."""

from jaxrl.search.asha import asha
from jaxrl.search.evolution import METHODS, evolution
from jaxrl.search.over import Decision, SearchState, Strategy, on_host, over
from jaxrl.search.pbt import pbt
from jaxrl.search.space import Axis, Space, box, subtree

__all__ = [
    "METHODS",
    "Axis",
    "Decision",
    "SearchState",
    "Space",
    "Strategy",
    "asha",
    "box",
    "evolution",
    "on_host",
    "over",
    "pbt",
    "subtree",
]
