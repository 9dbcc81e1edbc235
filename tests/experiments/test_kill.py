"""Every kind of run and study, killed at random moments and resumed, ends with the same files.

A process is killed by SIGKILL after a time drawn uniformly from the time that the whole command took, so also
while it imports, compiles, saves or writes its verdict; then it is resumed, and killed again.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from jaxrl import checkpoint

KILLS = 10  # of each kind
VARYING = ("_seconds", "_per_second", "sessions", "command", "started")  # ends of names
SMALL = ["--config.num-envs", "4", "--config.num-epochs", "1"]
SMALL += ["--config.num-minibatches", "2", "--config.hidden-sizes", "8", "--env.max-steps", "50"]
TRAIN = [*SMALL, "--eval-episodes", "2", "--save-every-seconds", "0"]
PPO = ["ppo", "CartPole-v1", *TRAIN]
SWEEP = ["sweep", *PPO, "--confirm-seeds", "2", "--hp.learning-rate"]
SEARCH = [*SWEEP, "log:1e-4:1e-1", "--steps", "6400", "--search"]
COMPARE = ["compare", "--environments", "CartPole-v1", "--objectives", "dpo", "--no-estimate"]
DISCOVER = ["discover", "--steps", "256", "--generations", "6", "--population", "4", "--tasks", "1"]
DISCOVER += ["--width", "3", "--save-every-seconds", "0"]
TALK = ["talk", "CartPole-v1", "--steps", "512", "--generations", "6"]
META = ["meta", "tune", "--env", "probe/action", "--names", "learning_rate", "--lifetime", "4"]
META += ["--save-every-seconds", "0"]
KINDS = {
    "train": ["train", *PPO, "--seeds", "1", "--steps", "6400", "--intervals", "20"],
    "population": ["train", *PPO, "--seeds", "8", "--steps", "6400", "--intervals", "20"],
    "grid": [*SWEEP, "1e-4,1e-3,1e-2", "--config.num-steps", "8,4", "--steps", "6400", "--intervals", "20"],
    "asha": [*SEARCH, "asha", "--trials", "8", "--slots", "2", "--eta", "2", "--rungs", "3"],
    "pbt": [*SEARCH, "pbt", "--trials", "4", "--decisions", "6"],
    "cmaes": [*SEARCH, "cmaes", "--trials", "4", "--generations", "4"],
    "optuna": [*SEARCH, "optuna", "--trials", "4", "--generations", "4"],
    "compare": [*COMPARE, "--trials", "2", "--tune-seeds", "2", "--seeds", "2", "--steps", "3200", *TRAIN],
    "discover": [*DISCOVER, "--seeds", "2", "--eval-tasks", "2", "--held-out", "8", "--intervals", "6"],
    "talk": [*TALK, "--candidates", "4", "--victims", "1", "--messages", "1", "--hidden", "2"],
    "meta": [*META, "--updates", "8", "--seeds", "2", "--fresh", "2", "--unroll", "2", "--rates", "1e-2"],
}


def run(folder, *words, wait=None):
    """Runs a command; kills it after `wait` seconds. Returns whether it ended before, and the seconds."""
    environment = {**os.environ, "JAXRL_CACHE": str(folder / "cache")}
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxrl.experiments", *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=wait)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False, wait
    assert process.returncode == 0, output
    return True, time.monotonic() - begun


def contents(folder):
    """Everything that a folder holds except times, pictures and pages, by path."""
    found = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                found[name] = {key: arrays[key].tobytes() for key in arrays.files}
        elif file.suffix == ".jsonl":
            found[name] = [steady(json.loads(line)) for line in file.read_text().splitlines()]
        elif file.suffix == ".json" and "checkpoints" not in file.parts:
            found[name] = steady(json.loads(file.read_text()))
    for saved in folder.rglob("checkpoints"):
        name = str(saved.relative_to(folder))
        found[name] = checkpoint.steps(saved), steady(checkpoint.read_metadata(saved))
    return found


def steady(value):
    """The same without what differs between two equal runs: times, sessions and the command."""
    if isinstance(value, dict):
        return {key: steady(one) for key, one in value.items() if not key.endswith(VARYING)}
    return [steady(one) for one in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_command_resumes_to_the_same_files(kind, tmp_path):
    if kind in ("cmaes", "optuna", "discover", "talk"):
        pytest.importorskip("optuna" if kind == "optuna" else "evosax")
    run(tmp_path, *KINDS[kind], "--out", tmp_path / "first")  # fills the compile cache
    _, seconds = run(tmp_path, *KINDS[kind], "--out", tmp_path / "whole")
    path, draw, moments = tmp_path / "killed", random.Random(kind), []
    ended = False
    while len(moments) < KILLS:
        if ended:  # begin again until it was killed often enough
            assert contents(path) == contents(tmp_path / "whole")
            path = tmp_path / f"killed-{len(moments)}"
        started = path.exists() and any(path.iterdir())
        words = ["resume", path] if started else [*KINDS[kind], "--out", path]
        ended, after = run(tmp_path, *words, wait=draw.uniform(0.0, seconds))
        if not ended:
            moments.append((round(after, 1), sorted(file.name for file in path.glob("*"))))
    if not ended:
        started = path.exists() and any(path.iterdir())
        run(tmp_path, *(["resume", path] if started else [*KINDS[kind], "--out", path]))
    print(f"{kind}: {seconds:.1f} s; killed at {moments}")
    assert contents(path) == contents(tmp_path / "whole")
