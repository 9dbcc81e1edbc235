"""Shared fixtures and helpers: small algorithms, compiled once."""

import os
from pathlib import Path

os.environ.setdefault("JAXRL_CACHE", "off")
# One cache of compiled programs for all workers and subprocesses of a run; JAX reads this when imported.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache" / "programs")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Programs without the lines of source that they come from are lowered in a sixth less time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import contextlib
import functools
import gc
import io
import json
import signal
import subprocess
import sys
import types

import jax
import jaxlib
import pytest

from jaxrl import envs, fields, logger, objectives, train
from jaxrl.algos import ALGORITHMS
from jaxrl.envs import probes
from jaxrl.experiments import cli, runs

# A worker keeps the programs of its tests: a collection of garbage visits millions of objects that stay.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 20)

ROOT = Path(__file__).parent.parent
# Tests mirror the source in folders; some use helpers of others, also in processes that they start.
FOLDERS = [str(ROOT / "tests"), *(str(path) for path in sorted((ROOT / "tests").iterdir()) if path.is_dir())]
sys.path[:0] = [folder for folder in FOLDERS if folder not in sys.path]

# A process started in the background of a shell ignores Ctrl-C, and so would its children.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The ordinary suite compiles much and computes little: without LLVM's optimizations and XLA's fusion emitters
# it takes 60 % of the time, and a program compiles in a fifth less if it is not split for several threads.
# The slow tests, which compute much, run what users run.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false"
)
# Without the emitters, or in one part, two programs may round one formula differently. These options are for
# one program, and the flags for a process, in which a `fused` test runs.
FUSED = {"xla_cpu_use_fusion_emitters": True, "xla_cpu_parallel_codegen_split_count": 32}
FUSED_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
IN_PROCESS_OF = "JAXRL_FUSED_TEST"  # in the environment of the process of a `fused` test
# For what depends on the optimizations themselves: memory, and sums and products in one instruction.
OPTIMIZED = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
    "xla_cpu_use_fusion_emitters": True,
}


TESTED = jaxlib.__version__.startswith("0.10.")  # XLA exits if it does not know a flag


@functools.cache
def trace_less():
    """Lowers all programs in one context, and leaves the loops of random numbers in updates as they are.

    To make a context takes longer than to lower a small program into it.
    """
    from jax._src.interpreters import mlir  # not an interface of JAX: only with tested versions
    from jax._src.lib.mlir import ir

    make = mlir.make_ir_context
    shared = functools.cache(make)
    # A program that is lowered within another's lowering has its own context.
    mlir.make_ir_context = lambda: make() if ir.Context.current else shared()
    # Unrolled they are the same bits, take longer to compile, and have their own tests.
    train.threefry = types.SimpleNamespace(unrolled=lambda function: function)


def build_once():
    """Builds the programs of equal runs once for all tests of a process, so that they are traced once.

    They are pure functions. Tests that change what a run is built from have specs of their own.
    """
    build, built = runs.build, {}

    def cached(spec, to_train=True):
        key = json.dumps([spec.to_json(), to_train], sort_keys=True)
        if key not in built:
            built[key] = build(spec, to_train)
        return built[key]

    runs.build = cached


if QUICK in os.environ.get("XLA_FLAGS", ""):  # in a process that a test starts
    trace_less()


def pytest_configure(config):
    """Chooses compiler flags before JAX starts, for this process, for workers and for subprocesses."""
    flags = os.environ.get("XLA_FLAGS", "")
    quick = "not slow" in config.option.markexpr and TESTED and IN_PROCESS_OF not in os.environ
    if quick and QUICK not in flags:
        os.environ["XLA_FLAGS"] = f"{QUICK} {flags}".strip()
    if quick:
        trace_less()
        build_once()


def in_another_process(item):
    """Whether a test needs a process with other compiler flags than this one."""
    return item.get_closest_marker("fused") is not None and QUICK in os.environ.get("XLA_FLAGS", "")


def pytest_collection_modifyitems(items):
    """Leaves the fixtures of `fused` tests to their processes, and starts them first: they take long."""
    for item in items:
        if in_another_process(item):
            item.fixturenames = []
    items.sort(key=lambda item: not in_another_process(item))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs a `fused` test in a process with the compiler flags that it needs."""
    if not in_another_process(pyfuncitem):
        return None
    flags = os.environ["XLA_FLAGS"].replace(QUICK, FUSED_FLAGS)
    environment = {**os.environ, "XLA_FLAGS": flags, IN_PROCESS_OF: pyfuncitem.nodeid}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    folder = pyfuncitem.config.rootpath
    done = subprocess.run(
        [*command, pyfuncitem.nodeid], env=environment, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        pytest.fail(done.stdout[-5000:] + done.stderr[-1000:], pytrace=False)
    return True


def without_devices():
    """The environment of a process for which nothing chooses the number of devices."""
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    others = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    return {**others, "XLA_FLAGS": " ".join(flags)}


def slow_except(values, *ordinary):
    """Parameters of a test; those that are not `ordinary` run the same lines once more, in the slow suite."""
    unknown = [value for value in ordinary if value not in values]
    assert not unknown, f"{unknown} are no parameters of this test"
    return [value if value in ordinary else pytest.param(value, marks=pytest.mark.slow) for value in values]


# Sizes with which a program compiles fast and executes every branch: Config, then Hparams.
FEW = {"num_envs": 4, "num_steps": 8, "hidden_sizes": (8,)}
TWICE = {**FEW, "num_epochs": 2, "num_minibatches": 2}
SHORT = {"learning_rate": 1e-2, "total_updates": 8.0}
OFF_POLICY = {**FEW, "num_steps": 2, "batch_size": 8, "capacity": 256, "warmup_steps": 16}
DECAYING = {**SHORT, "lr_decay": 0.5, "max_grad_norm": 0.1, "tau": 0.5}
SMALL = {
    "a2c": (FEW, SHORT),
    "dqn": (
        {
            **FEW,
            "num_steps": 2,
            "num_gradient_steps": 2,
            "batch_size": 16,
            "capacity": 512,
            "warmup_steps": 32,
            "n_step": 1,
            "dueling": True,
            "prioritized": True,
            "munchausen": True,
        },
        {
            **SHORT,
            "lr_decay": 0.5,
            "max_grad_norm": 0.1,
            "epsilon_end": 0.5,
            "exploration": 0.8,
            "temperature": 0.5,
        },
    ),
    "pqn": (TWICE, {**SHORT, "lr_decay": 0.5, "max_grad_norm": 0.1, "epsilon_end": 0.6, "exploration": 0.3}),
    "fixpo": ({**TWICE, "max_fixups": 4}, {**SHORT, "ent_coef": 0.01, "max_kl": 1e-3}),
    "ppo": (
        {**TWICE, "clip_value": True},
        {**SHORT, "value_clip_eps": 0.01, "objective": objectives.ppo(clip_eps=0.02).params},
    ),
    # The first update's divergence is 9e-4: just below 1.5 times the target, and above it for a fifth less.
    "ppo_kl": (TWICE, {**SHORT, "kl_target": 6.7e-4}),
    "ddpg": (OFF_POLICY, DECAYING),
    "td3": (OFF_POLICY, {**DECAYING, "target_noise_clip": 0.1}),
    "reppo": (
        {**TWICE, "num_samples": 2, "num_atoms": 11},
        {**SHORT, "lr_decay": 0.5, "max_grad_norm": 0.1, "kl_bound": 1e-3},
    ),
    "sac": (OFF_POLICY, DECAYING),
    "dsac_t": (OFF_POLICY, {**DECAYING, "temperature_learning_rate": 0.1}),
    "mdpo": ({**OFF_POLICY, "old_every": 2}, DECAYING),
    "xqc": (
        {**OFF_POLICY, "critic_hidden_sizes": (8,), "num_gradient_steps": 4, "policy_every": 2},
        {**DECAYING, "temperature_learning_rate": 0.1},
    ),
    "trpo": ({**TWICE, "cg_iterations": 3, "max_backtracks": 3}, {**SHORT, "max_kl": 0.5}),
    "vmpo": (TWICE, SHORT),
    "es": (
        {"num_members": 6, "num_steps": 8, "hidden_sizes": (4,), "normalize_obs": True, "archive_size": 8},
        {"sigma": 0.5, "lr_decay": 0.5, "sigma_decay": 0.5, "total_updates": 8.0},
    ),
    "ga": (
        {
            "num_members": 8,
            "num_parents": 3,
            "num_steps": 8,
            "num_candidates": 3,
            "elite_episodes": 0,
            "max_mutations": 4,
            "hidden_sizes": (4,),
            "normalize_obs": True,
            "archive_size": 8,
        },
        {"sigma": 0.5, "sigma_decay": 0.5, "total_updates": 8.0},
    ),
}
# Values of actions need one Discrete action space.
DISCRETE = ("dqn", "pqn")
# A deterministic or squashed policy needs one bounded Box of actions.
CONTINUOUS = ("ddpg", "dsac_t", "td3", "xqc")
# Without gradients only the order of returns matters; they must differ within the 8 steps.
GRADIENT_FREE = ("es", "ga")


def glossary():
    """The metrics in docs/metrics.md: for each name its line, which names the algorithms."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    lines = [line for line in text.partition("## ")[2].splitlines() if line.startswith("| `")]
    return {line.split("`")[1]: line for line in lines}


def config_of(module, **sizes):
    """A Config with those of `sizes` that the algorithm has."""
    config = module.Config()
    known = fields.flatten(config)
    return fields.configured(config, {n: x for n, x in sizes.items() if fields.matching(known, n)})


def small_env(name):
    """The environment on which an algorithm is small."""
    return "Pendulum-v1" if name in (*GRADIENT_FREE, *CONTINUOUS) else "CartPole-v1"


def continuous_env(name):
    """An environment with continuous actions, or the one that an algorithm without them takes."""
    return small_env(name) if name in DISCRETE else "Pendulum-v1"


@functools.cache
def counted(env_name):
    """An environment, and how often Python has run through each of its functions."""
    return probes.count_traces(envs.make(env_name))


@functools.cache
def small(name, env_name=None, **changes):
    """A small instance of an algorithm; the same one for the same arguments, so it compiles once."""
    module = ALGORITHMS[name]
    config, hparams = SMALL.get(name, ({}, {}))
    env, _ = counted(env_name or small_env(name))
    algo = module.make(env, config_of(module, **{**config, **changes}))
    return algo._replace(hparams=algo.hparams.replace(**hparams))


@functools.cache
def jitted(function):
    """`jax.jit`, once per function."""
    return jax.jit(function)


@pytest.fixture(params=sorted(ALGORITHMS))
def algo_name(request):
    return request.param


@pytest.fixture(params=[5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def transitions(request):
    """The number of transitions or episodes that a test compares: few by default, many in the slow suite."""
    return request.param


@pytest.fixture
def fused_updates(monkeypatch):
    """Compiles updates with XLA's fusion emitters; for algorithms that no other test uses."""
    options = {**train.compiler_options(), **FUSED}
    monkeypatch.setattr(train, "compiler_options", lambda: options)


@pytest.fixture
def command(capsys):
    """Runs a command in this process. Returns its exit status, output and errors."""

    def call(*argv):
        capsys.readouterr()
        status = cli.main([str(word) for word in argv])
        return status, *capsys.readouterr()

    return call


def run_command(*argv):
    """Runs a command in this process. Returns its exit status and its output, errors included."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(output):
        status = cli.main([str(word) for word in argv])
    return status, output.getvalue()


def curve(path):
    """The rows of a run without times and speeds."""
    return [
        {name: value for name, value in row.items() if not name.endswith(("_seconds", "_per_second"))}
        for row in logger.read_jsonl(path / "metrics.jsonl")
    ]
