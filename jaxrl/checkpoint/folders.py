"""The folders of the checkpoints in a directory, by step, and their removal."""

import contextlib
import os
import re
import shutil
from pathlib import Path

from jaxrl.checkpoint.errors import CheckpointError


def steps(directory: str | os.PathLike) -> list[int]:
    """The steps of the checkpoints in `directory`, in increasing order; `[]` if it is missing."""
    return sorted(by_step(directory))


def latest(directory: str | os.PathLike) -> int | None:
    """The largest step of a checkpoint in `directory`, or `None`."""
    return max(by_step(directory), default=None)


def by_step(directory: str | os.PathLike) -> dict[int, Path]:
    """Folders by step. A renamed one (`.old`) counts until the folder that replaces it has its final name."""
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(Path(directory).absolute().iterdir(), reverse=True):
            match = re.fullmatch(r"step_(\d+)(\.old)?", path.name)
            if match and path.is_dir():
                found[int(match[1])] = path  # `step_1` comes after `step_1.old`, and has priority
    return found


def find(directory: str | os.PathLike, step: int | None) -> Path:
    """The folder of a step, of the latest one if it is None; raises CheckpointError if there is none."""
    directory, folders = Path(directory).absolute(), by_step(directory)
    if not folders:
        what = "it holds no folder step_*" if directory.is_dir() else "there is no such folder"
        raise CheckpointError(f"no checkpoint in {directory}: {what}, name one that save was given")
    step = max(folders) if step is None else step
    if step not in folders:
        raise CheckpointError(f"no checkpoint of step {step} in {directory}: choose one of {sorted(folders)}")
    return folders[step]


def step_of(folder: Path) -> int:
    """The step in the name of a checkpoint's folder."""
    return int(re.match(r"step_(\d+)", folder.name)[1])  # type: ignore[index]  # other folders have no step


def discard(path: Path) -> None:
    """Remove a checkpoint. It is renamed first: a kill must not leave an incomplete folder with its name."""
    if path.exists():
        doomed = path.with_name(f".tmp_{path.name}_{os.getpid()}")
        path.rename(doomed)
        doomed.unlink() if doomed.is_symlink() else shutil.rmtree(doomed, ignore_errors=True)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary folders of killed processes, and finish interrupted replacements."""
    for path in directory.glob(".tmp_*"):
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    for path in directory.glob("step_*.old"):
        if path.with_suffix("").exists():
            discard(path)
        else:
            path.rename(path.with_suffix(""))
