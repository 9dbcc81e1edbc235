"""Folders of runs and studies: who may make one, who works in one, and what must not be written into one."""

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path

from jaxrl import checkpoint, files

# The file that makes a folder that of a run, a sweep, a comparison, an evolution of messages, or `jaxrl.fit`.
MARKS = ("run.json", "sweep.json", "comparison.json", "talk.json", "fit.json")
# What else a run or a study has written and cannot make again.
RECORDS = ("metrics.jsonl", "metrics.csv", "results.jsonl", "search.json", "judged.json", "result.json")
FOLDERS = ("checkpoints", "tensorboard", "wandb", "source")


def free(name: str) -> Path:
    """`runs/NAME-20260131-101500`, with a number behind it if that is taken."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{name.replace('/', '-')}-{now}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def reserve(name: str) -> Path:
    """The folder `free(name)`, made at once, so that no other process takes it for its own.

    Raises:
      ValueError: it cannot be made.
    """
    while True:
        path = free(name)
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.exists():  # a file stands where `runs` should be
                raise _unwritable(path, "a file is in its place") from None
        except OSError as error:
            raise _unwritable(path, error.strerror or error) from None


def release(path: Path) -> None:
    """Removes a folder that was reserved if nothing has been written into it."""
    with contextlib.suppress(OSError):
        path.rmdir()
        path.parent.rmdir()


@contextlib.contextmanager
def new(path: Path, mark: str) -> Iterator[None]:
    """Makes the folder of a new run or study; what is inside this context writes the file `mark` by `create`.

    Of several processes that want the same folder one gets it.

    Raises:
      ValueError: the folder is taken, or cannot be written.
    """
    checkpoint.require_path(path)
    made = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with claim(path, f"another process is at work in {path}: choose another --out"):
            require_new(path, mark)
            yield
    except OSError as error:
        if isinstance(error, FileExistsError) and error.filename == str(path / mark):
            raise _taken(path, mark, mark) from None  # on a file system without locks
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise _unwritable(path, error.strerror or error) from None


def require_new(path: Path, mark: str) -> None:
    """Raises ValueError where a folder holds a run or a study already, or what is left of one."""
    for name in MARKS:
        if (path / name).exists():
            raise _taken(path, mark, name)
    for name in ("metrics.jsonl", "checkpoints"):  # the new run would take them for its own
        if (path / name).exists():
            raise ValueError(f"{path} holds {name} of a run without {mark}: choose another --out")


def _taken(path: Path, mark: str, found: str) -> ValueError:
    if found == "fit.json":
        return ValueError(f"{path} holds a run by jaxrl.fit: choose another --out")
    if mark == found == "run.json":
        return ValueError(
            f"{path} holds a run: continue it, `jaxrl resume {files.quoted(path)}`, or choose another --out"
        )
    return ValueError(
        f"{path} is taken: continue with `jaxrl resume {files.quoted(path)}` or choose another --out"
    )


def _unwritable(path: Path, reason) -> ValueError:
    return ValueError(f"cannot write to {path}: {reason}; choose another --out")


@contextlib.contextmanager
def claim(path: Path, otherwise: str = "") -> Iterator[None]:
    """Holds the folder of a run for this process; a kill gives it back.

    Args:
      otherwise: the message of the error where another process holds it.

    Raises:
      ValueError: another process holds it, or a part of it is a symbolic link to somewhere else.
    """
    require_no_links(path)
    checkpoint.require_path(path)
    text = f"another process trains {path}: wait for it, or stop it and resume the run"
    with files.lock(path, otherwise or text):
        yield


def require_no_links(path: Path, whole: Path | None = None) -> None:
    """Raises ValueError where a folder inside a run is a symbolic link: it may lead anywhere.

    Args:
      whole: the study that the run is a part of; the folders between the two are checked as well.
    """
    between = [folder for folder in (path, *path.parents) if whole in folder.parents] if whole else []
    inside = [path / name for name in FOLDERS] + list((path / "tensorboard").glob("*"))
    for folder in [*between, *inside]:
        if folder.is_symlink():
            raise ValueError(f"{folder} is a symbolic link: put the folder itself in its place")


def require_output(path: Path, *sources: Path) -> None:
    """Raises ValueError where a file that is to be written is one of a run, or one that is read.

    Args:
      sources: files that are read.
    """
    path = Path(path)
    folder = path.resolve().parent
    own = [folder / name for name in (*MARKS, *RECORDS)] if _is_run(folder) else []
    if any(_same(path, other) for other in own) or _is_objective(path, folder):
        raise ValueError(f"{path} belongs to the run in {folder}: write to another file")
    for parent in folder.parents:
        inside = folder.relative_to(parent).parts[0]
        if inside in FOLDERS and _is_run(parent):
            raise ValueError(f"{path} belongs to the run in {parent}: write to another file")
    for source in sources:
        if _same(path, source):
            raise ValueError(f"{path} is read and cannot be written at the same time: write to another file")


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in MARKS)


def _is_objective(path: Path, folder: Path) -> bool:
    """Whether it is an objective that a discovery or a comparison keeps."""
    return path.suffix == ".json" and path.exists() and _is_run(folder)


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one file: by links, or on a file system that ignores case."""
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return one.absolute() == other.absolute()


def write_output(path: Path, data: str | bytes, *sources: Path) -> None:
    """Writes a file that a person asked for, as a whole or not at all; its folder is made if it is missing.

    Raises:
      ValueError: it is one of a run, or one of the `sources` that were read.
      OSError: it cannot be written.
    """
    require_output(path, *sources)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, data)
