"""How far a learner must look ahead, by trying: the smallest k and m with which GORP or SQIRL succeed.

The effective horizon of `jaxrl.horizon` needs a table. Without one, it can be estimated as the authors of
GORP measure its sample complexity (`run_gorp.jl` in https://github.com/cassidylaidlaw/effective-horizon):
by running it, and bisecting the number of episodes at which the median of several runs reaches a given
return. If it takes m episodes of each of A^k sequences of actions in each of T steps,

    H = k + log_A m   by GORP,      H = log_A m   by SQIRL, with m episodes in each step,

so that T^2 A^H steps were taken in both cases. Being what was enough in some runs, this is no bound.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import gorp as gorps
from jaxrl import sqirl as sqirls
from jaxrl.rollout import vectorize
from jaxrl.spaces import require_positive
from jaxrl.types import Env, Number

Learner = Callable[[jax.Array, int, int], jax.Array]  # (key, k, m) -> returns of what was learned, [episodes]
Cost = Callable[[int, int], int]  # (k, m) -> most steps that it takes


class Trial(NamedTuple):
    """One k and m that were tried: the median over runs of the mean return, and the most steps of a run."""

    k: int
    episodes: int
    median_return: float
    steps: int


class Estimate(NamedTuple):
    """What `search` found.

    Attributes:
      trials: all, in order. reached: of each k with which the return was reached, that with fewest episodes.
    """

    trials: tuple[Trial, ...]
    reached: tuple[Trial, ...]

    def best(self) -> Trial:
        """The trial with the largest return."""
        return max(self.trials, key=lambda trial: trial.median_return)


def by_gorp(
    env: Env, horizon: int, gamma: Number = 1.0, eval_episodes: int = 128
) -> tuple[Learner, Cost, Callable[[Trial], float]]:
    """GORP, its cost, and the effective horizon that a trial of it amounts to."""
    num_actions = sqirls.num_actions_of(env)

    def learn(key, k, episodes):
        learn_key, play_key = jax.random.split(key)
        found = gorps.gorp(learn_key, env, horizon, k, episodes, gamma)
        return gorps.follow(play_key, env, found.actions, eval_episodes, gamma)

    def far(trial):
        return trial.k + float(np.log(trial.episodes) / np.log(max(num_actions, 2)))

    return learn, lambda k, episodes: horizon**2 * num_actions**k * episodes, far


def by_sqirl(
    env: Env, regression: sqirls.Regression, horizon: int, gamma: Number = 1.0, eval_episodes: int = 128
) -> tuple[Learner, Cost, Callable[[Trial], float]]:
    """SQIRL, its cost, and the effective horizon that a trial of it amounts to."""
    num_actions = sqirls.num_actions_of(env)

    def choose(key, obs, inputs):
        return regression.predict(inputs, obs).argmax(axis=1)

    def learn(key, k, episodes):
        learn_key, play_key = jax.random.split(key)
        found = sqirls.sqirl(learn_key, env, regression, horizon, k, episodes, gamma)
        _, _, reward, _ = sqirls.play(play_key, vectorize(env, eval_episodes), choose, found.params)
        return sqirls.returns_of(reward, gamma)

    def far(trial):
        return float(np.log(trial.episodes) / np.log(max(num_actions, 2)))

    return learn, lambda k, episodes: horizon**2 * episodes, far


def search(
    key: jax.Array, learn: Learner, cost: Cost, target: float, max_k: int, budget: int, runs: int = 5
) -> Estimate:
    """Tries k = 1, 2 .. `max_k`, each with the most episodes that the budget allows, and then bisects.

    Numbers of episodes are powers of 2. It is assumed that more of them are not worse. A k that could reach
    the return only at a larger cost than an earlier one is not tried.

    Args:
      target: return that the median of `runs` runs must reach.
      budget: most steps of a run.

    Raises:
      ValueError: a count below 1, or a budget that does not suffice for one episode.
    """
    require_positive(max_k=max_k, budget=budget, runs=runs)
    if cost(1, 1) > budget:
        raise ValueError(
            f"a run takes at least {cost(1, 1):,} steps, more than the budget of {budget:,}: "
            "give a larger budget, or a shorter time limit"
        )
    keys = jax.random.split(key, runs)
    enough = target - 1e-6 * max(1.0, abs(target))
    trials: list[Trial] = []

    def succeeds(k, exponent):
        returns = jax.jit(jax.vmap(partial(_mean, learn, k, 2**exponent)))(keys)
        trials.append(Trial(k, 2**exponent, float(np.median(returns)), cost(k, 2**exponent)))
        return trials[-1].median_return >= enough

    reached: list[Trial] = []
    for k in range(1, max_k + 1):
        most = min([budget, *(trial.steps - 1 for trial in reached)]) // cost(k, 1)
        high, low = most.bit_length() - 1, -1  # from here on, it succeeds with 2^high and not with 2^low
        if not most or not succeeds(k, high):
            continue
        best = trials[-1]
        while high - low > 1:
            middle = (low + high) // 2
            if succeeds(k, middle):
                best, high = trials[-1], middle
            else:
                low = middle
        reached.append(best)
    return Estimate(tuple(trials), tuple(reached))


def _mean(learn, k, episodes, key):
    return learn(key, k, episodes).mean()


def is_deterministic(key: jax.Array, env: Env, horizon: int, draws: int = 8) -> bool:
    """Whether the same actions gave the same rewards and observations in `draws` episodes with other keys."""
    actions_key, play_key = jax.random.split(key)
    actions = jax.random.randint(actions_key, (horizon, 1), 0, sqirls.num_actions_of(env))
    same = jnp.broadcast_to(actions, (horizon, draws))
    obs, _, reward, alive = sqirls.play(play_key, vectorize(env, draws), lambda key, obs, a: a, same)

    def equal(x):
        seen = alive.reshape(*alive.shape, *(1,) * (x.ndim - 2))
        return bool((jnp.where(seen, x, 0) == jnp.where(seen, x, 0)[:, :1]).all())

    return all(equal(x) for x in [*jax.tree.leaves(obs), reward, alive])
