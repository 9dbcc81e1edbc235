"""Around evosax, whose evolution strategies search, train and discover: what all who use it need."""

import importlib.util

import jax
import jax.numpy as jnp

from jaxrl.types import PyTree


def require(who: str) -> None:
    """Raises ValueError, with the remedy, where evosax is missing that `who` needs."""
    if importlib.util.find_spec("evosax") is None:
        raise ValueError(f"{who} needs the extra: pip install 'jaxrl[evolution]'")


def strong(tree: PyTree) -> PyTree:
    """Without the weak types that evosax leaves, which would not be those of the next generation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)


def by_lot(key: jax.Array, score: jax.Array) -> jax.Array:
    """Places of scores `[P]`, from 0, the worst: equals in random order, what is no number at the bottom.

    CMA-ES has a weight for each place. evosax gives equals that of their mean place, which on a plateau is
    one small weight for all: the step becomes short, and the step size control makes it shorter for ever.
    """
    known = jnp.where(jnp.isnan(score), -jnp.inf, score)
    order = jnp.lexsort((jax.random.uniform(key, score.shape), known))
    places = jnp.arange(score.shape[0], dtype=jnp.float32)
    return jnp.zeros(score.shape[0]).at[order].set(places)
