"""JAX's random numbers in fewer operations on a CPU; the numbers are the same, bit for bit.

On CPUs, JAX implements its generator as a loop of five times four rounds, which compiles quickly. For the
small arrays of an update that loop costs more than its arithmetic. `unrolled` replaces it in one function; in
JAX itself nothing changes.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, jaxpr_as_fun
from jax.extend.random import threefry_prng_impl

from jaxrl.cpu.inline import inline

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(
    key0: jax.Array, key1: jax.Array, x0: jax.Array, x1: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Threefry-2x32 with 20 rounds: two words from a key of two words and a counter of two words.

    Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    https://doi.org/10.1145/2063384.2063405

    Args:
      key0, key1, x0, x1: uint32, of shapes that can be broadcast.
    """
    keys = (key0, key1, key0 ^ key1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for group in range(5):
        for distance in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = x0 ^ ((x1 << distance) | (x1 >> (32 - distance)))
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1


def _bits(key, bit_width, shape):
    return threefry_prng_impl.random_bits(jax.random.key_data(key), bit_width, shape)


def _split(key, shape):
    words = threefry_prng_impl.split(jax.random.key_data(key), shape)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


DRAWS: dict[str, Callable] = {"random_bits": _bits, "random_split": _split}
_hash = jax.jit(threefry2x32)  # JAX keeps its trace


@cache
def _key_dtype():
    return jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32")).dtype


def unrolled(function: Callable) -> Callable:
    """The same function, whose draws from keys outside of its loops and branches are unrolled on a CPU.

    Args:
      function: takes and returns pytrees; numbers of Python among its arguments stay constants.
    """

    def call(*args):
        if jax.default_backend() != "cpu":
            return function(*args)
        leaves, tree = jax.tree.flatten(args)
        arrays = {i: x for i, x in enumerate(leaves) if hasattr(x, "dtype")}

        def of_arrays(*given):
            put = dict(zip(arrays, given))
            return function(*tree.unflatten([put.get(i, x) for i, x in enumerate(leaves)]))

        closed, shapes = jax.make_jaxpr(of_arrays, return_shape=True)(*arrays.values())
        program = ClosedJaxpr(inline(closed.jaxpr, _expanded), closed.consts)
        return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr_as_fun(program)(*arrays.values()))

    return call


def _expanded(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """A program with the results of an equation that draws from keys, or hashes; None for any other one."""
    name = eqn.primitive.name
    avals: list[Any] = [v.aval for v in eqn.invars]
    inputs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in avals]
    function: Callable
    if name == "threefry2x32":
        function = _hash
    elif name in DRAWS and inputs[0].dtype == _key_dtype():
        function = partial(DRAWS[name], **eqn.params)
        for _ in inputs[0].shape:
            function = jax.vmap(function)
    else:
        return None
    return jax.make_jaxpr(jax.named_scope(name)(function))(*inputs)  # profiles show the name
