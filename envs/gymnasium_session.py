"""The state and the compiled programs of an environment that is stepped from outside of JAX."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxrl.envs.gymnasium_spaces import from_gymnasium, to_numpy
from jaxrl.rollout import vectorize
from jaxrl.types import Env


class Session:
    """The key, the state and the compiled programs of one environment or of several."""

    def __init__(self, env: Env, seed: int, num_envs: int | None = None) -> None:
        self._spaces = env.observation_space, env.action_space
        programs = _programs(env.reset, env.step, num_envs)  # type: ignore[arg-type]  # functions are hashable
        self._reset, self._step = programs
        self._batch = () if num_envs is None else (num_envs,)
        self._key = jax.random.key(seed)
        self._last_state = getattr(env.step, "last_state", None)
        self._state = self._info = self._started = None
        self._shown: Callable[[], tuple[Any, Any]] | None = None

    def reset(self, seed: int | None) -> Any:
        """The TimeStep of a reset, with NumPy arrays; without a seed, the episode that `step` has started."""
        timestep, self._started = self._started, None
        if seed is not None or timestep is None:
            if seed is not None:
                self._key = jax.random.key(seed)
            self._key, self._state, timestep = self._reset(self._key)
            timestep = self._fetch(timestep)
        self._shown = lambda: (self._state, timestep.obs)
        return timestep

    def step(self, action: Any) -> Any:
        """The TimeStep of a step, with NumPy arrays."""
        if self._state is None:
            raise ValueError("call reset before the first step")
        action = from_gymnasium(self._spaces[1], action, self._batch)
        before = self._key, self._state, action
        self._key, self._state, timestep = self._step(*before)
        timestep = self._fetch(timestep)
        over = not self._batch and timestep.first & (timestep.terminated | timestep.truncated)
        self._started = _start(timestep) if over else None
        if over and self._last_state:  # the current state is already that of the new episode
            self._shown = lambda: (_last_state(self._last_state)(*before), timestep.next_obs)
        else:
            self._shown = lambda: (self._state, timestep.obs)
        return timestep

    def shown(self) -> tuple[Any, Any]:
        """The state and the observation to be rendered."""
        if self._shown is None:
            raise ValueError("call reset before the first render")
        return jax.device_get(self._shown())

    def obs(self, obs: Any) -> Any:
        """An observation in the form of Gymnasium's space."""
        return to_numpy(self._spaces[0], obs)

    def action_masks(self) -> np.ndarray:
        """True for the actions that are legal now; raises ValueError if there is no mask."""
        if self._info is None or "action_mask" not in self._info:
            raise ValueError("every action is legal here: there is no action mask")
        return self._info["action_mask"].copy()

    def _fetch(self, timestep):
        # Copied, because the buffers of the device are read-only.
        timestep = jax.tree.map(lambda x: np.array(x), jax.device_get(timestep))
        self._info = timestep.info
        return timestep


def _start(timestep):
    """The info of a reset, for the episode that began in the step which ended the previous one.

    The other entries of the info are those of the old episode; their values for the new one are unknown.
    """
    info = {name: x.copy() for name, x in timestep.info.items() if name == "action_mask"}
    for name in {"episode_return", "episode_length"} & timestep.info.keys():
        info[name] = np.zeros_like(timestep.info[name])
    return timestep.replace(info=info)


@functools.lru_cache(maxsize=64)
def _programs(reset, step, num_envs: int | None):
    """Compiled `(key) -> (key, state, timestep)` and `(key, state, action) -> ...`, once per environment."""
    env = Env(reset, step, None, None)
    if num_envs is not None:
        env = vectorize(env, num_envs)

    def first(key):
        key, reset_key = jax.random.split(key)
        return key, *env.reset(reset_key)

    def then(key, state, action):
        key, step_key = jax.random.split(key)
        return key, *env.step(step_key, state, action)

    return jax.jit(first), jax.jit(then)


@functools.lru_cache(maxsize=64)
def _last_state(function):
    """Compiled `(key, state, action) -> state`: the state after a step of `_programs`, before the reset."""
    return jax.jit(lambda key, state, action: function(jax.random.split(key)[1], state, action))
