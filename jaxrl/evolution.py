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
