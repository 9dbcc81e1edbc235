"""Population based training, `--search pbt`: see `jaxrl.search.pbt`."""

from typing import Any

import numpy as np

from jaxrl.experiments.search import drawn
from jaxrl.experiments.search.kind import OnDevice, Option, Piece, Search
from jaxrl.search import SearchState, Space, Strategy, on_host, pbt


def strategy(search: dict[str, Any], space: Space, agent_updates: int) -> Strategy:
    return pbt(search["x"], agent_updates, search["decisions"], space)


def trials(search: dict[str, Any], strategy: Strategy, current: Any) -> list[dict[str, Any]]:
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
    return found


def scored(search: dict[str, Any], strategy: Strategy, state: SearchState) -> list[dict[str, Any]]:
    """A trial is a population, with the best of its members at the last decision."""
    current, done = on_host(state.strategy), int(state.num_updates)
    generation = done // strategy.every - 1
    if generation < 0:
        return []
    trials = []
    for seed in range(current.score.shape[2]):
        best = int(np.argmax(current.score[generation, :, seed]))
        x, score = current.x[generation, best, seed], current.score[generation, best, seed : seed + 1]
        trials.append({"trial": seed, "x": x, "per_seed": score, "updates": done})
    return trials


def pieces(
    search: dict[str, Any], strategy: Strategy, seeds: int, trials: list[dict[str, Any]]
) -> dict[int, list[Piece]]:
    """The lanes of a winner's ancestors, one after the other."""
    return {
        one["trial"]: [
            Piece((member * seeds + one["trial"],), step * strategy.every, (step + 1) * strategy.every)
            for step, member in enumerate(one["ancestry"])
        ]
        for one in trials
    }


OPTIONS = {"decisions": Option(19, "how often copies of the best replace the worst")}
ON_DEVICE = OnDevice(strategy, trials, scored, pieces, populations=True, history="--decisions")
PBT = Search(drawn.sobol, OPTIONS, ON_DEVICE)
