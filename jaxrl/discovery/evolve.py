"""The outer loop: OpenES over the parameters of an objective, one generation per update.

Candidates are antithetic pairs, mean + std z and mean - std z. Both of a pair train the same agents on the
same tasks with the same keys, which are different in each generation. Only the ranks of the scores are used.
Salimans et al. 2017, https://arxiv.org/abs/1703.03864; Lu et al. 2022, https://arxiv.org/abs/2210.05639;
ranks within pairs as in Jackson et al. 2024, https://arxiv.org/abs/2402.05828.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.discovery.family import Family, everywhere, repeated, train_agents
from jaxrl.evolution import evolution_strategy
from jaxrl.fitness import centred_ranks
from jaxrl.types import Init, Objective, PyTree, Update


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the evolution."""

    population: int = 64  # candidates per generation, in pairs
    tasks: int = 8  # per family; every candidate trains one agent on each
    std: float = 0.1  # of the candidates around the mean
    learning_rate: float = 0.03  # of the mean, by Adam
    ranks: Literal["centred", "pairs"] = "centred"  # among all, or in pairs with separate tasks


@struct.dataclass
class State:
    """State of the discoveries, one per meta-seed; leaves `[S, ...]`."""

    key: jax.Array
    es: Any  # state of evosax
    num_updates: jax.Array


class Discovery(NamedTuple):
    """Evolution as `init(keys [S], hp) -> State`, `update(state, hp) -> (state, metrics)`, like an Algorithm.

    An update is one generation; `means(state)` are the current parameters of the objective, `[S, ...]`.
    """

    init: Init
    update: Update
    means: Callable[[State], PyTree]
    steps_per_update: int  # environment steps of all agents in a generation, per meta-seed
    warmup_steps: int = 0  # before the first generation: none


def make(objective: Objective, families: tuple[Family, ...], config: Config, num_seeds: int) -> Discovery:
    """OpenES that starts at the parameters of `objective`, for `S` meta-seeds at once.

    Candidates of all meta-seeds are divided among the devices. The metrics `[S]` are the mean, the best
    and the standard deviation of the candidates' scores, averaged over families, and the mean in each.

    Raises:
      ValueError: evosax is not installed, or an invalid number.
    """
    size = config.population
    if size < 4 or size % 2:
        raise ValueError(f"population = {size} must be even and at least 4: candidates come in pairs")
    es = evolution_strategy("openes", size, objective.params, config.learning_rate, config.std, ranks=False)
    groups = 1 if config.ranks == "centred" else size // 2  # groups with separate tasks
    shape = centred_ranks if config.ranks == "centred" else pair_ranks

    def init(keys, hp):
        del hp

        def one(key):
            key, init_key = jax.random.split(key)
            return State(key, es.init(init_key, objective.params), jnp.zeros((), jnp.int32))

        return jax.vmap(one)(keys)

    def ask(state):
        key, ask_key, tell_key, task_key, run_key = jax.random.split(state.key, 5)
        asked, population = es.ask(ask_key, state.es)
        return state.replace(key=key, es=asked), population, tell_key, task_key, run_key

    def tell(state, population, tell_key, worth):
        fitness = jax.vmap(shape, 1)(worth).mean(axis=0)  # all families have equal weight
        updated = es.tell(tell_key, state.es, population, fitness)
        return state.replace(es=updated, num_updates=state.num_updates + 1)

    def for_groups(keys, number):
        """`[S * G * T]`: keys for a family, one for each task of each group."""
        now = jax.vmap(jax.random.fold_in, (0, None))(keys, number)
        return jax.vmap(lambda key: jax.random.split(key, groups * config.tasks))(now).reshape(-1)

    index = np.arange(num_seeds * size * config.tasks)
    who, number = index // config.tasks, index % config.tasks
    group = who // size * groups + who % size % groups  # the halves of a population are its pairs
    where = group * config.tasks + number

    def worth_of(family, number, population, task_key, run_key):
        """`[S * M * T]`: the score of each candidate in each task of its group."""
        tasks = jax.vmap(family.draw)(for_groups(task_key, number))
        hps = repeated(family.hparams, num_seeds * size)
        keys = for_groups(run_key, number)
        return train_agents(family, objective.apply, population, hps, tasks, keys, who, where)

    def update(state, hp):
        del hp
        state, population, tell_key, task_key, run_key = jax.vmap(ask)(state)
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), population)
        each = [worth_of(family, i, flat, task_key, run_key) for i, family in enumerate(families)]
        scores = everywhere(jnp.stack(each, axis=-1))
        worth = scores.reshape(num_seeds, size, config.tasks, len(families)).mean(axis=2)
        return jax.vmap(tell)(state, population, tell_key, worth), _metrics(families, worth)

    def means(state):
        return jax.vmap(es.mean)(state.es)

    steps = size * config.tasks * sum(family.steps for family in families)
    return Discovery(init, update, means, steps)


def pair_ranks(scores: jax.Array) -> jax.Array:
    """1/2 for the better and -1/2 for the worse of each pair `i`, `i + M/2`; 0 for both if equal."""
    known = jnp.where(jnp.isnan(scores), -jnp.inf, scores)
    other = jnp.roll(known, known.shape[0] // 2)
    return 0.5 * (known > other) - 0.5 * (known < other)


def _metrics(families, worth):
    """Metrics `[S]` of scores `[S, M, F]`; candidates with a diverged agent are excluded and counted."""
    known = jnp.isfinite(worth).all(axis=-1)
    mean = jnp.where(known, worth.mean(axis=-1), jnp.nan)
    metrics = {"fitness/mean": jnp.nanmean(mean, axis=1), "fitness/best": jnp.nanmax(mean, axis=1)}
    metrics |= {"fitness/std": jnp.nanstd(mean, axis=1), "fitness/broken_sum": (~known).sum(axis=1) * 1.0}
    if len(families) > 1:
        each = jnp.nanmean(jnp.where(known[..., None], worth, jnp.nan), axis=1)
        metrics |= {f"fitness/{family.name}": each[:, i] for i, family in enumerate(families)}
    return metrics
