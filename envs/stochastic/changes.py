"""Environments that change over time, schedules of a parameter, and two parameters for any environment."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.family_spaces import spaces_for_all
from jaxrl.envs.stochastic.action_masks import parts_of
from jaxrl.envs.stochastic.common import is_known
from jaxrl.spaces import Discrete, MultiDiscrete
from jaxrl.types import Env, Number


@struct.dataclass
class Drifting:
    """An environment's state and the steps or episodes since the first reset."""

    inner: Any
    time: jax.Array


@struct.dataclass
class Shifted:
    """An environment's state and the shift of the next action."""

    inner: Any
    shift: jax.Array


Schedule = Callable[[jax.Array], Number]  # of a parameter: (time) -> value


def non_stationary(make: Callable[..., Env], parameter: str, schedule: Schedule, clock: str = "steps") -> Env:
    """A parameter of the environment changes with time: type 2.2, concept drift.

        make = partial(envs.make, "CartPole-v1", resets="fresh")
        env = non_stationary(make, "gravity", cyclic(9.8, 3.7, period=10_000))

    If `make` returns environments that reset themselves, as `envs.make` does, the clock continues over all
    episodes. If it returns raw ones, time starts at 0 in each episode, because a reset replaces the whole
    state: the environment drifts within an episode. Rewards and actions of any environment can drift:

        def make(scale):
            return auto_reset(episode_stats(time_limit(scaled_reward(raw, scale), 500)))

        non_stationary(make, "scale", sudden(1.0, -1.0, at=10_000))

    and `shifted_action` in the same way. Resets must be "fresh": the others use initial states of other
    times. Bounds of the spaces that depend on the parameter become infinite.

    Args:
      make: `(**{parameter: value}) -> Env`; the value can be traced.
      schedule: `(time) -> value`, time an int32 scalar from 0: `sudden`, `cyclic`, `drift` or a custom one.
      clock: "steps" or, for environments that reset themselves, "episodes".

    Raises:
      ValueError: for a parameter that determines array shapes, an unknown clock, or a `functools.partial`
        with other resets.
    """
    resets = getattr(make, "keywords", {}).get("resets")
    if resets in ("pool", "optimistic"):
        raise ValueError(
            f"non_stationary needs resets='fresh', not {resets!r}: others mix states of several times"
        )
    if clock not in ("steps", "episodes"):
        raise ValueError(f"clock must be 'steps' or 'episodes', not {clock!r}")

    def at(time) -> Env:
        return make(**{parameter: jnp.asarray(schedule(time))})

    def reset(key):
        time = jnp.zeros((), jnp.int32)
        state, timestep = at(time).reset(key)
        return Drifting(state, time), timestep

    def step(key, state, action):
        inner, timestep = at(state.time).step(key, state.inner, action)
        passed = timestep.done.astype(jnp.int32) if clock == "episodes" else 1
        return Drifting(inner, state.time + passed), timestep

    with jax.ensure_compile_time_eval():
        example = jnp.asarray(schedule(jnp.zeros((), jnp.int32)))
    return Env(reset, step, *spaces_for_all(make, {parameter: example}))


def sudden(before: Number, after: Number, at: int) -> Schedule:
    """A schedule: `before` until time `at`, then `after`."""
    return lambda time: jnp.where(time < at, before, after)


def cyclic(first: Number, second: Number, period: int) -> Schedule:
    """A schedule: `first` for `period`, `second` for `period`, and so on."""
    _require_time(period, "period")
    return lambda time: jnp.where(time // period % 2 == 0, first, second)


def drift(start: Number, end: Number, duration: int) -> Schedule:
    """A schedule: linear from `start` to `end`, and `end` after `duration`."""
    _require_time(duration, "duration")
    return lambda time: start + (end - start) * jnp.clip(time / duration, 0.0, 1.0)


def scaled_reward(env: Env, scale: Number = 1.0) -> Env:
    """Multiplies rewards; -1 reverses the task. `scale` can be traced."""

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(reward=(timestep.reward * scale).astype(jnp.float32))

    return env._replace(step=step)


def shifted_action(env: Env, shift: Number = 0) -> Env:
    """Renumbers the actions: `a` does what `(a + shift) mod n` did, in every choice.

    The action mask is renumbered too. `shift` can be traced; a change between steps takes effect from the
    next observation on, so that the mask of that observation stays valid.

    Raises:
      ValueError: for an action space that is not a single Discrete or MultiDiscrete.
    """
    space = env.action_space
    if not isinstance(space, Discrete | MultiDiscrete):
        raise ValueError(f"shifted_action needs a Discrete or MultiDiscrete action space, not {space}")
    sizes = np.asarray(space.n if isinstance(space, Discrete) else space.nvec, np.int32)
    shift = jnp.asarray(shift, jnp.int32)  # a schedule may give floats

    def renamed(timestep):
        if "action_mask" not in timestep.info:
            return timestep
        parts = [
            part[(np.arange(len(part)) + shift) % len(part)]
            for part in parts_of(space, timestep.info["action_mask"])
        ]
        return timestep.replace(info={**timestep.info, "action_mask": jnp.concatenate(parts)})

    def reset(key):
        state, timestep = env.reset(key)
        return Shifted(state, shift), renamed(timestep)

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, ((action + state.shift) % sizes).astype(space.dtype))
        return Shifted(inner, shift), renamed(timestep)

    return env._replace(reset=reset, step=step)


def _require_time(value, name: str) -> None:
    if is_known(value) and not np.asarray(value) >= 1:
        raise ValueError(f"{name} must be at least 1, not {value!r}")
