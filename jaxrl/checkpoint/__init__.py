"""Checkpoints: the whole state of a run on disk, so that stopping and resuming does not change the result.

    directory/
      step_00000010/
        arrays/          the leaves of the state, written by orbax, numbered in the tree's order
        metadata.json    the caller's metadata, the score, the leaves' names, dtypes and shapes
        checksums.txt    SHA-256 of every other file; `sha256sum -c checksums.txt` reads it too

A checkpoint is written to a temporary folder, flushed and then renamed, so that it is either complete
or absent, even if the process is killed or the disk fills up. Orbax guarantees the same for the files
that it writes, but it does not detect every flipped bit, and does not store metadata and scores; hence the
additional checksums and rename. A directory belongs to one run and to one writing process.

    >>> import tempfile, jax, jax.numpy as jnp
    >>> directory = tempfile.mkdtemp()
    >>> state = {"params": jnp.ones(3), "key": jax.random.key(0)}
    >>> folder = save(directory, 10, state, {"config": {"num_envs": 8}}, score=1.5)
    >>> steps(directory), latest(directory), best(directory)
    ([10], 10, 10)
    >>> state, metadata = restore(directory, target=jax.eval_shape(lambda: state))
    >>> metadata
    {'config': {'num_envs': 8}}
    >>> restore(directory, state, metadata={"config": {"num_envs": 4}})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    jaxrl.checkpoint.CheckpointError: ... was made with config.num_envs = 8, not 4: ...
"""

from jaxrl.checkpoint.arrays import require_path
from jaxrl.checkpoint.comparison import difference
from jaxrl.checkpoint.errors import CheckpointError
from jaxrl.checkpoint.folders import latest, steps
from jaxrl.checkpoint.metadata import best, read_metadata
from jaxrl.checkpoint.restoring import restore
from jaxrl.checkpoint.saving import save

__all__ = [
    "CheckpointError",
    "best",
    "difference",
    "latest",
    "read_metadata",
    "require_path",
    "restore",
    "save",
    "steps",
]
