"""Rows on disk: what was written is read back, also from damaged files."""

import codecs
import errno
import json
import math
import os

import pytest

from jaxrl import files, logger


def row(done, **values):
    return {"num_updates": done, "timesteps": 32 * done, **values}


def test_rows_are_read_back(tmp_path):
    sink = logger.jsonl(tmp_path / "rows.jsonl")
    rows = [row(1, a=[1.5, 2.0]), row(2, a=[0.1 + 0.2, -1e-300])]
    for one in rows:
        sink.write(one)
        assert logger.read_jsonl(tmp_path / "rows.jsonl")[-1] == one  # at once
    sink.close()
    assert logger.read_jsonl(tmp_path / "rows.jsonl") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_values_that_are_not_finite_are_null(tmp_path):
    sink = logger.jsonl(tmp_path / "rows.jsonl")
    sink.write(row(1, a=[math.nan, 1.0, math.inf], b=-math.inf, c=[[math.nan]]))
    sink.close()
    text = (tmp_path / "rows.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text) == row(1, a=[None, 1.0, None], b=None, c=[[None]])


def test_a_missing_file_has_no_rows(tmp_path):
    assert logger.read_jsonl(tmp_path / "none.jsonl") == []


def test_a_resumed_run_rewrites_later_rows(tmp_path):
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
def test_an_incomplete_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    whole = (json.dumps(row(2, a=[1.0])) + "\n").encode()
    path.write_bytes(whole + torn)
    assert logger.read_jsonl(path) == [row(2, a=[1.0])]
    sink = logger.jsonl(path, keep_updates=10)
    sink.write(row(4, a=[2.0]))
    sink.close()
    assert logger.read_jsonl(path) == [row(2, a=[1.0]), row(4, a=[2.0])]


def test_a_file_truncated_at_every_byte(tmp_path):
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
    assert f"{path}, line 2 is damaged and skipped: " in damage[0] and why in damage[0]
    assert logger.read_jsonl(path) == kept and logger.read_jsonl(path) == kept
    assert [record.getMessage() for record in caplog.records] == damage  # once
    sink = logger.jsonl(path, keep_updates=3)
    sink.write(row(4, a=[-1.0]))
    sink.close()
    assert logger.read_jsonl(path) == [*[one for one in kept if one["num_updates"] <= 3], row(4, a=[-1.0])]
    assert (tmp_path / "rows.jsonl.damaged").read_bytes() == damaged  # the damaged file is kept


def test_byte_order_marks_and_other_line_endings_are_accepted(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b"".join(LINES).replace(b"\n", b"\r\n"))
    assert logger.read_jsonl(path) == ROWS and not caplog.records
    logger.jsonl(path, keep_updates=2).close()
    assert path.read_bytes() == b"".join(LINES[:2]) and os.listdir(tmp_path) == ["rows.jsonl"]


def test_some_values_of_rows_are_read_as_in_the_whole_rows(tmp_path):
    """From lines as they are written; others, damaged ones included, are read as a whole."""
    returns = {"episode/return": [1.5, None], "agent/died_at": [None, 8]}
    row = {"num_updates": 1, "timesteps": 32, "loss/policy": [[0.25], [1e-7]], "x_seconds": None, **returns}
    lines = [json.dumps(row | {"num_updates": number}) for number in range(1, 12)]
    lines[1] = lines[1].replace(", ", " ,  ")  # written by another program
    lines[2] = lines[2].replace('"loss/policy"', '"loss/\\u00fc"')
    lines[3] = lines[3].replace("1.5", "1.5.5")  # damaged, and so are the next ones
    lines[4] = lines[4].replace("0.25", "x")
    lines[5] = lines[5][:-1]
    lines[6] = lines[6].replace("32", "3e1")
    lines[7] = lines[7].replace("null, 8", "null, [8]")
    lines[8] = lines[8].replace("null", "1e999")
    lines[9] = lines[9].replace('"num_updates": 10', '"num_updates": 1')
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    rows, damage = logger.read_rows(tmp_path / "rows.jsonl", ["timesteps"])
    some, same = logger.read_rows(tmp_path / "rows.jsonl", ["timesteps"], list(returns))
    assert [one["num_updates"] for one in rows] == [1, 2, 3, 11] and len(damage) == 7 and same == damage
    names = ("num_updates", "timesteps", *returns)
    assert some == [{name: one[name] for name in names} for one in rows]
    assert logger.num_lines(tmp_path / "rows.jsonl") == 11 and logger.num_lines(tmp_path / "none") == 0


def test_an_incomplete_last_line_is_not_damage(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + LINES[1][:10])
    assert logger.read_rows(path) == (ROWS[:1], [])
    logger.jsonl(path, keep_updates=5).close()
    assert not caplog.records and os.listdir(tmp_path) == ["rows.jsonl"]


def test_much_damage_is_summed_up(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES[0] + 20 * b"?\n" + LINES[1])
    assert logger.read_jsonl(path) == ROWS[:2]
    assert len(caplog.records) == logger.rows.MOST_WARNINGS + 1
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


@pytest.mark.parametrize(
    "package, make",
    [
        ("tensorboardX", lambda path: logger.tensorboard(path, [])),
        ("wandb", lambda path: logger.wandb(path, [], "", "")),
    ],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, package, make):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ValueError, match=r"pip install 'jaxrl\["):
        make(tmp_path)


SERIES = [
    logger.Series("iqm", "iqm", (0, 1, 2), {"hp.gamma": 0.9}),
    logger.Series("seed-3", "agent", (0,), {"hp.gamma": 0.9, "seed": 3}),
    logger.Series("seed-4", "agent", (1,), {"hp.gamma": 0.9, "seed": 4}),
]


def test_scalars_of_some_agents():
    one = row(2, a=[1.0, None, 3.0, 99.0], b=[None], c=4.0)
    common = {"num_updates": 2.0, "timesteps": 64.0, "c": 4.0}
    assert logger.scalars(one, (0,)) == {**common, "a": 1.0}
    assert logger.scalars(one, (1,)) == common
    assert logger.scalars(one, (0, 1, 2)) == {**common, "a": 2.0, "a_min": 1.0, "a_max": 3.0}


def test_weights_and_biases_gets_a_run_for_each_agent_and_one_for_all(tmp_path, monkeypatch):
    """With a client that only records calls, because the package is an extra."""
    calls = []

    class Run:
        def __init__(self, id, **arguments):
            self.id = id
            calls.append((id, arguments))

        def log(self, values, step):
            calls.append((self.id, values, step))

        def finish(self):
            calls.append((self.id, "finished"))

    class Client:
        init = Run

    monkeypatch.setitem(__import__("sys").modules, "wandb", Client)
    sink = logger.wandb(tmp_path, SERIES, "run", "run-2026", project="mine", group="run")
    sink.write(row(2, a=[1.0, None, 3.0]))
    sink.close()
    ids = ["run-2026-iqm", "run-2026-seed-3", "run-2026-seed-4"]
    assert [call[0] for call in calls] == 3 * ids
    for one, (_, arguments) in zip(SERIES, calls):
        assert arguments == {
            "dir": str(tmp_path),
            "resume": "allow",
            "reinit": "create_new",
            "project": "mine",
            "group": "run",
            "name": f"run-{one.name}",
            "job_type": one.kind,
            "config": one.settings,
        }
    common = {"num_updates": 2.0, "timesteps": 64.0}
    spread, first, second = (call[1:] for call in calls[3:6])
    assert spread == ({**common, "a": 2.0, "a_min": 1.0, "a_max": 3.0}, 64)
    assert first == ({**common, "a": 1.0}, 64) and second == (common, 64)
    assert [call[1] for call in calls[6:]] == 3 * ["finished"]


def test_tensorboard_has_a_folder_for_each_agent_with_its_hyperparameters(tmp_path):
    results = {}
    for after in (0, 64):
        folder = tmp_path / str(after)  # separate folders: within a second, both would be the same file
        sink = logger.tensorboard(folder, SERIES, after)
        sink.write(row(2 + after // 32, a=[1.0, None, 3.0]))
        sink.close()
        assert sorted(path.name for path in folder.iterdir()) == ["iqm", "seed-3", "seed-4"]
        for one in folder.iterdir():
            (file,) = one.iterdir()
            results[after, one.name] = events(file)
    assert ("a", 64, 1.0) in scalars_of(results[0, "seed-3"])
    assert ("a", 128, 1.0) in scalars_of(results[64, "seed-3"])
    assert {("a", 64, 2.0), ("a_min", 64, 1.0), ("a_max", 64, 3.0)} <= scalars_of(results[0, "iqm"])
    values = [value for event in results[0, "seed-3"] for value in event.summary.value]
    plugins = [value.metadata.plugin_data for value in values if value.HasField("metadata")]
    hparams = [data.content for data in plugins if data.plugin_name == "hparams"]
    assert len(hparams) == 2 and any(b"hp.gamma" in content for content in hparams)
    # A resumed run has TensorBoard drop what was written for later steps than its checkpoint's.
    assert [event.step for event in results[64, "seed-3"] if event.HasField("session_log")] == [65]


def events(path):
    """The events of a file: length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, result = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        result.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    return result


def scalars_of(results):
    return {(v.tag, event.step, v.simple_value) for event in results for v in event.summary.value}


AGENTS = [{"trial": 5, "seed": 3}, {"trial": 5, "seed": 4}]


def test_a_csv_file_has_a_line_for_each_row_and_agent(tmp_path):
    path, rows_path = tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    sinks = [logger.jsonl(rows_path), logger.csv_file(path, rows_path, AGENTS)]
    write = lambda one: [sink.write(one) for sink in sinks]  # noqa: E731
    write(row(1, **{"a/b": [0.1 + 0.2, math.nan], "speed": 9.5}))
    write(row(2, **{"a/b": [None, 1e-300], "speed": 8.5}))
    begin = "num_updates,timesteps,trial,seed,a/b,speed"
    lines = ["1,32,5,3,0.30000000000000004,9.5", "1,32,5,4,,9.5", "2,64,5,3,,8.5", "2,64,5,4,1e-300,8.5"]
    assert path.read_text().splitlines() == [begin, *lines]  # at once
    write(row(3, **{"a/b": [1.0, 2.0], "speed": 7.5, "agent/died_at": [None, 96]}))  # a new column
    later = ["3,96,5,3,1.0,7.5,", "3,96,5,4,2.0,7.5,96"]
    assert path.read_text().splitlines() == [
        f"{begin},agent/died_at",
        *[line + "," for line in lines],
        *later,
    ]
    [sink.close() for sink in sinks]
    path.write_text(path.read_text()[:-3])  # truncated by a kill
    sinks = [logger.jsonl(rows_path, keep_updates=1), logger.csv_file(path, rows_path, AGENTS)]
    write(row(2, **{"a/b": [None, 1e-300], "speed": 6.5}))
    [sink.close() for sink in sinks]
    again = [line.replace("8.5", "6.5") for line in lines]
    assert path.read_text().splitlines() == [begin, *again]  # no row twice, as in an uninterrupted run
