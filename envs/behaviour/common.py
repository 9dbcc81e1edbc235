"""What the tasks of the behaviour suite share: noisy and scaled rewards, what scores are made of, coins."""

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
    """Adds a normal draw of standard deviation `scale` to every reward, the last one of an episode too."""

    def step(key, state, action):
        step_key, noise = draw_noise(key)
        state, timestep = env.step(step_key, state, action)
        return state, timestep.replace(reward=timestep.reward + scale * noise)

    return env._replace(step=step)


def draw_noise(key):
    """The key that is left for the environment, and a standard normal draw."""
    step_key, noise_key = jax.random.split(key)
    return step_key, jax.random.normal(noise_key)


def reward_scale(env: Env, scale) -> Env:
    """Multiplies every reward by `scale`."""

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(reward=timestep.reward * scale)

    return env._replace(step=step)


def with_noise(make: Callable) -> Callable:
    """`make` with one more parameter, `noise_scale`; by default 1, the middle one of the suite's sweep."""
    return _wrapped(make, reward_noise, "noise_scale", 1.0)


def with_scale(make: Callable) -> Callable:
    """`make` with one more parameter, `reward_scale`; by default 30, where 1 would change nothing."""
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
    """Puts into `info["measure"]` what the episode was worth so far in the eyes of `scoring.score`.

    That is the sum of `measure(state, timestep)` over its steps, by default of the rewards. Wrapped
    around the raw environment, so that noise and scale, put around this, do not count; where `done`, it
    is that of the whole episode, as `auto_reset` leaves `info` alone.
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
    """`count` fair coins, bool `[count]`; 32 of them cost one random number."""
    return bits_of(jax.random.bits(key, (-(-count // 32),), np.uint32), count)


def bits_of(words, count: int):
    """The first `count` bits of a vector of uint32, bool `[count]`."""
    position = np.arange(count, dtype=np.uint32)
    return (jnp.repeat(words, 32)[:count] >> (position % 32)) & 1 == 1


def below(uniform, count: int):
    """A uniform draw from [0, 1) as one of the whole numbers 0 .. count - 1, int32."""
    return jnp.minimum(jnp.floor(uniform * count), count - 1).astype(jnp.int32)


def require_positive(**values) -> None:
    """Raises ValueError for a number that is not above 0; what is traced cannot be looked at."""
    for name, value in values.items():
        if not isinstance(value, jax.core.Tracer) and not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
