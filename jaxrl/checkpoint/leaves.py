"""The leaves of a state: as arrays that can be written, and back; compared with those of a checkpoint."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import hosts
from jaxrl.checkpoint.errors import CheckpointError
from jaxrl.types import PyTree


def is_key(leaf: Any) -> bool:
    """Whether a leaf consists of typed keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(tree: PyTree) -> list[list]:
    """`[name, dtype, shape]` of each leaf."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    return [[f"state{jax.tree_util.keystr(path)}", str(leaf.dtype), list(leaf.shape)] for path, leaf in named]


def to_arrays(state: PyTree) -> tuple[list[list], dict[str, Any]]:
    """The leaves' descriptions and, by their position, those that have elements."""

    def to_array(path, leaf):
        if isinstance(leaf, jax.Array):
            return leaf
        name = f"state{jax.tree_util.keystr(path)}"
        try:
            array = jnp.asarray(leaf)  # with the dtype that `jit` would give it
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{name} is a {type(leaf).__name__}, not an array: keep it out of the state"
            ) from error
        if array.dtype != getattr(leaf, "dtype", array.dtype):
            raise CheckpointError(
                f"{name} is {leaf.dtype}, which JAX narrows to {array.dtype}: convert it first"
            )
        return array

    state = jax.tree_util.tree_map_with_path(to_array, state)
    data = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(state)]
    # Orbax does not accept arrays without elements; their shape and dtype in the metadata are sufficient.
    arrays = {str(i): x for i, x in enumerate(data) if x.size}
    if not hosts.several():  # with several processes, each writes its shards
        arrays = {name: np.asarray(x) for name, x in jax.device_get(arrays).items()}
    return _describe(state), arrays


def like(struct: Any, array: jax.Array) -> jax.Array:
    """The restored leaf: key data is converted back to keys."""
    if not is_key(struct):
        return array
    impl = []
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), struct)
    return jax.random.wrap_key_data(array, impl=impl[0])


def compare_leaves(folder: Path, saved: list[tuple[str, str, list[int]]], target: PyTree) -> list[int]:
    """The position in the checkpoint of each leaf of `target`."""
    positions = {name: i for i, (name, _, _) in enumerate(saved)}
    wanted = _describe(target)
    surplus = [name for name in positions if name not in {name for name, _, _ in wanted}]
    remedy = "restore it with the algorithm, environment and configuration that made it"
    for name, dtype, shape in wanted:
        if name not in positions:
            difference = f"no {name} of {dtype}{shape}"
            break
        _, saved_dtype, saved_shape = saved[positions[name]]
        if (dtype, shape) != (saved_dtype, saved_shape):
            difference = f"{name} of {saved_dtype}{saved_shape}, not {dtype}{shape}"
            break
    else:
        if not surplus:
            return [positions[name] for name, _, _ in wanted]
        difference = f"{surplus[0]}, which the target has not"
    raise CheckpointError(f"the checkpoint {folder} has {difference}: {remedy}")
