"""XLand-MiniGrid's ports of MiniGrid (Nikulin et al. 2023, https://arxiv.org/abs/2312.12044) as raw `Env`s.

The package `xminigrid` is an extra. Its `discount` is 0 where an episode terminates and 1 at its
time limit, which is not reported here; in the reward of the goal, 1 - 0.9 t / T, T is that limit.
XLand's own environments need a ruleset, which is downloaded: `make("XLand-MiniGrid-R4-13x13", ruleset=...)`.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxrl.envs.entry import require_among
from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

# The time limit of each, in steps. Without MiniGrid-Playground, which has no goal.
NAMES = {
    "MiniGrid-BlockedUnlockPickUp": 576,
    "MiniGrid-FourRooms": 100,
    "MiniGrid-LockedRoom": 190,
    "MiniGrid-Unlock": 288,
    "MiniGrid-UnlockPickUp": 288,
    **{f"MiniGrid-DoorKey-{n}x{n}": 10 * n * n for n in (5, 6, 8, 16)},
    **{f"MiniGrid-Empty-{n}x{n}": 4 * n * n for n in (5, 6, 8, 16)},
    **{f"MiniGrid-EmptyRandom-{n}x{n}": 4 * n * n for n in (5, 6, 8, 16)},
    **{f"MiniGrid-MemoryS{n}": 5 * n * n for n in (8, 16, 32, 64, 128)},
}


def make(xminigrid_id: str, /, **params: Any) -> Env:
    """The raw environment with this name; it shows the `[V, V, 2]` cells (tile, colour) before the agent.

    Args:
      params: fields of its `EnvParams`, such as `view_size`, or `ruleset` in XLand.

    Raises:
      ValueError: without the package xminigrid, or for an unknown parameter.
    """
    env, settings = _load(xminigrid_id)
    require_among(f"xminigrid/{xminigrid_id}", _known(settings), params)
    settings = settings.replace(**params)

    def reset(key):
        state = env.reset(settings, key)
        return state, restart(state.observation)

    def step(key, state, action):
        state = env.step(settings, state, action)
        return state, transition(state.observation, state.reward, state.discount == 0)

    seen = jax.eval_shape(lambda key: env.reset(settings, key), jax.random.key(0)).observation
    # Ids up to 14; not bytes from 0 to 255, which `encoding.encode` would treat as an image.
    space = Box(0, 254, seen.shape, np.dtype(seen.dtype))
    return fix_dtypes(Env(reset, step, space, Discrete(env.num_actions(settings))))


def params(xminigrid_id: str) -> dict[str, Any]:
    """The scalar parameters of `make` with their defaults; imports xminigrid."""
    return {n: v for n, v in _known(_load(xminigrid_id)[1]).items() if isinstance(v, int)}


def _load(xminigrid_id: str):
    try:
        import xminigrid
    except ImportError as error:
        raise ValueError(
            f"xminigrid/{xminigrid_id} needs the package xminigrid: pip install 'jaxrl[xminigrid]' ({error})"
        ) from error
    return xminigrid.make(xminigrid_id)


def _known(settings) -> dict[str, Any]:
    fields = (field.name for field in dataclasses.fields(settings))
    return {name: getattr(settings, name) for name in fields if name not in ("max_steps", "render_mode")}
