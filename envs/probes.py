"""Probe worlds: the smallest environments that a broken algorithm cannot solve, one idea each.

The best return and the true values are known, so that a failure names its cause: who learns
`value_only` but not `discount` has a wrong bootstrap. After Andy Jones 2021,
https://andyljones.com/posts/rl-debugging.html. Raw environments; `jaxrl.envs` registers them as
`probe/value-only` and so on.
"""

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
    """What was shown first, and how many steps ago."""

    cue: jax.Array
    time: jax.Array


def value_only() -> Env:
    """Nothing to see, nothing to do: one step of reward 1, so V = 1."""
    return _one_step(lambda action: 1.0, Discrete(2))


def value_from_obs() -> Env:
    """Nothing to do: the observation is -1 or 1 and so is the reward of the only step, V(o) = o."""

    def step(key, state, action):
        return state, transition(state, state[0], True)

    return Env(_show_sign, step, Box(-1.0, 1.0, (1,)), Discrete(2))


def discount() -> Env:
    """Two steps, reward 1 at the end of the second: V(0) = gamma, V(1) = 1. Shows the step's index."""

    def reset(key):
        time = jnp.zeros((), jnp.int32)
        return time, restart(_vector(time))

    def step(key, time, action):
        time = time + 1
        return time, transition(_vector(time), time == 2, time == 2)

    return Env(reset, step, Box(0.0, 2.0, (1,)), Discrete(2))


def action() -> Env:
    """Nothing to see: one step, where action 1 gives reward 1 and action 0 gives -1."""
    return _one_step(lambda action: 2 * action - 1, Discrete(2))


def action_from_obs() -> Env:
    """One step: action 1 where the observation is 1 and action 0 where it is -1 give 1, others -1."""

    def step(key, state, action):
        return state, transition(state, (2 * action - 1) * state[0], True)

    return Env(_show_sign, step, Box(-1.0, 1.0, (1,)), Discrete(2))


def truncation() -> Env:
    """Endless, reward 1 every step: V = 1 / (1 - gamma), however short the time limit."""

    def reset(key):
        return (), restart(jnp.asarray(_ONE))

    def step(key, state, action):
        return state, transition(jnp.asarray(_ONE), 1.0, False)

    return Env(reset, step, Box(1.0, 1.0, (1,)), Discrete(2))


def memory(delay: int = 3) -> Env:
    """A cue of -1 or 1 in the first observation, asked for `delay` steps later; without it, 0 at best.

    Shows the cue, or 0, and whether this is the question. Action 1 answers 1, action 0 answers -1;
    the answer ends the episode with reward 1 if right and -1 if wrong, other rewards are 0.
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
    """Nothing to see: one step of reward -(action - 0.5)^2, so 0.5 is best and clipping is not."""
    return _one_step(lambda action: -((action[0] - 0.5) ** 2), Box(-1.0, 1.0, (1,)))


def multidiscrete() -> Env:
    """Nothing to see: one step and two choices, of 2 and of 3; the reward is the share that is right.

    Right are 1 and 2.
    """
    return _one_step(lambda action: jnp.mean(action == jnp.array([1, 2])), MultiDiscrete((2, 3)))


def action_mask() -> Env:
    """Four steps of three actions, one of them forbidden each time; the best return is 4.

    Shows the forbidden action, one-hot, as `info["action_mask"]` does too. It would pay 10, the
    one after it (in a circle) pays 1, the other 0. `info["violated"]` tells that it was taken.
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
    """Counts how often Python runs through an environment, as it does once per compiled program.

    Returns:
      The environment, and a dict whose "reset" and "step" grow with every call from Python.
    """
    counter = {"reset": 0, "step": 0}

    def reset(key):
        counter["reset"] += 1
        return env.reset(key)

    def step(key, state, action):
        counter["step"] += 1
        return env.step(key, state, action)

    return env._replace(reset=reset, step=step), counter


def _one_step(reward, action_space: Any) -> Env:
    """Shows 1, takes one action, ends."""

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
