"""Searches on the device as data: their description in a Spec, their results, and what is known before."""

import math
from typing import Any

import numpy as np

from jaxrl.experiments.search.axis import from_plain
from jaxrl.experiments.search.kind import Piece
from jaxrl.experiments.search.registry import on_device
from jaxrl.search import SearchState, Space, Strategy, box


def make(search: dict[str, Any], agent_updates: int) -> tuple[Strategy, Space]:
    """The Strategy and the Space described by a Spec's `search`.

    Args:
      search: `kind`, `axes` (see `search.Axis`), `slots`, options of the kind, and `x`, the first trials.
      agent_updates: total updates of an agent.

    Raises:
      ValueError: invalid numbers.
    """
    space = box(list(map(from_plain, search["axes"])))
    return on_device(search["kind"]).strategy(search, space, agent_updates), space


def outcome(search: dict[str, Any], agent_updates: int, current: Any) -> dict[str, Any]:
    """The results of a search.

    Args:
      current: the final state of the strategy, on the host.

    Returns:
      `trials`: for each its number, values by flag, scores by seed, updates of its agents, and data
      specific to the kind. `recommended`: for an evolution strategy its mean, hyperparameters by name.
    """
    strategy, space = make(search, agent_updates)
    flags, kind = [one["flag"] for one in search["axes"]], on_device(search["kind"])
    found = kind.trials(search, strategy, current)
    recommended = kind.recommended(current) if kind.recommended else None

    def read(x):
        return np.asarray(space.values(np.asarray(x, np.float32))).tolist()

    for number, one in enumerate(found):
        one["trial"] = number
        one["values"] = dict(zip(flags, read(one.pop("x"))))
        one["per_seed"] = _finite(one["per_seed"])
        if "path" in one:
            one["path"] = dict(zip(flags, np.asarray(read(one["path"])).T.tolist()))
    if recommended is not None:
        recommended = dict(zip(space.names, read(recommended)))
    return {"trials": found, "recommended": recommended}


def updates_at_most(search: dict[str, Any], strategy: Strategy, state: SearchState) -> int:
    """The updates after which a search ends at the latest, given what is known of its trials."""
    at_most = on_device(search["kind"]).updates_at_most
    return at_most(strategy, state) if at_most else strategy.num_updates


def scored_trials(search: dict[str, Any], strategy: Strategy, state: SearchState) -> list[dict[str, Any]]:
    """The trials of a search that have a score: number, position `x`, scores by seed, updates trained."""
    trials = on_device(search["kind"]).scored(search, strategy, state)
    return [one | {"per_seed": _finite(one["per_seed"]), "died": {}} for one in trials]


def values_at(search: dict[str, Any], space: Space, x: Any) -> dict[str, float]:
    """The values at a position, by flag."""
    values = np.asarray(space.values(np.asarray(x, np.float32))).tolist()
    return dict(zip((one["flag"] for one in search["axes"]), values))


def pieces(
    search: dict[str, Any], agent_updates: int, seeds: int, trials: list[dict[str, Any]]
) -> dict[int, list[Piece]]:
    """The pieces of each trial by its number, in the order of training; a lane trains several trials in
    succession, so that its rows mix them.

    Args:
      search: of the Spec of the run.
      trials: as recorded in `search.json`; those that were not trained are left out.
    """
    kind = on_device(search["kind"])
    return kind.pieces(search, make(search, agent_updates)[0], seeds, trials) if kind.pieces else {}


def _finite(scores: Any) -> list[float | None]:
    """Scores as JSON: None for those that are not finite."""
    return [one if math.isfinite(one) else None for one in np.asarray(scores).tolist()]
