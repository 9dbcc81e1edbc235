"""Hostile surroundings and arguments: one line and exit status 2, or the command simply works."""

import logging
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import run_command

import jaxrl.algos
from jaxrl import (
    checkpoint,
    compile_cache,
    envs,
    evaluate,
    logger,
    objective_file,
    objectives,
    rollout,
    train,
)
from jaxrl.algos import a2c, ppo
from jaxrl.experiments import cli, errors, plot, runs, streams
from jaxrl.experiments.commands import list as list_command
from jaxrl.spaces import Box, Discrete, MultiDiscrete

SMALL = {"num_envs": 2, "num_steps": 4}


def refused(*words, text):
    """A command that must be refused in one line with this text."""
    status, output = run_command(*words)
    assert status == 2 and text in output and output.count("\n") == 1, output


def process(code, *, options=(), **environment):
    """The end of a Python process: its status, standard output and standard error."""
    command = [sys.executable, "-P", *options, "-c", code]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


# --- files ----------------------------------------------------------------------------------------


def test_devices_and_pipes_are_not_read(tmp_path):
    refused("train", "ppo", "CartPole-v1", "--objective", "/dev/zero", text="not a regular file")
    refused("train", "--from", "/dev/zero", text="not a regular file")
    for name in ("run.json", "metrics.jsonl", "fit.json", "objective.json", "my_ppo.py"):
        os.mkfifo(tmp_path / name)
    refused("train", tmp_path / "my_ppo.py", "CartPole-v1", text="my_ppo.py is not a regular file")
    refused("plot", tmp_path, text="fit.json is not a regular file")
    (tmp_path / "fit.json").unlink()
    refused("resume", tmp_path, text="run.json is not a regular file")
    with pytest.raises(ValueError, match=r"objective\.json is not a regular file"):
        objective_file.load(tmp_path / "objective.json")
    with pytest.raises(ValueError, match=r"metrics\.jsonl is not a regular file"):
        logger.read_jsonl(tmp_path / "metrics.jsonl")
    checkpoint.save(tmp_path / "checkpoints", 1, {"x": jnp.ones(2)})
    metadata = tmp_path / "checkpoints" / "step_00000001" / "metadata.json"
    metadata.unlink()
    os.mkfifo(metadata)
    with pytest.raises(checkpoint.CheckpointError, match="not a regular file"):
        checkpoint.restore(tmp_path / "checkpoints", {"x": jnp.ones(2)})


def test_escape_sequences_do_not_reach_the_terminal(tmp_path, capsys):
    refused("resume", f"{tmp_path}\x1b[2J\u202e", text="\\x1b[2J\\u202e")
    error = ValueError("a \x9b31m name\nof a file")
    assert errors.in_one_line(error) == "a \\x9b31m name of a file"
    with cli._warnings_shown():
        logging.getLogger("jaxrl").warning("\x1b]0;title\x07")
    assert capsys.readouterr().err == "jaxrl: warning: \\x1b]0;title\\x07\n"


def test_outputs_that_are_folders_are_refused(tmp_path):
    for out in (tmp_path, ""):
        refused("plot", tmp_path, "--out", out, text="is a folder: give the name of a file")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--env.max-steps", "99999999999999"], "max_steps = 99999999999999"),
        (["--env.max-steps", "2147483648"], "max_steps = 2147483648"),
        (["--config.num-epochs", "9999999999"], "num_epochs = 9999999999 must be less than 2147483648"),
        (["--intervals", "9999999999"], "intervals = 9999999999 must be less than 2147483648"),
        (["--steps", "1" + 30 * "0"], "must be less than 2^53"),
    ],
)
def test_numbers_that_are_too_large_are_refused(words, text, tmp_path):
    refused("train", "ppo", "CartPole-v1", *words, "--out", tmp_path / "run", text=text)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--seed", "99999999999999999999"], "seed = 99999999999999999999 must lie between 0 and 4294967295"),
        (["--seed", "-1"], "seed = -1 must lie between 0 and 4294967295"),
        (["--max-advantage", "1e308"], "max_advantage = 1e+308 must lie between 1e-6 and 1e6"),
        (["--max-ratio", "1.0000000001"], "must lie between 1.001 and 1e6"),
    ],
)
def test_maps_of_objectives_have_sensible_ranges(words, text, tmp_path):
    refused("drift", "lpo", *words, "--out", tmp_path / "map.png", text=text)


# --- environments of the process ------------------------------------------------------------------


def test_a_device_that_is_not_there_is_reported():
    code = "import sys; from jaxrl.experiments import cli; sys.exit(cli.main(sys.argv[1:] or WORDS))"
    words = ["train", "ppo", "CartPole-v1", "--dry-run"]
    status, _, output = process(code.replace("WORDS", repr(words)), JAX_PLATFORMS="foo")
    assert status == 2 and output.count("\n") == 1
    assert (
        output.startswith("jaxrl: error: JAX has no device to compute on (")
        and "JAX_PLATFORMS='foo'" in output
    )


def test_errors_of_devices_are_recognized(monkeypatch):
    """An AssertionError is what JAX raises for JAX_PLATFORMS=cuda without a GPU."""
    assert errors.in_one_line(AssertionError("of ours")) == ""

    def devices():
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert errors.in_one_line(AssertionError()) == (
        "JAX has no device to compute on: correct or unset JAX_PLATFORMS='cuda'"
        + (f", XLA_FLAGS={os.environ['XLA_FLAGS']!r}" if os.environ.get("XLA_FLAGS") else "")
    )


def test_numbers_that_jax_debugs_are_reported():
    with jax.debug_nans(True), pytest.raises(FloatingPointError) as caught:
        jax.jit(lambda x: x / x)(jnp.zeros(2))
    assert "JAX_DEBUG_NANS" in errors.in_one_line(caught.value)
    with pytest.raises(OverflowError) as overflow:
        jax.jit(lambda x: x)(10**20)
    assert errors.in_one_line(overflow.value).startswith("a number is too large (")


def test_no_home_folder(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "JAXRL_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", home)
    monkeypatch.setattr(jax.config, "update", None)  # nothing is changed
    assert compile_cache.cache_folder() is None
    compile_cache.enable_compile_cache()


def test_no_docstrings(monkeypatch):
    """As under `python -OO`."""
    for module in jaxrl.algos.ALGORITHMS.values():
        monkeypatch.setattr(module, "__doc__", None)
    assert [line.split() for line in list_command.listed("algos").splitlines()] == [
        [name] for name in jaxrl.algos.ALGORITHMS
    ]


HELP = "import sys; from jaxrl.experiments import cli; sys.argv = ['jaxrl', '--help']; sys.exit(cli.main())"


def test_closed_and_full_outputs():
    """The next file that is opened must not become the standard output."""
    code = HELP.replace("sys.exit(cli.main())", "status = cli.main(); file = open('/dev/null'); ")
    code += "print(status, file.fileno() > 2, file=sys.__stderr__ or sys.stderr)"
    shell = f'"{sys.executable}" -P -c "{code}"'
    done = subprocess.run(f"{shell} >&-", shell=True, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "0 True\n"
    assert subprocess.run(f"{shell} >&- 2>&-", shell=True).returncode == 0
    shell = f'"{sys.executable}" -P -c "{HELP}"'
    done = subprocess.run(f"{shell} > /dev/full", shell=True, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "jaxrl: error: No space left on device\n"
    pipe = ["bash", "-c", f"set -o pipefail; {shell} | head -1"]
    done = subprocess.run(pipe, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr and done.stdout.count("\n") == 1


def test_a_burst_of_interrupts_is_one():
    code = (
        "import sys, time; from jaxrl.experiments import cli\n"
        "def command(argv): print('begun', flush=True); time.sleep(30)\n"
        "sys.exit(cli.main(command=command))"
    )
    command = [sys.executable, "-P", "-c", code]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "begun\n"
    for _ in range(20):
        child.send_signal(signal.SIGINT)
        time.sleep(0.005)
    _, output = child.communicate(timeout=30)
    assert child.returncode == 130 and output == "jaxrl: interrupted\n"


def test_interrupts_apart_from_each_other_all_count(monkeypatch):
    before, times = signal.getsignal(signal.SIGINT), iter([10.0, 10.5, 12.0])
    monkeypatch.setattr(streams.time, "monotonic", lambda: next(times))
    try:
        with streams.one_interrupt_at_a_time():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_warnings_as_errors():
    """A package that distrax imports uses deprecated names of JAX."""
    code = (
        "import jax.numpy as jnp; from jaxrl import distributions, spaces; "
        "distributions.make(spaces.Discrete(2), jnp.zeros(2)).mode()"
    )
    status, _, output = process(code, options=["-W", "error"])
    assert status == 0, output


def test_the_backend_of_a_notebook_is_not_needed_for_a_plot():
    code = "import os; from jaxrl.experiments import plot; plot.new_figure((1, 1)); "
    code += "print(os.environ['MPLBACKEND'])"
    status, output, error = process(code, MPLBACKEND="module://not_installed.backend")
    assert status == 0 and output == "module://not_installed.backend\n", error


def test_curves_that_are_not_drawn_are_reported(tmp_path, monkeypatch, caplog):
    def failing(*args, **_):
        raise ValueError("no backend")

    monkeypatch.setattr(plot, "curves", failing)
    (tmp_path / "fit.json").write_text('{"run": {}}')
    runs.draw_curves(tmp_path)
    assert not caplog.records  # no rows yet
    (tmp_path / "metrics.jsonl").write_text('{"num_updates": 1, "timesteps": 2}\n')
    runs.draw_curves(tmp_path)
    assert caplog.messages == ["curves.png is not drawn: no backend"]


# --- the library ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learners():
    env = envs.make("CartPole-v1")
    return env, *(module.make(env, module.Config(**SMALL)) for module in (ppo, a2c))


def one_sentence(call, *words):
    with pytest.raises(ValueError) as error:
        call()
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value), error.value


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Discrete(0), ["n = 0 must be a whole number of at least 1"]),
        (lambda: Discrete(2.5), ["n = 2.5 must be a whole number"]),
        (lambda: MultiDiscrete(()), ["at least one choice"]),
        (lambda: MultiDiscrete((3, 0)), ["n = 0"]),
        (lambda: Box(1.0, -1.0, (2,)), ["low must not be above high"]),
        (lambda: Box(np.nan, 1.0, ()), ["nor NaN"]),
        (lambda: Box(np.zeros(3), 1.0, (2,)), ["(3,)", "do not fit a Box of the shape (2,)"]),
        (lambda: objectives.mixture(), ["at least one objective"]),
        (lambda: envs.make("CartPole-v1", max_steps=-5), ["max_steps"]),
        (lambda: envs.make("CartPole-v1", max_steps=2**40), ["max_steps", "less than 2147483648"]),
        (lambda: rollout.vectorize(envs.make("CartPole-v1"), 0), ["num_envs = 0"]),
        (lambda: rollout.rollout(None, None, jax.random.key(0), None, -1), ["num_steps = -1"]),
    ],
)
def test_invalid_values_are_refused(call, words):
    one_sentence(call, *words)


def test_invalid_evaluations_are_refused(learners):
    env, algo, _ = learners
    play = partial(evaluate.evaluate, env, algo.act, (), jax.random.key(0))
    one_sentence(lambda: play(0), "num_episodes = 0 must be a whole number of at least 1")
    one_sentence(lambda: play(-3), "num_episodes = -3")
    one_sentence(lambda: play(2, max_steps=-1), "max_steps = -1")


def test_a_population_needs_a_key_for_each_agent(learners):
    _, algo, _ = learners
    many = train.population(algo)
    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        one_sentence(lambda key=key: many.init(key, algo.hparams), "a key for each agent", "jax.random.split")
    jax.eval_shape(many.init, jax.random.split(jax.random.key(0), 3), algo.hparams)


def test_states_and_observations_of_others_are_refused(learners):
    _, algo, other = learners
    state = jax.eval_shape(algo.init, jax.random.key(0), algo.hparams)
    foreign = jax.eval_shape(other.init, jax.random.key(0), other.hparams)
    one_sentence(
        lambda: jax.eval_shape(algo.update, foreign, algo.hparams), "ppo.TrainState", "a2c.TrainState"
    )

    def act(obs):
        return jax.eval_shape(algo.act, state, (), jax.random.key(0), obs, jnp.zeros(2, bool))

    act(jnp.zeros((2, 4)))
    one_sentence(lambda: act(jnp.zeros((2, 5))), "(2, 5) does not fit its space [..., 4]")
    one_sentence(lambda: act({"a": jnp.zeros((2, 4))}), "does not fit its space")


def test_strict_promotion_of_the_caller_is_not_that_of_an_algorithm(learners):
    _, algo, _ = learners
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(algo.init, jax.random.key(0), algo.hparams)
        jax.eval_shape(algo.update, state, algo.hparams)
