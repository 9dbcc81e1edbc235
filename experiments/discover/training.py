"""Trainings of PPO in an environment: a family for everything that has no exact solution."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl import envs, train
from jaxrl.algos import ppo
from jaxrl.experiments.discover.family import Family
from jaxrl.types import Objective


def family(
    environment: str, steps: int, config: ppo.Config, hp: ppo.Hparams, low: float = 0.0, high: float = 1.0
) -> Family:
    """Agents that PPO trains for so many steps, rounded up to whole updates.

    The score is the area under the learning curve: the mean over all updates of the mean return of the
    episodes that ended in it, or in the last one before in which any ended. It tells agents apart that all
    end at the best return. An environment in which nothing ends has no such score, nor has an agent that
    diverged: NaN.

    Args:
      low, high: areas that count as 0 and as 1 (see `scale`), so that environments can be averaged.

    Raises:
      ValueError: an unknown environment, or a config that does not fit it.
    """
    env = envs.make(environment)
    single = ppo.make(env, config)
    num_updates = train.updates_for(single, steps)

    def score(apply, params: Any, hp: ppo.Hparams, task, key):
        del task
        algo = ppo.make(env, config, Objective(params, apply))
        hp = hp.replace(objective=params, total_updates=float(num_updates))
        state, metrics = train.run(algo, key, hp, num_updates)
        reached = area(metrics["episode/return_sum"], metrics["episode/count"])
        return jnp.where(train.diverged(state.params, metrics), jnp.nan, (reached - low) / (high - low))

    def draw(key):
        del key  # the environment is one; its noise comes with the agent's key
        return ()

    return Family(environment, draw, score, hp, train.steps_after(single, num_updates))


def area(return_sum, count):
    """The mean over updates `[U]` of the mean return; updates before any episode has ended are left out."""

    def carry(last, now):
        total, number = now
        last = jnp.where(number > 0, total / jnp.maximum(number, 1.0), last)
        return last, last

    _, curve = jax.lax.scan(carry, jnp.nan, (return_sum, count))
    return jnp.nanmean(curve)
