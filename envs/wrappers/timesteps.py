"""The TimeSteps of raw environments."""

import jax
import jax.numpy as jnp

from jaxrl.types import Number, PyTree, TimeStep


def restart(obs: PyTree, info: dict | None = None) -> TimeStep:
    """The TimeStep of a reset: `obs` starts an episode, and both flags are false."""
    no = jnp.zeros((), bool)
    return TimeStep(
        obs=obs,
        next_obs=obs,
        reward=jnp.zeros((), jnp.float32),
        terminated=no,
        truncated=no,
        first=~no,
        info={} if info is None else info,
    )


def transition(
    obs: PyTree, reward: Number, terminated: bool | jax.Array, info: dict | None = None
) -> TimeStep:
    """The TimeStep of a raw step that led to `obs`; raw environments do not truncate."""
    no = jnp.zeros((), bool)
    return TimeStep(
        obs=obs,
        next_obs=obs,
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(terminated, bool),
        truncated=no,
        first=no,
        info={} if info is None else info,
    )
