"""The worlds of a discovery: the families of agents in them, their held-out tasks, the scale of scores."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import envs, fields, objectives, train
from jaxrl.algos import ppo
from jaxrl.discovery import training
from jaxrl.discovery.family import Family, filled, repeated, tables
from jaxrl.experiments import runs
from jaxrl.experiments.studies.discover import tabular
from jaxrl.experiments.studies.discover.spec import HELD_OUT, World
from jaxrl.spaces import require_counts


def family(world: World) -> Family:
    """Makes the family of a World.

    Raises:
      ValueError: an unknown environment, setting or hyperparameter, sizes that do not fit.
    """
    if world.steps < 1:
        raise ValueError(f"steps = {world.steps} must be at least 1")
    agents: Any = tabular if world.environment == "tabular" else ppo
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in world.config.items()}
    try:
        config, hp = fields.configured(agents.Config(), values), agents.Hparams(**world.hparams)
    except TypeError as error:
        raise ValueError(f"agents in {world.environment}: {error}") from None
    runs.require_types(config, hp, where=f"the agents of {world.environment}")
    require_counts(config, "num_envs", "num_steps", "num_epochs")
    if world.environment != "tabular":
        make = partial(ppo.make, envs.make(world.environment), config)
        return training.family(world.environment, make, hp, world.steps, world.low, world.high)
    updates = -(-world.steps // (config.num_envs * config.num_steps))
    return tabular.family(dataclasses.replace(config, num_updates=updates), hp)


def held_out(family: Family, count: int):
    """The first `count` tasks on which no candidate is trained, and keys for the agents."""
    task_key, run_key = jax.random.split(jax.random.key(HELD_OUT))
    tasks = jax.vmap(lambda i: family.draw(jax.random.fold_in(task_key, i)))(jnp.arange(count))
    keys = jax.vmap(partial(jax.random.fold_in, run_key))(jnp.arange(count))
    return tasks, keys


def with_scale(world: World, num_agents: int = 16) -> World:
    """A World in which 0 is the mean score of agents that do not learn, and 1 that of PPO's clipping.

    Raises:
      ValueError: PPO learns nothing in it, so objectives cannot be compared.
    """
    if world.environment == "tabular" or (world.low, world.high) != (0.0, 1.0):
        return world
    one, objective = family(world), objectives.ppo()
    hps = train.grid(one.hparams, learning_rate=jnp.array([0.0, one.hparams.learning_rate]))
    params, (tasks, keys) = repeated(objective.params, 2), held_out(one, num_agents)
    areas = jax.jit(lambda *agents: filled(tables([one], objective.apply, *agents)))(
        params, [hps], [tasks], [keys]
    )
    low, high = np.asarray(areas[0], np.float64).mean(axis=1)
    if not high > low:
        raise ValueError(
            f"in {world.steps} steps of {world.environment} PPO learns nothing: it scores {high:.4g}, agents "
            f"that do not learn {low:.4g}; give more --steps"
        )
    return dataclasses.replace(world, low=float(low), high=float(high))
