"""The searches of `jaxrl sweep --search NAME`: one line here and one file each."""

from jaxrl import names
from jaxrl.experiments.search import batches, drawn, halving, populations, strategies
from jaxrl.experiments.search.kind import OnDevice, Search

SEARCHES = {
    "grid": drawn.GRID,
    "random": drawn.RANDOM,
    "sobol": drawn.SOBOL,
    "asha": halving.ASHA,
    "pbt": populations.PBT,
    "cmaes": strategies.EVOLUTION,
    "openes": strategies.EVOLUTION,
    "optuna": batches.OPTUNA,
}


def named(name: str | None) -> Search:
    """The search with a name; of a run, or of a search that this version does not have, one of its trials."""
    return SEARCHES.get(name or "", drawn.SOBOL)


def on_device(name: str) -> OnDevice:
    """The part on the device of a search. Raises ValueError if it has none."""
    known = {kind: its.device for kind, its in SEARCHES.items() if its.device}
    return names.lookup("search", known, name)
