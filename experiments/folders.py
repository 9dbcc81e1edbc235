"""Folders of runs and studies: creating and locking them, and protecting their files."""

import contextlib
import dataclasses
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxrl import checkpoint, decode, files, sources
from jaxrl.experiments.studies import STUDIES
from jaxrl.sources import Kept

# Files of a run or a study that cannot be generated again.
RECORDS = ("metrics.jsonl", "metrics.csv", "results.jsonl", "search.json", "judged.json", "result.json")
RECORDS += ("config.toml", "best.toml")  # may have been edited
FOLDERS = ("checkpoints", "tensorboard", "wandb", "source")


def marks() -> tuple[str, ...]:
    """The files that identify the folder of a run, of a study, or of `jaxrl.fit`."""
    return tuple(dict.fromkeys(("run.json", *(kind.mark for kind in STUDIES.values()), "fit.json")))


def free(name: str) -> Path:
    """`runs/NAME-20260131-101500`, with a number appended if that exists."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{name.replace('/', '-')}-{now}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def reserve(name: str) -> Path:
    """Creates the folder `free(name)`, so that no other process can use it.

    Raises:
      ValueError: it cannot be created.
    """
    while True:
        path = free(name)
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            if not path.exists():  # `runs` is a file
                raise _unwritable(path, "a file is in its place") from None
        except OSError as error:
            raise _unwritable(path, error.strerror or error) from None


def release(path: Path) -> None:
    """Removes a reserved folder if it is empty."""
    with contextlib.suppress(OSError):
        path.rmdir()
        path.parent.rmdir()


@dataclasses.dataclass(frozen=True)
class _Copies:
    """The part of `run.json` about the copies of the user's files."""

    sources: dict[str, Kept] = dataclasses.field(default_factory=dict)


def discard(path: Path) -> None:
    """Removes what was written into the folder of a new run, unless something is already saved."""
    rows = path / "metrics.jsonl"
    if (rows.exists() and rows.stat().st_size) or checkpoint.latest(path / "checkpoints") is not None:
        return
    with contextlib.suppress(OSError, ValueError):
        kept = decode.read_json(path / "run.json", _Copies).sources.values()
        copies = [Path(sources.FOLDER) / Path(one.file).name for one in kept]
        for name in (*copies, "config.toml", "metrics.jsonl", "run.json"):
            (path / name).unlink(missing_ok=True)
        for name in (sources.FOLDER, "checkpoints", ""):  # if they are empty
            if (path / name).is_dir():
                (path / name).rmdir()


@contextlib.contextmanager
def new(path: Path, mark: str) -> Iterator[None]:
    """Creates the folder of a new run or study; the body of the context writes the file `mark` by `create`.

    If several processes request the same folder, only one of them succeeds.

    Raises:
      ValueError: the folder is in use, or cannot be written.
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
    """Raises ValueError if a folder already contains a run or a study, or remains of one."""
    for name in marks():
        if (path / name).exists():
            raise _taken(path, mark, name)
    for name in ("metrics.jsonl", "checkpoints"):  # the new run would use them
        if (path / name).exists():
            raise ValueError(f"{path} holds {name} of a run without {mark}: choose another --out")


def _taken(path: Path, mark: str, existing: str) -> ValueError:
    if existing == "fit.json":
        return ValueError(f"{path} holds a run by jaxrl.fit: choose another --out")
    if mark == existing == "run.json":
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
    """Locks the folder of a run for this process; a kill releases the lock.

    Args:
      otherwise: the message of the error if another process has the lock.

    Raises:
      ValueError: another process has the lock, or a folder inside is a symbolic link.
    """
    require_no_links(path)
    checkpoint.require_path(path)
    text = f"another process trains {path}: wait for it, or stop it and resume the run"
    with files.lock(path, otherwise or text):
        yield


def require_no_links(path: Path, whole: Path | None = None) -> None:
    """Raises ValueError if a folder inside a run is a symbolic link, which may lead anywhere.

    Args:
      whole: the study that contains the run; the folders between the two are checked as well.
    """
    between = [folder for folder in (path, *path.parents) if whole in folder.parents] if whole else []
    inside = [path / name for name in FOLDERS] + list((path / "tensorboard").glob("*"))
    for folder in [*between, *inside]:
        if folder.is_symlink():
            raise ValueError(f"{folder} is a symbolic link: put the folder itself in its place")


def require_output(path: Path, *sources: Path) -> None:
    """Raises ValueError if the output file is a file of a run, or one of the inputs.

    Args:
      sources: the input files.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file")
    folder = path.resolve().parent
    protected = [folder / name for name in (*marks(), *RECORDS)] if _is_run(folder) else []
    if any(_same(path, other) for other in protected) or _is_objective(path, folder):
        raise ValueError(f"{path} belongs to the run in {folder}: write to another file")
    for parent in folder.parents:
        inside = folder.relative_to(parent).parts[0]
        if inside in FOLDERS and _is_run(parent):
            raise ValueError(f"{path} belongs to the run in {parent}: write to another file")
    for source in sources:
        if _same(path, source):
            raise ValueError(f"{path} is read and cannot be written at the same time: write to another file")


def default_output(inputs: Sequence[Path], name: str) -> Path:
    """The output file of a command about runs: in the folder of the run, or for several in the current one.

    Raises:
      ValueError: the current folder is that of a run, whose file of this name is about this run alone.
    """
    if len(inputs) == 1:
        return inputs[0] / name
    if _is_run(Path.cwd()):
        raise ValueError(f"{name} in the current folder belongs to the run in it: give another file as --out")
    return Path(name)


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in marks())


def _is_objective(path: Path, folder: Path) -> bool:
    """Whether it is an objective file of a discovery or a comparison."""
    return path.suffix == ".json" and path.exists() and _is_run(folder)


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are the same file, through links or on a file system that ignores case."""
    with contextlib.suppress(OSError):
        return one.samefile(other)
    return one.absolute() == other.absolute()


def write_output(path: Path, data: str | bytes, *sources: Path) -> None:
    """Writes an output file atomically; its folder is created if it is missing.

    Raises:
      ValueError: it is a file of a run, or one of the input files `sources`.
      OSError: it cannot be written.
    """
    require_output(path, *sources)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, data)
