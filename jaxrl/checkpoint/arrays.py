"""The arrays of a checkpoint on disk, which orbax writes and reads."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxrl import hosts
from jaxrl.checkpoint.errors import CheckpointError, reason_of
from jaxrl.checkpoint.metadata import remedy_for

_ARRAYS = "arrays"
ORBAX = "orbax-checkpoint"


def write_arrays(folder: Path, arrays: dict[str, Any]) -> None:
    """Writes arrays by name into the folder of a checkpoint."""
    if not arrays:  # orbax does not accept an empty tree
        return
    from orbax.checkpoint import v1 as ocp

    with _quiet(), _plain_path(folder) as place:
        ocp.save(place / _ARRAYS, arrays)


def read_arrays(folder: Path, written: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Reads arrays by name, as NumPy arrays or as the shapes and shardings of `wanted` say.

    Args:
      written: the version of orbax that wrote them, "" if it is not known.
    """
    if not wanted:
        return {}
    from orbax.checkpoint import v1 as ocp

    try:
        with _quiet(), _plain_path(folder) as place:
            return ocp.load(place / _ARRAYS, wanted)
    except Exception as error:
        here = version(ORBAX)
        if not (folder / _ARRAYS / "state" / "manifest.ocdbt").exists():
            # Orbax has not merged its files: an earlier version of this module passed the path unchanged.
            reason = "they were saved incompletely, in a folder whose path had characters like [ ] or \\"
            remedy = remedy_for(folder)
        elif written == here:
            reason, remedy = reason_of(error), remedy_for(folder)
        else:
            reason, remedy = reason_of(error), f"use orbax {written}, which wrote it, instead of {here}"
            if not written:
                remedy = f"use the version of orbax that wrote it instead of {here}"
        raise CheckpointError(
            f"the arrays of {folder} cannot be read ({reason}), though its checksums are right: {remedy}"
        ) from error


def require_path(directory: str | os.PathLike) -> None:
    """Raises CheckpointError if checkpoints could not be saved because of the directory's path."""
    with _plain_path(Path(directory).absolute()):
        pass


@contextlib.contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """A path without special characters that leads to `folder`.

    Orbax finds the parts of a checkpoint with `glob`, so that `[...]`, `*` and `?` in the path are a
    pattern that matches other folders or none; TensorStore reads a backslash as a slash, and `gs:/` as a
    bucket. A symbolic link hides such a path from both. With several processes, which orbax requires to use
    the same path, this is an error: they may run on different machines with different temporary folders.
    """
    plain = re.compile(r"[\w/.,+=@ -]*")
    if plain.fullmatch(str(folder)):
        yield folder
        return
    if hosts.several():
        raise CheckpointError(
            f"several processes cannot save checkpoints in {folder}, because of special characters in its "
            f"path: choose a folder with a plain name"
        )
    with contextlib.ExitStack() as stack:
        for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
            if plain.fullmatch(place) and os.access(place, os.W_OK | os.X_OK):
                home = stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxrl-", dir=place))
                link = Path(home) / "link"
                link.symlink_to(folder, target_is_directory=True)
                yield link
                return
    raise CheckpointError(
        f"checkpoints cannot be saved in {folder}, because of its special characters and because there is "
        f"no temporary folder: choose a folder with a plain name"
    )


@contextlib.contextmanager
def _quiet():
    """Prevent orbax from printing tracebacks of its threads: the error itself is raised anyway."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    disabled, hook = [logger.disabled for logger in loggers], sys.unraisablehook
    for logger in loggers:
        logger.disabled = True
    sys.unraisablehook = lambda arguments: None
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger, was in zip(loggers, disabled):
            logger.disabled = was
