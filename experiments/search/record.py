"""Searches as data: their description in a Spec, and their results."""

import math
from typing import Any

import numpy as np

from jaxrl.experiments.search.axis import from_plain
from jaxrl.search import METHODS, Space, Strategy, asha, box, evolution, pbt
from jaxrl.search.asha import rungs

KINDS = ("asha", "pbt", *METHODS)


def make(search: dict[str, Any], agent_updates: int) -> tuple[Strategy, Space]:
    """The Strategy and the Space described by a Spec's `search`.

    Args:
      search: `kind`, `axes` (see `search.Axis`), `slots`, options of the kind, and `x`, the first trials.
      agent_updates: total updates of an agent.

    Raises:
      ValueError: invalid numbers.
    """
    space, kind = box(list(map(from_plain, search["axes"]))), search["kind"]
    if kind == "asha":
        chosen = asha(search["x"], search["slots"], agent_updates, search["eta"], search["rungs"])
    elif kind == "pbt":
        chosen = pbt(search["x"], agent_updates, search["decisions"], space)
    else:
        chosen = evolution(kind, space, search["slots"], agent_updates, search["generations"])
    return chosen, space


def outcome(search: dict[str, Any], agent_updates: int, current: Any) -> dict[str, Any]:
    """The results of a search.

    Args:
      current: the final state of the strategy, on the host.

    Returns:
      `trials`: for each its number, values by flag, scores by seed, updates of its agents, and data
      specific to the kind. `recommended`: for an evolution strategy its mean, hyperparameters by name.
    """
    strategy, space = make(search, agent_updates)
    flags = [one["flag"] for one in search["axes"]]
    read_trials = {"asha": _asha, "pbt": _pbt}.get(search["kind"], _evolution)
    found, recommended = read_trials(search, strategy, current)

    def read(x):
        return np.asarray(space.values(np.asarray(x, np.float32))).tolist()

    for number, one in enumerate(found):
        one["trial"] = number
        one["values"] = dict(zip(flags, read(one.pop("x"))))
        one["per_seed"] = [finite(value) for value in np.asarray(one["per_seed"]).tolist()]
        if "path" in one:
            one["path"] = dict(zip(flags, np.asarray(read(one["path"])).T.tolist()))
    if recommended is not None:
        recommended = dict(zip(space.names, read(recommended)))
    return {"trials": found, "recommended": recommended}


def trials_of_asha(search: dict[str, Any], strategy: Strategy, current: Any) -> list[dict[str, Any]]:
    """One entry per trial: number, position `x`, scores by seed, updates of its agents, rungs reached."""
    ages = rungs(strategy.agent_updates, search["eta"], search["rungs"])
    found = []
    for trial, x in enumerate(search["x"]):
        rung = int((~np.isnan(current.rung_score[:, trial])).sum())
        updates = ages[rung - 1] if rung else 0
        one = {"trial": trial, "x": x, "per_seed": current.per_seed[trial], "updates": updates, "rung": rung}
        found.append(one)
    return found


def _asha(search, strategy, current):
    """The best trial follows from the scores."""
    return trials_of_asha(search, strategy, current), None


def _pbt(search, strategy, current):
    """One entry per population: its best member, with its ancestors and their hyperparameters."""
    found = []
    generations, _, seeds = current.parent.shape
    for seed in range(seeds):
        best = int(np.argmax(current.score[-1, :, seed]))
        line = [best]
        for generation in reversed(range(generations - 1)):
            line.append(int(current.parent[generation, line[-1], seed]))
        line.reverse()
        found.append(
            {
                "x": current.x[-1, best, seed],
                "member": best,
                "per_seed": current.score[-1, best, seed : seed + 1],
                "updates": strategy.agent_updates,
                "ancestry": line,
                "path": [current.x[generation, member, seed] for generation, member in enumerate(line)],
            }
        )
    return found, None


def _evolution(search, strategy, current):
    """One entry per candidate; the final mean is recommended."""
    generations, slots, _ = current.score.shape
    found = [
        {
            "x": current.x[generation, slot],
            "per_seed": current.score[generation, slot],
            "updates": strategy.agent_updates,
            "generation": generation,
        }
        for generation in range(generations)
        for slot in range(slots)
    ]
    return found, current.mean


def finite(number: float) -> float | None:
    """A number as JSON: None if it is not finite."""
    return number if math.isfinite(number) else None
