"""Common parts of the behaviour suite: noisy and scaled rewards, measures for scores, random bits."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.types import Env


@struct.dataclass
class Measured:
    """An environment's state and the measure of its episode so far."""

    inner: Any
    total: jax.Array


def reward_noise(env: Env, scale) -> Env:
    """Adds Gaussian noise of standard deviation `scale` to every reward, including the last of an episode."""

    def step(key, state, action):
        step_key, noise = draw_noise(key)
        state, timestep = env.step(step_key, state, action)
        return state, timestep.replace(reward=timestep.reward + scale * noise)

    return env._replace(step=step)


def draw_noise(key):
    """The key for the environment, and a standard normal draw."""
    step_key, noise_key = jax.random.split(key)
    return step_key, jax.random.normal(noise_key)


def reward_scale(env: Env, scale) -> Env:
    """Multiplies every reward by `scale`."""

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(reward=timestep.reward * scale)

    return env._replace(step=step)


def with_noise(make: Callable) -> Callable:
    """`make` with the additional parameter `noise_scale`; its default, 1, is central in the suite's sweep."""
    return _wrapped(make, reward_noise, "noise_scale", 1.0)


def with_scale(make: Callable) -> Callable:
    """`make` with the additional parameter `reward_scale`; its default is 30, because 1 has no effect."""
    return _wrapped(make, reward_scale, "reward_scale", 30.0)


def _wrapped(make, wrapper, name: str, default: float):
    def wrapped(**params):
        scale = params.pop(name, default)
        return wrapper(make(**params), scale)

    functools.update_wrapper(wrapped, make)
    signature = inspect.signature(make)
    added = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
    parameters = [*signature.parameters.values(), added]
    wrapped.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # of inspect
    return wrapped


def measured(env: Env, measure: Callable | None = None) -> Env:
    """Adds `info["measure"]`, the quantity that `scoring.score` evaluates, for the episode so far.

    It is the sum of `measure(state, timestep)` over the steps, by default of the rewards. Apply it directly
    to the raw environment, so that noise and scale of the reward, applied afterwards, do not count. Where
    `done`, it is that of the whole episode, because `auto_reset` does not change `info`.
    """

    def value(state, timestep):
        return timestep.reward if measure is None else measure(state, timestep)

    def recorded(state, timestep, total):
        timestep = timestep.replace(info={**timestep.info, "measure": total})
        return Measured(state, total), timestep

    def reset(key):
        state, timestep = env.reset(key)
        return recorded(state, timestep, jnp.zeros((), jnp.float32))

    def step(key, state, action):
        inner, timestep = env.step(key, state.inner, action)
        return recorded(inner, timestep, state.total + value(inner, timestep))

    return env._replace(reset=reset, step=step)


def coins(key, count: int):
    """`count` fair coin flips, bool `[count]`; one random number yields 32 of them."""
    return bits_of(jax.random.bits(key, (-(-count // 32),), np.uint32), count)


def bits_of(words, count: int):
    """The first `count` bits of a vector of uint32, bool `[count]`."""
    position = np.arange(count, dtype=np.uint32)
    return (jnp.repeat(words, 32)[:count] >> (position % 32)) & 1 == 1


def below(uniform, count: int):
    """Maps a uniform number in [0, 1) to an integer from 0 to count - 1, int32."""
    return jnp.minimum(jnp.floor(uniform * count), count - 1).astype(jnp.int32)


def require_positive(**values) -> None:
    """Raises ValueError for a number that is not above 0; traced values are not checked."""
    for name, value in values.items():
        if not isinstance(value, jax.core.Tracer) and not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
