"""Arrays that are distributed over processes: placed from complete ones, and gathered again."""

import functools

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl.hosts.agreement import several
from jaxrl.types import PyTree


def place(tree: PyTree, sharding: PyTree) -> PyTree:
    """Converts arrays that are complete in every process to arrays of which each process holds its shards.

    Args:
      tree: the same in all processes; arrays that are already distributed over processes are not changed.
      sharding: a `Sharding`, or a tree of them that is a prefix of `tree`.
    """
    if not several():
        return tree
    return jax.tree.map(_place, tree, jax.tree.broadcast(sharding, tree))


def _place(leaf, sharding):
    if isinstance(leaf, jax.Array):
        if not leaf.is_fully_addressable:
            return leaf
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = _place(jax.random.key_data(leaf), sharding)
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


def fetch(tree: PyTree) -> PyTree:
    """Gathers arrays that are distributed over processes by one mesh. All processes must call it."""
    if not several():
        return tree
    (mesh,) = {leaf.sharding.mesh for leaf in jax.tree.leaves(tree)}
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), _everywhere(mesh)(tree))


@functools.lru_cache(maxsize=16)
def _everywhere(mesh):
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec()))
