"""However a run is stopped, the resumed run writes the same curve and the same state."""

import os
import random
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import curve

from jaxrl import checkpoint, logger, loop
from jaxrl.experiments import cli, runs

FLAGS = ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-epochs", "1"]
FLAGS += ["--config.num-minibatches", "2", "--config.hidden-sizes", "8", "--seeds", "2"]
FLAGS += ["--eval-episodes", "2", "--env.max-steps", "50", "--save-every-seconds", "0"]
SHORT, LONG = 20, 200  # intervals, of 5 updates and a checkpoint each


class Processes:
    """Runs of the command line in separate processes, which share a compile cache."""

    def __init__(self, folder):
        self.folder = folder
        self.env = {**os.environ, "JAXRL_CACHE": str(folder / "cache")}

    def start(self, *argv):
        return subprocess.Popen(
            [sys.executable, "-m", "jaxrl.experiments", *map(str, argv)],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self, path, intervals=SHORT):
        length = ["--intervals", intervals, "--steps", intervals * 5 * 32]
        return self.start("train", "ppo", "CartPole-v1", *FLAGS, *length, "--out", path)

    def train_whole(self, path, intervals=SHORT):
        """The uninterrupted run; it fills the compile cache."""
        self.finish(self.train(path, intervals))
        return path

    def finish(self, process, status=0):
        output, _ = process.communicate(timeout=200)
        assert process.returncode == status, output
        return output


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    return Processes(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def whole(processes):
    return processes.train_whole(processes.folder / "whole")


def wait_for_rows(process, path, number):
    """Waits until a run has written this number of rows; fails if it ends before."""
    while len(logger.read_jsonl(path / "metrics.jsonl")) < number:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def state(path):
    """The leaves of the last checkpoint, and its metadata."""
    spec = runs.from_json(runs.read_info(path)["spec"])
    at = loop.restore(runs.build(spec), path)
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    leaves = jax.tree.leaves((at.state, at.totals))
    leaves = [np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in leaves]
    metadata = checkpoint.read_metadata(path / "checkpoints")
    assert metadata.pop("elapsed_seconds") > 0
    return [(leaf.dtype, leaf.tobytes()) for leaf in leaves], metadata


def assert_same(path, whole):
    rows, all_rows = curve(path), curve(whole)
    assert [row["num_updates"] for row in rows] == [row["num_updates"] for row in all_rows]
    assert rows == all_rows
    assert state(path) == state(whole)
    assert (path / "curves.png").exists() and not list(path.glob("*.tmp"))


def test_the_whole_run(whole):
    assert len(curve(whole)) == SHORT
    assert checkpoint.latest(whole / "checkpoints") == 5 * SHORT


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_saves_and_explains_how_to_resume(processes, whole, tmp_path, number):
    path = tmp_path / "run"
    process = processes.train(path)
    wait_for_rows(process, path, 3)
    process.send_signal(number)
    output = processes.finish(process, status=130)
    assert f"continue with: jaxrl resume {path}" in output and "Traceback" not in output
    done = checkpoint.latest(path / "checkpoints")
    assert f"stopped and saved after {done} of {5 * SHORT} updates" in output
    assert 15 <= done < 5 * SHORT
    output = processes.finish(processes.start("resume", path))
    assert "done in" in output
    assert_same(path, whole)
    assert [session["num_updates"] for session in runs.read_info(path)["sessions"]] == [
        done,
        5 * SHORT,
    ]


@pytest.mark.slow
def test_an_interrupt_before_the_first_update(processes, whole, tmp_path):
    path = tmp_path / "run"
    process = processes.train(path)
    while not (path / "run.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output = processes.finish(process, status=130)
    assert f"continue with: jaxrl resume {path}" in output and "Traceback" not in output
    processes.finish(processes.start("resume", path))
    assert_same(path, whole)


@pytest.mark.slow
def test_a_second_interrupt_while_saving(processes, whole, tmp_path):
    """At several times after the first one; nothing that was saved may be lost."""
    path = tmp_path / "run"
    process = processes.train(path)
    for milliseconds in (0, 5):
        wait_for_rows(process, path, len(curve(path)) + 2)
        before = checkpoint.latest(path / "checkpoints") or 0
        process.send_signal(signal.SIGINT)
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        output = processes.finish(process, status=130)
        assert f"continue with: jaxrl resume {path}" in output and "Traceback" not in output
        assert (checkpoint.latest(path / "checkpoints") or 0) >= before
        process = processes.start("resume", path)
    processes.finish(process)
    assert_same(path, whole)


def test_resuming_a_complete_run(whole, capsys):
    path = whole
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and file.suffix != ".png"}
    assert cli.main(["resume", str(path)]) == 0
    output, errors = capsys.readouterr()
    assert "complete already" in output and errors == ""
    assert {file: file.read_bytes() for file in before} == before
    (path / "curves.png").unlink()
    (path / "metrics.jsonl").rename(path / "elsewhere")
    assert cli.main(["resume", str(path)]) == 0  # even without its rows
    (path / "elsewhere").rename(path / "metrics.jsonl")
    assert cli.main(["resume", str(path)]) == 0
    assert (path / "curves.png").exists()


def kill_again_and_again(processes, whole, path, intervals, num_kills, seed):
    """Kills a run this number of times at random moments, resumes it each time, and then lets it end."""
    draw = random.Random(seed)
    process, moments = processes.train(path, intervals), []
    for number in range(num_kills):
        if number == 0 or draw.random() < 0.35:  # while it starts: imports, compiling, restoring
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=draw.uniform(0.1, 1.8) if number else 0.8)
        else:  # while it trains, writes rows and saves
            wait_for_rows(process, path, len(curve(path)) + draw.randint(1, 5))
            time.sleep(draw.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        rows = curve(path)
        moments.append((len(rows), checkpoint.latest(path / "checkpoints"), bool(leftovers(path))))
        if not (path / "run.json").exists():  # killed before there was a run
            process = processes.train(path, intervals)
            continue
        if draw.random() < 0.3:  # an incomplete row
            with (path / "metrics.jsonl").open("a") as file:
                file.write('{"num_updates": 5, "timest')
        process = processes.start("resume", path)
    processes.finish(process)
    print(f"rows, checkpoint and leftovers at each kill: {moments}")
    assert_same(path, whole)
    assert not leftovers(path)
    return moments


def leftovers(path):
    """The leftovers of a kill during a save."""
    return [*(path / "checkpoints").glob(".tmp_*"), *(path / "checkpoints").glob("*.old")]


def test_kill(processes, whole, tmp_path):
    moments = kill_again_and_again(processes, whole, tmp_path / "run", SHORT, num_kills=2, seed=2)
    assert moments[0][1] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "a [b]"])  # the array store takes the second for a pattern
def test_kill_twenty_times(processes, tmp_path, name):
    whole = processes.folder / "long"
    if not whole.exists():
        processes.train_whole(whole, LONG)
    moments = kill_again_and_again(processes, whole, tmp_path / name, LONG, num_kills=20, seed=1)
    assert any(left for _, _, left in moments)  # one of them hit a save
    assert len({latest for _, latest, _ in moments}) > 5
