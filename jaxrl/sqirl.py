"""SQIRL: shallow Q-iteration via reinforcement learning, random exploration and k regressions per time step.

    for i = 0 .. T - 1:
        play m episodes: pi_0 .. pi_{i-1} before step i, uniformly random actions from step i on
        Q^1 at step t = i + k - 1  <-  regress  r_t + r_{t+1} + ... + r_{T-1}    on (s_t, a_t)
        Q^j at step t = i + k - j  <-  regress  r_t + max_a Q^{j-1}(s_{t+1}, a)  on (s_t, a_t),  j = 2 .. k
        pi_i(s) = argmax_a Q^k(s, a)

It is optimal, given enough episodes, in processes that are k-QVI-solvable (`jaxrl.horizon`): exploration and
learning are separate, and any regression will do. Laidlaw, Zhu, Russell and Dragan 2024, "The Effective
Horizon Explains Deep RL Performance in Stochastic Environments", https://arxiv.org/abs/2312.08369. As in its
theory, regressions are separate and use the last episodes alone; the experiments of the paper share a network
and a replay between them. Axes: `T` time, `B` episodes, `A` actions.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl.rollout import vectorize
from jaxrl.spaces import Discrete
from jaxrl.types import Env, Number, PyTree


class Regression(NamedTuple):
    """How values are fitted: the parameters of one function of an observation, with a value per action.

    Attributes:
      fit: `(key, obs [B, ...], action [B], target [B], weight [B]) -> params`; a weight is 0 or 1.
      predict: `(params, obs [B, ...]) -> [B, A]`; -inf for an action that was never seen.
    """

    fit: Callable[..., PyTree]
    predict: Callable[[PyTree, PyTree], jax.Array]


@struct.dataclass
class Result:
    """A policy for every time step, and what it took to learn it."""

    params: PyTree  # [T, ...] of the regressions Q^k, for `act`
    returns: jax.Array  # [T] mean returns of the episodes that were played in each iteration
    steps: jax.Array  # environment steps of all episodes


def sqirl(
    key: jax.Array, env: Env, regression: Regression, horizon: int, k: int, episodes: int, gamma: Number = 1.0
) -> Result:
    """Learns a policy for the first `horizon` steps; traceable.

    Args:
      env: with discrete actions; an episode that ends earlier has no more rewards.
      regression: `tabular` or `network`.
      horizon: T.
      k: regressions per time step; of the smallest k at which the environment is k-QVI-solvable, if known.
      episodes: m, played per time step, so T^2 m steps in all if none ends earlier.
      gamma: discount per step; the paper has none.

    Raises:
      ValueError: a count below 1, or actions that are not discrete.
    """
    for name, count in (("horizon", horizon), ("k", k), ("episodes", episodes)):
        if count < 1:
            raise ValueError(f"{name} = {count} must be at least 1")
    num_actions = num_actions_of(env)
    envs = vectorize(env, episodes)

    def choose(key, obs, inputs, now):
        t, its = inputs
        at_random = jax.random.randint(key, (episodes,), 0, num_actions)
        return jnp.where(t < now, regression.predict(its, obs).argmax(axis=1), at_random)

    def iteration(params, inputs):
        now, key = inputs
        play_key, *fit_keys = jax.random.split(key, 1 + k)
        plan = jnp.arange(horizon), params
        obs, action, reward, alive = play(play_key, envs, partial(choose, now=now), plan)
        returns = _returns_to_go(reward, gamma)
        ahead = jnp.zeros(episodes)  # max_a Q^{j-1} at the state after step t
        fitted = None
        for j, fit_key in zip(range(1, k + 1), fit_keys, strict=True):
            t = jnp.minimum(now + k - j, horizon - 1)  # beyond the end there is nothing to fit
            here, goes_on = jax.tree.map(lambda x, t=t: x[t], obs), alive[t]
            target = returns[t] if j == 1 else reward[t] + gamma * ahead
            fitted = regression.fit(fit_key, here, action[t], target, goes_on)
            value = regression.predict(fitted, here).max(axis=1)
            # `here` is where step t - 1 led to, unless the episode had ended.
            ahead = jnp.where(goes_on & (now + k - j < horizon) & jnp.isfinite(value), value, 0.0)
        params = jax.tree.map(lambda whole, one: whole.at[now].set(one), params, fitted)
        return params, (returns[0].mean(), alive.sum())

    obs = jax.eval_shape(envs.reset, key)[1].obs
    empty = jnp.zeros(episodes, jnp.int32), jnp.zeros(episodes), jnp.zeros(episodes, bool)
    shape = jax.eval_shape(regression.fit, key, obs, *empty)
    params = jax.tree.map(lambda leaf: jnp.zeros((horizon, *leaf.shape), leaf.dtype), shape)
    inputs = jnp.arange(horizon), jax.random.split(key, horizon)
    params, (returns, steps) = jax.lax.scan(iteration, params, inputs)
    return Result(params, returns, steps.sum())


def play(
    key: jax.Array, envs: Env, choose: Callable[[jax.Array, PyTree, PyTree], jax.Array], inputs: PyTree
) -> tuple[PyTree, jax.Array, jax.Array, jax.Array]:
    """One episode in each of `B` environments, of `T` steps at most.

    Args:
      envs: vectorized.
      choose: `(key, obs [B, ...], inputs) -> action [B]`, with the inputs of the step.
      inputs: leaves `[T, ...]`.

    Returns:
      obs, action, reward, alive: leaves `[T, B, ...]`; `alive` marks the steps before the end of an episode,
      after which rewards are 0.
    """

    def step(carry, inputs):
        key, its = inputs
        state, obs, alive = carry
        action_key, step_key = jax.random.split(key)
        action = choose(action_key, obs, its)
        state, timestep = envs.step(step_key, state, action)
        seen = obs, action, jnp.where(alive, timestep.reward, 0.0), alive
        return (state, timestep.obs, alive & ~timestep.done), seen

    reset_key, steps_key = jax.random.split(key)
    state, first = envs.reset(reset_key)
    keys = jax.random.split(steps_key, len(jax.tree.leaves(inputs)[0]))
    start = state, first.obs, jnp.ones(first.reward.shape, bool)
    return jax.lax.scan(step, start, (keys, inputs))[1]


def act(regression: Regression, params: PyTree, t: int | jax.Array, obs: PyTree) -> jax.Array:
    """The actions `[B]` of the learned policy at time step t, which may be traced."""
    return regression.predict(jax.tree.map(lambda leaf: leaf[t], params), obs).argmax(axis=1)


def tabular(num_states: int, num_actions: int) -> Regression:
    """Means per state and action; the observation is the number of the state, or one-hot."""

    def number(obs):
        return obs if jnp.issubdtype(obs.dtype, jnp.integer) else obs.argmax(axis=-1)

    def fit(key, obs, action, target, weight):
        pair = number(obs) * num_actions + action
        total, count = (
            jax.ops.segment_sum(x, pair, num_states * num_actions)
            for x in (jnp.where(weight, target, 0.0), weight * 1.0)
        )
        mean = jnp.where(count > 0, total / jnp.maximum(count, 1.0), -jnp.inf)
        return mean.reshape(num_states, num_actions)

    def predict(table, obs):
        return table[number(obs)]

    return Regression(fit, predict)


def network(
    torso: nn.Module,
    num_actions: int,
    num_steps: int = 200,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
) -> Regression:
    """A network by Adam: mean squared errors of minibatches, drawn with replacement.

    Args:
      torso: a flax module `[B, *obs] -> [B, F]`; a linear layer with a value per action follows.
      num_steps: gradient steps of each regression.
    """
    model = nn.Sequential([torso, nn.Dense(num_actions)])
    adam = optax.adam(learning_rate)

    def fit(key, obs, action, target, weight):
        params_key, draw_key = jax.random.split(key)
        params = model.init(params_key, obs)
        # Targets of mean 0 and variance 1, so that one learning rate does for all scales of reward.
        count = jnp.maximum(weight.sum(), 1)
        mean = jnp.where(weight, target, 0.0).sum() / count
        scale = jnp.sqrt(jnp.where(weight, jnp.square(target - mean), 0.0).sum() / count) + 1e-6

        def loss(params, chosen):
            here = jax.tree.map(lambda x: x[chosen], obs)
            q = jnp.asarray(model.apply(params, here))[jnp.arange(batch_size), action[chosen]]
            return (weight[chosen] * jnp.square(q - (target[chosen] - mean) / scale)).mean()

        def step(carry, key):
            params, moments = carry
            grads = jax.grad(loss)(params, jax.random.randint(key, (batch_size,), 0, action.shape[0]))
            updates, moments = adam.update(grads, moments)
            return (optax.apply_updates(params, updates), moments), None

        keys = jax.random.split(draw_key, num_steps)
        (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), keys)
        return {"params": params, "mean": mean, "scale": scale}

    def predict(fitted, obs):
        return fitted["mean"] + fitted["scale"] * model.apply(fitted["params"], obs)

    return Regression(fit, predict)


def _returns_to_go(reward, gamma):
    """The discounted sum of the rewards from each step on, `[T, B]`."""

    def back(later, reward):
        now = reward + gamma * later
        return now, now

    return jax.lax.scan(back, jnp.zeros(reward.shape[1:]), reward, reverse=True)[1]


def returns_of(reward: jax.Array, gamma: Number) -> jax.Array:
    """The returns `[B]` of the episodes of `play`, by their rewards `[T, B]`."""
    return jnp.asarray(gamma, jnp.float32) ** jnp.arange(len(reward)) @ reward


def num_actions_of(env: Any) -> int:
    """`A`. Raises ValueError for actions that are not discrete."""
    if not isinstance(env.action_space, Discrete):
        raise ValueError(f"sqirl and gorp need one Discrete action space, not {env.action_space}")
    return env.action_space.n
