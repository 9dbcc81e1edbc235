"""Environments whose optimum is known, for tests and for research.

    optimal_return("world/chain", gamma=0.95)                     # the best return of any policy
    optimal_return("world/t-maze", gamma=0.98, memory=False)      # ... of any policy without memory
    optimal_return("world/garnet", gamma=0.95, seed=seed)         # parameters may be traced: vmap it

Each module defines one environment: `make(**params)` is the raw environment, `mdp(**params)` its table, over
states or over the beliefs of a perfect memory; `tabular` simulates tables and solves them.
"""

from collections.abc import Callable
from typing import Any

from jaxrl.envs.entry import entry_for, require_known
from jaxrl.envs.worlds import (
    chain,
    garnet,
    grid,
    grid_values,
    loop,
    river_swim,
    t_maze,
    tabular,
    two_colours,
    two_state,
)
from jaxrl.names import lookup

_EXACT = "solved exactly"

ENTRIES = {
    "world/chain": entry_for(chain.make, 100, _EXACT),
    "world/garnet": entry_for(garnet.make, 100, _EXACT),
    "world/grid": entry_for(grid.make, 87, _EXACT, grid.limit),
    "world/loop": entry_for(loop.make, loop.limit(), _EXACT, loop.limit),
    "world/river-swim": entry_for(river_swim.make, 5000, _EXACT),
    "world/t-maze": entry_for(t_maze.make, t_maze.limit(), _EXACT, t_maze.limit),
    "world/two-colours": entry_for(two_colours.make, None, _EXACT),
    "world/two-state": entry_for(two_state.make, 100, _EXACT),
}


def optimal_return(name: str, /, *, gamma, horizon=None, **params):
    """The best expected return of an episode in an environment here, over all policies, a float32 scalar.

    If states are hidden, over all policies with memory (for the T-maze, `memory=False` means those
    without). Traceable in `gamma`, in `horizon` and in the parameters that its `mdp` can trace.

    Args:
      name: as registered, "world/chain" and so on.
      gamma: discount per step; 1 is allowed with a horizon or if episodes are certain to end.
      horizon: number of steps that count. None: no limit, as for an algorithm that treats a time limit as a
        truncation; for undiscounted episode returns, the horizon is the time limit.
      params: of the environment, as `make` takes them, without `observation`.

    Raises:
      ValueError: an unknown name or parameter, or an endless return that would not be finite.
    """
    find = lookup("world", {**_TABLES, **_SOLVERS}, name)
    require_known(name, find, params)
    if name in _SOLVERS:
        return find(gamma=gamma, horizon=horizon, **params)
    return tabular.optimal_return(find(**params), gamma, horizon)


def _solve_grid(*, gamma, horizon=None, level="small", seed=0):
    return grid_values.optimal_return(grid.sample(level, seed), gamma, horizon)


_TABLES: dict[str, Callable[..., Any]] = {
    "world/chain": chain.mdp,
    "world/garnet": garnet.mdp,
    "world/loop": loop.mdp,
    "world/river-swim": river_swim.mdp,
    "world/two-state": two_state.mdp,
}
_SOLVERS: dict[str, Callable[..., Any]] = {
    "world/grid": _solve_grid,
    "world/t-maze": t_maze.optimal_return,
    "world/two-colours": two_colours.optimal_return,
}
