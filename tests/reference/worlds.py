"""Small vectorizable environments whose observations identify the episode and the step."""

import jax
import jax.numpy as jnp

from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env, TimeStep


def diary() -> Env:
    """Random episodes; the observation is `[code, t]`, the code is drawn in every reset.

    An episode lasts `2 + code % 4` steps and is terminated if its code is even, otherwise truncated. The
    reward is `code + 10 t + action`, `t` before the step. Action 0 is always allowed, action 1 where
    `t` is even, action 2 where `code + t` is divisible by 3.
    """

    def observe(code, t):
        return jnp.stack([code, t]).astype(jnp.float32)

    def mask(code, t):
        return jnp.stack([code >= 0, t % 2 == 0, (code + t) % 3 == 0])

    def begin(key):
        return jax.random.randint(key, (), 0, 1000), jnp.zeros((), jnp.int32), jnp.zeros(())

    def info(state, episode_return, length):
        code, t, _ = state
        return {
            "action_mask": mask(code, t),
            "episode_return": episode_return,
            "episode_length": length,
        }

    def reset(key):
        code, t, total = state = begin(key)
        no = jnp.zeros((), bool)
        obs = observe(code, t)
        return state, TimeStep(obs, obs, total, no, no, ~no, info(state, total, t))

    def step(key, state, action):
        code, t, total = state
        reward = (code + 10 * t + action).astype(jnp.float32)
        total, time = total + reward, t + 1
        done = time >= 2 + code % 4
        fresh = begin(key)
        after = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, (code, time, total))
        even = code % 2 == 0
        answer = TimeStep(
            obs=observe(*after[:2]),
            next_obs=observe(code, time),
            reward=reward,
            terminated=done & even,
            truncated=done & ~even,
            first=done,
            info=info(after, total, time),
        )
        return after, answer

    return Env(reset, step, Box(0.0, 1000.0, (2,)), Discrete(3))


def lottery(short: int = 1, long: int = 9) -> Env:
    """Every environment draws its length in its first reset and keeps it, episode after episode.

    The observation is `[length, episode, t]`. The reward is the action in the first episode and 1000
    more in every later one.
    """

    def answer(state, reward, done, total, time):
        length, episode, t, _ = state
        obs = jnp.stack([length, episode, t]).astype(jnp.float32)
        info = {"episode_return": total, "episode_length": time}
        no = jnp.zeros((), bool)
        return TimeStep(obs, obs, reward, done, no, t == 0, info)

    def reset(key):
        zero = jnp.zeros((), jnp.int32)
        length = jnp.where(jax.random.bernoulli(key), short, long)
        state = (length, zero, zero, jnp.zeros(()))
        return state, answer(state, jnp.zeros(()), jnp.zeros((), bool), jnp.zeros(()), zero)

    def step(key, state, action):
        del key
        length, episode, t, total = state
        reward = action + 1000.0 * (episode > 0)
        time, total = t + 1, total + reward
        done = time >= length
        state = (
            length,
            episode + done,
            jnp.where(done, 0, time),
            jnp.where(done, 0.0, total),
        )
        return state, answer(state, reward, done, total, time)

    return Env(reset, step, Box(0.0, jnp.inf, (3,)), Box(-jnp.inf, jnp.inf, ()))
