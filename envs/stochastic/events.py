"""Random events: other actions, and steps that are skipped or doubled."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.envs.stochastic.action_masks import is_allowed, sample_allowed
from jaxrl.envs.stochastic.common import CORRUPT, EVENT, require_probability, select_step
from jaxrl.types import Env, Number


@struct.dataclass
class Allowed:
    """An environment's state and the actions that were allowed when it was last seen."""

    inner: Any
    action_mask: Any


@struct.dataclass
class Seen:
    """An environment's state and its last observation and info."""

    inner: Any
    obs: Any
    info: dict[str, Any]


def corrupted_action(env: Env, probability: Number, salt: int = 0) -> Env:
    """Executes a random action instead of the chosen one, with a probability: type 1.

    Uniform over all actions, or over those that the action mask allows, including the chosen one. An
    unbounded Box is sampled by `jaxrl.spaces.sample`.
    """
    require_probability(probability, "probability")

    def reset(key):
        state, timestep = env.reset(key)
        return Allowed(state, timestep.info.get("action_mask")), timestep

    def step(key, state, action):
        corrupt_key, action_key = jax.random.split(jax.random.fold_in(key, CORRUPT + salt))
        corrupt = jax.random.bernoulli(corrupt_key, probability)
        drawn = sample_allowed(env.action_space, action_key, state.action_mask)
        executed = jax.tree.map(
            lambda new, old: jnp.where(corrupt, new, old).astype(new.dtype), drawn, action
        )
        inner, timestep = env.step(key, state.inner, executed)
        return Allowed(inner, timestep.info.get("action_mask")), timestep

    return env._replace(reset=reset, step=step)


def unpredictable_dynamics(env: Env, probability: Number, event: str = "skip", salt: int = 0) -> Env:
    """An event that occurs with a probability in every step, independently of the action: type 2.1.

    Args:
      event: "skip": the environment does not change in this step, which takes time and gives no reward.
        "repeat": the action is applied twice, if it is still allowed.
        "disturb": the environment is stepped once more with a random allowed action.
        The rewards of two steps are added; if the first one ends the episode, there is no second one.

    With "skip" the state stores the last observation; the others always compute two steps. `info` is that of
    the last step that was applied.
    """
    require_probability(probability, "probability")
    if event not in ("skip", "repeat", "disturb"):
        raise ValueError(f"event must be 'skip', 'repeat' or 'disturb', not {event!r}")

    def split(key):
        event_key, action_key, step_key = jax.random.split(jax.random.fold_in(key, EVENT + salt), 3)
        return jax.random.bernoulli(event_key, probability), action_key, step_key

    def skip_reset(key):
        state, timestep = env.reset(key)
        return Seen(state, timestep.obs, timestep.info), timestep

    def skip_step(key, state, action):
        happens, _, _ = split(key)
        inner, then = env.step(key, state.inner, action)
        nothing = jax.tree.map(jnp.zeros_like, then).replace(
            obs=state.obs, next_obs=state.obs, info=state.info
        )
        inner, then = select_step(happens, (state.inner, nothing), (inner, then))
        return Seen(inner, then.obs, then.info), then

    def twice_step(key, state, action):
        happens, action_key, step_key = split(key)
        state, then = env.step(key, state, action)
        mask = then.info.get("action_mask")
        if event == "disturb":
            action = sample_allowed(env.action_space, action_key, mask)
        else:
            happens &= is_allowed(env.action_space, action, mask)
        later_state, later = env.step(step_key, state, action)
        later = later.replace(reward=then.reward + later.reward)
        return select_step(happens & ~then.done, (later_state, later), (state, then))

    if event == "skip":
        return env._replace(reset=skip_reset, step=skip_step)
    return env._replace(step=twice_step)
