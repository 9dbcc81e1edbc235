"""Where the trials of a search were trained: the lanes of each, and the updates of the search.

A search trains several trials in a lane, in succession, so that the rows of a lane mix them.
"""

import heapq
from typing import Any, NamedTuple

from jaxrl.experiments.search.record import make
from jaxrl.search import METHODS
from jaxrl.search.asha import rungs


class Piece(NamedTuple):
    """The lanes of a trial, one for each of its agents, after update `first` until update `last`."""

    lanes: tuple[int, ...]
    first: int
    last: int


def pieces(
    search: dict[str, Any], agent_updates: int, seeds: int, trials: list[dict[str, Any]]
) -> dict[int, list[Piece]]:
    """The pieces of each trial by its number, in the order of training.

    Args:
      search: of the Spec of the run.
      trials: as recorded in `search.json`; those that were not trained are left out.
    """
    strategy = make(search, agent_updates)[0]
    kind, length = search["kind"], strategy.agent_updates
    if kind == "asha":
        ages = rungs(length, search["eta"], search["rungs"])
        spent = {one["trial"]: ages[one["rung"] - 1] for one in trials if one["rung"]}
        return _in_succession(spent, strategy.slots, seeds)
    if kind in METHODS:
        made = {}
        for one in trials:
            slot, first = one["trial"] % strategy.slots, one["generation"] * length
            made[one["trial"]] = [Piece(_lanes(slot, seeds), first, first + length)]
        return made
    return {
        one["trial"]: [
            Piece((member * seeds + one["trial"],), step * strategy.every, (step + 1) * strategy.every)
            for step, member in enumerate(one["ancestry"])
        ]
        for one in trials
    }


def _in_succession(spent: dict[int, int], slots: int, seeds: int) -> dict[int, list[Piece]]:
    """Pieces of trials that are started in their order, each in the first slot that is free.

    Args:
      spent: the updates of each trial, by its number.
    """
    made: dict[int, list[Piece]] = {}
    free = [(0, slot) for slot in range(slots)]  # sorted: when, and which
    for number in sorted(spent):
        first, slot = heapq.heappop(free)
        made[number] = [Piece(_lanes(slot, seeds), first, first + spent[number])]
        heapq.heappush(free, (first + spent[number], slot))
    return made


def _lanes(slot: int, seeds: int) -> tuple[int, ...]:
    return tuple(range(slot * seeds, (slot + 1) * seeds))
