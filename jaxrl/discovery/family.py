"""Families of training tasks, and the training runs that evaluate objectives on them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl import train
from jaxrl.types import PyTree, Surrogate

Array = jax.Array | np.ndarray


class Score(Protocol):
    def __call__(
        self, apply: Surrogate, params: PyTree, hp: PyTree, task: PyTree, key: jax.Array, /
    ) -> jax.Array:
        """The score of one agent that is trained for a whole run, a scalar.

        Traceable, so that it is vmapped over all arguments but the first. `apply` and `params` are of an
        objective.
        """


class Family(NamedTuple):
    """A distribution of tasks, and the score of an agent trained on one of them with a given objective.

    Attributes:
      name: for display.
      draw: `(key) -> task`, a tree of arrays.
      hparams: of the agents.
      steps: environment steps of a training.
    """

    name: str
    draw: Callable[[jax.Array], PyTree]
    score: Score
    hparams: Any
    steps: int


def train_agents(
    family: Family,
    apply: Surrogate,
    params: PyTree,
    hps: PyTree,
    tasks: PyTree,
    keys: jax.Array,
    who: Array,
    where: Array,
) -> jax.Array:
    """Trains many agents, divided among the devices.

    Args:
      apply: `apply` of an objective.
      params: its parameters `[K, ...]`.
      hps: hyperparameters `[K]`.
      tasks, keys: `[T, ...]`.
      who, where: `[L]`, for each training the index of its setting (`K`) and of its task (`T`).

    Returns:
      Scores `[L]`, each on the device of its training: see `everywhere`.
    """

    def train_agent(who, where, params, hps, tasks, keys):
        arguments, hp = jax.tree.map(lambda leaf: leaf[who], (params, hps))
        task, key = jax.tree.map(lambda leaf: leaf[where], (tasks, keys))
        return family.score(apply, arguments, hp, task, key)

    # Indices, not copies: a thousand tasks for each of a hundred settings would take gigabytes.
    axes = (0, 0, None, None, None, None)
    over = train.over_agents(train_agent, axes, train.mesh(who.shape[0]))
    return over(who, where, params, hps, tasks, keys)


def tables(
    families: Sequence[Family],
    apply: Surrogate,
    params: PyTree,
    hps: Sequence[PyTree],
    tasks: Sequence[PyTree],
    keys: Sequence[jax.Array],
) -> jax.Array:
    """Scores `[F, K, T]` of every setting on every task of each family.

    Args:
      hps, tasks, keys: as in `train_agents`, one for each family.
    """
    num_tasks, num_settings = keys[0].shape[0], jax.tree.leaves((params, hps))[0].shape[0]
    index = jnp.arange(num_settings * num_tasks)
    who, where = index // num_tasks, index % num_tasks
    per_family = [
        train_agents(family, apply, params, hp, task, key, who, where)
        for family, hp, task, key in zip(families, hps, tasks, keys)
    ]
    return everywhere(jnp.stack(per_family, axis=-1)).T.reshape(len(families), num_settings, num_tasks)


def filled(scores: jax.Array) -> jax.Array:
    """Scores `[F, ...]` in which those that are not finite are replaced by the worst of their family.

    These belong to agents that diverged, or in whose run no episode ended. 0 if no score is finite.
    """
    known, axes = jnp.isfinite(scores), tuple(range(1, scores.ndim))
    worst = jnp.min(scores, axis=axes, keepdims=True, initial=jnp.inf, where=known)
    return jnp.where(known, scores, jnp.where(jnp.isfinite(worst), worst, 0.0))


def everywhere(scores: jax.Array) -> jax.Array:
    """The same `[L, ...]`, replicated on every device.

    Otherwise the compiler also divides the following operations, which needs many small collectives.
    Independent collectives start in any order, and on a CPU, whose devices share few threads, they can
    deadlock. So the scores are replicated once per program.
    """
    whole = NamedSharding(train.mesh(scores.shape[0]), PartitionSpec())
    return jax.lax.with_sharding_constraint(scores, whole)


def repeated(tree: PyTree, size: int) -> PyTree:
    """The tree repeated `size` times: leaves get a leading axis `[size]`."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (size, *jnp.shape(leaf))), tree)
