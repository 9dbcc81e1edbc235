"""Writing files safely: atomically, and never through a symbolic link; reading them with a limit.

The folder of a run may come from an untrusted source, the process may be killed, and the disk may be full.
Therefore a file is written under a temporary name in the same folder, flushed to disk, and then renamed. A
symbolic link with the file's name is replaced by the file, whatever it points to.
"""

import contextlib
import errno
import io
import os
import re
import shlex
import stat
import time
from collections.abc import Iterator
from pathlib import Path

LARGEST = 2**28  # bytes of a JSON file; a larger one would take gigabytes of memory


def read(path: str | os.PathLike, most: int = LARGEST) -> bytes:
    """The bytes of a regular file. A device or a pipe, which may have no end, is not read.

    Raises:
      OSError: it cannot be read; FileNotFoundError or NotADirectoryError: there is no such file.
      ValueError: it is no regular file, or has more than `most` bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{os.fspath(path)} is too large: such a file may have {most / 2**20:.4g} MiB")
    return data


def open_regular(path: str | os.PathLike) -> io.BufferedReader:
    """Opens a regular file to read bytes.

    Raises:
      OSError: it cannot be read; FileNotFoundError or NotADirectoryError: there is no such file.
      ValueError: it is a device or a pipe.
    """
    # Without O_NONBLOCK, opening a pipe would wait for a process that writes to it.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{os.fspath(path)} is not a regular file")
    return os.fdopen(descriptor, "rb")


def quoted(path: str | os.PathLike) -> str:
    """A path for shell commands in messages: quoted if it has characters such as spaces or brackets."""
    return shlex.quote(os.fspath(path))


def run_of_sweep(path: Path) -> Path:
    """The run that messages suggest for a sweep: that of its best trial, or the first group."""
    confirmed = path / "confirm"
    return confirmed if (confirmed / "run.json").exists() else path / "group-1"


def replace(path: str | os.PathLike, data: str | bytes) -> None:
    """Writes `data` (text as UTF-8) to a file, replacing its contents.

    After a kill or an error the file has either the complete old contents or the complete new contents.

    Raises:
      OSError: it cannot be written, or the path is a folder or a device; its `filename` is `path`.
    """
    path = Path(path)
    with _naming(path), _beside(path, data) as temporary:
        os.replace(temporary, path)
        flush(path.parent)


def create(path: str | os.PathLike, data: str | bytes) -> None:
    """Writes a new file. If several processes create the same one, exactly one succeeds.

    Raises:
      FileExistsError: the file exists.
      OSError: it cannot be written; its `filename` is `path`.
    """
    path = Path(path)
    with _naming(path), _beside(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # the file system has no hard links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            os.replace(temporary, path)
        flush(path.parent)


def open_to_append(path: str | os.PathLike) -> io.FileIO:
    """Opens a file to append bytes, unbuffered. Raises OSError if it is a symbolic link."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return open(os.open(path, flags, 0o666), "ab", buffering=0)


@contextlib.contextmanager
def lock(path: str | os.PathLike, otherwise: str) -> Iterator[None]:
    """Locks a folder for this process; a kill releases the lock.

    On file systems without locks, and on systems other than Unix, no process is excluded.

    Args:
      otherwise: the message of the error.

    Raises:
      ValueError: another process has the lock.
    """
    try:
        import fcntl
    except ImportError:  # not on Unix
        yield
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # the file system has no locks
            for is_last in (False, True):
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if is_last:
                        raise ValueError(otherwise) from None
                    time.sleep(0.1)  # `is_locked` has the lock for an instant
        yield
    finally:
        os.close(folder)


def is_locked(path: str | os.PathLike) -> bool:
    """Whether a process has the lock of a folder; true where there are no locks."""
    try:
        import fcntl
    except ImportError:  # not on Unix
        return True
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:  # another process has it, or the file system has no locks
        return True
    finally:
        os.close(folder)


def flush(path: Path) -> None:
    """Flushes a file or a folder to disk, so that a renamed file is complete even after a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush folders
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(path: Path, data: str | bytes) -> Iterator[Path]:
    """A temporary file in the folder of `path`, with `data` flushed to disk; removed at the end."""
    _require_regular(path)
    _remove_stale(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # left by a killed process with the same id
    data = data.encode() if isinstance(data, str) else data
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        # Unbuffered: after an error on a full disk, `close` must not try to write again.
        with open(descriptor, "wb", buffering=0) as file:
            write_all(file, data)
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_all(file: io.FileIO, data: bytes) -> None:
    """Writes to an unbuffered file, where a single write may be partial, and flushes it to disk."""
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
    """Removes temporary files for `path` that killed processes left."""
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
    """Makes an OSError name the file to be written instead of the temporary file."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
