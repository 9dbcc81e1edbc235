"""Nothing that was saved is lost, overwritten or silently changed, whatever happens to a run's folder."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import curve, run_command

from jaxrl import checkpoint, files, logger, objective_file, objectives
from jaxrl.experiments import cli, folders, runs, spec_options
from jaxrl.experiments.report import data
from jaxrl.experiments.studies import sweep as sweeps

pytestmark = pytest.mark.usefixtures("cache")

SMALL = ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-epochs", "1"]
SMALL += ["--config.num-minibatches", "2", "--config.hidden-sizes", "8", "--env.max-steps", "50"]
SMALL += ["--steps", "256", "--seeds", "2", "--intervals", "4", "--eval-episodes", "2"]
TRAIN = ["train", "ppo", "CartPole-v1", *SMALL, "--save-every-seconds", "0"]
SWEEP = ["sweep", "ppo", "CartPole-v1", *SMALL, "--hp.gamma", "0.9,0.99", "--confirm-seeds", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "run"
    status, output = run_command(*TRAIN, "--out", path)
    assert status == 0, output
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("swept") / "sweep"
    status, output = run_command(*SWEEP, "--out", path)
    assert status == 0, output
    return path


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a complete run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def refused(*argv):
    """The one-line error of a command, which may have printed an announcement before."""
    status, output = run_command(*argv)
    assert status == 2 and output.count("jaxrl: error: ") == 1 and "Traceback" not in output, output
    last = output.splitlines()[-1]
    assert last.startswith("jaxrl: error: ")
    return last


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def half_done(run):
    """Converts a complete run to one that was stopped halfway."""
    for step in checkpoint.steps(run / "checkpoints"):
        if step > 4:
            shutil.rmtree(run / "checkpoints" / f"step_{step:08d}")


# --- names of folders -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lr[1e-3]"])
@pytest.mark.slow
def test_a_run_in_a_folder_with_special_characters(trained, tmp_path, name):
    path = tmp_path / name
    assert run_command(*TRAIN, "--out", path)[0] == 0
    half_done(path)
    status, output = run_command("resume", path)
    assert status == 0 and "done in" in output
    assert curve(path) == curve(trained)
    assert os.listdir(tmp_path) == [name]
    copy = Path(shutil.copytree(trained, tmp_path / "x[1]"))  # of a run that was saved elsewhere
    status, output = run_command("evaluate", copy, "--episodes", "2")
    assert status == 0 and "after 8 updates" in output


# --- damaged rows -----------------------------------------------------------------------------------

DAMAGE = {
    "a bad byte": lambda lines: [lines[0], lines[1][:20] + b"\xff" + lines[1][21:], *lines[2:]],
    "a bad byte in the last row": lambda lines: [*lines[:-1], lines[-1][:20] + b"\xff" + lines[-1][21:]],
    "an empty line": lambda lines: [lines[0], b"\n", *lines[1:]],
    "half a last line": lambda lines: [*lines[:-1], lines[-1][:40]],
    "half a last line, ended": lambda lines: [*lines[:-1], lines[-1][:40] + b"\n"],
    "a mark of the byte order": lambda lines: [b"\xef\xbb\xbf", *lines],
    "a list": lambda lines: [lines[0], b"[1, 2]\n", *lines[1:]],
    "doubled lines": lambda lines: [lines[0], *lines, lines[1]],
    "no last row": lambda lines: lines[:-1],
    "nothing": lambda lines: [],
    "another last return": lambda lines: [*lines[:-1], lines[-1].replace(b'"evaluation/', b'"x/')],
}
REPORTED = {"a bad byte", "a bad byte in the last row", "an empty line", "half a last line, ended", "a list"}
REPORTED |= {"doubled lines"}


def damage(folder, kind):
    file = folder / "metrics.jsonl"
    file.write_bytes(b"".join(DAMAGE[kind](file.read_bytes().splitlines(keepends=True))))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_finished_sweep_never_changes_its_results(swept, tmp_path, kind, caplog):
    path = Path(shutil.copytree(swept, tmp_path / "sweep"))
    for group in ("group-1", "confirm"):
        damage(path / group, kind)
    (path / "results.jsonl").unlink()
    sweeps.write_results(path)  # what a resume does at its end
    assert (path / "results.jsonl").read_bytes() == (swept / "results.jsonl").read_bytes()
    warnings = [record.getMessage() for record in caplog.records]
    assert bool(warnings) == (kind in REPORTED)
    assert all(f"{path}/" in text and "metrics.jsonl, line " in text for text in warnings)
    (one,), (other,) = data.read([path]), data.read([swept])
    names = ("score", "interval", "per_seed", "died", "steps")
    for one_record, whole in zip(one.trials + one.confirms, other.trials + other.confirms, strict=True):
        assert [one_record[name] for name in names] == [whole[name] for name in names]


def test_a_damaged_sweep_is_resumed_and_reported(swept, tmp_path, capsys):
    """The damage is reported on standard error."""
    path = Path(shutil.copytree(swept, tmp_path / "sweep"))
    damage(path / "group-1", "a bad byte in the last row")
    for command in ("resume", "report"):
        logger.rows._warn.cache_clear()
        status = cli.main([command, str(path)])
        assert status == 0
        warning = f"jaxrl: warning: {path / 'group-1' / 'metrics.jsonl'}, line 4 is damaged and skipped: "
        assert f"{warning}byte 21 is not UTF-8\n" in capsys.readouterr().err
        assert (path / "results.jsonl").read_bytes() == (swept / "results.jsonl").read_bytes()


@pytest.mark.parametrize("kind", ["a bad byte", "half a last line", "doubled lines"])
def test_a_stopped_run_keeps_the_rows_after_the_damage(trained, run, kind, caplog):
    half_done(run)
    damage(run, kind)
    before = (run / "metrics.jsonl").read_bytes()
    status, output = run_command("resume", run)
    assert status == 0, output
    wanted = curve(trained)
    assert curve(run) == ([wanted[0], *wanted[2:]] if kind == "a bad byte" else wanted)
    if kind in REPORTED:
        assert "metrics.jsonl, line 2 is damaged" in caplog.records[0].getMessage()
        assert (run / "metrics.jsonl.damaged").read_bytes() == before
    assert run_command("report", run)[0] == 0


def test_totals_of_an_earlier_version_are_not_guessed_from_damaged_rows(run, monkeypatch):
    """Its checkpoints hold no row, so a result could be that of an earlier interval."""
    monkeypatch.setattr("jaxrl.records.kept", lambda path: None)
    assert run_command("report", run)[0] == 0
    damage(run, "a bad byte in the last row")
    status, output = run_command("report", run)
    assert status == 2 and "metrics.jsonl, line 4 is damaged" in output and "repair the file" in output


def test_a_diverged_agent_stays_diverged_without_its_row(tmp_path):
    path = tmp_path / "run"
    words = ["--hp.learning-rate", "1e30", "--hp.max-grad-norm", "1e30"]
    assert run_command(*TRAIN, *words, "--out", path)[0] == 0
    rows = [row.get("agent/died_at") for row in logger.read_jsonl(path / "metrics.jsonl")]
    assert any(rows), rows
    assert run_command("report", path, "--data", tmp_path / "a.jsonl")[0] == 0
    half_done(path)
    (path / "metrics.jsonl").write_bytes(b"?\n" * 3)
    assert run_command("resume", path)[0] == 0
    assert [row.get("agent/died_at") for row in logger.read_jsonl(path / "metrics.jsonl")] == rows[2:]
    assert run_command("report", path, "--data", tmp_path / "b.jsonl")[0] == 0
    records = [(tmp_path / name).read_text().splitlines()[1] for name in ("a.jsonl", "b.jsonl")]
    died = [json.loads(record)["died"] for record in records]
    assert died[0] and died[0] == died[1]


# --- checkpoints and files of a run -----------------------------------------------------------------


def test_an_older_checkpoint_under_the_newest_name(run):
    checkpoints = run / "checkpoints"
    newest, older = (checkpoints / f"step_{step:08d}" for step in checkpoint.steps(checkpoints)[:-3:-1])
    shutil.rmtree(newest)
    older.rename(newest)
    before = contents(run)
    for command in ("resume", "evaluate", "render"):
        assert "was renamed: it is the checkpoint of step 6, not of step 8" in refused(command, run)
    assert contents(run) == before


OWN = ["run.json", "metrics.jsonl", "checkpoints/step_00000008/metadata.json"]


def test_outputs_never_replace_the_files_of_a_run(run, tmp_path):
    (run / "objective-0.json").write_text("{}")
    (run / "checkpoints" / "a.gif").write_text("")
    (tmp_path / "link.jsonl").symlink_to(run / "metrics.jsonl")
    os.link(run / "metrics.jsonl", tmp_path / "hard.jsonl")
    before = contents(run)
    for file in (run / "metrics.jsonl", tmp_path / "link.jsonl", tmp_path / "hard.jsonl"):
        if file.name != "hard.jsonl":
            assert "belongs to the run in" in refused("report", run, "--data", file)
    assert "belongs to the run in" in refused("plot", run, "--out", run / "metrics.jsonl")
    for name in ("run.json", "objective-0.json", "checkpoints/new.png", "checkpoints/step_00000008/x.png"):
        assert "belongs to the run in" in refused("plot", run, "--out", run / name)
    assert "belongs to the run in" in refused("render", run, "--out", run / "checkpoints" / "a.gif")
    assert "belongs to the run in" in refused("report", run, "--out", run / "checkpoints" / "a.html")
    assert "belongs to the run in" in refused("drift", "ppo", "--out", run / "checkpoints" / "a.png")
    assert contents(run) == before
    with contextlib.chdir(run):
        assert "belongs to the run in" in refused("report", ".", "--data", "metrics.jsonl")
    assert run_command("report", run, "--data", tmp_path / "data.jsonl")[0] == 0
    data = (tmp_path / "data.jsonl").read_bytes()
    both = ["report", run, tmp_path / "data.jsonl", "--out", tmp_path / "a.html"]
    assert "is read and cannot be written" in refused(*both, "--data", tmp_path / "data.jsonl")
    assert (tmp_path / "data.jsonl").read_bytes() == data and not (tmp_path / "a.html").exists()
    # A hard link is replaced, and so the rows of the run stay as they are.
    assert run_command("report", run, "--data", tmp_path / "new" / "data.jsonl")[0] == 0
    assert contents(run)[run / "metrics.jsonl"] == before[run / "metrics.jsonl"]


def test_outputs_on_a_full_disk(run, tmp_path, monkeypatch):
    commands = {
        "plot": ["plot", run, "--out", tmp_path / "plot.png"],
        "report": ["report", run, "--out", tmp_path / "report.html", "--data", tmp_path / "data.jsonl"],
        "render": ["render", run, "--out", tmp_path / "render.gif", "--max-steps", "3"],
        "drift": ["drift", "ppo", "--out", tmp_path / "drift.svg"],
    }
    for words in commands.values():
        assert run_command(*words)[0] == 0
    before = contents(tmp_path)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    for name, words in commands.items():
        output = refused(*words)
        assert "No space left on device" in output and f"{name}." in output
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_links_out_of_a_folder_are_not_followed(run, tmp_path):
    """An untrusted folder whose files are symbolic links to files of the user."""
    half_done(run)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    made = ["metrics.tmp", "metrics.jsonl.tmp", "run.json.tmp", "curves.png", "report.html", "episode.gif"]
    made += ["search.json", "metrics.jsonl.damaged"]
    made += [f".{name}.{os.getpid()}.tmp" for name in ("run.json", "metrics.jsonl", "curves.png")]
    made += ["checkpoints/.tmp_6_1", f"checkpoints/.tmp_6_{os.getpid()}"]
    for name in made:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside)
    damage(run, "a bad byte")
    for command in ("resume", "plot", "report", "render"):
        status, output = run_command(command, run)
        assert status == 0, output
    assert outside.read_text() == "mine"
    for name in ("curves.png", "report.html", "episode.gif"):
        assert (run / name).is_file() and not (run / name).is_symlink()


@pytest.mark.parametrize("name", ["checkpoints", "tensorboard", "tensorboard/seed-3"])
def test_linked_folders_in_a_run_are_refused(run, tmp_path, name):
    half_done(run)
    (run / name).parent.mkdir(exist_ok=True)
    if (run / name).exists():
        shutil.move(run / name, tmp_path / "outside")
    else:
        (tmp_path / "outside").mkdir()
    (run / name).symlink_to(tmp_path / "outside")
    before = contents(tmp_path)
    assert f"{name} is a symbolic link" in refused("resume", run)
    assert contents(tmp_path) == before


def test_linked_runs_in_a_study_are_refused(swept, tmp_path):
    path = Path(shutil.copytree(swept, tmp_path / "sweep"))
    (path / "group-1").rename(tmp_path / "mine")
    (path / "group-1").symlink_to(tmp_path / "mine")
    status, output = run_command("resume", path)
    assert status == 2 and "group-1 is a symbolic link" in output


# --- access to a folder -----------------------------------------------------------------------------


def test_default_folders_are_unique(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(folders.reserve, ["ppo-a/b"] * 16))
    assert len(set(results)) == 16 and all(path.is_dir() and path.parent == Path("runs") for path in results)
    for path in results:
        folders.release(path)
    assert not list(tmp_path.iterdir())
    for words in (["train", "ppo", "CartPole-v1", "--steps", "0"], [*TRAIN, "--dry-run", "--steps", "-1"]):
        refused(*words)
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs").write_text("")
    assert "choose another --out" in refused(*TRAIN)


@pytest.mark.parametrize("locks", [True, False])
def test_one_of_many_processes_gets_a_new_folder(tmp_path, monkeypatch, locks):
    """Without locks, as on some network file systems, by creating the file that marks the folder."""
    if not locks:
        monkeypatch.setattr(folders, "claim", lambda *_: contextlib.nullcontext())
        monkeypatch.setattr(folders, "require_new", lambda *_: None)  # all of them look before one writes
    code = "with folders.new(path, mark): files.create(path / mark, word)"
    code = compile(code, "code", "exec")

    def take(number):
        mark = "run.json" if number % 2 or not locks else "sweep.json"
        names = {"path": tmp_path / "new", "mark": mark, "word": str(number)}
        try:
            exec(code, {"folders": folders, "files": files, **names})
        except ValueError as error:
            return str(error)
        return None

    if locks:
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(take, range(8)))
    else:
        results = [take(number) for number in range(4)]
    assert results.count(None) == 1
    assert all("choose another --out" in text for text in results if text)
    (mark,) = (tmp_path / "new").iterdir()
    assert mark.read_text() == str(results.index(None))


@pytest.mark.slow
def test_two_trainings_into_one_new_folder(tmp_path):
    """One of them trains, the other is refused in one line."""
    path = tmp_path / "run"
    command = [sys.executable, "-m", "jaxrl.experiments", *TRAIN, "--out", str(path), "--seed"]
    both = [
        subprocess.Popen([*command, seed], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for seed in ("1", "2")
    ]
    output = [one.communicate(timeout=200) for one in both]
    codes = [one.returncode for one in both]
    assert sorted(codes) == [0, 2], output
    errors = output[codes.index(2)][1]
    assert errors.startswith("jaxrl: error: ") and errors.count("\n") == 1
    assert "choose another --out" in errors
    spec = runs.read_info(path)["spec"]
    assert spec["seed"] == codes.index(0) + 1
    assert checkpoint.read_metadata(path / "checkpoints")["spec"]["seed"] == spec["seed"]


# --- objectives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{file}", "ppo+{file}", "{file}+{file}"])
def test_a_run_keeps_the_objective_of_a_file(tmp_path, name):
    """Nothing but its name and its parameters is needed later, so the file and the folder may move."""
    file = tmp_path / "mine.json"
    objective_file.save(file, "lpo", objectives.lpo(width=4).params)
    spec = spec_options.parse_spec(
        "train", spec_options.train_options, [*TRAIN[1:], "--objective", name.format(file=file)]
    )[0]
    file.unlink()
    again = runs.from_json(json.loads(json.dumps(spec.to_json())))
    assert again.objective == name.format(file="lpo") and str(tmp_path) not in json.dumps(again.to_json())
    assert again.to_json() == spec.to_json()
    runs.build(again)


# --- what is imported -------------------------------------------------------------------------------

NAMES = ("resource", "orbax", "tyro", "json5", "jax", "numpy", "secrets", "matplotlib")


def test_nothing_is_imported_from_the_current_folder(tmp_path):
    """An untrusted folder may contain anything; a command in it must not run its modules."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    script = Path(sysconfig.get_path("scripts")) / "jaxrl"
    if not script.exists():
        pytest.skip("the console script is not installed")
    words = [script, *TRAIN, "--dry-run"]
    answer = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert answer.returncode == 0, answer.stderr
    assert "memory:" in answer.stdout  # that of a separate process
    assert not (tmp_path / "ran").exists()
