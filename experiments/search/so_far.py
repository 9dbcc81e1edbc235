"""What is known while a search trains: the share that is done, and the trials that have a score."""

from typing import Any

import numpy as np

from jaxrl.experiments.search.record import finite, trials_of_asha
from jaxrl.search import METHODS, SearchState, Space, Strategy, on_host


def updates_at_most(search: dict[str, Any], strategy: Strategy, state: SearchState) -> int:
    """The updates after which a search ends at the latest, given what is known of its trials.

    Successive halving is complete earlier the more trials it stops: at most, all that have not been stopped
    are trained to the end.
    """
    if search["kind"] != "asha":
        return strategy.num_updates
    current, done = on_host(state.strategy), int(state.num_updates)
    trial = current.trial[current.trial >= 0]
    waiting = len(current.began) - int(current.next)
    ages = done - current.began[trial]
    left = int((strategy.agent_updates - ages).sum()) + waiting * strategy.agent_updates
    return min(done + -(-left // strategy.slots), strategy.num_updates)


def scored_trials(search: dict[str, Any], strategy: Strategy, state: SearchState) -> list[dict[str, Any]]:
    """The trials of a search that have a score: number, position `x`, scores by seed, updates trained.

    A trial of population based training is a population, with the best of its members at the last decision.
    """
    current, kind = on_host(state.strategy), search["kind"]
    if kind == "asha":
        trials = [one for one in trials_of_asha(search, strategy, current) if one["rung"]]
    elif kind in METHODS:
        trials = _of_generations(strategy, current, int(state.num_updates))
    else:
        trials = _of_populations(strategy, current, int(state.num_updates))
    for one in trials:
        one["per_seed"] = [finite(value) for value in np.asarray(one["per_seed"]).tolist()]
        one["died"] = {}
    return trials


def values_at(search: dict[str, Any], space: Space, x: Any) -> dict[str, float]:
    """The values at a position, by flag."""
    values = np.asarray(space.values(np.asarray(x, np.float32))).tolist()
    return dict(zip((one["flag"] for one in search["axes"]), values))


def _of_generations(strategy, current, done: int) -> list[dict[str, Any]]:
    slots = current.score.shape[1]
    complete = done // strategy.agent_updates
    return [
        {"trial": generation * slots + slot, "x": current.x[generation, slot], "updates": done}
        | {"per_seed": current.score[generation, slot]}
        for generation in range(complete)
        for slot in range(slots)
    ]


def _of_populations(strategy, current, done: int) -> list[dict[str, Any]]:
    generation = done // strategy.every - 1
    if generation < 0:
        return []
    trials = []
    for seed in range(current.score.shape[2]):
        best = int(np.argmax(current.score[generation, :, seed]))
        x, score = current.x[generation, best, seed], current.score[generation, best, seed : seed + 1]
        trials.append({"trial": seed, "x": x, "per_seed": score, "updates": done})
    return trials
