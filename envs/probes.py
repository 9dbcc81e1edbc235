"""Probe environments: minimal environments that each test one aspect of an algorithm.

The best return and the true values are known, so a failure indicates its cause: an algorithm that learns
`value_only` but not `discount` has a wrong bootstrap. After Andy Jones 2021,
https://andyljones.com/posts/rl-debugging.html. Raw environments; `jaxrl.envs` registers them as
`probe/value-only` and so on.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Env

_ONE = np.ones(1, np.float32)


@struct.dataclass
class Cue:
    """The first observation, and the number of steps since."""

    cue: jax.Array
    time: jax.Array


def value_only() -> Env:
    """Constant observation, the action has no effect: one step with reward 1, so V = 1."""
    return _one_step(lambda action: 1.0, Discrete(2))


def value_from_obs() -> Env:
    """The action has no effect: the observation is -1 or 1, and so is the only reward: V(o) = o."""

    def step(key, state, action):
        return state, transition(state, state[0], True)

    return Env(_show_sign, step, Box(-1.0, 1.0, (1,)), Discrete(2))


def discount() -> Env:
    """Two steps, reward 1 at the end of the second: V(0) = gamma, V(1) = 1. The observation is the step."""

    def reset(key):
        time = jnp.zeros((), jnp.int32)
        return time, restart(_vector(time))

    def step(key, time, action):
        time = time + 1
        return time, transition(_vector(time), time == 2, time == 2)

    return Env(reset, step, Box(0.0, 2.0, (1,)), Discrete(2))


def action() -> Env:
    """Constant observation: one step, in which action 1 gives reward 1 and action 0 gives -1."""
    return _one_step(lambda action: 2 * action - 1, Discrete(2))


def action_from_obs() -> Env:
    """One step: action 1 if the observation is 1 and action 0 if it is -1 give reward 1, otherwise -1."""

    def step(key, state, action):
        return state, transition(state, (2 * action - 1) * state[0], True)

    return Env(_show_sign, step, Box(-1.0, 1.0, (1,)), Discrete(2))


def truncation() -> Env:
    """Never terminates, reward 1 in every step: V = 1 / (1 - gamma) for any time limit."""
    return _endless(Discrete(2))


def truncation_continuous() -> Env:
    """`truncation` with an action between -1 and 1: Q = 1 / (1 - gamma) for any action and time limit."""
    return _endless(Box(-1.0, 1.0, (1,)))


def memory(delay: int = 3) -> Env:
    """A cue of -1 or 1 in the first observation must be recalled `delay` steps later.

    Without memory, the best expected return is 0.

    Observations are the cue, or 0, and a flag for the step of the answer. Action 1 answers 1, action 0
    answers -1; the answer ends the episode with reward 1 if correct and -1 otherwise. Other rewards are 0.
    """
    if not isinstance(delay, jax.core.Tracer) and delay < 1:
        raise ValueError(f"delay must be at least 1, not {delay!r}: the cue would answer the question")

    def show(state):
        return jnp.stack([jnp.where(state.time == 0, state.cue, 0.0), _float(state.time == delay)])

    def reset(key):
        state = Cue(_sign(key), jnp.zeros((), jnp.int32))
        return state, restart(show(state))

    def step(key, state, action):
        asked = state.time == delay
        reward = jnp.where(asked, (2 * action - 1) * state.cue, 0.0)
        state = state.replace(time=state.time + 1)
        return state, transition(show(state), reward, asked)

    return Env(reset, step, Box(-1.0, 1.0, (2,)), Discrete(2))


def action_continuous() -> Env:
    """Constant observation: one step with reward -(action - 0.5)^2, so the best action is not at a bound."""
    return _one_step(lambda action: -((action[0] - 0.5) ** 2), Box(-1.0, 1.0, (1,)))


def multidiscrete() -> Env:
    """Constant observation: one step with two choices, of 2 and of 3; the reward is the fraction correct.

    The correct choices are 1 and 2.
    """
    return _one_step(lambda action: jnp.mean(action == jnp.array([1, 2])), MultiDiscrete((2, 3)))


def action_mask() -> Env:
    """Four steps with three actions, one of them forbidden in each step; the best return is 4.

    The observation is the forbidden action, one-hot; `info["action_mask"]` excludes it. Its reward would be
    10, that of the next action (cyclically) is 1, that of the other 0. `info["violated"]` reports that it was
    taken.
    """

    def show(state):
        hot = jax.nn.one_hot(state.cue, 3)
        return hot, hot == 0

    def reset(key):
        state = Cue(jax.random.randint(key, (), 0, 3), jnp.zeros((), jnp.int32))
        obs, allowed = show(state)
        return state, restart(obs, {"action_mask": allowed, "violated": jnp.zeros((), bool)})

    def step(key, state, action):
        violated = action == state.cue
        reward = jnp.where(violated, 10.0, (action - state.cue) % 3 == 1)
        state = Cue(jax.random.randint(key, (), 0, 3), state.time + 1)
        obs, allowed = show(state)
        info = {"action_mask": allowed, "violated": violated}
        return state, transition(obs, reward, state.time == 4, info)

    return Env(reset, step, Box(0.0, 1.0, (3,)), Discrete(3))


def count_traces(env: Env) -> tuple[Env, dict[str, int]]:
    """Counts how often an environment is traced, which happens once per compiled program.

    Returns:
      The environment, and a dict whose "reset" and "step" count the calls from Python.
    """
    counter = {"reset": 0, "step": 0}

    @functools.wraps(env.reset)
    def reset(key):
        counter["reset"] += 1
        return env.reset(key)

    @functools.wraps(env.step)  # also keeps the name of the environment
    def step(key, state, action):
        counter["step"] += 1
        return env.step(key, state, action)

    return env._replace(reset=reset, step=step), counter


def _endless(action_space: Any) -> Env:
    """Observation 1 and reward 1, whatever the action."""

    def reset(key):
        return (), restart(jnp.asarray(_ONE))

    def step(key, state, action):
        return state, transition(jnp.asarray(_ONE), 1.0, False)

    return Env(reset, step, Box(1.0, 1.0, (1,)), action_space)


def _one_step(reward, action_space: Any) -> Env:
    """Observation 1, one action, then the end."""

    def reset(key):
        return (), restart(jnp.asarray(_ONE))

    def step(key, state, action):
        return state, transition(jnp.asarray(_ONE), reward(action), True)

    return Env(reset, step, Box(1.0, 1.0, (1,)), action_space)


def _show_sign(key):
    obs = _sign(key)[None]
    return obs, restart(obs)


def _sign(key):
    return jax.random.rademacher(key, (), jnp.float32)


def _vector(x):
    return _float(x)[None]


def _float(x):
    return jnp.asarray(x, jnp.float32)
