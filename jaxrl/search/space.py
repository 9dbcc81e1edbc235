"""Search spaces: vectors, and the hyperparameters that they encode."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxrl import fields
from jaxrl.types import PyTree

Array = jax.Array | np.ndarray


class Space(NamedTuple):
    """`D` numbers, and the hyperparameters that they encode.

    Attributes:
      names: of the numbers.
      hparams: `(hp, x [D]) -> hp`: the hyperparameters, with the searched ones replaced.
      values: `(x [..., D]) -> [..., D]`: the values of the hyperparameters.
      centre, scale: `[D]`, the initial point of a search, and its initial standard deviation.
      spread: `[D]`, a small step: a tenth of a range, or to the next of several values.
    """

    names: tuple[str, ...]
    hparams: Callable[[PyTree, jax.Array], PyTree]
    values: Callable[[Array], Array]
    centre: np.ndarray
    scale: np.ndarray
    spread: np.ndarray


class Axis(Protocol):
    """The values of one hyperparameter in a search, for example those of a `sweep.Axis`."""

    @property
    def name(self) -> str:
        """Of the hyperparameter: `gamma`, `objective.clip_eps`."""

    @property
    def values(self) -> Sequence[Any]:
        """The numbers to choose from; empty for a range."""

    @property
    def low(self) -> float:
        """The lower end of a range."""

    @property
    def high(self) -> float:
        """Its upper end."""

    @property
    def log(self) -> bool:
        """Whether the logarithm of the number is uniform in the range, not the number."""


def box(axes: Sequence[Axis]) -> Space:
    """The unit cube `[0, 1]^D`, each side an axis of a sweep; points outside are clipped to it.

    Args:
      axes: several values or a range, logarithmic or not.
    """
    names = tuple(one.name for one in axes)

    def values(x):
        columns = [_value(one, x[..., i]) for i, one in enumerate(axes)]
        return jnp.stack(columns, axis=-1)

    def hparams(hp, x):
        return fields.replace(hp, dict(zip(names, values(x))))

    size = len(names)
    spread = np.array([1 / len(one.values) if one.values else 0.1 for one in axes], np.float32)
    centre, scale = np.full(size, 0.5, np.float32), np.full(size, 0.25, np.float32)
    return Space(names, hparams, values, centre, scale, spread)


def _value(one, share):
    share = jnp.clip(share, 0.0, 1.0)
    if one.values:
        table = np.array(one.values, np.float32)
        return jnp.asarray(table)[jnp.minimum((share * len(table)).astype(jnp.int32), len(table) - 1)]
    if one.log:
        low, high = np.log(one.low), np.log(one.high)
        return jnp.exp(np.float32(low) + share * np.float32(high - low))
    return np.float32(one.low) + share * np.float32(one.high - one.low)


def subtree(start: PyTree, scale: float = 1.0, name: str = "objective") -> Space:
    """A tree of numbers in the hyperparameters, for example the parameters of an objective.

    Args:
      start: the initial values.
      scale: the initial standard deviation of the search around them, in their units.
      name: of the hyperparameter that is this tree.
    """
    flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), start))
    sizes = [np.full(flat.size, number, np.float32) for number in (scale, 0.1 * scale)]
    return Space(
        names=tuple(f"{name}[{i}]" for i in range(flat.size)),
        hparams=lambda hp, x: hp.replace(**{name: unravel(x)}),
        values=lambda x: x,
        centre=np.asarray(flat),
        scale=sizes[0],
        spread=sizes[1],
    )
