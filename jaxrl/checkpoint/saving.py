"""Writes checkpoints, and deletes old ones."""

import contextlib
import errno
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxrl import files, hosts
from jaxrl.checkpoint.arrays import ORBAX, write_arrays
from jaxrl.checkpoint.checksums import CHECKSUMS, all_checksums
from jaxrl.checkpoint.comparison import to_json
from jaxrl.checkpoint.errors import CheckpointError, reason_of
from jaxrl.checkpoint.folders import by_step, discard, latest, remove_leftovers
from jaxrl.checkpoint.leaves import to_arrays
from jaxrl.checkpoint.metadata import FORMAT, METADATA, best_of, read_record
from jaxrl.types import PyTree


def save(
    directory: str | os.PathLike,
    step: int,
    state: PyTree,
    metadata: dict | None = None,
    *,
    keep: int = 3,
    score: float | None = None,
) -> Path:
    """Write `state` as the checkpoint of `step`, then delete old ones.

    Returns when the checkpoint is safely on disk, so the buffers of `state` may be donated next.
    After a kill or an error all earlier checkpoints still exist; the next save removes leftover files.

    Args:
      directory: a folder for this run alone, created if it is missing.
      step: for example `num_updates`; not smaller than the latest step in `directory`. Writing the latest
        step again replaces it.
      state: any pytree of arrays and typed keys of any shape, `[P, ...]` for a population.
      metadata: JSON values, which may also contain dataclasses, NamedTuples and arrays.
      keep: how many of the last checkpoints to keep, in addition to the one with the best score.
      score: larger is better; `None` and NaN are never the best. Of equal scores the later step is the best.

    Returns:
      The checkpoint's folder.

    Raises:
      CheckpointError: the folder cannot be written, the disk is full, `directory` holds a later
        step, or a leaf or a value in `metadata` is of a type that cannot be saved.
    """
    step = int(step)  # may be an array, such as `state.num_updates`
    if step < 0 or keep < 1:
        raise CheckpointError(f"step = {step} must be at least 0 and keep = {keep} at least 1")
    directory = Path(directory).absolute()
    last = hosts.by_leader(lambda: latest(directory))
    if last is not None and last > step:
        raise CheckpointError(
            f"{directory} holds a checkpoint of step {last}, later than the step {step} to be "
            f"saved: delete the later ones to go on from here, or save in another directory"
        )
    leaves, arrays = to_arrays(state)
    record = {
        "format": FORMAT,
        "step": step,
        "score": None if score is None else float(score),
        "metadata": to_json(metadata or {}, "metadata"),
        "leaves": leaves,
        "orbax": version(ORBAX),
    }

    folder, old = directory / f"step_{step:08d}", directory / f"step_{step:08d}.old"
    temporary = directory / f".tmp_{step}_{hosts.by_leader(os.getpid)}"

    def begin():
        directory.mkdir(parents=True, exist_ok=True)
        remove_leftovers(directory)
        _require_room(directory, arrays)
        temporary.mkdir()

    def finish():
        (temporary / METADATA).write_text(json.dumps(record, indent=1))
        (temporary / CHECKSUMS).write_bytes(all_checksums(temporary, flush=True))
        files.flush(temporary / CHECKSUMS)
        files.flush(temporary)
        # A folder cannot be replaced by another atomically. In between, the renamed old one is
        # the checkpoint: see `by_step`.
        if folder.exists():
            discard(old)
            folder.rename(old)
        temporary.rename(folder)
        files.flush(directory)
        discard(old)
        _prune(directory, keep)

    try:
        hosts.by_leader(begin)
        hosts.together(lambda: write_arrays(temporary, arrays))
        hosts.by_leader(finish)
    except Exception as error:
        raise CheckpointError(
            f"cannot save step {step} in {directory} ({reason_of(error)}): the earlier checkpoints "
            f"are untouched; make room or give a folder that can be written"
        ) from error
    finally:
        if hosts.leads():
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _prune(directory: Path, keep: int) -> None:
    folders, scores = by_step(directory), {}
    for step, path in folders.items():
        with contextlib.suppress(CheckpointError):  # a damaged checkpoint must not stop the run
            scores[step] = read_record(path).score
    kept = {*sorted(folders)[-keep:], best_of(scores)}
    for step in folders.keys() - kept:
        discard(folders[step])


def _require_room(directory: Path, arrays: dict[str, Any]) -> None:
    """Raise before writing what will not fit. Orbax handles a full disk, but prints many tracebacks."""
    needed = sum(array.nbytes + 1024 for array in arrays.values()) + 2**17  # and orbax's metadata
    disk = shutil.disk_usage(directory)
    if disk.total and disk.free < needed:  # some network file systems report a size of 0
        text = f"{os.strerror(errno.ENOSPC)}, {needed / 2**20:.1f} MiB needed"
        raise OSError(errno.ENOSPC, f"{text} and {disk.free / 2**20:.1f} MiB free")
