"""What a policy remembers within an episode: a `Core` behind the torso of its network, by name in `CORES`.

A core acts step by step and learns from sequences. Its parameters are those of a flax module, the cell; its
functions are pure: memory goes in and comes out. Where `first` is true, `x` starts an episode: the memory is
reset to the initial one before `x` is processed. Axes: `T` time, `N` environments, `F` features.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.initializers import orthogonal
from jaxrl.names import lookup
from jaxrl.types import PyTree


class Cell(Protocol):
    def __call__(self, *, name: str) -> nn.Module | None:
        """The module with the parameters of a core; None if it has no parameters."""


class Initial(Protocol):
    def __call__(self, num_envs: int, /) -> PyTree:
        """The memory at the start of an episode, leaves `[N, ...]`; `()`: none."""


class CoreStep(Protocol):
    def __call__(
        self, cell: nn.Module | None, memory: PyTree, x: jax.Array, first: jax.Array, /
    ) -> tuple[PyTree, jax.Array]:
        """One step; returns `(memory, features)`.

        Args:
          cell: as returned by `Core.cell`, within its network.
          memory: leaves `[..., *]` for the batch axes `...` of `first`.
          x: `[..., F]`, from the torso.
          first: `[...]`.
        """


class CoreUnroll(Protocol):
    def __call__(
        self, cell: nn.Module | None, memory: PyTree, x: jax.Array, first: jax.Array, /
    ) -> tuple[PyTree, jax.Array]:
        """The steps of a sequence `x` `[T, N, F]`, `first` `[T, N]`, from `memory` `[N, ...]`.

        Returns `(memory, features)`: after the last step, and of every step `[T, N, ...]`.
        """


class Core(NamedTuple):
    """What a policy remembers.

    A core without `unroll` is unrolled by a scan over the steps of the whole network, torso and heads
    included. One that can compute a sequence faster, by an associative scan for example, has `unroll`.
    """

    name: str  # of its parameters in the network
    cell: Cell
    initial: Initial
    step: CoreStep
    unroll: CoreUnroll | None = None


def _nothing(*, name: str) -> None:
    return None


def _unchanged(cell, memory, x, first):
    return memory, x


NONE = Core("none", cell=_nothing, initial=lambda num_envs: (), step=_unchanged)


def recurrent(cell: Callable[..., nn.RNNCellBase], name: str, size: int) -> Core:
    """A recurrent cell of flax with `size` units; its memory starts at zero.

    Args:
      cell: a class such as `nn.GRUCell`.
    """
    # The default initializer of flax can deadlock in a population (docs/thread_pool.md).
    make = partial(cell, size, recurrent_kernel_init=orthogonal(1.0))

    def initial(num_envs):
        alone = make(parent=None)
        like = jax.eval_shape(lambda: alone.initialize_carry(jax.random.key(0), (num_envs, 1)))
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)

    def step(cell, memory, x, first):
        return cell(jax.tree.map(lambda m: jnp.where(first[..., None], 0.0, m), memory), x)

    return Core(name, make, initial, step)


# By name: `(size) -> Core`, where `size` is `NetworkConfig.memory_size`.
CORES: dict[str, Callable[[int], Core]] = {
    "none": lambda size: NONE,
    "gru": partial(recurrent, nn.GRUCell, "gru"),
    "lstm": partial(recurrent, nn.OptimizedLSTMCell, "lstm"),
}


def make(name: str, size: int) -> Core:
    """The core with this name and number of units; without memory if `size` is 0.

    Raises:
      ValueError: an unknown name.
    """
    core = lookup("core", CORES, name)(size)
    return core if size else NONE
