"""JAX_ENABLE_X64=1: the same states, observations and metrics, in 32 bits, under every algorithm."""

import os
import subprocess
import sys

import pytest
from conftest import FOLDERS

from jaxrl import envs

# Traced only: types are known before a program is compiled.
PROGRAM = """
import sys
import jax, jax.numpy as jnp
from conftest import SMALL, config_of, continuous_env
from jaxrl import envs, spaces, train
from jaxrl.algos import ALGORITHMS

assert jax.config.jax_enable_x64
KEY = jax.random.key(0)


def types(tree):
    return [(jax.tree_util.keystr(path), str(leaf.dtype)) for path, leaf in
            jax.tree_util.tree_leaves_with_path(jax.eval_shape(lambda: tree) if callable(tree) else tree)]


def narrow(what, tree):
    wide = [(path, dtype) for path, dtype in types(tree) if "64" in dtype]
    assert not wide, (what, wide[:5])


def environments(names):
    for name in names:
        env = envs.make(name)
        state, first = jax.eval_shape(env.reset, KEY)
        action = jax.eval_shape(lambda key: spaces.sample(env.action_space, key), KEY)
        then = jax.eval_shape(env.step, KEY, state, action)
        assert types((state, first)) == types(then), name
        narrow(name, then)
        shown = jax.tree.map(lambda space, obs: space.dtype == obs.dtype, env.observation_space, first.obs)
        assert all(jax.tree.leaves(shown)), (name, shown)


def algorithm(name, environment, **options):
    module = ALGORITHMS[name]
    sizes, numbers = SMALL[name]
    algo = module.make(envs.make(environment), config_of(module, **{**sizes, **options}))
    hp = algo.hparams.replace(**{n: v for n, v in numbers.items() if n != "objective"})
    rows = train.grid(hp, **{n: jnp.asarray([v, v]) for n, v in numbers.items() if n == "sigma"} or
                      {"learning_rate": jnp.asarray([1e-3, 1e-2])})
    for algo, key, hp in [(algo, KEY, hp), (train.population(algo, True), jax.random.split(KEY, 2), rows)]:
        state = jax.eval_shape(algo.init, key, hp)
        after, metrics = jax.eval_shape(algo.update, state, hp)
        assert types(state) == types(after), (name, environment)
        narrow((name, environment), (after, metrics))
"""


def x64(*lines):
    """Runs lines after `PROGRAM` in a process with JAX_ENABLE_X64=1."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "\n".join(lines)],
        env={**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": os.pathsep.join(FOLDERS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


BROAD = ["CartPole-v1", "Pendulum-v1", "Catch-bsuite", "Breakout-MinAtar"]
MORE = ["Acrobot-v1", "MountainCarContinuous-v0", "gymnax/CartPole-v1", "gymnax/Breakout-MinAtar", "Taxi-v3"]
MORE += ["SpaceInvaders-MinAtar", "DeepSea-bsuite", "UmbrellaChain-bsuite", "FourRooms-misc", "Pong-misc"]
MORE += ["DeceptiveMaze-misc", "probe/memory", "world/t-maze", "world/two-colours", "world/garnet"]
HEAVY = ("brax", "craftax", "jumanji", "navix", "pgx", "playground", "xminigrid")


@pytest.mark.timeout(900)
def test_environments_keep_their_types():
    x64(f"environments({BROAD + MORE!r})")


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_all_environments_keep_their_types():
    try:
        envs.make("MNISTBandit-bsuite")
        left_out = ()
    except OSError:  # it needs files that are not here
        left_out = ("MNISTBandit-bsuite", "gymnax/MNISTBandit-bsuite")
    names = [n for n in envs.names() if n.split("/")[0] not in HEAVY and n not in left_out]
    x64(f"environments({[*names, 'brax/hopper']!r})")


@pytest.mark.timeout(900)
def test_some_algorithms_keep_their_types():
    x64(
        "algorithm('ppo', 'Pendulum-v1', memory_size=3, normalize_obs=True, normalize_reward=True)",
        "algorithm('trpo', 'Catch-bsuite')",
        "algorithm('es', 'Pendulum-v1')",
        "algorithm('dqn', 'Catch-bsuite')",
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_algorithm_keeps_its_types():
    x64(
        "for name in ALGORITHMS:",
        "    for environment in [continuous_env(name), 'Catch-bsuite']:",
        "        algorithm(name, environment)",
        "algorithm('ppo', 'Breakout-MinAtar')",
        "for name in ['ppo', 'trpo', 'es']:",
        "    algorithm(name, 'Pendulum-v1', memory_size=3, normalize_obs=True, normalize_reward=True)",
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name, environment", [("ppo", "Catch-bsuite"), ("trpo", "Pendulum-v1")])
def test_a_run_trains_and_evaluates(name, environment, tmp_path):
    flags = "--steps 64 --config.num-envs 4 --config.num-steps 8 --seeds 2 --intervals 1 --eval-episodes 1"
    words = [name, environment, *flags.split(), "--out", str(tmp_path / "run")]
    x64(
        "from jaxrl.experiments import cli",
        f"assert cli.main(['train', *{words!r}]) == 0",
        f"assert cli.main(['evaluate', {words[-1]!r}, '--episodes', '1']) == 0",
    )
