"""Our environments for users of Gymnasium and of libraries based on it, such as Stable-Baselines3.

    env = to_gymnasium("CartPole-v1")                     # a gymnasium.Env
    env = to_gymnasium("Breakout-MinAtar", num_envs=64)   # a gymnasium.vector.VectorEnv, compiled as a whole
    env = gymnasium.make("jaxrl/CartPole-v1", render_mode="rgb_array")       # see `gymnasium_ids`

Gymnasium (https://gymnasium.farama.org) is imported when an environment is made: `pip install
jaxrl[gymnasium]`.
"""

import functools
import inspect
from collections.abc import Callable
from numbers import Integral
from operator import itemgetter
from typing import Any

import jax
import numpy as np

from jaxrl.envs import registry
from jaxrl.envs.gymnasium_session import Session
from jaxrl.envs.gymnasium_spaces import gymnasium_space
from jaxrl.names import lookup
from jaxrl.types import Env


def to_gymnasium(
    env: Env | str,
    num_envs: int | None = None,
    seed: int | None = None,
    render_mode: str | None = None,
    draw: Callable[..., Any] | None = None,
    **params: Any,
) -> Any:
    """A `gymnasium.Env` or, with `num_envs`, a `gymnasium.vector.VectorEnv` of one of our environments.

    Observations, rewards and flags are NumPy arrays. Discrete and MultiDiscrete values are int64; bool arrays
    become `Box(0, 1, dtype=uint8)`, which all policies of Stable-Baselines3 accept; dicts and tuples of
    spaces become Dict and Tuple. `action_masks()` returns the legal actions, if there is a mask.

    A single environment's `reset` after the end of an episode starts the next one without a new environment:
    the clock of `stochastic.non_stationary` continues, and a lane of `families.family` remains the same
    member. Its info then has the action mask, and zeros for the return and the length. During an episode, or
    with a seed, `reset` starts from the beginning.

    The vector environment resets in the same step (`AutoresetMode.SAME_STEP`): where an episode ended, the
    observation starts the next one, and `final_obs` and `final_info` in the info are those of the old one;
    the masks `_final_obs` and `_final_info` mark these environments. `final_info` has `episode_return` and
    `episode_length`; Gymnasium 1.3's `RecordEpisodeStatistics` misses the first step of such an episode.

    Args:
      env: a name, made with `params` as by `jaxrl.envs.make`, or an environment returned by `make`.
      render_mode: "rgb_array": `render()` returns an image `[H, W, 3]` uint8 of the state of the last
        observation, including the end of an episode; for several environments, a tuple of images.
      draw: `(env_state, obs) -> [H, W, 3]`, which renders it; by default as `jaxrl render` does, or, for an
        environment without a name, the observation itself, if it is an image.
      seed: of everything random until a `reset(seed=...)`, by default 0; copies with the same seed behave
        identically. If the environment has a parameter `seed` itself, make the environment first.

    Raises:
      ValueError: for spaces that Gymnasium does not have, `params` without a name, an ambiguous `seed`, or
        another render mode.
        `step` raises it for an action that is not in the space; reals outside the bounds of a Box are passed
        to the environment.
      ImportError: without Gymnasium.
    """
    if render_mode not in (None, *RENDER_MODES):
        raise ValueError(f"render_mode {render_mode!r} is not known: take {RENDER_MODES[0]!r} or None")
    if draw is None:
        from jaxrl.envs import render

        name = env if isinstance(env, str) else "an environment without a name"
        drawn = {param: value for param, value in params.items() if param not in ("max_steps", "resets")}
        draw = functools.partial(render.frame, name, params=drawn)
    if isinstance(env, str):
        own = inspect.signature(lookup("environment", registry.REGISTRY, env).make).parameters
        if seed is not None and "seed" in own:
            raise ValueError(
                f"{env} has a parameter seed too: to set it, pass envs.make({env!r}, seed={seed!r}) instead"
            )
        env = registry.make(env, **params)
    elif params:
        raise ValueError(f"parameters require a name, not an environment: {sorted(params)}")
    positive = isinstance(num_envs, Integral) and not isinstance(num_envs, bool) and num_envs > 0
    if num_envs is not None and not positive:
        raise ValueError(f"num_envs must be a positive integer or None, not {num_envs!r}")
    seed = 0 if seed is None else seed
    single, vector = _classes()
    drawing = render_mode, draw
    return single(env, seed, *drawing) if num_envs is None else vector(env, num_envs, seed, *drawing)


RENDER_MODES = ("rgb_array",)


@functools.cache
def _classes():
    """The two classes, whose definition requires Gymnasium's base classes."""
    try:
        import gymnasium
        from gymnasium.vector import AutoresetMode, VectorEnv
        from gymnasium.vector.utils import batch_space
    except ImportError as error:
        raise ImportError(
            "to_gymnasium needs Gymnasium 1.1 or later: pip install 'jaxrl[gymnasium]'"
        ) from error

    class JaxrlEnv(gymnasium.Env):
        """One environment; `step` returns the last observation of an episode, `reset` starts the next."""

        metadata = {"render_modes": list(RENDER_MODES), "render_fps": 30}  # noqa: RUF012 (Gymnasium's way)

        def __init__(self, env: Env, seed: int, render_mode: str | None, draw: Callable):
            self.render_mode, self._draw = render_mode, draw
            self.observation_space = gymnasium_space(env.observation_space)
            self.action_space = gymnasium_space(env.action_space)
            self._session = Session(env, seed)

        def reset(self, *, seed: int | None = None, options: dict | None = None):
            super().reset(seed=seed)
            timestep = self._session.reset(seed)
            return self._session.obs(timestep.obs), _scalars(timestep.info)

        def step(self, action):
            timestep = self._session.step(action)
            return (
                self._session.obs(timestep.next_obs),
                float(timestep.reward),
                bool(timestep.terminated),
                bool(timestep.truncated),
                _scalars(timestep.info),
            )

        def action_masks(self) -> np.ndarray:
            """True for the actions that are legal now."""
            return self._session.action_masks()

        def render(self) -> np.ndarray | None:
            """An image `[H, W, 3]` uint8 of the state of the last observation; None without a render mode."""
            return None if self.render_mode is None else self._draw(*self._session.shown())

    class JaxrlVectorEnv(VectorEnv):
        """`num_envs` environments in one program."""

        metadata = {  # noqa: RUF012
            "render_modes": list(RENDER_MODES),
            "render_fps": 30,
            "autoreset_mode": AutoresetMode.SAME_STEP,
        }

        def __init__(self, env: Env, num_envs: int, seed: int, render_mode: str | None, draw: Callable):
            self.num_envs, self.render_mode, self._draw = num_envs, render_mode, draw
            self.single_observation_space = gymnasium_space(env.observation_space)
            self.single_action_space = gymnasium_space(env.action_space)
            self.observation_space = batch_space(self.single_observation_space, num_envs)
            self.action_space = batch_space(self.single_action_space, num_envs)
            self._session = Session(env, seed, num_envs)

        def reset(self, *, seed: int | None = None, options: dict | None = None):
            if options and "reset_mask" in options:
                raise ValueError("episodes restart automatically here; reset_mask is not supported")
            super().reset(seed=seed)
            timestep = self._session.reset(seed)
            info: dict[str, Any] = {}
            _put(info, timestep.info, np.ones(self.num_envs, bool))
            return self._session.obs(timestep.obs), info

        def step(self, actions):
            timestep = self._session.step(actions)
            done = timestep.terminated | timestep.truncated
            if (done & ~timestep.first).any():
                raise ValueError("this environment does not reset itself: wrap it in jaxrl's auto_reset")
            # Except for the action mask, `info` is that of the step, and therefore of the ended episode.
            mask = {name: x for name, x in timestep.info.items() if name == "action_mask"}
            step_info = {name: x for name, x in timestep.info.items() if name != "action_mask"}
            info: dict[str, Any] = {}
            _put(info, mask, np.ones(self.num_envs, bool))
            if not done.all():
                _put(info, step_info, ~done)
            if done.any():
                final = np.full(self.num_envs, None, dtype=object)
                last_obs = self._session.obs(timestep.next_obs)
                for lane in np.flatnonzero(done):
                    final[lane] = _lane(last_obs, lane)
                final_info: dict[str, Any] = {}
                _put(final_info, step_info, done)
                info |= {"final_obs": final, "_final_obs": done.copy()}
                info |= {"final_info": final_info, "_final_info": done.copy()}
            return (
                self._session.obs(timestep.obs),
                timestep.reward.astype(np.float64),  # as in Gymnasium's environments
                timestep.terminated,
                timestep.truncated,
                info,
            )

        def action_masks(self) -> np.ndarray:
            """True for the actions that are legal now, `[num_envs, ...]`."""
            return self._session.action_masks()

        def render(self) -> tuple[np.ndarray, ...] | None:
            """An image of every environment in the state of its last observation."""
            if self.render_mode is None:
                return None
            shown = self._session.shown()
            lanes = (jax.tree.map(itemgetter(lane), shown) for lane in range(self.num_envs))
            return tuple(self._draw(*one) for one in lanes)

    return JaxrlEnv, JaxrlVectorEnv


def _put(target: dict, entries: dict, where: np.ndarray) -> None:
    """Adds entries to an info, with masks `_name` of the lanes that have them, as Gymnasium does."""
    for name, value in entries.items():
        if isinstance(value, dict):
            inner: dict[str, Any] = {}
            _put(inner, value, where)
            target[name] = inner
        else:
            lanes = where.reshape(-1, *[1] * (value.ndim - 1))
            target[name] = np.where(lanes, value, np.zeros((), value.dtype))
        target[f"_{name}"] = where.copy()


def _lane(obs, lane: int | np.integer):
    if isinstance(obs, dict):
        return {name: _lane(x, lane) for name, x in obs.items()}
    if isinstance(obs, tuple):
        return tuple(_lane(x, lane) for x in obs)
    return obs[lane]


def _scalars(info: dict) -> dict:
    """Info of one environment, with NumPy scalars instead of 0-dimensional arrays."""
    return jax.tree.map(lambda x: x[()] if x.ndim == 0 else x, info)
