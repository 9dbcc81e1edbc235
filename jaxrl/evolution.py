"""Helpers for evosax, whose evolution strategies are used by es, the searches and the discovery."""

import importlib.util

import jax
import jax.numpy as jnp

from jaxrl.types import PyTree


def require(who: str) -> None:
    """Raises ValueError, with the remedy, if evosax, which `who` needs, is not installed."""
    if importlib.util.find_spec("evosax") is None:
        raise ValueError(f"{who} needs the extra: pip install 'jaxrl[evolution]'")


def strong(tree: PyTree) -> PyTree:
    """Removes the weak types in states of evosax, which would differ from those of the next generation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)


def by_lot(key: jax.Array, score: jax.Array) -> jax.Array:
    """Ranks of scores `[P]`, from 0 for the worst: ties in random order, `nan` lowest.

    CMA-ES has a weight for each rank. evosax gives ties the weight of their mean rank, which on a plateau is
    the same small weight for all: the step becomes short, and the step size control keeps shrinking it.
    """
    known = jnp.where(jnp.isnan(score), -jnp.inf, score)
    order = jnp.lexsort((jax.random.uniform(key, score.shape), known))
    places = jnp.arange(score.shape[0], dtype=jnp.float32)
    return jnp.zeros(score.shape[0]).at[order].set(places)
