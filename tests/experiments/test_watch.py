"""Watching a run that another process trains."""

import dataclasses
import json

import pytest

from jaxrl import files
from jaxrl.experiments import runs, spec_options
from jaxrl.experiments.commands import watch
from jaxrl.experiments.studies import parts, study
from jaxrl.experiments.studies.meta import two_colours
from jaxrl.experiments.studies.talk.game import Setting


@pytest.fixture
def run(tmp_path):
    """The folder of a run of 2 agents and 8 updates, and a function that writes its next row."""
    argv = ["ppo", "CartPole-v1", "--seeds", "2", "--config.num-envs", "4", "--config.num-steps", "8"]
    spec, _, options = spec_options.parse_spec("train", spec_options.train_options, [*argv, "--steps", "256"])
    spec = dataclasses.replace(spec, hparams=spec.hparams.replace(total_updates=8.0))
    path = tmp_path / "run"
    runs.create_folder(path, spec, options, ["jaxrl", "train", *argv])
    written = []

    def write():
        written.append(2 * len(written) + 2)
        done = written[-1]
        row = {"num_updates": done, "timesteps": 32 * done, "elapsed_seconds": done / 2}
        row |= {"steps_per_second": 640.0} if done > 2 else {}  # of both agents, for 0.1 s an update
        with (path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row | {"evaluation/return": [10.0 * done, 20.0 * done]}) + "\n")

    return path, write


def test_the_state_is_shown_once(command, run):
    path, write = run
    status, said, _ = command("watch", path, "--once")
    assert (status, said) == (0, "ppo CartPole-v1, 2 agents\nno row of metrics yet\n")
    write()
    write()
    status, said, _ = command("watch", path, "--once")
    _, row, age = said.splitlines()
    assert row == " 50%  steps 128  return –  evaluation IQM 60 (40 … 80)  640 steps/s"
    assert age == "0:02 elapsed; the last row is 0:00 old"
    write()
    write()
    assert command("watch", path, "--once")[1].endswith("0:04 elapsed; complete\n")


def test_rows_are_shown_as_they_are_written_until_the_run_is_complete(command, run, monkeypatch):
    path, write = run
    monkeypatch.setattr(watch.time, "sleep", lambda _: write())
    status, said, _ = command("watch", path)
    first, *rows, returns, commands = said.splitlines()
    assert status == 0 and first == "waiting for the first row of metrics ..."
    assert [row.split()[0] for row in rows] == ["25%", "50%", "75%", "100%"]
    assert returns == "complete: return IQM 120 (95 % interval 80 to 160)" and f"evaluate {path}" in commands
    assert command("watch", path)[1].splitlines()[:-2] == rows  # of a finished run


def test_an_interrupt_ends_watching(command, run, monkeypatch):
    path, write = run
    write()

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupt)
    status, said, errors = command("watch", path)
    assert (status, errors) == (0, "") and said.count("\n") == 1


def test_that_no_process_trains_is_shown_once(command, run, monkeypatch):
    """And not while one does."""
    path, write = run
    write()
    looks = []

    def look(_):
        looks.append(None)
        if len(looks) == 30:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", look)
    line = f"no process on this machine trains here: `jaxrl resume {path}` continues\n"
    assert command("watch", path)[1].count(line) == 1
    looks.clear()
    with files.lock(path, ""):
        assert "no process" not in command("watch", path)[1]


def test_a_panel_on_a_terminal(run, monkeypatch):
    path, write = run
    calls = []
    recorders = [lambda *its, name=name: calls.append((name, *its)) for name in ("status", "progress", "row")]
    panel = watch.reporters.Reporter(*recorders, close=lambda: None)
    monkeypatch.setattr(watch.reporters, "panel", lambda *its, **more: calls.append((its, more)) or panel)
    monkeypatch.setattr(watch.time, "sleep", lambda _: write())
    watch.follow(path, watch.describe(path), path, live=True)
    sizes, more = calls[0]
    assert sizes == ("ppo CartPole-v1", 8, 32, 2) and more["warmup_steps"] == 0
    assert "Ctrl-C" in more["interrupt"]
    shown = [its for name, *its in calls[1:] if name == "progress"]
    assert shown == [[2, 1.0, 0], [4, 0.4, 0], [6, 0.6, 0], [8, 0.8, 0]]
    assert [its for name, *its in calls[1:] if name == "status"] == [["waiting for the next row ..."]] * 3


def test_folders_that_cannot_be_watched(command, run, tmp_path):
    path, _ = run
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "fit.json").write_text("{}")
    info = json.loads((path / "run.json").read_text())
    del info["spec"]["hparams"]["total_updates"]
    (path / "run.json").write_text(json.dumps(info))
    for folder, words in (
        (tmp_path, "is no run: it has no run.json"),
        (tmp_path / "none", "there is no such folder"),
        (tmp_path / "fit", "fit.json: run is missing"),
        (path, "run.json: spec.hparams.total_updates is missing"),
    ):
        status, _, errors = command("watch", folder)
        assert status == 2 and words in errors and errors.count("\n") == 1


def test_a_run_by_fit_can_be_watched(command, tmp_path):
    run = {"seed": 0, "seeds": 3, "steps": 100, "steps_per_update": 32, "hparams": {}}
    (tmp_path / "fit.json").write_text(json.dumps({"algorithm": "mine", "run": run, "num_updates": 4}))
    assert watch.describe(tmp_path) == watch.About("mine", 3, 4, 32)
    (tmp_path / "metrics.jsonl").write_text('{"num_updates": 4, "timesteps": 128}\n')
    status, said, _ = command("watch", tmp_path)
    assert status == 0 and said.endswith("complete\n") and said.startswith("100%  steps 128")


# --- studies ----------------------------------------------------------------------------------------


@pytest.fixture
def evolving(tmp_path):
    """The folder of a talk of 3 generations, and a function that writes its next row, at last its result."""
    sizes = {"messages": 2, "hidden": 4, "std": 0.3, "goals": 1, "seed": 0}
    setting = Setting("CartPole-v1", "harm", steps=100, generations=3, candidates=4, victims=2, **sizes)
    with study.new(tmp_path / "talk", "talk.json") as plan:
        plan({"setting": dataclasses.asdict(setting), "command": ["jaxrl", "talk"]})
    written = []

    def write():
        written.append(len(written) + 1)
        if len(written) > 3:
            (tmp_path / "talk" / "result.json").write_text("{}")
        else:
            with (tmp_path / "talk" / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"num_updates": len(written), "score": [1.0, 2.0, 3.0, 4.0]}) + "\n")

    return tmp_path / "talk", write


def test_a_study_is_watched_part_by_part_until_it_is_complete(command, evolving, monkeypatch):
    path, write = evolving
    status, said, _ = command("watch", path, "--once")
    first = "talk: generations (1 of 2)\n"
    assert (status, said) == (0, f"{first}generations, 4 agents\nno row of metrics yet\n")
    write()
    said = command("watch", path, "--once")[1]
    assert said.startswith(first) and "\n 33%  steps 800  return IQM 2.5 (1 … 4)  " in said
    monkeypatch.setattr(watch.time, "sleep", lambda _: write())
    status, said, _ = command("watch", path)
    lines = said.splitlines()
    assert status == 0 and lines[0] == first.strip()
    assert [line.split()[0] for line in lines[1:4]] == ["33%", "67%", "100%"]
    assert lines[4:] == ["talk: evaluation with new victims (2 of 2)", "complete"]
    assert command("watch", path)[1] == "complete\n"


def test_studies_of_files_show_which_part_is_computed(command, tmp_path):
    settings = dataclasses.asdict(two_colours.Options(methods=("bootstrapped", "fixed"), steps=1000))
    with study.new(tmp_path / "meta", "meta.json") as write:
        write({"experiment": "two-colours", "settings": settings, "objective": None, "command": ["jaxrl"]})
    assert command("watch", tmp_path / "meta", "--once")[1] == "meta: fixed (1 of 3)\n"
    (tmp_path / "meta" / "fixed.json").write_text("{}")
    assert command("watch", tmp_path / "meta", "--once")[1] == "meta: bootstrapped (2 of 3)\n"


def test_parts_are_announced_with_the_time_left(monkeypatch):
    clock, lines = iter([0.0, 0.0, 1.0, 31.0]), []
    monkeypatch.setattr(parts.time, "perf_counter", lambda: next(clock))
    sizes = {"known": 0.0, "small": 1.0, "large": 2.0}
    assert list(parts.announced("training", sizes, lines.append)) == list(sizes)
    assert lines == [
        "training: known (1 of 3) ...",
        "training: small (2 of 3) ...",
        "training: large (3 of 3, about 1:02 left) ...",
    ]
