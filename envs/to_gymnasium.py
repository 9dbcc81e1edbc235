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
import jax.numpy as jnp
import numpy as np

from jaxrl.envs import registry
from jaxrl.names import lookup
from jaxrl.rollout import vectorize
from jaxrl.spaces import Box, Discrete, MultiDiscrete
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
            self.observation_space = _space(env.observation_space)
            self.action_space = _space(env.action_space)
            self._session = _Session(env, seed)

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
            self.single_observation_space = _space(env.observation_space)
            self.single_action_space = _space(env.action_space)
            self.observation_space = batch_space(self.single_observation_space, num_envs)
            self.action_space = batch_space(self.single_action_space, num_envs)
            self._session = _Session(env, seed, num_envs)

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


class _Session:
    """The key, the state and the compiled programs of one environment or of several."""

    def __init__(self, env: Env, seed: int, num_envs: int | None = None):
        self._spaces = env.observation_space, env.action_space
        programs = _programs(env.reset, env.step, num_envs)  # type: ignore[arg-type]  # functions are hashable
        self._reset, self._step = programs
        self._batch = () if num_envs is None else (num_envs,)
        self._key = jax.random.key(seed)
        self._last_state = getattr(env.step, "last_state", None)
        self._state = self._info = self._started = None
        self._shown: Callable[[], tuple[Any, Any]] | None = None

    def reset(self, seed: int | None):
        timestep, self._started = self._started, None
        if seed is not None or timestep is None:
            if seed is not None:
                self._key = jax.random.key(seed)
            self._key, self._state, timestep = self._reset(self._key)
            timestep = self._fetch(timestep)
        self._shown = lambda: (self._state, timestep.obs)
        return timestep

    def step(self, action):
        if self._state is None:
            raise ValueError("call reset before the first step")
        action = _action(self._spaces[1], action, self._batch)
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

    def shown(self):
        """The state and the observation to be rendered."""
        if self._shown is None:
            raise ValueError("call reset before the first render")
        return jax.device_get(self._shown())

    def obs(self, obs):
        return _numpy(self._spaces[0], obs)

    def action_masks(self):
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


def _space(space):
    """One of our spaces as Gymnasium's."""
    from gymnasium import spaces

    if isinstance(space, Discrete):
        return spaces.Discrete(space.n)
    if isinstance(space, MultiDiscrete):
        return spaces.MultiDiscrete(np.asarray(space.nvec))
    if isinstance(space, Box):
        dtype = np.dtype(np.uint8) if np.dtype(space.dtype) == bool else np.dtype(space.dtype)
        low, high = (
            _within(np.broadcast_to(np.asarray(b), space.shape), dtype) for b in (space.low, space.high)
        )
        return spaces.Box(low, high, tuple(space.shape), dtype)  # type: ignore[arg-type]  # takes dtypes too
    if isinstance(space, dict) and all(isinstance(name, str) for name in space):
        return spaces.Dict({name: _space(child) for name, child in space.items()})
    if isinstance(space, tuple | list):
        return spaces.Tuple([_space(child) for child in space])
    raise ValueError(f"Gymnasium has no space like {space!r}: apply jaxrl.envs.wrappers.flatten_obs")


def _within(bound: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A bound as `dtype`; for integers, infinity becomes their minimum or maximum."""
    if not np.issubdtype(dtype, np.integer):
        return bound.astype(dtype)
    # Not with np.clip: 2**31 - 1 is not a float32, and the nearest float32 does not fit into an int32.
    least, greatest = (dtype.type(end) for end in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    below, above = bound <= least, bound >= greatest
    return np.select([below, above], [least, greatest], np.where(below | above, 0, bound).astype(dtype))


def _numpy(space, value):
    """A value in the form of Gymnasium's space, single or batched."""
    if isinstance(space, dict):
        return {name: _numpy(child, value[name]) for name, child in space.items()}
    if isinstance(space, tuple | list):
        return tuple(_numpy(child, x) for child, x in zip(space, value))
    if isinstance(space, Box):
        return value.astype(np.uint8) if np.dtype(space.dtype) == bool else value
    value = value.astype(np.int64)
    return value[()] if value.ndim == 0 else value


def _action(space, action, batch: tuple[int, ...]):
    """An action of Gymnasium's space in our form; `batch` is its leading shape."""
    if isinstance(space, dict):
        return {name: _action(child, action[name], batch) for name, child in space.items()}
    if isinstance(space, tuple | list):
        return type(space)(_action(child, x, batch) for child, x in zip(space, action))
    given = np.asarray(action)
    wanted = (*batch, *space.shape)
    if given.shape != wanted:
        raise ValueError(f"an action must have the shape {wanted}, not {given.shape}")
    if isinstance(space, Box):
        if given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise ValueError(f"an action must consist of finite numbers, not {action!r}")
    else:
        sizes = space.n if isinstance(space, Discrete) else space.nvec
        if given.dtype.kind not in "iu" or not ((given >= 0) & (given < np.asarray(sizes))).all():
            raise ValueError(f"an action must consist of integers from 0 to below {sizes}, not {action!r}")
    return jnp.asarray(given.astype(space.dtype))


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
