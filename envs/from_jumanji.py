"""Jumanji's puzzles (Bonnet et al. 2023, https://arxiv.org/abs/2306.09884) as raw `Env`s.

The package `jumanji` is an extra. Its time limits, which it does not distinguish from other ends of an
episode, are switched off; the registry's limits truncate instead. Observations become dictionaries; the
action mask moves to `info["action_mask"]`, and if one mask covers all combinations of several choices, they
become one `Discrete`. Not included: environments with a reward per agent, MultiCVRP, MMST and Sokoban, which
downloads its levels.
"""

import dataclasses
import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.entry import require_among
from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env

_ENDING = """BinPack-v2 CVRP-v1 FlatPack-v0 Game2048-v1 GraphColoring-v1 JobShop-v0 Knapsack-v1 Minesweeper-v0
    Sudoku-v0 Sudoku-very-easy-v0 TSP-v1"""
_LIMITED = """Cleaner-v0:100 Maze-v0:100 PacMan-v1:1000 RobotWarehouse-v0:500 RubiksCube-v0:200 Snake-v1:4000
    RubiksCube-partly-scrambled-v0:20 SlidingTilePuzzle-v0:500 Tetris-v0:400"""
# The time limit of each, in steps; None if every episode terminates.
NAMES = dict.fromkeys(_ENDING.split())
NAMES |= {name: int(limit) for name, limit in (entry.split(":") for entry in _LIMITED.split())}


def make(jumanji_id: str, /, **params: Any) -> Env:
    """The raw environment with this name; `params` are arguments of its class, such as `num_rows`.

    Raises:
      ValueError: without the package jumanji, or for an unknown parameter.
    """
    try:
        import jumanji
    except ImportError as error:
        message = f"jumanji/{jumanji_id} needs the package jumanji: pip install 'jaxrl[jumanji]' ({error})"
        raise ValueError(message) from error
    arguments = inspect.signature(type(jumanji.make(jumanji_id))).parameters
    require_among(f"jumanji/{jumanji_id}", set(arguments) - {"time_limit", "viewer"}, params)
    endless = {"time_limit": np.iinfo(np.int32).max} if "time_limit" in arguments else {}
    env = jumanji.make(jumanji_id, **params, **endless)
    seen = jax.eval_shape(env.reset, jax.random.key(0))[1].observation
    choices = tuple(np.ravel(env.action_spec.num_values).tolist())
    joint = getattr(getattr(seen, "action_mask", None), "shape", None) == choices

    def obs_and_info(timestep):
        mask = getattr(timestep.observation, "action_mask", None)
        return _plain(timestep.observation), {} if mask is None else {"action_mask": mask.reshape(-1)}

    def reset(key):
        state, timestep = env.reset(key)
        return state, restart(*obs_and_info(timestep))

    def step(key, state, action):
        if joint and len(choices) > 1:
            action = jnp.stack(jnp.unravel_index(action, choices))
        state, timestep = env.step(state, action)
        obs, info = obs_and_info(timestep)
        return state, transition(obs, timestep.reward, timestep.last(), info)

    action_space = Discrete(math.prod(choices)) if joint else MultiDiscrete(choices)
    return fix_dtypes(Env(reset, step, jax.tree.map(_space, jax.eval_shape(_plain, seen)), action_space))


def _plain(obs):
    """Named tuples and dataclasses as dictionaries, without the action mask; no leaf is weakly typed."""
    if not hasattr(obs, "_asdict") and not dataclasses.is_dataclass(obs):
        return jnp.asarray(obs, jnp.result_type(obs))
    fields = obs._asdict() if hasattr(obs, "_asdict") else vars(obs)
    return {name: _plain(value) for name, value in fields.items() if name != "action_mask"}


def _space(like):
    low, high = (0, 1) if like.dtype == bool else (-np.inf, np.inf)  # some of Jumanji's are wrong
    return Box(low, high, like.shape, np.dtype(like.dtype))
