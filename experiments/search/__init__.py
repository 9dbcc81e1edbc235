"""The searches of `jaxrl sweep`: `jaxrl.search` described in a Spec and as results, and Optuna."""

from jaxrl.experiments.search.batches import ask, require
from jaxrl.experiments.search.record import KINDS, make, outcome
from jaxrl.search import METHODS, SearchState, on_host, over

__all__ = ["KINDS", "METHODS", "SearchState", "ask", "make", "on_host", "outcome", "over", "require"]
