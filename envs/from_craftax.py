"""Craftax and Craftax-Classic (Matthews et al. 2024, https://arxiv.org/abs/2402.16801) as raw `Env`s.

The package `craftax` is an extra. Its time limit, which it does not distinguish from other ends of an
episode, is switched off; the registry's limit truncates instead. Its declared bounds of symbolic observations
are wrong (an attribute raises food above 1, damage takes health below 0), so those spaces are unbounded here.
"""

from typing import Any

import numpy as np

from jaxrl.envs.entry import require_among
from jaxrl.envs.wrappers import fix_dtypes, restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

# The time limit of each, in steps.
NAMES = {
    "Craftax-Symbolic-v1": 100_000,
    "Craftax-Pixels-v1": 100_000,
    "Craftax-Classic-Symbolic-v1": 10_000,
    "Craftax-Classic-Pixels-v1": 10_000,
}
_NEVER = np.iinfo(np.int32).max


def make(craftax_id: str, /, **params: Any) -> Env:
    """The raw environment with this name; `params` are fields of its `EnvParams`, such as `day_length`.

    Raises:
      ValueError: without the package craftax, or for an unknown parameter.
    """
    env = _load(craftax_id)
    require_among(f"craftax/{craftax_id}", _known(env), params)
    settings = env.default_params.replace(max_timesteps=_NEVER, **params)

    def reset(key):
        obs, state = env.reset_env(key, settings)
        return state, restart(obs)

    def step(key, state, action):
        obs, state, reward, terminated, _ = env.step_env(key, state, action, settings)
        return state, transition(obs, reward, terminated)

    shape = env.observation_space(settings).shape
    bounds = (0.0, 1.0) if "Pixels" in craftax_id else (-np.inf, np.inf)
    return fix_dtypes(Env(reset, step, Box(*bounds, shape), Discrete(env.num_actions)))


def params(craftax_id: str) -> dict[str, Any]:
    """The scalar parameters of `make` with their defaults; imports craftax."""
    return {n: v for n, v in _known(_load(craftax_id)).items() if isinstance(v, bool | int | float)}


def _load(craftax_id: str):
    try:
        from craftax.craftax_env import make_craftax_env_from_name
    except ImportError as error:
        raise ValueError(
            f"craftax/{craftax_id} needs the package craftax: pip install 'jaxrl[craftax]' ({error})"
        ) from error
    return make_craftax_env_from_name(craftax_id, auto_reset=False)


def _known(env) -> dict[str, Any]:
    """Fields of its parameters, without the time limit, which is `max_steps` of the registry."""
    return {name: value for name, value in vars(env.default_params).items() if name != "max_timesteps"}
