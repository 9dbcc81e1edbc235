"""Asynchronous successive halving, `--search asha`: see `jaxrl.search.asha`."""

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrl.experiments.search import drawn
from jaxrl.experiments.search.axis import Axis
from jaxrl.experiments.search.kind import OnDevice, Option, Piece, Search, lanes_of
from jaxrl.search import SearchState, Strategy, asha, on_host
from jaxrl.search.asha import rungs


def draw(axes: Sequence[Axis], trials: int, seed: int) -> np.ndarray:
    """A grid in random order, or a Sobol sequence."""
    shares = drawn.default(axes, trials, seed)
    return np.random.default_rng(seed).permutation(shares) if drawn.is_grid(axes, trials) else shares


def strategy(search: dict[str, Any], space: object, agent_updates: int) -> Strategy:
    del space
    return asha(search["x"], search["slots"], agent_updates, search["eta"], search["rungs"])


def trials(search: dict[str, Any], strategy: Strategy, current: Any) -> list[dict[str, Any]]:
    """One entry per trial, with the number of rungs that it reached."""
    ages = rungs(strategy.agent_updates, search["eta"], search["rungs"])
    found = []
    for trial, x in enumerate(search["x"]):
        rung = int((~np.isnan(current.rung_score[:, trial])).sum())
        updates = ages[rung - 1] if rung else 0
        one = {"trial": trial, "x": x, "per_seed": current.per_seed[trial], "updates": updates, "rung": rung}
        found.append(one)
    return found


def scored(search: dict[str, Any], strategy: Strategy, state: SearchState) -> list[dict[str, Any]]:
    return [one for one in trials(search, strategy, on_host(state.strategy)) if one["rung"]]


def updates_at_most(strategy: Strategy, state: SearchState) -> int:
    """The search is complete earlier the more trials it stops: at most, all that have not been stopped are
    trained to the end."""
    current, done = on_host(state.strategy), int(state.num_updates)
    trial = current.trial[current.trial >= 0]
    waiting = len(current.began) - int(current.next)
    ages = done - current.began[trial]
    left = int((strategy.agent_updates - ages).sum()) + waiting * strategy.agent_updates
    return min(done + -(-left // strategy.slots), strategy.num_updates)


def pieces(
    search: dict[str, Any], strategy: Strategy, seeds: int, trials: list[dict[str, Any]]
) -> dict[int, list[Piece]]:
    """Trials are started in their order, each in the first slot that is free; some are not trained at all."""
    ages = rungs(strategy.agent_updates, search["eta"], search["rungs"])
    spent = {one["trial"]: ages[one["rung"] - 1] for one in trials if one["rung"]}
    made: dict[int, list[Piece]] = {}
    free = [(0, slot) for slot in range(strategy.slots)]  # sorted: when, and which
    for number in sorted(spent):
        first, slot = heapq.heappop(free)
        made[number] = [Piece(lanes_of(slot, seeds), first, first + spent[number])]
        heapq.heappush(free, (first + spent[number], slot))
    return made


def rounds(search: dict[str, Any]) -> int:
    return -(-len(search["x"]) // search["slots"])


OPTIONS = {
    "slots": Option(None, "trials at a time; default: an eighth of all"),
    "eta": Option(4, "one of this many trials continues from a rung"),
    "rungs": Option(3, "number of evaluations of a trial, including the last"),
}
ON_DEVICE = OnDevice(strategy, trials, scored, pieces, updates_at_most, rounds=rounds)
ASHA = Search(draw, OPTIONS, ON_DEVICE)
