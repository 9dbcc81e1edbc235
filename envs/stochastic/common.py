"""What the kinds of randomness share: the tags of their draws, checks, and the choice of a result."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import PyTree

# Splits and draws of arrays use small counters, which never equal these.
NOISE, CORRUPT, EVENT, HIDE = 0x90150000, 0xC0440000, 0xE7E20000, 0x41DE0000


def select(condition: bool | jax.Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` where a condition holds, `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def select_step(condition: bool | jax.Array, new: PyTree, old: PyTree) -> PyTree:
    """One of two results `(state, timestep)`; if obs was the same array as next_obs, it still is."""
    state, timestep = select(condition, new, old)
    same = all(answer[1].next_obs is answer[1].obs for answer in (new, old))
    return state, timestep.replace(next_obs=timestep.obs) if same else timestep


def is_known(value: Any) -> bool:
    """Whether a value is not traced."""
    return not isinstance(value, jax.core.Tracer)


def require_probability(value: Any, name: str, shapes: Sequence[tuple[int, ...]] = ((),)) -> None:
    """Checks one number, or numbers that broadcast to each of `shapes`."""
    require_fit(value, name, shapes)
    if is_known(value) and not np.all((np.asarray(value) >= 0.0) & (np.asarray(value) <= 1.0)):
        raise ValueError(f"{name} must be between 0 and 1, not {value!r}")


def require_fit(value: Any, name: str, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raises ValueError unless a value broadcasts to each of `shapes`."""
    for shape in shapes:
        try:
            np.broadcast_to(np.empty(np.shape(value)), shape)
        except ValueError as error:
            raise ValueError(
                f"{name} of shape {np.shape(value)} does not broadcast to {tuple(shape)}: give a number"
            ) from error
