"""Policies stored as the random keys that generated them: a few kB for a network of any size.

    theta_0 = network(start),   theta_i = theta_{i-1} + sigma_i eps(key_i),   eps ~ N(0, I)

The same genome gives the same bits, whether its policy is reconstructed or was carried along from parent to
child: all draws are elementwise functions of a single key, without sums whose order could change in a batch.
Reconstructing a policy takes as many random numbers as its parameters times the length of its genome. After
Such et al. 2017, https://arxiv.org/abs/1712.06567. Axes: `D` parameters, `L` mutations at most.

    net = genome.network(jax.eval_shape(init, key))            # of any flax module
    parent = genome.genome(jax.random.key(0), max_mutations=100)
    child, vector = genome.mutate(parent, genome.express(net, parent), jax.random.key(1), 0.1)
    params = net.params(genome.express(net, child))            # the same as net.params(vector)
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.types import Number, PyTree


@struct.dataclass
class Genome:
    """The key of the initial random network, and the keys `[L]` and `sigmas` `[L]` of `length` mutations.

    Entries beyond `length` are unused. With JAX's keys of 8 bytes a mutation takes 12 bytes.
    """

    start: jax.Array
    keys: jax.Array
    sigmas: jax.Array
    length: jax.Array


class Network(NamedTuple):
    """A network's parameters as one vector."""

    vector: Callable[[jax.Array], jax.Array]  # (key) -> `[D]`, of a random network
    params: Callable[[jax.Array], PyTree]  # of a vector `[D]`


def network(like: PyTree) -> Network:
    """Random networks with the parameters of `like`, which may come from `jax.eval_shape`.

    Weights are Gaussian with variance 1 / fan-in, biases 0, the scales of normalization layers 1.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(like)

    def vector(key):
        parts = []
        for i, (path, leaf) in enumerate(leaves):
            if len(leaf.shape) > 1:
                std = 1.0 / math.sqrt(math.prod(leaf.shape[:-1]))
                part = _scaled(std, jax.random.fold_in(key, i), (leaf.size,))
            else:
                is_scale = getattr(path[-1], "key", "") == "scale"
                part = jnp.full((leaf.size,), 1.0 if is_scale else 0.0)
            parts.append(part)
        return jnp.concatenate(parts)

    def params(vector):
        at, made = 0, []
        for _, leaf in leaves:
            made.append(vector[at : at + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
            at += leaf.size
        return treedef.unflatten(made)

    return Network(vector, params)


def genome(start: jax.Array, max_mutations: int) -> Genome:
    """The genome of a random network, with room for `max_mutations`."""
    keys = jax.random.clone(jnp.broadcast_to(start, (max_mutations,)))
    return Genome(start, keys, jnp.zeros(max_mutations), jnp.zeros((), jnp.int32))


def mutate(parent: Genome, vector: jax.Array, key: jax.Array, sigma: Number) -> tuple[Genome, jax.Array]:
    """A child and its parameters `[D]`; if the parent's genome is full, the child is a copy of its parent.

    Args:
      vector: `[D]`, the parameters of `parent`.
    """
    place, size = parent.length, parent.sigmas.shape[0]
    room = place < size
    child = dataclasses.replace(
        parent,
        keys=parent.keys.at[place].set(key, mode="drop"),
        sigmas=parent.sigmas.at[place].set(sigma, mode="drop"),
        length=jnp.minimum(place + 1, size),
    )
    return child, jnp.where(room, _mutated(vector, key, sigma), vector)


def express(network: Network, genome: Genome) -> jax.Array:
    """The parameters `[D]` that a genome encodes."""

    def mutation(i, vector):
        return _mutated(vector, genome.keys[i], genome.sigmas[i])

    return jax.lax.fori_loop(0, genome.length, mutation, network.vector(genome.start))


def _mutated(vector, key, sigma):
    return vector + _scaled(sigma, key, vector.shape)


def _scaled(sigma, key, shape):
    # The compiler may combine two factors, or fuse a product and a sum, in one program but not in another,
    # and the bits would differ. An explicit rounding prevents this; an optimization barrier does not.
    draw = _rounded(jax.random.normal(key, shape))
    return _rounded(sigma * draw)


def _rounded(x):
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=22)
