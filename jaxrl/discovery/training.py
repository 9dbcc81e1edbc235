"""Trainings of an algorithm in an environment: the family for environments without an exact solution."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl import train
from jaxrl.discovery.family import Family
from jaxrl.types import Algorithm, Objective, PyTree


def family(
    name: str,
    make: Callable[..., Algorithm],
    hp: PyTree,
    steps: int,
    low: float = 0.0,
    high: float = 1.0,
) -> Family:
    """Agents that an algorithm trains for this number of steps, rounded up to whole updates.

    The score is the area under the learning curve: the mean over updates of the mean return of the episodes
    that ended in it, or in the most recent update in which any ended. It distinguishes agents that all reach
    the best return. It is NaN if no episode ends, or if the agent diverged.

    Args:
      name: of the environment, for display.
      make: `([objective]) -> Algorithm`, in that environment; without an objective, with its default.
      hp: hyperparameters of the agents; `objective` and `total_updates` among them are replaced.
      low, high: areas that are normalized to 0 and to 1, so that environments can be averaged.
    """
    single = make()
    num_updates = train.updates_for(single, steps)

    def score(apply, params: Any, hp, task, key):
        del task
        algo = make(Objective(params, apply))
        hp = hp.replace(objective=params, total_updates=float(num_updates))
        state, metrics = train.run(algo, key, hp, num_updates)
        reached = area(metrics["episode/return_sum"], metrics["episode/count"])
        return jnp.where(train.diverged(state.params, metrics), jnp.nan, (reached - low) / (high - low))

    def draw(key):
        del key  # there is only one task; its noise comes from the agent's key
        return ()

    return Family(name, draw, score, hp, train.steps_after(single, num_updates))


def area(return_sum: jax.Array, count: jax.Array) -> jax.Array:
    """The mean over updates `[U]` of the mean return, without updates before the first end of an episode."""

    def carry(last, now):
        total, number = now
        last = jnp.where(number > 0, total / jnp.maximum(number, 1.0), last)
        return last, last

    _, curve = jax.lax.scan(carry, jnp.nan, (return_sum, count))
    return jnp.nanmean(curve)
