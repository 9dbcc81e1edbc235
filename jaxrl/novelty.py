"""Novelty: the distance of a behaviour to earlier ones, and the archive that stores them.

Lehman and Stanley 2011, "Abandoning objectives: evolution through the search for novelty alone",
https://doi.org/10.1162/EVCO_a_00025. A behaviour is a short vector, for example the position where an episode
ended. Axes: `P` members, `K` entries of the archive, `D` numbers of a behaviour.
"""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Archive:
    """Behaviours `[K, D]`, and how many were added; a full archive replaces its oldest entry."""

    behaviours: jax.Array
    count: jax.Array


def init(size: int, width: int) -> Archive:
    """An empty archive of `size` behaviours with `width` numbers each."""
    return Archive(jnp.zeros((size, width)), jnp.zeros((), jnp.int32))


def novelty(behaviours: jax.Array, archive: Archive, num_neighbours: int) -> jax.Array:
    """The mean Euclidean distance to the nearest neighbours among the other members and in the archive.

        novelty(b) = 1/k sum_{i=1..k} |b - b_i|,    b_1, b_2, ... ordered by distance

    With fewer others than `num_neighbours`, all of them are used. A behaviour that is not finite is not a
    neighbour of any other, and its novelty is 0.

    Args:
      behaviours: `[P, D]`.

    Returns:
      `[P]`.
    """
    size, places = len(behaviours), len(archive.behaviours)
    others = jnp.concatenate([behaviours, archive.behaviours])
    finite = jnp.isfinite(others).all(axis=1)
    others = jnp.where(finite[:, None], others, 0.0)
    there = finite & (jnp.arange(size + places) < size + archive.count)
    itself = jnp.arange(size)[:, None] == jnp.arange(size + places)
    distance = jnp.sqrt(jnp.square(others[:size, None] - others).sum(axis=-1))
    distance = jnp.where(there & ~itself, distance, jnp.inf)
    nearest = -jax.lax.top_k(-distance, min(num_neighbours, size + places))[0]
    counts = jnp.isfinite(nearest)
    mean = jnp.where(counts, nearest, 0.0).sum(axis=1) / jnp.maximum(counts.sum(axis=1), 1)
    return jnp.where(finite[:size], mean, 0.0)


def remember(archive: Archive, key: jax.Array, behaviours: jax.Array, number: int) -> Archive:
    """Adds the behaviours of `number` members, drawn without replacement, to the archive.

    Members are drawn at random and not by novelty: an archive of only the most novel behaviours would follow
    the boundary of the explored region and forget its interior.
    """
    _, chosen = jax.lax.top_k(jax.random.uniform(key, (len(behaviours),)), number)
    places = (archive.count + jnp.arange(number)) % len(archive.behaviours)
    return Archive(archive.behaviours.at[places].set(behaviours[chosen]), archive.count + number)


def require_archive(size: int, additions: int, num_members: int) -> None:
    """Raises ValueError for an archive to which `additions` of `num_members` behaviours cannot be added."""
    if size < 0:
        raise ValueError(f"archive_size = {size} must not be negative")
    most = min(size, num_members)
    if size and not 1 <= additions <= most:
        raise ValueError(
            f"archive_additions = {additions} must lie between 1 and {most}, the smaller of archive_size and "
            "num_members"
        )


def require_behaviour(behaviour: object | None, archive_size: int) -> None:
    """Raises ValueError for a behaviour function without an archive."""
    if behaviour is not None and not archive_size:
        raise ValueError("a behaviour is for novelty, which needs an archive: set archive_size")
