"""Sweeps: trials of hyperparameters, each with several seeds, in as few programs as their shapes allow.

A sweep is a folder of ordinary runs. Trials that differ only in traced hyperparameters are lanes of one run
(a group); trials that need another program (config, environment, objective) are in another group. Therefore
a sweep that is stopped or killed can be resumed like a run, with bitwise the same results.

    sweep/
      sweep.json       the trials: written once, before training
      group-1/ ...     runs, see `runs`; confirm/ is the best trial with seeds that no trial has used
      results.jsonl    a line for each trial, best first, and one for the confirmation
      best.toml        the configuration of the best trial, for `jaxrl train --from`
"""

from jaxrl.experiments.runs.searches import searched_outcome
from jaxrl.experiments.search import Axis
from jaxrl.experiments.studies.sweep.axes import (
    axes_of,
    axis,
    draw,
    first_words,
    in_lanes,
    resolved,
    typed,
    values_at,
)
from jaxrl.experiments.studies.sweep.best import BEST, winner, write_winner
from jaxrl.experiments.studies.sweep.folder import create_folder, is_sweep, read, read_results
from jaxrl.experiments.studies.sweep.groups import (
    Group,
    confirming,
    grouped,
    options_of,
    require_sense,
    searched,
    slots_of,
    with_chunk,
)
from jaxrl.experiments.studies.sweep.outcomes import (
    EPISODES,
    confirmation,
    evaluated_again,
    fresh_returns,
    outcome,
    results,
    write_results,
)
from jaxrl.experiments.studies.sweep.shown import curves_of, winner_of
from jaxrl.experiments.studies.sweep.stages import carry_on
from jaxrl.experiments.studies.sweep.text import table

__all__ = [
    "BEST",
    "EPISODES",
    "Axis",
    "Group",
    "axes_of",
    "axis",
    "carry_on",
    "confirmation",
    "confirming",
    "create_folder",
    "curves_of",
    "draw",
    "evaluated_again",
    "first_words",
    "fresh_returns",
    "grouped",
    "in_lanes",
    "is_sweep",
    "options_of",
    "outcome",
    "read",
    "read_results",
    "require_sense",
    "resolved",
    "results",
    "searched",
    "searched_outcome",
    "slots_of",
    "table",
    "typed",
    "values_at",
    "winner",
    "winner_of",
    "with_chunk",
    "write_results",
    "write_winner",
]
