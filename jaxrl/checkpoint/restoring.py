"""Reads checkpoints back, after all checks."""

import os
from typing import Any

import jax
import numpy as np

from jaxrl import hosts
from jaxrl.checkpoint.arrays import read_arrays
from jaxrl.checkpoint.checksums import damage_of
from jaxrl.checkpoint.comparison import compare_metadata, to_json
from jaxrl.checkpoint.errors import CheckpointError
from jaxrl.checkpoint.folders import find, latest
from jaxrl.checkpoint.leaves import compare_leaves, is_key, like
from jaxrl.checkpoint.metadata import read_record, remedy_for
from jaxrl.types import PyTree


def restore(
    directory: str | os.PathLike,
    target: PyTree,
    step: int | None = None,
    metadata: dict | None = None,
    *,
    sharding: Any = None,
) -> tuple[PyTree, dict]:
    """Read a checkpoint back, bit for bit.

    The leaves are strongly typed and uncommitted like those of a newly computed state, so that functions
    are not compiled again for a restored state.

    Args:
      directory: the folder given to `save`.
      target: the state's tree of shapes and dtypes: `jax.eval_shape(algo.init, key, hp)`.
      step: of the checkpoint; the latest if `None`. If that is damaged, the previous one is not used instead.
      metadata: what is expected. Only its top-level keys are compared, each of them fully, so
        `{"config": config}` requires the same configuration and nothing else.
      sharding: of the leaves, as for `jax.device_put`: a `Sharding` or a prefix of the
        tree; for a typed key it applies to the key data. The default device if `None`.

    Returns:
      `(state, metadata)`, the metadata as plain JSON values.

    Raises:
      CheckpointError: there is no such checkpoint, a file of it was changed or is missing, its folder
        was renamed from another step, or `target` or `metadata` differ from what was saved.
    """
    folder = find(directory, hosts.by_leader(lambda: latest(directory)) if step is None else step)
    if damage := hosts.by_leader(lambda: damage_of(folder)):
        raise CheckpointError(f"{damage}: {remedy_for(folder)}")
    record = read_record(folder)
    compare_metadata(folder, record.metadata, to_json(metadata or {}, "metadata"))

    target = jax.eval_shape(lambda tree: tree, target)  # the target may also consist of arrays
    index = compare_leaves(folder, record.leaves, target)
    treedef = jax.tree.structure(target)
    structs = [
        jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf
        for leaf in jax.tree.leaves(target)
    ]
    wanted: list[Any]
    if hosts.several():  # each process reads only its shards
        where = jax.tree.leaves(jax.tree.broadcast(sharding, target))
        wanted = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s) for x, s in zip(structs, where)]
    else:  # orbax restores a NumPy array for a NumPy array
        wanted = [np.broadcast_to(np.zeros((), x.dtype), x.shape) for x in structs]
    stored = read_arrays(folder, record.orbax, {str(i): x for i, x in zip(index, wanted) if x.size})
    leaves = [
        stored[str(i)] if struct.size else np.zeros(struct.shape, struct.dtype)
        for i, struct in zip(index, structs)
    ]
    placed = (hosts.place if hosts.several() else jax.device_put)(treedef.unflatten(leaves), sharding)
    return jax.tree.map(like, target, placed), record.metadata
