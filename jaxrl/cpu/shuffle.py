"""Random permutations by a single sort."""

import jax
import jax.numpy as jnp


def permutations(key: jax.Array, count: int, size: int) -> jax.Array:
    """`count` independent random permutations of `0 .. size - 1`: int32 `[count, size]`.

    For up to 65,536 items, sorts random numbers with the index in their low bits: a single array of words,
    which is sorted several times as fast as the pairs that `jax.random.permutation` sorts. At least 16 bits
    are random; two items with equal random bits, at most 1 in 65,536 pairs, keep their order.
    """
    index_bits = (size - 1).bit_length()
    if index_bits > 16:
        keys = jax.random.split(key, count)
        return jax.vmap(lambda own: jax.random.permutation(own, size))(keys)
    bits = jax.random.bits(key, (count, size)) >> index_bits << index_bits
    words = jax.lax.sort(bits | jnp.arange(size, dtype=bits.dtype), is_stable=False)
    return (words & ((1 << index_bits) - 1)).astype(jnp.int32)
