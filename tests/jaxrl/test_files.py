"""Files are written completely or not at all, and never through a symbolic link."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jaxrl import files


def test_a_path_is_quoted_for_a_shell():
    assert files.quoted(Path("runs/a")) == "runs/a" and files.quoted("runs/a [b]") == "'runs/a [b]'"


@pytest.mark.parametrize("write", [files.replace, files.create])
def test_text_and_bytes_come_back(tmp_path, write):
    write(tmp_path / "text", "ä\n")
    write(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == "ä\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bytes", "text"]
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "text").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_new_file_is_created_by_one_process_only(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    for taken in ("there", "link"):
        if taken == "there":
            files.create(tmp_path / taken, "first")
        with pytest.raises(FileExistsError) as caught:
            files.create(tmp_path / taken, "second")
        assert caught.value.filename == str(tmp_path / taken)
    assert (tmp_path / "there").read_text() == "first" and not (tmp_path / "missing").exists()


@pytest.mark.parametrize("links", [True, False])
def test_of_many_writers_one_creates_the_file(tmp_path, links):
    code = "import sys; from jaxrl import files; input(); files.create(sys.argv[1], sys.argv[2] * 9999)"
    if not links:  # as on a file system without hard links
        code = code.replace("input();", "files.os.link = lambda *_: open('/missing/file'); input();")
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    many = [
        subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for i in range(4)
    ]
    threads = [threading.Thread(target=one.communicate, args=(b"\n",)) for one in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [i for i, one in enumerate(many) if one.returncode == 0]
    assert len(won) == 1
    assert (tmp_path / "file").read_text() == str(won[0]) * 9999
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_is_written_through_a_symbolic_link(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "file").symlink_to(outside)
    temporary = folder / f".file.{os.getpid()}.tmp"
    temporary.symlink_to(outside)
    files.replace(folder / "file", "theirs")
    assert outside.read_text() == "mine"
    assert (folder / "file").read_text() == "theirs" and not (folder / "file").is_symlink()
    (folder / "rows").symlink_to(outside)
    with pytest.raises(OSError):
        files.open_to_append(folder / "rows")
    assert outside.read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["file", "rows"]


@pytest.mark.parametrize("write", [files.replace, files.create])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, write):
    if write is files.replace:
        write(tmp_path / "file", "old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError) as caught:
        write(tmp_path / "file", "new")
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path / "file")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_grows_too_large_leaves_the_old_one(tmp_path):
    """A limit of the system instead of a full disk: the error occurs in the middle of the data."""
    (tmp_path / "file").write_text("old")
    code = (
        "import resource, signal, sys; from jaxrl import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "files.replace(sys.argv[1], 'new' * 1000)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "file"], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 1 and "File too large" in answer.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_a_kill_leaves_the_old_file_and_the_next_write_cleans_up(tmp_path):
    (tmp_path / "file").write_text("old")
    code = (
        "import os, signal, sys; from jaxrl import files\n"
        "files.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.replace(sys.argv[1], 'new')\n"
    )
    answer = subprocess.run([sys.executable, "-c", code, tmp_path / "file"], timeout=60)
    assert answer.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "old" and len(list(tmp_path.iterdir())) == 2
    files.replace(tmp_path / "file", "newer")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "newer")]


def test_folders_and_devices_are_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OSError) as caught:
            files.replace(tmp_path / name, "text")
        assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "folder").is_dir() and (tmp_path / "pipe").is_fifo()
    with pytest.raises(FileNotFoundError):
        files.replace(tmp_path / "none" / "file", "text")
