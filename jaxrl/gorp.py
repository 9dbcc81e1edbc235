"""GORP: greedy over the random policy, a plan of actions from random episodes, for deterministic processes.

    for i = 0 .. T - 1:
        for each sequence of k actions: play m episodes, a_0 .. a_{i-1} before step i, then the sequence, then
            uniformly random actions
        a_i = the first action of the sequence with the largest mean return

It takes T^2 A^k m steps, and is optimal, given enough episodes, in deterministic processes that are
k-QVI-solvable (`jaxrl.horizon`). Laidlaw, Russell and Dragan 2023, "Bridging RL Theory and Practice with the
Effective Horizon", https://arxiv.org/abs/2304.09853, algorithm 1. Axes: `T` time, `A` actions, `m` episodes.
"""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.rollout import vectorize
from jaxrl.spaces import require_positive
from jaxrl.sqirl import num_actions_of, play, returns_of
from jaxrl.types import Env, Number


@struct.dataclass
class Result:
    """A plan, and what it took to find it."""

    actions: jax.Array  # [T] int32
    steps: jax.Array  # environment steps of all episodes


def gorp(key: jax.Array, env: Env, horizon: int, k: int, episodes: int, gamma: Number = 1.0) -> Result:
    """Plans the first `horizon` actions; traceable.

    Args:
      env: with discrete actions; an episode that ends earlier has no more rewards.
      horizon: T.
      k: the length of the sequences of which all are tried, A^k.
      episodes: m, of each sequence in each time step.
      gamma: discount per step; the paper has none.

    Raises:
      ValueError: a count below 1, or actions that are not discrete.
    """
    require_positive(horizon=horizon, k=k, episodes=episodes)
    num_actions = num_actions_of(env)
    sequences = jnp.array(list(product(range(num_actions), repeat=k)), jnp.int32)  # [A^k, k]
    each = jnp.repeat(sequences, episodes, axis=0)
    envs = vectorize(env, len(each))

    def choose(key, obs, inputs, now):
        t, action = inputs
        at_random = jax.random.randint(key, (len(each),), 0, num_actions)
        tried = jnp.where(t < now + k, each[:, jnp.clip(t - now, 0, k - 1)], at_random)
        return jnp.where(t < now, action, tried)

    def iteration(actions, inputs):
        now, key = inputs
        _, _, reward, alive = play(key, envs, partial(choose, now=now), (jnp.arange(horizon), actions))
        returns = returns_of(reward, gamma).reshape(len(sequences), episodes).mean(axis=1)
        return actions.at[now].set(sequences[returns.argmax(), 0]), alive.sum()

    inputs = jnp.arange(horizon), jax.random.split(key, horizon)
    actions, steps = jax.lax.scan(iteration, jnp.zeros(horizon, jnp.int32), inputs)
    return Result(actions, steps.sum())


def follow(key: jax.Array, env: Env, actions: jax.Array, episodes: int, gamma: Number = 1.0) -> jax.Array:
    """The returns `[episodes]` of a plan `[T]`, each in an episode of its own."""
    plan = jnp.broadcast_to(actions[:, None], (len(actions), episodes))
    _, _, reward, _ = play(key, vectorize(env, episodes), lambda key, obs, action: action, plan)
    return returns_of(reward, gamma)
