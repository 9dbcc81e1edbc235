"""Jumanji's puzzles and packing problems (Bonnet et al. 2023, https://arxiv.org/abs/2306.09884) as raw `Env`s.

The package `jumanji` is an extra. Where it has a time limit, which it reports as an end like any other, that is
switched off: the registry's truncates. Observations become dictionaries. The action mask moves into
`info["action_mask"]`; where one mask covers all combinations of several choices, they become one `Discrete`.
Left out: worlds with a reward per agent, MultiCVRP (its actions), MMST (its limit shapes its state) and
Sokoban (it downloads its levels).
"""

import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env

# The time limit of each, in steps; None where every episode ends by itself.
NAMES = dict.fromkeys(
    "BinPack-v2 CVRP-v1 FlatPack-v0 Game2048-v1 GraphColoring-v1 JobShop-v0 Knapsack-v1 Minesweeper-v0 "
    "Sudoku-v0 Sudoku-very-easy-v0 TSP-v1".split()
) | {
    "Cleaner-v0": 100,
    "Maze-v0": 100,
    "PacMan-v1": 1000,
    "RobotWarehouse-v0": 500,
    "RubiksCube-v0": 200,
    "RubiksCube-partly-scrambled-v0": 20,
    "SlidingTilePuzzle-v0": 500,
    "Snake-v1": 4000,
    "Tetris-v0": 400,
}
_NEVER = np.iinfo(np.int32).max


def make(jumanji_id: str, /, **params) -> Env:
    """The raw environment of this name; `params` are arguments of its class, such as `num_rows`.

    Raises:
      ValueError: without the package jumanji, or for an unknown parameter.
    """
    env = _load(jumanji_id)
    known = _known(env)
    for unknown in sorted(set(params) - set(known)):
        raise ValueError(
            f"jumanji/{jumanji_id} has no parameter {unknown!r}; it has {', '.join(known) or 'none'}"
        )
    if hasattr(env, "time_limit"):
        params["time_limit"] = _NEVER
    env = _load(jumanji_id, **params)
    first = jax.eval_shape(env.reset, jax.random.key(0))[1].observation
    choices = tuple(np.ravel(env.action_spec.num_values).tolist())
    joint = getattr(getattr(first, "action_mask", None), "shape", None) == choices
    action_space = Discrete(math.prod(choices)) if joint else MultiDiscrete(choices)

    def info(obs):
        return {"action_mask": obs.action_mask.reshape(-1)} if hasattr(obs, "action_mask") else {}

    def reset(key):
        state, first = env.reset(key)
        return state, restart(_plain(first.observation), info(first.observation))

    def step(key, state, action):
        if joint and len(choices) > 1:
            action = jnp.stack(jnp.unravel_index(action, choices))
        state, then = env.step(state, action)
        obs = then.observation
        return state, transition(_plain(obs), then.reward, then.last(), info(obs))

    return fix_dtypes(Env(reset, step, _space(env.observation_spec, _plain(first)), action_space))


def params(jumanji_id: str) -> dict[str, Any]:
    """The scalar parameters that `make` takes, with their defaults; imports jumanji."""
    return {n: v for n, v in _known(_load(jumanji_id)).items() if isinstance(v, bool | int | float | str)}


def _load(jumanji_id: str, **params):
    try:
        import jumanji
    except ImportError as error:
        raise ValueError(
            f"jumanji/{jumanji_id} needs the package jumanji: pip install 'jaxrl[jumanji]' ({error})"
        ) from error
    return jumanji.make(jumanji_id, **params)


def _known(env) -> dict[str, Any]:
    found = inspect.signature(type(env)).parameters.values()
    return {p.name: p.default for p in found if p.name not in ("time_limit", "viewer")}


def _plain(obs):
    """Named tuples as dictionaries, without the action mask."""
    if not hasattr(obs, "_asdict"):
        return obs
    return {name: _plain(value) for name, value in obs._asdict().items() if name != "action_mask"}


def _space(spec, like):
    if isinstance(like, dict):
        return {name: _space(getattr(spec, name), value) for name, value in like.items()}
    if hasattr(spec, "num_values") and spec.name != "step_count":
        return Discrete(int(spec.num_values))
    low, high = (False, True) if like.dtype == bool else (-np.inf, np.inf)  # not all bounds of specs hold
    return Box(low, high, like.shape, np.dtype(like.dtype))
