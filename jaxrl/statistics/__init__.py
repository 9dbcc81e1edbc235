"""Statistics over seeds, tasks and trials, on the host, with NumPy; SciPy is imported when used."""

from jaxrl.statistics.seeds import RESAMPLES, Estimate, bootstrap_interval, iqm
from jaxrl.statistics.tasks import (
    across_tasks,
    difference,
    holm,
    performance_profile,
    permutation_p,
    probability_of_improvement,
    signed_rank_p,
)
from jaxrl.statistics.trials import MIN_TRIALS, bins_of, main_effect, rank_correlation

__all__ = [
    "MIN_TRIALS",
    "RESAMPLES",
    "Estimate",
    "across_tasks",
    "bins_of",
    "bootstrap_interval",
    "difference",
    "holm",
    "iqm",
    "main_effect",
    "performance_profile",
    "permutation_p",
    "probability_of_improvement",
    "rank_correlation",
    "signed_rank_p",
]
