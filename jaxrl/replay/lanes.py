"""What keeps the replays of a population fast: all lanes write to the same place.

Agents of a population add their rows in lockstep, so the position that is written next is the same in all
lanes. But `jax.vmap` sees a number for each lane, and turns the write into a scatter, which takes many times
longer. The functions here have their own batching rules, which use the number of the first lane.

An agent that is started again in a lane (by a search) brings a replay with another position; `choose` moves
its rows to where the other lanes are.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from jaxrl.types import PyTree


@custom_vmap
def in_lockstep(number: jax.Array) -> jax.Array:
    """A scalar that is the same in all lanes; not batched under `vmap`."""
    return number


@in_lockstep.def_vmap
def _first_lane(size, batched, number):
    del size
    return (in_lockstep(number[0]) if batched[0] else number), False


def write(array: jax.Array, block: jax.Array, start: jax.Array) -> jax.Array:
    """`array` `[R, ...]` with `block` `[r, ...]` in its rows from `start`, the same number in all lanes."""
    return _writer(0)(array, block, start)


def read(array: jax.Array, start: jax.Array, num_rows: int) -> jax.Array:
    """Rows `start .. start + num_rows` of `array`; `start` is the same number in all lanes."""
    return _reader(0, num_rows)(array, start)


@cache
def _writer(axis: int) -> Any:
    """`write` for arrays with `axis` axes of lanes in front."""

    @custom_vmap
    def call(array, block, start):
        return jax.lax.dynamic_update_slice_in_dim(array, block, start, axis)

    @call.def_vmap
    def _in_all_lanes(size, batched, array, block, start):
        array, block = (_spread(x, size, b) for x, b in zip((array, block), batched))
        return _writer(axis + 1)(array, block, start[0] if batched[2] else start), True

    return call


@cache
def _reader(axis: int, num_rows: int) -> Any:
    @custom_vmap
    def call(array, start):
        return jax.lax.dynamic_slice_in_dim(array, start, num_rows, axis)

    @call.def_vmap
    def _in_all_lanes(size, batched, array, start):
        array = _spread(array, size, batched[0])
        return _reader(axis + 1, num_rows)(array, start[0] if batched[1] else start), True

    return call


def _spread(x, size, batched):
    return x if batched else jnp.broadcast_to(x, (size, *x.shape))


def holds_replay(tree: PyTree) -> bool:
    """Whether a state has a replay, which `train.over_agents` must not copy."""
    return bool(replays(tree))


def replays(tree: PyTree) -> list[Any]:
    """The replays in a state."""
    return [node for node in jax.tree.leaves(tree, is_leaf=is_replay) if is_replay(node)]


def choose(lanes: jax.Array, new: PyTree, old: PyTree) -> PyTree:
    """States of `new` in those of the `lanes` `[P]` that are true, of `old` elsewhere; leaves `[P, ...]`.

    Rows of new replays are moved to where the old ones are written next: this copies the replay.
    """

    def where(a, b):
        if is_replay(a):
            return jax.tree.map(where, a.moved(b.time[0] - a.time[0]), b)
        return jnp.where(lanes.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(where, new, old, is_leaf=is_replay)


def is_replay(node: Any) -> bool:
    """Whether a node of a state is a replay."""
    return getattr(node, "is_replay", False)
