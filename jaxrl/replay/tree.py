"""Sums of priorities as a tree, by which rows are drawn in proportion to their priority.

Every node is the sum of its `FAN` children, the leaves are the priorities. A draw descends from the root, and
chooses among the children of each node with a random number of its own: one number for all levels would have
too few bits for a million leaves. Sums are computed from the children, not by adding differences, so rounding
errors do not accumulate. Axes: `D` levels, `B` batch.
"""

import jax
import jax.numpy as jnp

from jaxrl.cpu.once import once
from jaxrl.replay.lanes import read, write

FAN = 8  # children of a node; 4 and 16 take longer on a CPU

Tree = tuple[jax.Array, ...]  # levels, leaves first; each filled up with zeros to a multiple of FAN


def init(size: int) -> Tree:
    """A tree of `size` leaves of priority 0."""
    levels = []
    while True:
        parents = -(-size // FAN)
        levels.append(jnp.zeros(parents * FAN, jnp.float32))
        if parents == 1:
            return tuple(levels)
        size = parents


def draw(tree: Tree, uniform: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Leaves in proportion to their priority, by uniform numbers `[B, D]`.

    Returns:
      Their index and their share of the sum of all priorities, `[B]`. Undefined if all priorities are 0.
    """
    node = jnp.zeros(uniform.shape[:-1], jnp.int32)
    for i, level in enumerate(reversed(tree)):
        children = once(level.reshape(-1, FAN)[node])
        upto = [children[..., 0]]
        for j in range(1, FAN):  # one after the other: a child of priority 0 must not add a rounding error
            upto.append(upto[-1] + children[..., j])
        target = uniform[..., i] * upto[-1]
        child = sum(((x <= target).astype(jnp.int32) for x in upto[:-1]), start=jnp.zeros_like(node))
        node = once(node * FAN + child)
    # Not read from the leaves again: a read that could happen after `assign` would make XLA copy them.
    priority = jnp.take_along_axis(children, child[..., None], axis=-1)[..., 0]
    return node, priority / tree[-1].sum()


def assign(tree: Tree, index: jax.Array, priority: jax.Array) -> Tree:
    """The tree with priorities `[B]` of the leaves `index`; of equal leaves, any of their priorities."""
    levels = [tree[0].at[index].set(priority)]
    for level in tree[1:]:
        index = index // FAN
        sums = levels[-1].reshape(-1, FAN)[once(index)].sum(axis=-1)
        levels.append(level.at[index].set(sums))
    return tuple(levels)


def assign_block(tree: Tree, start: jax.Array, count: int, priority: jax.Array) -> Tree:
    """The tree with one priority in the leaves `start .. start + count`, the same ones in all lanes."""
    levels = [write(tree[0], jnp.broadcast_to(priority, (count,)).astype(jnp.float32), start)]
    for level in tree[1:]:
        below = levels[-1]
        nodes = below.shape[0] // FAN
        count = min((count - 2) // FAN + 2, nodes)  # wherever the block starts
        start = jnp.minimum(start // FAN, nodes - count)
        sums = read(below, start * FAN, count * FAN).reshape(count, FAN).sum(axis=-1)
        levels.append(write(level, sums, start))
    return tuple(levels)


def rolled(tree: Tree, size: int, shift: jax.Array) -> Tree:
    """The tree of the same priorities, moved by `shift` leaves of `size`; leaves `[P, ...]`."""
    rest = [(0, 0)] * (tree[0].ndim - 1)
    below = jnp.roll(tree[0][..., :size], shift, axis=-1)
    levels = []
    for level in tree:
        below = jnp.pad(below, [*rest, (0, level.shape[-1] - below.shape[-1])])
        levels.append(below)
        below = below.reshape((*below.shape[:-1], -1, FAN)).sum(axis=-1)
    return tuple(levels)
