"""The command line: what is good ends in a run, what is bad in one line and exit status 2."""

import contextlib
import csv
import dataclasses
import errno
import gc
import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import slow_except
from PIL import Image
from rich.console import Console

import jaxrl
from jaxrl import checkpoint, fields, files, logger, loop, objectives, records, reporters
from jaxrl.algos import ppo
from jaxrl.experiments import cli, folders, presets, runs, spec_options
from jaxrl.experiments import options as parsing
from jaxrl.experiments.commands import list as list_command
from jaxrl.experiments.runs import extend, sinks, training
from jaxrl.experiments.runs import programs as run_programs

SMALL = ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-epochs", "1"]
SMALL += ["--config.num-minibatches", "2", "--config.hidden-sizes", "8"]
CARTPOLE = ["train", "ppo", "CartPole-v1"]
PENDULUM = ["train", "ppo", "Pendulum-v1"]


FLAGS = [*SMALL, "--steps", "250", "--seeds", "2", "--seed", "3", "--intervals", "4", "--eval-episodes", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two agents: 8 updates in 4 intervals. Its folder, and the lines that it output."""
    path = tmp_path_factory.mktemp("cli") / "run"
    argv = [*CARTPOLE, *FLAGS, "--save-every-seconds", "0", "--tensorboard", "--out", str(path)]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main(argv) == 0
    return path, output.getvalue().splitlines()


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run to spoil."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


@pytest.fixture
def refused(command, tmp_path):
    """Runs a command that must be refused in one line with all of `words`; no run may be left behind."""

    def call(argv, *words):
        before = sorted(tmp_path.rglob("*"))
        status, _, errors = command(*argv)
        assert status == 2
        assert errors.startswith("jaxrl: error: ") and errors.count("\n") == 1 and len(errors) < 500
        for word in words:
            assert word in errors, errors
        assert sorted(tmp_path.rglob("*")) == before
        return errors

    return call


def spoil(run, **changes):
    """Changes top-level entries of a run.json."""
    file = run / "run.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, **changes}))
    return info


# --- bad input: what is typed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv, words",
    [
        ("trian ppo CartPole-v1", ["unknown command 'trian'", "nearest: train"]),
        ("--bogus", ["unknown command '--bogus'", "train"]),
        ("train", ["an algorithm and an environment", "jaxrl train ppo CartPole-v1"]),
        ("train ppo", ["an algorithm and an environment", "jaxrl train ppo CartPole-v1"]),
        ("train --steps 5", ["an algorithm and an environment"]),
        ("train pp CartPole-v1", ["unknown algorithm 'pp'", "nearest: ppo"]),
        ("train CartPole-v1 ppo", ["unknown algorithm 'CartPole-v1'", "ppo"]),
        ("train ppo cartpole", ["unknown environment 'cartpole'", "nearest: CartPole-v1"]),
        ("train ppo Xyz", ["unknown environment 'Xyz'", "and "]),
        ("resume", ["jaxrl resume", "required", "--help"]),
        ("evaluate", ["jaxrl evaluate", "required", "--help"]),
        ("render", ["jaxrl render", "required", "--help"]),
        ("plot", ["jaxrl plot RUN"]),
        ("resume a b", ["options: b", "--help"]),
        ("evaluate a --episodes ten", ["--episodes takes a whole number, not 'ten'"]),
        ("evaluate a --episodes 0", ["episodes = 0 must be at least 1"]),
        ("evaluate a --episode 3", ["--episode", "Perhaps you meant --episodes"]),
        ("render a --seed x", ["--seed", "'x'"]),
        ("render a --max-steps 0", ["max_steps = 0 must be at least 1"]),
        ("list foo", ["unknown list 'foo'", "algos"]),
        ("list algos envs", ["no line of `jaxrl list algos` contains 'envs'"]),
        ("list envs Breakot", ["contains 'Breakot'; the nearest: Breakout-MinAtar"]),
        ("help trian", ["unknown command 'trian'", "nearest: train"]),
    ],
)
def test_invalid_commands_are_rejected(refused, argv, words):
    refused(argv.split(), *words)


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("--learning-rate", "--hp.learning-rate"),
        ("--clip_eps=0.1", "--hp.objective.clip-eps=0.1"),
        ("--hidden-sizes", "--config.network.hidden-sizes"),
        ("--config.hidden-sizes", "--config.network.hidden-sizes"),
        ("--no-squash", "--config.network.no-squash"),
        ("--no-compile-cache", "--no-compile-cache"),
        ("--length", "--env.length"),
        ("--hp.length", "--hp.length"),
        ("--nonsense", "--nonsense"),
        ("-3", "-3"),
    ],
)
def test_flags_may_be_shortened_to_a_unique_end(short, full):
    assert parsing.with_full_flags([short, "7"], spec_options.train_options("ppo", "CartPole-v1", "")) == [
        full,
        "7",
    ]


@pytest.mark.parametrize(
    "flags, words",
    [
        # Names.
        ("--objective pppo", ["unknown objective 'pppo'", "nearest: ppo"]),
        ("--objective", ["--objective", "value"]),
        ("--step 5", ["--step", "Perhaps you meant --steps."]),
        ("--learning-rat 1", ["Perhaps you meant --hp.learning-rate"]),
        ("--config.num-env 4", ["Perhaps you meant --config.num-envs"]),
        ("--clip-epsilon .1", ["Perhaps you meant --hp.objective.clip-eps"]),
        ("--env.lenght 4", ["--env.lenght", "Perhaps you meant --env.length"]),
        ("--qqq 5", ["--qqq", "`jaxrl train ppo CartPole-v1 --help`"]),
        ("extra", ["extra"]),
        # Types and choices.
        ("--steps ten", ["--steps takes a whole number, not 'ten'"]),
        ("--steps 1e-5", ["--steps takes a whole number, not '1e-5'"]),
        ("--config.num-envs 2.5", ["--config.num-envs takes a whole number, not '2.5'"]),
        ("--hp.gamma high", ["--hp.gamma takes a number, not 'high'"]),
        ("--env.length long", ["--env.length takes a number, not 'long'"]),
        ("--config.squash maybe", ["maybe"]),
        ("--config.torso resnet", ["resnet", "--config.network.torso", "mlp"]),
        ("--config.activation swish", ["swish", "--config.network.activation", "tanh"]),
        # Counts.
        *(
            (f"--{name} {value}", [f"{name.rpartition('.')[2].replace('-', '_')} = {value}", "must"])
            for name, values in {
                "steps": (0, -5),
                "seeds": (0, -1),
                "intervals": (0, -1),
                "seed": (-1,),
                "eval-episodes": (-1,),
                "config.num-envs": (0, -4),
                "config.num-steps": (0, -1),
                "config.num-epochs": (0, -1),
                "config.num-minibatches": (0, -2),
                "config.memory-size": (-1,),
            }.items()
            for value in values
        ),
        ("--seed 99999999999", ["seed = 99999999999 is too large"]),
        ("--steps 99999999999999999", ["steps = 99999999999999999 must be less than 2^53"]),
        ("--config.num-envs 99999999999", ["num_envs = 99999999999 must be less than 2147483648"]),
        ("--save-every-seconds -1", ["save_every_seconds = -1"]),
        ("--save-every-seconds nan", ["save_every_seconds = nan"]),
        ("--env.max-steps 0", ["max_steps", "not 0"]),
        ("--env.max-steps -3", ["max_steps", "not -3"]),
        ("--config.hidden-sizes 0", ["hidden_sizes = (0,)", "at least 1"]),
        ("--config.hidden-sizes 64 -5", ["hidden_sizes = (64, -5)", "at least 1"]),
        ("--config.num-minibatches 3", ["num_minibatches = 3", "give 2"]),
        ("--config.memory-size 8 --config.num-minibatches 3", ["num_envs = 8", "num_minibatches = 3"]),
        # Numbers without sense.
        *(
            (f"--{name} {value}", [f"{name.rpartition('.')[2].replace('-', '_')} = {value}", "must"])
            for name, values in {
                "hp.learning-rate": ("-1.0", "nan", "inf"),
                "hp.lr-decay": ("2.0", "-0.5"),
                "hp.adam-eps": ("0.0", "-1.0"),
                "hp.max-grad-norm": ("0.0", "-1.0"),
                "hp.gamma": ("1.5", "-0.1"),
                "hp.gae-lambda": ("1.01", "nan"),
                "hp.vf-coef": ("-1.0",),
                "hp.ent-coef": ("nan",),
                "hp.value-clip-eps": ("0.0",),
                "hp.objective.clip-eps": ("0.0", "-1.0", "inf"),
                "config.init-log-std": ("nan", "inf"),
                "env.length": ("nan", "inf"),
            }.items()
            for value in values
        ),
        ("--objective dpo --hp.objective.alpha 0", ["objective.alpha = 0.0 must be positive"]),
        ("--hp.total-updates 5", ["--hp.total-updates", "--steps"]),
        # What does not fit the environment.
        ("--config.squash", ["squash", "continuous", "Discrete"]),
        ("--config.torso cnn", ["torso 'cnn'", "take torso 'mlp'"]),
    ],
)  # fmt: skip
def test_invalid_options_of_train_are_rejected(refused, tmp_path, flags, words):
    refused([*CARTPOLE, "--out", tmp_path / "run", *flags.split()], *words)


def test_parameters_of_environments(refused, tmp_path):
    out = ["--out", tmp_path / "run"]
    refused(["train", "ppo", "probe/memory", *out, "--env.delay", "-1"], "delay", "-1")
    refused([*PENDULUM, *out, "--env.max-speed", "nan"], "max_speed = nan must be finite")
    refused([*PENDULUM, *out, "--env.max-sped", "1"], "Perhaps you meant --env.max-speed")


def test_algorithms_without_an_objective_reject_one(refused, command, tmp_path):
    out = ["--out", tmp_path / "run"]
    tiny = ["--config.num-members", "6", "--config.num-steps", "5", "--config.hidden-sizes", "4"]
    pendulum = ["train", "es", "Pendulum-v1", *out, *tiny]
    refused([*pendulum, "--objective", "dpo"], "es has no objective to choose", "leave --objective dpo out")
    refused([*pendulum, "--hp.sigma", "0"], "sigma = 0.0 must be positive")
    refused([*pendulum, "--hp.novelty-weight", "2"], "novelty_weight = 2.0 must lie between 0 and 1")
    refused([*pendulum, "--hp.objective.clip-eps", "1"], "--hp.objective.clip-eps")
    assert not (tmp_path / "run").exists()
    assert command(*pendulum, "--steps", "90", "--eval-episodes", "2")[0] == 0
    assert len(logger.read_jsonl(tmp_path / "run" / "metrics.jsonl")) == 3
    status, output, _ = command("evaluate", tmp_path / "run", "--episodes", "2", "--json")
    assert status == 0 and json.loads(output)["num_updates"] == 3


@pytest.mark.parametrize("name", ["wandb", "tensorboard"])
def test_missing_extras(refused, tmp_path, monkeypatch, name):
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda package: None)
    refused([*CARTPOLE, f"--{name}", "--out", tmp_path / "run"], f"--{name}", f"pip install 'jaxrl[{name}]'")


def test_errors_from_a_shell(tmp_path):
    """Three of them in a process of their own: nothing but the one line, on standard error."""
    for argv, word in (
        ("train ppo CartPole", "CartPole-v1"),
        ("train ppo CartPole-v1 --config.num-minibatches 7", "num_minibatches = 7"),
        ("resume nothing", "nothing: there is no such folder"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "jaxrl.experiments", *argv.split()],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("jaxrl: error: ") and done.stderr.count("\n") == 1
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_programming_error_keeps_its_traceback(monkeypatch):
    def broken(argv):
        raise RuntimeError("not the user's fault")

    monkeypatch.setattr(list_command, "command", broken)
    with pytest.raises(RuntimeError):
        cli.main(["list"])


def test_out_of_memory_is_one_line(refused, monkeypatch):
    def hungry(argv):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes.")

    monkeypatch.setattr(list_command, "command", hungry)
    refused(["list"], "out of memory", "fewer seeds")


# --- bad input: folders and files --------------------------------------------------------------------


def unwritable(tmp_path):
    """A path at which nobody may write, root included."""
    if os.geteuid() == 0:
        return Path("/proc/run")
    folder = tmp_path / "readonly"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o500)
    return folder / "run"


def test_out_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("")
    refused([*CARTPOLE, "--out", tmp_path / "file"], "cannot write to", "file", "--out")
    refused([*CARTPOLE, "--out", tmp_path / "file" / "run"], "cannot write to", "--out")
    refused([*CARTPOLE, "--out", unwritable(tmp_path)], "cannot write to", "run", "--out")


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_that_contains_a_run_is_rejected(refused, run):
    before = contents(run)
    refused([*CARTPOLE, "--out", run], "holds a run", f"jaxrl resume {run}", "--out")
    assert contents(run) == before
    (run / "run.json").unlink()
    before = contents(run)
    refused([*CARTPOLE, "--out", run], "metrics.jsonl", "--out")
    assert contents(run) == before


@pytest.mark.parametrize("name", ["resume", "evaluate", "plot", "render"])
def test_folders_without_a_run_are_rejected(refused, tmp_path, name):
    refused([name, tmp_path / "none"], "none: there is no such folder")
    (tmp_path / "empty").mkdir()
    refused([name, tmp_path / "empty"], "empty is no run", "run.json")
    (tmp_path / "file").write_text("{}")
    refused([name, tmp_path / "file"], "file is no run")


def test_a_mistyped_folder_is_explained(refused, tmp_path):
    for name in ("cartpole", "pendulum"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
    typed, found = tmp_path / "runs" / "cartpol", tmp_path / "runs" / "cartpole"
    refused(["evaluate", typed], f"{typed}: there is no such folder; perhaps you meant {found}")
    refused(["evaluate", tmp_path / "runs"], f"is no run: it has no run.json; it contains runs, {found} for")
    refused(["evaluate", tmp_path / "nothing"], "there is no such folder")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"spec"',
        b"{}",
        b'{"spec": 3, "options": {}, "sessions": []}',
        b'{"spec": {}, "options": [], "sessions": []}',
        b'{"spec": {}, "options": {}}',
        b'{"spec": {}, "options": {"wandb": "yes"}, "sessions": []}',
        b"\xff\xfe",
        b"[" * 100_000,
        pytest.param(None, id="a folder"),
    ],
)
def test_a_corrupt_run_json_is_rejected(refused, tmp_path, text):
    if text is None:
        (tmp_path / "run.json").mkdir()
    else:
        (tmp_path / "run.json").write_bytes(text)
    for name in ("resume", "evaluate", "plot", "render"):
        refused([name, tmp_path], "run.json cannot be read", "is ", "a run?")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"algorithm": "pop"}, ["unknown algorithm 'pop'", "ppo"]),
        ({"algorithm": ["ppo"]}, ["run.json"]),
        ({"algorithm": None}, ["run.json"]),
        ({"environment": "CartPole-v2"}, ["unknown environment 'CartPole-v2'", "CartPole-v1"]),
        ({"environment": 5}, ["environment = 5"]),
        ({"objective": "pop"}, ["unknown objective 'pop'", "ppo"]),
        ({"env": {"lenght": 1.0}}, ["lenght"]),
        ({"env": []}, ["env must be an object, not []"]),
        ({"steps": "many"}, ["steps must be an integer, not 'many'"]),
        ({"steps": -5}, ["steps = -5"]),
        ({"seeds": 2.5}, ["seeds must be an integer, not 2.5"]),
        ({"seeds": True}, ["seeds must be an integer, not True"]),
        ({"config": {"num_envs": "four"}}, ["num_envs must be an integer, not 'four'"]),
        ({"config": {"torso": "resnet"}}, ["torso must be one of", "mlp", "not 'resnet'"]),
        ({"config": {"hidden_sizes": 8}}, ["hidden_sizes must be a list, not 8"]),
        ({"config": {"hidden_sizes": ["8"]}}, ["hidden_sizes[0] must be an integer, not '8'"]),
        ({"config": {"bogus": 1}}, ["bogus"]),
        ({"config": 3}, ["run.json"]),
        ({"hparams": 3}, ["run.json"]),
        ({"hparams": {}}, ["objective' is missing"]),
        (
            {"hparams": {"learning_rate": "fast", "objective": {"clip_eps": 0.2}}},
            ["learning_rate must be a number, not 'fast'"],
        ),
        ({"hparams": {"objective": {"clip_eps": None}}}, ["clip_eps must be a number, not None"]),
        ({"hparams": {"objective": {"alpha": 1.0}}}, ["alpha"]),
        ({"bogus": 1}, ["bogus"]),
    ],
)
def test_a_spec_with_invalid_edits_is_rejected(refused, run, changes, words):
    info = spoil(run)
    spoil(run, spec={**info["spec"], **changes})
    for name in ("resume", "evaluate"):
        refused([name, run], *words)


def test_a_spec_with_something_missing(refused, run):
    info = spoil(run)
    for name in info["spec"]:
        spoil(run, spec={k: v for k, v in info["spec"].items() if k != name})
        refused(["resume", run], name)


def test_a_spec_of_another_config_than_the_checkpoint(refused, run):
    info = spoil(run)
    for part, change, words in (
        ("config", {"num_envs": 8}, ["config.num_envs = 4, not 8"]),
        ("hparams", {"gamma": 0.5}, ["hparams.gamma = ", "not 0.5"]),
    ):
        before = contents(run / "checkpoints")
        spoil(run, spec={**info["spec"], part: {**info["spec"][part], **change}})
        for name in ("resume", "evaluate"):
            refused([name, run], *words, "new run")
        assert contents(run / "checkpoints") == before
    spoil(run, spec={**info["spec"], "seeds": 1})
    refused(["resume", run], "seeds = 2, not 1")


def test_a_checkpoint_that_is_damaged(refused, run):
    arrays = max((run / "checkpoints" / "step_00000008").rglob("*"), key=lambda path: path.stat().st_size)
    whole = arrays.read_bytes()
    damages = (whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1]))
    for name, damaged in zip(("resume", "evaluate", "render"), damages):
        arrays.write_bytes(damaged)
        refused([name, run], "step_00000008 is damaged", "restore step 6")
    arrays.unlink()
    refused(["resume", run], "is missing")
    metadata = run / "checkpoints" / "step_00000008" / "metadata.json"
    metadata.write_text(metadata.read_text()[:50])
    refused(["evaluate", run], "is damaged")


def test_a_run_without_a_checkpoint(refused, run, command):
    shutil.rmtree(run / "checkpoints")
    refused(["evaluate", run], "has no checkpoint yet", f"jaxrl resume {run}")
    refused(["render", run], "has no checkpoint yet", f"jaxrl resume {run}")
    rows = [clean(row) for row in logger.read_jsonl(run / "metrics.jsonl")]
    status, output, errors = command("resume", run)
    assert (status, errors) == (0, "") and "done in" in output
    assert [clean(row) for row in logger.read_jsonl(run / "metrics.jsonl")] == rows


def clean(row):
    return {name: value for name, value in row.items() if not name.endswith(("_seconds", "_per_second"))}


def test_impossible_plots_are_rejected(refused, command, run, tmp_path):
    (tmp_path / "file").write_text("")
    refused(["plot", run, "--out", tmp_path / "file" / "a.png"], "file")
    refused(["plot", run, "--out", "/proc/a.png"], "a.png")
    refused(["plot", run, "--out", tmp_path / "a.xyz"], "xyz")
    refused(["plot", run, tmp_path / "none"], "none: there is no such folder")
    (run / "metrics.jsonl").write_text("")
    refused(["plot", run], "has no rows of metrics yet")
    (run / "metrics.jsonl").write_text('5\n"row"\n')
    status, _, errors = command("plot", run)
    *warnings, last = errors.splitlines()
    assert status == 2 and "has no rows of metrics yet" in last
    assert [f"metrics.jsonl, line {i} is damaged" in text for i, text in enumerate(warnings, 1)] == [True] * 2
    (run / "metrics.jsonl").unlink()
    refused(["plot", run], "has no rows of metrics yet")


def test_impossible_pictures_are_rejected(refused, run, tmp_path, monkeypatch):
    refused(["render", run, "--seed", "5"], "no seed 5", "3 to 4")
    (tmp_path / "file").write_text("")
    flags = ["--seed", "3", "--max-steps", "2"]
    refused(["render", run, *flags, "--out", tmp_path / "file" / "a.gif"], "file")
    refused(["render", run, *flags, "--out", "/proc/a.gif"], "a.gif")
    monkeypatch.setattr("jaxrl.envs.render.DRAWINGS", {"Catch-bsuite": None})
    refused(["render", run, *flags], "CartPole-v1 cannot be drawn", "Catch-bsuite")


def test_a_run_that_another_process_trains(refused, run):
    with folders.claim(run):
        refused(["resume", run], "another process trains", "stop it")


# --- a full disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def half_done(run):
    """Makes a copy of the run one that was stopped after half of it."""
    for step in checkpoint.steps(run / "checkpoints"):
        if step > 4:
            shutil.rmtree(run / "checkpoints" / f"step_{step:08d}")


def test_a_full_disk(trained, small_disk, refused):
    run = small_disk / "run"
    shutil.copytree(trained[0], run, ignore=shutil.ignore_patterns("tensorboard", "*.png"))
    half_done(run)
    spoil(run, options=dict(runs.OPTIONS, save_every_seconds=0.0))
    before = contents(run / "checkpoints")
    assert checkpoint.latest(run / "checkpoints") == 4
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    errors = refused(["resume", run], "No space left on device")
    assert "resume" in errors or "make room" in errors
    assert contents(run / "checkpoints") == before
    refused([*CARTPOLE, "--out", small_disk / "new"], "No space left on device", "--out")
    (small_disk / "ballast").unlink()
    assert cli.main(["resume", str(run)]) == 0
    mine, whole = (
        [clean(row) for row in logger.read_jsonl(folder / "metrics.jsonl")] for folder in (run, trained[0])
    )
    assert mine == whole


@pytest.mark.parametrize("what", slow_except(["checkpoint", "metrics.jsonl", "run.json"], "checkpoint"))
def test_a_disk_that_fills_up(trained, run, refused, command, monkeypatch, what):
    """With each of the files, and at just that moment."""
    half_done(run)
    before = contents(run / "checkpoints")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if what == "checkpoint":
            patch.setattr(checkpoint.saving, "_require_room", full)
        elif what == "metrics.jsonl":
            patch.setattr(files.os, "fsync", full)
        else:
            patch.setattr(runs.folder, "write_info", full)
        status, _, errors = command("resume", run)
    assert status == 2 and errors.count("\n") == 1
    assert errors.startswith("jaxrl: error: ") and "No space left on device" in errors
    if what != "run.json":
        assert contents(run / "checkpoints") == before
    assert command("resume", run)[0] == 0
    rows, whole = (
        [clean(row) for row in logger.read_jsonl(path / "metrics.jsonl")] for path in (run, trained[0])
    )
    assert rows == whole


# --- good input --------------------------------------------------------------------------------------


def test_help(command):
    status, output, errors = command("--help")
    assert (status, errors) == (0, "")
    assert all(name in output for name in cli.commands.known())
    assert command() == (2, output, "")
    assert command("--version") == (0, "jaxrl 0.1.0\n", "")
    assert command("train", "--help")[0] == 0
    for name in list(cli.commands.known())[1:]:
        status, output, errors = command(name, "--help")
        assert (status, errors) == (0, "") and "--help" in output


def test_help_of_train_shows_every_field(command, monkeypatch):
    """With its comment and the preset's default."""
    monkeypatch.setenv("COLUMNS", "100")
    status, output, errors = command(*CARTPOLE, "--help")
    assert (status, errors) == (0, "")
    text = " ".join(output.replace("│", " ").split())
    preset = presets.preset("ppo", "CartPole-v1")
    for part, group, changed in ((ppo.Config, "config", preset.config), (ppo.Hparams, "hp", preset.hparams)):
        for name, value in fields.flatten(part()).items():
            flag = f"--{group}.{name.replace('_', '-')}"
            default = changed.get(name.rpartition(".")[2], value)
            if isinstance(default, tuple):
                default = " ".join(map(str, default))
            line = re.search(rf"{re.escape(flag)}[ ,].*?\(default: .*?\)", text)
            assert line and line[0].endswith(f"(default: {default})"), flag
            assert len(line[0]) > len(f"{flag} {{}} (default: {default})") + 6, line  # and a comment
    for comment in (
        *("environments side by side", "environment steps per seed", "also write metrics.csv"),
        "minimum time between checkpoints; 0: one per interval (default: 10.0)",
    ):
        assert comment in text
    assert "--env.max-steps INT episodes are truncated after so many steps (default: 500)" in text


def test_warnings_are_shown_whatever_other_packages_do_to_loggers(capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger("jaxrl"), "disabled", True)
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.CRITICAL)
    root.manager._clear_cache()

    def warn(argv):
        logging.getLogger("jaxrl").warning("a damaged line")
        return 0

    assert cli.main([], warn) == 0
    assert capsys.readouterr().err == "jaxrl: warning: a damaged line\n"


def test_a_command_leaves_the_garbage_collector_as_it_was(command):
    assert gc.isenabled() and command("--version")[0] == 0 and gc.isenabled()
    assert command("list", "foo")[0] == 2 and gc.isenabled()


def test_lists(command):
    for what, words in {
        "algos": ["ppo ", "Proximal Policy Optimization", "a2c", "fixpo", "trpo", "vmpo", "ga ", "genetic"],
        "envs": ["CartPole-v1", "gymnax", "probe/memory"],
        "objectives": ["ppo", "dpo", "Discovered"],
        "presets": ["ppo CartPole-v1", "ppo --objective mdpo CartPole-v1"],
        "all": ["algos", "envs", "objectives", "presets", "CartPole-v1"],
    }.items():
        status, output, errors = command("list", what)
        assert (status, errors) == (0, "") and all(word in output for word in words)
    assert command("list")[1] == output


def test_export_writes_the_policy_that_training_wrote(trained, command, tmp_path):
    path, out = trained[0], tmp_path / "policy.npz"
    status, output, errors = command("export", path, "--out", out)
    assert (status, errors) == (0, "") and output.startswith(f"{out}: seeds 3 to 4, ")
    assert out.read_bytes() == (path / "policy.npz").read_bytes()
    returns = logger.read_jsonl(path / "metrics.jsonl")[-1]["evaluation/return"]
    policy = jaxrl.load(path)
    assert policy.scores.tolist() == returns and policy.seed == 3 + np.argmax(returns)
    assert policy(np.zeros((5, 4))).shape == (5,)


def test_the_output_of_training(trained):
    path, output = trained
    assert output[0].startswith(
        "ppo on CartPole-v1: 2 agents (seeds 3 to 4), 256 steps each in 8 updates, on "
    )
    assert "B of state" in output[0] and output[0].endswith(f"into {path}")
    assert output[1] == "compiling ..." and "while training" in output[2]
    rows = [line for line in output if re.match(r" *\d+%", line)]
    assert len(rows) == 4 and rows[-1].startswith("100%")
    assert all("steps/s" in line and "return" in line and "evaluation" in line for line in rows)
    assert f"jaxrl evaluate {path}" in output[-1]


def test_a_finished_run_can_be_extended(command, refused, run, monkeypatch):
    """It goes on from its last state; rows cover what they say, and schedules end with the new length."""
    intervals, make_row = [], records.make_row

    def recorded(algo, done, since, *rest):
        intervals.append((since, done))
        return make_row(algo, done, since, *rest)

    monkeypatch.setattr(records, "make_row", recorded)
    refused(["resume", run, "--steps", "250"], "--steps 250 does not extend", "which has 250")
    status, output, _ = command("resume", run, "--steps", "4.48e2")
    assert status == 0 and "extended from 250 to 448 steps per seed" in output
    assert intervals == [(8, 10), (10, 14)]
    info = json.loads((run / "run.json").read_text())
    assert info["extended"] == [{"from": 250, "to": 448}]
    assert (info["spec"]["steps"], info["spec"]["hparams"]["total_updates"]) == (448, 14.0)
    assert tomllib.loads((run / "config.toml").read_text())["steps"] == 448
    assert [row["num_updates"] for row in logger.read_jsonl(run / "metrics.jsonl")] == [2, 4, 6, 8, 10, 14]
    assert checkpoint.latest(run / "checkpoints") == 14
    spec = runs.from_json(info["spec"])
    programs = runs.build(spec)
    for step in checkpoint.steps(run / "checkpoints"):  # those of before the extension too
        saved = extend.as_saved(programs.identity, run, step)
        assert loop.restore(programs, run, step, saved).num_updates == step
    info["extended"] = []
    (run / "run.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"total_updates = 8\.0, not 14\.0"):
        loop.restore(programs, run, 8, extend.as_saved(programs.identity, run, 8))


def test_only_runs_of_train_are_extended(refused, run, tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    refused(["resume", run, "--steps", "448"], "--steps extends a run of `jaxrl train`", "is part of")
    refused(["resume", tmp_path, "--steps", "448"], "is a sweep")


def test_episodes_that_did_not_end_are_counted(command, run, monkeypatch):
    monkeypatch.setattr(run_programs, "evaluate", partial(run_programs.evaluate, max_steps=5))
    _, output, _ = command("evaluate", run, "--episodes", "2")
    assert "4 of 4 episodes had not ended after 5 steps" in output and "--env.max-steps" in output


def test_a_report_writes_csv(command, run, tmp_path):
    assert command("report", run, "--data", tmp_path / "r.csv")[0] == 0
    lines = list(csv.DictReader((tmp_path / "r.csv").open()))
    rows = logger.read_jsonl(run / "metrics.jsonl")
    assert [(one["seed"], one["timesteps"]) for one in lines] == [
        (str(seed), str(row["timesteps"])) for seed in (3, 4) for row in rows
    ]
    ours = [float(one["return"]) for one in lines]
    theirs = [row["evaluation/return"][lane] for lane in (0, 1) for row in rows]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert {one["environment"] for one in lines} == {"CartPole-v1"}


def test_the_files_of_a_run(trained):
    path, _ = trained

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    info = json.loads((path / "run.json").read_text(), parse_constant=refuse)
    assert info["command"][:4] == ["jaxrl", *CARTPOLE]
    assert {"jaxrl", "python", "jax", "flax"} <= set(info["versions"])
    assert info["device"]["platform"] and info["device"]["count"] >= 1
    assert "git_commit" in info and "started" in info
    (session,) = info["sessions"]
    assert session["num_updates"] == 8 and 0 < session["compile_seconds"] < session["wall_seconds"]
    spec = runs.from_json(info["spec"])
    assert spec.config.network.hidden_sizes == (8,) and spec.hparams.objective == objectives.ppo().params
    assert spec.hparams.total_updates == 8.0  # what annealing went by
    assert spec.to_json() == runs.from_json(json.loads(json.dumps(spec.to_json()))).to_json()
    for place in (path, path / "config.toml"):
        again = spec_options.parse_spec("train", spec_options.train_options, ["--from", str(place)])[0]
        assert dataclasses.replace(again, hparams=again.hparams.replace(total_updates=8.0)) == spec

    text = (path / "metrics.jsonl").read_text()
    rows = [json.loads(line, parse_constant=refuse) for line in text.splitlines()]
    assert [row["num_updates"] for row in rows] == [2, 4, 6, 8]
    assert [row["timesteps"] for row in rows] == [64, 128, 192, 256]
    for row in rows:
        single = {name for name, value in row.items() if not isinstance(value, list)}
        speeds = {"steps_per_second", "current_steps_per_second"}
        assert single == {"num_updates", "timesteps", "elapsed_seconds"} | speeds
        assert all(len(row[name]) == 2 for name in set(row) - single)
        assert {"evaluation/return", "episode/return", "episode/count", "loss/policy"} <= set(row)
    assert (path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert checkpoint.latest(path / "checkpoints") == 8


def test_the_second_start_compiles_nothing(trained, tmp_path):
    """Of the large programs: those that a host's own operations compile are there as well."""
    missed = []
    listener = lambda event, **_: missed.append(event) if event.endswith("cache_misses") else None  # noqa: E731
    jax.monitoring.register_event_listener(listener)
    try:
        assert cli.main([*CARTPOLE, *FLAGS, "--out", str(tmp_path / "again")]) == 0
    finally:
        jax.monitoring.unregister_event_listener(listener)
    assert missed == []
    rows, again = (
        [clean(row) for row in logger.read_jsonl(path / "metrics.jsonl")]
        for path in (trained[0], tmp_path / "again")
    )
    assert rows == again


def test_tensorboard_files_read_back(trained):
    from tensorboardX.proto.event_pb2 import Event

    folders_of = {"iqm": (0, 1), "seed-3": (0,), "seed-4": (1,)}
    assert {folder.name for folder in (trained[0] / "tensorboard").iterdir()} == set(folders_of)
    for name, lanes in folders_of.items():
        (file,) = (trained[0] / "tensorboard" / name).iterdir()
        data, found = file.read_bytes(), {}
        while data:  # length, its checksum, an event, its checksum
            size = int.from_bytes(data[:8], "little")
            event, data = Event.FromString(data[12 : 12 + size]), data[16 + size :]
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
        for row in logger.read_jsonl(trained[0] / "metrics.jsonl"):
            for metric, value in logger.scalars(row, lanes).items():
                assert found[metric, row["timesteps"]] == pytest.approx(value, rel=1e-6)


def test_weights_and_biases_offline(tmp_path, monkeypatch, command):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    status, _, errors = command(*CARTPOLE, *FLAGS, "--wandb", "--out", tmp_path / "run")
    assert status == 0, errors
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 3  # two agents and the IQM


def test_evaluation(trained, command):
    path, _ = trained
    status, output, errors = command("evaluate", path, "--episodes", "5", "--json")
    assert (status, errors) == (0, "")
    found = json.loads(output)
    assert {"mean", "median", "iqm", "interval", "episodes", "per_seed"} <= set(found)
    assert found["episodes"] == 10 and len(found["per_seed"]) == 2
    assert found["mean"] == pytest.approx(np.mean(found["per_seed"]))
    assert found["median"] == pytest.approx(np.median(found["per_seed"]))
    low, high = found["interval"]
    assert low <= found["iqm"] <= high
    assert command("evaluate", path, "--episodes", "5", "--json")[1] == output
    status, output, errors = command("evaluate", path, "--episodes", "5")
    assert (status, errors) == (0, "")
    assert f"\nIQM {found['iqm']:.4g} (95 %" in output and "5 episodes of each seed" in output
    assert command("evaluate", path, "--episodes", "5", "--best")[0] == 0


@pytest.mark.slow
def test_a_single_agent_that_never_ends_an_episode(tmp_path, command, refused):
    """No return, so no curve and no score; an evaluation of one episode has no interval."""
    flags = [*SMALL, "--steps", "32", "--intervals", "9", "--eval-episodes", "0"]
    path = tmp_path / "run"
    status, output, errors = command(*PENDULUM, *flags, "--out", path)
    assert (status, errors) == (0, "") and "return –" in output
    (row,) = logger.read_jsonl(path / "metrics.jsonl")
    assert row["episode/return"] == [None] and "evaluation/return" not in row
    assert not (path / "curves.png").exists()
    refused(["plot", path], "nothing to plot")
    found = json.loads(command("evaluate", path, "--episodes", "1", "--json")[1])
    assert found["interval"] == [None, None] and found["episodes"] == 1


def test_rendering(run, command):
    status, output, errors = command("render", run, "--max-steps", "5")
    assert (status, errors) == (0, "")
    assert output.startswith(f"{run / 'episode.gif'}: seed ")
    with Image.open(run / "episode.gif") as image:
        assert image.format == "GIF" and image.n_frames > 1
    status, output, _ = command("render", run, "--seed", "4", "--out", run / "new" / "a.gif")
    assert status == 0 and "seed 4" in output and (run / "new" / "a.gif").exists()


def test_plotting_two_runs(trained, run, tmp_path, command, refused, monkeypatch):
    status, output, errors = command("plot", trained[0], run, "--out", tmp_path / "both.png")
    assert (status, output, errors) == (0, f"{tmp_path / 'both.png'}\n", "")
    with Image.open(tmp_path / "both.png") as image:
        assert image.format == "PNG"
    monkeypatch.chdir(tmp_path)
    before = [(path / "curves.png").read_bytes() for path in (trained[0], run)]
    assert command("plot", run, trained[0])[:2] == (0, "curves.png\n") and Path("curves.png").exists()
    assert command("report", run, trained[0])[1].endswith("\nreport.html\n")
    monkeypatch.chdir(run)  # here these are about one run
    for name, output in (("plot", "curves.png"), ("report", "report.html")):
        refused([name, run, trained[0]], f"{output} in the current folder belongs to the run in it", "--out")
    assert [(path / "curves.png").read_bytes() for path in (trained[0], run)] == before
    (run / "curves.png").unlink()
    assert command("plot", run)[0] == 0 and (run / "curves.png").exists()


def test_no_compile_cache(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(runs, "enable_compile_cache", lambda: asked.append(True))
    monkeypatch.setattr(training, "_train", lambda *_: 0)
    flags = [*CARTPOLE, *SMALL, "--steps", "32"]
    assert cli.main([*flags, "--out", str(tmp_path / "a"), "--no-compile-cache"]) == 0 and not asked
    assert cli.main([*flags, "--out", str(tmp_path / "b")]) == 0 and asked


def test_where_compiled_programs_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAXRL_CACHE")
    assert runs.cache_folder() == tmp_path / "jaxrl"
    monkeypatch.setenv("JAXRL_CACHE", str(tmp_path / "here"))
    assert runs.cache_folder() == tmp_path / "here"


# --- what is shown -----------------------------------------------------------------------------------

ROW = {
    "num_updates": 430,
    "timesteps": 220_160,
    "episode/return": [69.361, None, 81.5, 12.25],
    "episode/length": [69.361, None, 81.5, 12.25],
    "evaluation/return": [286.8, 300.0, 412.0, 500.0],
    "loss/policy": [-0.0071] * 4,
    "loss/value": [72.04] * 4,
    "policy/entropy": [0.616] * 4,
    "policy/kl": [2.9e-7] * 4,
    "value/explained_variance": [0.0456] * 4,
    "grad/norm": [41.02] * 4,
}


def shown(width, seeds=4, row=ROW):
    console = Console(record=True, width=width, height=40, force_terminal=True, file=io.StringIO())
    panel = reporters.panel("ppo CartPole-v1", 1000, 512, seeds, console)
    panel.status("compiled in 5.6 s, 688.6 kB while training")
    if row:
        panel.progress(430, 12.0, 100)
        panel.row(row)
    panel.close()
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", [100, 60])
def test_the_panel(width):
    text = shown(width)
    for fact in (
        "compiled in 5.6 s",
        "43%",
        "220k of 512k steps per seed",
        "56.3k steps/s in all",  # 330 updates of 512 steps by 4 agents in 12 s
        "0:12 elapsed",
        "0:20 left",
        "54.37 (12.25 … 81.5)",
        "356 (286.8 … 500)",
        "IQM (and range) of 4 seeds",
        "loss/policy -0.0071",
        "loss/value 72",
        "value/explained_variance 0.0456",
    ):
        assert fact in text, text


def on_screen(text, narrowed):
    """The rows that a terminal shows: at the bell it becomes `narrowed` columns wide and wraps its lines."""
    rows, at = [""], 0
    for code in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[^\x1b]", text):
        if code == "\a":
            assert at == len(rows) - 1
            rows = [row[i : i + narrowed] for row in rows for i in range(0, max(len(row), 1), narrowed)]
            at = len(rows) - 1
        elif code == "\n":
            at += 1
            rows += [""] * (at == len(rows))
        elif code == "\x1b[1A":
            at -= 1
            assert at >= 0
        elif code == "\x1b[2K":
            rows[at] = ""
        elif len(code) == 1 and code != "\r":
            rows[at] += code
    return rows


def test_the_panel_is_redrawn_in_a_terminal_that_became_narrower():
    """What the terminal wrapped is erased, and no line above the panel."""
    file = io.StringIO()
    console = Console(width=100, height=40, force_terminal=True, file=file)
    console.print("the line above")
    panel = reporters.panel("ppo CartPole-v1", 1000, 512, 4, console)
    panel.progress(430, 12.0, 100)
    panel.row(ROW)
    while "╰" not in file.getvalue():  # drawn by a thread, 8 times a second
        time.sleep(0.01)
    console.size = (60, 40)
    file.write("\a")
    panel.close()
    rows = on_screen(file.getvalue(), 60)
    assert rows[0] == "the line above"
    assert sum("ppo CartPole-v1" in row for row in rows) == sum(row.startswith("╰") for row in rows) == 1


def test_the_panel_says_what_an_interrupt_does():
    assert "Ctrl-C saves and stops; a second Ctrl-C stops at once" in shown(80)
    assert "Ctrl-C" not in shown(80, row=None)  # nothing is trained yet


def test_the_panel_of_one_agent_and_before_the_first_row():
    text = shown(
        80,
        seeds=1,
        row={name: value[:1] if isinstance(value, list) else value for name, value in ROW.items()},
    )
    assert "IQM" not in text and "per seed" not in text and "in all" not in text
    text = shown(80, row=None)
    assert "compiled in 5.6 s" in text and "return" not in text


def test_a_terminal_gets_the_panel_and_a_file_gets_lines(monkeypatch):
    monkeypatch.setattr(reporters, "panel", lambda *_, **__: "panel")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert reporters.choose("title", 10, 32, 1) != "panel"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert reporters.choose("title", 10, 32, 1) == "panel"


def test_a_line_per_interval():
    output = []
    reporter = reporters.lines(1000, 512, 4, output.append)
    reporter.status("compiling ...")
    reporter.progress(430, 12.0, 100)
    reporter.row(ROW)
    reporter.row({"num_updates": 1000, "timesteps": 512_000})
    assert output == [
        "compiling ...",
        " 43%  steps 220k  return IQM 54.37 (12.25 … 81.5)  evaluation IQM 356 (286.8 … 500)  56.3k steps/s",
        "100%  steps 512k  return –  56.3k steps/s",
    ]


def test_a_terminal_that_cannot_show_everything(trained):
    """An output in ASCII must not end a run at its first dash."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxrl.experiments", "evaluate", trained[0] / "none…"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2 and "none?: there is no such folder" in done.stderr


def test_the_last_objective_that_is_named_counts(tmp_path):
    """As with every other flag; the parameters of the first must not meet the function of the last."""
    flags = f"--objective ppo --objective dpo --hp.objective.beta 0.5 --out {tmp_path / 'run'} --steps 0"
    assert cli.main(["train", "ppo", "CartPole-v1", *flags.split()]) == 2
    options = spec_options.train_options(
        "ppo", "CartPole-v1", parsing.value_of("--objective", flags.split(), "ppo")
    )
    assert options().hp.objective.alpha == 2.0


def test_an_algorithm_with_its_own_objective(command, refused, tmp_path):
    """It trains, resumes, is evaluated and rendered from its folder, and offers no objective."""
    path = tmp_path / "run"
    sizes = ["--steps", 64, "--intervals", 2, "--eval-episodes", 1]
    sizes += ["--config.num-envs", 4, "--config.num-steps", 8]
    assert command("train", "a2c", "CartPole-v1", *sizes, "--out", path)[0] == 0
    assert json.loads((path / "run.json").read_text())["spec"]["objective"] == ""
    assert "complete already" in command("resume", path)[1]
    assert json.loads(command("evaluate", path, "--episodes", 2, "--json")[1])["mean"] > 0
    assert command("render", path, "--max-steps", 5)[0] == 0
    assert "--objective" not in command("train", "a2c", "CartPole-v1", "--help")[1]
    for flags in (["--objective", "dpo"], ["--objective=ppo"]):
        refused(["train", "trpo", "CartPole-v1", *flags], "trpo has no objective to choose", "leave")
    for flag, value in (("max-kl", "0"), ("damping", "-1"), ("backtrack", "1.5")):
        refused(["train", "trpo", "CartPole-v1", f"--hp.{flag}", value], flag.replace("-", "_"), value)


def test_an_objective_has_its_own_preset_or_that_of_the_algorithm():
    usual = presets.preset("ppo", "CartPole-v1")
    assert presets.preset("ppo", "CartPole-v1", "spo") is usual
    assert presets.preset("ppo", "CartPole-v1", "mdpo") is not usual
    options = spec_options.train_options("ppo", "CartPole-v1", "mdpo")()
    assert options.hp.objective == objectives.mdpo(anneal=0.0).params
    assert presets.preset("trpo", "Acrobot-v1") is presets.ANY
