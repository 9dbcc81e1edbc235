"""Rows on disk: what is written comes back, whatever was torn in between."""

import codecs
import errno
import json
import math
import os

import pytest

from jaxrl import files, logger


def row(done, **values):
    return {"num_updates": done, "timesteps": 32 * done, **values}


def test_rows_come_back(tmp_path):
    sink = logger.jsonl(tmp_path / "rows.jsonl")
    rows = [row(1, a=[1.5, 2.0]), row(2, a=[0.1 + 0.2, -1e-300])]
    for one in rows:
        sink.write(one)
        assert logger.read_jsonl(tmp_path / "rows.jsonl")[-1] == one  # at once
    sink.close()
    assert logger.read_jsonl(tmp_path / "rows.jsonl") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_what_is_not_finite_is_null(tmp_path):
    sink = logger.jsonl(tmp_path / "rows.jsonl")
    sink.write(row(1, a=[math.nan, 1.0, math.inf], b=-math.inf, c=[[math.nan]]))
    sink.close()
    text = (tmp_path / "rows.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text) == row(1, a=[None, 1.0, None], b=None, c=[[None]])


def test_a_missing_file_has_no_rows(tmp_path):
    assert logger.read_jsonl(tmp_path / "none.jsonl") == []


def test_a_resumed_run_writes_later_rows_anew(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row(done, a=[float(done)])) + "\n" for done in (2, 4, 6, 8)))
    sink = logger.jsonl(path, keep_updates=5)
    assert [r["num_updates"] for r in logger.read_jsonl(path)] == [2, 4]
    sink.write(row(6, a=[-6.0]))
    sink.close()
    assert logger.read_jsonl(path) == [row(2, a=[2.0]), row(4, a=[4.0]), row(6, a=[-6.0])]
    logger.jsonl(path, keep_updates=4).close()
    assert [r["num_updates"] for r in logger.read_jsonl(path)] == [2, 4]
    logger.jsonl(path).close()
    assert path.read_text() == ""


@pytest.mark.parametrize(
    "torn",
    [
        b'{"num_updates": 4, "timest',
        b"{",
        b"\x00\x00\x00",
        b"\xc3",
        b'{"num_updates": 4, "a": [1.0}\n',
        b'["num_updates"]\n',
        b"4\n",
        b'{"timesteps": 4}\n',
        b'{"num_updates": "4"}\n',
    ],
)
def test_a_torn_end_is_left_out(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    whole = (json.dumps(row(2, a=[1.0])) + "\n").encode()
    path.write_bytes(whole + torn)
    assert logger.read_jsonl(path) == [row(2, a=[1.0])]
    sink = logger.jsonl(path, keep_updates=10)
    sink.write(row(4, a=[2.0]))
    sink.close()
    assert logger.read_jsonl(path) == [row(2, a=[1.0]), row(4, a=[2.0])]


def test_a_file_torn_at_every_byte(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [row(done, a=[done / 3, None]) for done in (1, 2, 3)]
    text = "".join(json.dumps(one) + "\n" for one in rows)
    ends = [i for i, letter in enumerate(text) if letter == "\n"]
    for length in range(len(text) + 1):
        path.write_text(text[:length])
        # A row is whole without its line's end, too.
        assert logger.read_jsonl(path) == rows[: sum(end <= length for end in ends)]


ROWS = [row(done, a=[done / 4]) for done in (1, 2, 3, 4)]
LINES = [(json.dumps(one) + "\n").encode() for one in ROWS]


@pytest.mark.parametrize(
    "second, why",
    [
        (LINES[1].replace(b"0.5", b"0.\xff"), "byte 45 is not UTF-8"),
        (LINES[1].replace(b"0.5", b"0.\x00"), "it is not valid JSON"),
        (LINES[1][:10] + b"\n", "it is not valid JSON"),
        (LINES[1][:10], "it is not valid JSON"),  # and so the next one is damaged as well
        (b"\n", "it is empty"),
        (b"[1, 2]\n", "not a JSON object with"),
        (b"[" * 100_000 + b"\n", "it is not valid JSON"),
        (b'{"timesteps": 4}\n', "not a JSON object with"),
        (b'{"num_updates": true}\n', "not a JSON object with"),
        (LINES[0], "it repeats the row of update 1"),
    ],
)
def test_damage_is_reported_and_the_rows_after_it_are_kept(tmp_path, caplog, second, why):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + second + LINES[2] + LINES[3])
    damaged = path.read_bytes()
    kept = [ROWS[0], *(ROWS[2:] if second.endswith(b"\n") else ROWS[3:])]
    rows, damage = logger.read_rows(path)
    assert rows == kept and len(damage) == 1
    assert f"{path}, line 2 is damaged and left out: " in damage[0] and why in damage[0]
    assert logger.read_jsonl(path) == kept and logger.read_jsonl(path) == kept
    assert [record.getMessage() for record in caplog.records] == damage  # once
    sink = logger.jsonl(path, keep_updates=3)
    sink.write(row(4, a=[-1.0]))
    sink.close()
    assert logger.read_jsonl(path) == [*[one for one in kept if one["num_updates"] <= 3], row(4, a=[-1.0])]
    assert (tmp_path / "rows.jsonl.damaged").read_bytes() == damaged  # nothing is lost


def test_a_byte_order_mark_and_other_line_ends_do_no_harm(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b"".join(LINES).replace(b"\n", b"\r\n"))
    assert logger.read_jsonl(path) == ROWS and not caplog.records
    logger.jsonl(path, keep_updates=2).close()
    assert path.read_bytes() == b"".join(LINES[:2]) and os.listdir(tmp_path) == ["rows.jsonl"]


def test_a_torn_last_line_is_no_damage(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + LINES[1][:10])
    assert logger.read_rows(path) == (ROWS[:1], [])
    logger.jsonl(path, keep_updates=5).close()
    assert not caplog.records and os.listdir(tmp_path) == ["rows.jsonl"]


def test_much_damage_is_summed_up(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + 20 * b"?\n" + LINES[1])
    assert logger.read_jsonl(path) == ROWS[:2]
    assert len(caplog.records) == logger.MOST_WARNINGS + 1
    assert "15 more damaged lines" in caplog.records[-1].getMessage()


def test_rows_are_never_written_through_a_symbolic_link(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    for name in ("metrics.jsonl", "metrics.tmp", "metrics.jsonl.tmp", f".metrics.jsonl.{os.getpid()}.tmp"):
        (run / name).symlink_to(outside)
    sink = logger.jsonl(run / "metrics.jsonl")
    sink.write(ROWS[0])
    sink.close()
    assert outside.read_text() == "mine" and logger.read_jsonl(run / "metrics.jsonl") == ROWS[:1]


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    sink = logger.jsonl(path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError) as caught:
        sink.write(row(1))
    assert caught.value.filename == str(path)
    sink.close()
    with pytest.raises(OSError):
        logger.jsonl(path, keep_updates=9)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]  # as it was


def test_scalars():
    means = logger.scalars(
        {"a": [1.0, 3.0], "b": 4, "c": [None, 2.0], "d": [None], "e": [], "f": [math.nan, 1.0], "g": math.inf}
    )
    assert means == {"a": 2.0, "b": 4.0, "c": 2.0, "f": 1.0}


def test_finite():
    assert logger.finite([1, 2.5, [math.nan], "text", None, True]) == [1, 2.5, [None], "text", None, True]


@pytest.mark.parametrize("package, make", [("tensorboardX", logger.tensorboard), ("wandb", logger.wandb)])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, package, make):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'jaxrl\["):
        make(tmp_path)


def test_weights_and_biases_gets_means(tmp_path, monkeypatch):
    """With a client that only listens, for the package is an extra."""
    told = []

    class Run:
        def log(self, values, step):
            told.append((values, step))

        def finish(self):
            told.append("finished")

    class Client:
        @staticmethod
        def init(**arguments):
            told.append(arguments)
            return Run()

    monkeypatch.setitem(__import__("sys").modules, "wandb", Client)
    sink = logger.wandb(tmp_path, project="jaxrl", id="run")
    sink.write(row(2, a=[1.0, None, 3.0], b=[None]))
    sink.close()
    arguments = {"dir": str(tmp_path), "resume": "allow", "project": "jaxrl", "id": "run"}
    assert told == [arguments, ({"num_updates": 2.0, "timesteps": 64.0, "a": 2.0}, 64), "finished"]
