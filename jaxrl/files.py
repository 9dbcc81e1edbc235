"""Writing files safely: as a whole or not at all, and never through a symbolic link.

A folder of a run may come from a stranger, and a process may be killed or the disk full at any moment. Hence
a file is written under a temporary name beside its place, flushed to the disk, and then renamed. A symbolic
link under the file's name is replaced by the file, whatever it points to.
"""

import contextlib
import errno
import io
import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path


def quoted(path: str | os.PathLike) -> str:
    """A path as a shell takes it, for commands in messages: quoted where it has spaces or brackets."""
    return shlex.quote(os.fspath(path))


def replace(path: str | os.PathLike, data: str | bytes) -> None:
    """Writes `data` (text as UTF-8) to a file, in place of what was there.

    After a kill or an error the file holds either all of the old contents or all of the new ones.

    Raises:
      OSError: it cannot be written, or the path is a folder or a device; its `filename` is `path`.
    """
    path = Path(path)
    with _naming(path), _beside(path, data) as temporary:
        os.replace(temporary, path)
        flush(path.parent)


def create(path: str | os.PathLike, data: str | bytes) -> None:
    """Writes a new file. Of several processes that create the same one exactly one succeeds.

    Raises:
      FileExistsError: there is one already.
      OSError: it cannot be written; its `filename` is `path`.
    """
    path = Path(path)
    with _naming(path), _beside(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            os.replace(temporary, path)
        flush(path.parent)


def open_to_append(path: str | os.PathLike) -> io.FileIO:
    """The file opened to append bytes, unbuffered. Raises OSError where it is a symbolic link."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return open(os.open(path, flags, 0o666), "ab", buffering=0)


@contextlib.contextmanager
def lock(path: str | os.PathLike, otherwise: str) -> Iterator[None]:
    """Holds a folder for this process; a kill releases it.

    File systems without locks, and systems other than Unix, let every process in.

    Args:
      otherwise: the message of the error.

    Raises:
      ValueError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no Unix
        yield
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(otherwise) from None
        yield
    finally:
        os.close(folder)


def flush(path: Path) -> None:
    """Asks the disk for a file or a folder, so that a power cut after a rename finds all of it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems do not flush folders
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(path: Path, data: str | bytes) -> Iterator[Path]:
    """A temporary file beside `path` that holds `data` and is on the disk; removed in the end."""
    _require_regular(path)
    _remove_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a killed process that had this number
    data = data.encode() if isinstance(data, str) else data
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        # Without buffers: `close` must not try again what a full disk has refused.
        with open(descriptor, "wb", buffering=0) as file:
            write_all(file, data)
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_all(file: io.FileIO, data: bytes) -> None:
    """Writes to an unbuffered file, which may take only a part at a time, and flushes it to the disk."""
    while data:
        data = data[file.write(data) :]
    os.fsync(file.fileno())


def _require_regular(path: Path) -> None:
    """Raises OSError for a folder, a device or a pipe, which a rename must not replace."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise OSError(errno.EINVAL, "not a regular file", str(path))


def _remove_stale(path: Path) -> None:
    """Removes temporary files for `path` that killed processes have left behind."""
    if os.name != "posix":
        return
    for name in os.listdir(path.parent):
        match = re.fullmatch(rf"\.{re.escape(path.name)}\.(\d+)\.tmp", name)
        if match and not _running(int(match[1])):
            with contextlib.suppress(OSError):
                path.with_name(name).unlink()


def _running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An OSError while writing names the file that was to be written, not the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
