"""Evolution strategies, `--search cmaes` and `openes`: see `jaxrl.search.evolution`."""

from typing import Any

from jaxrl.experiments.search import drawn
from jaxrl.experiments.search.kind import OnDevice, Option, Piece, Search, lanes_of
from jaxrl.search import SearchState, Space, Strategy, evolution, on_host


def strategy(search: dict[str, Any], space: Space, agent_updates: int) -> Strategy:
    return evolution(search["kind"], space, search["slots"], agent_updates, search["generations"])


def trials(search: dict[str, Any], strategy: Strategy, current: Any) -> list[dict[str, Any]]:
    """One entry per candidate."""
    generations, slots, _ = current.score.shape
    return [
        {
            "x": current.x[generation, slot],
            "per_seed": current.score[generation, slot],
            "updates": strategy.agent_updates,
            "generation": generation,
        }
        for generation in range(generations)
        for slot in range(slots)
    ]


def scored(search: dict[str, Any], strategy: Strategy, state: SearchState) -> list[dict[str, Any]]:
    """The candidates of complete generations."""
    current, done = on_host(state.strategy), int(state.num_updates)
    complete = done // strategy.agent_updates * current.score.shape[1]
    found = trials(search, strategy, current)[:complete]
    return [one | {"trial": number, "updates": done} for number, one in enumerate(found)]


def pieces(
    search: dict[str, Any], strategy: Strategy, seeds: int, trials: list[dict[str, Any]]
) -> dict[int, list[Piece]]:
    """A generation after the other, each candidate in its slot."""
    made, length = {}, strategy.agent_updates
    for one in trials:
        slot, first = one["trial"] % strategy.slots, one["generation"] * length
        made[one["trial"]] = [Piece(lanes_of(slot, seeds), first, first + length)]
    return made


OPTIONS = {"generations": Option(10, "number of batches of trials")}
ON_DEVICE = OnDevice(
    strategy,
    trials,
    scored,
    pieces,
    recommended=lambda current: current.mean,
    rounds=lambda search: search["generations"],
    history="--generations",
)
EVOLUTION = Search(drawn.sobol, OPTIONS, ON_DEVICE)
