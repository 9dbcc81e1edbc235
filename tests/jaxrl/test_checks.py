"""Errors of `make` for environments, objectives and keys that it cannot use."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import CONTINUOUS, small_env, without_devices

from jaxrl import checks, envs, objectives, train
from jaxrl.algos import ALGORITHMS, ppo
from jaxrl.envs.wrappers import auto_reset, episode_stats, fix_dtypes, restart, time_limit, transition
from jaxrl.optimizers import progress
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Algorithm, Env

RIGHT = r"auto_reset\(episode_stats\(time_limit\(env, max_steps\)\)\)"


def walk(look=lambda position: jnp.float32(position)[None] / 5, space=None):
    """A line to walk along; `look` is the observation of a position."""

    def reset(key):
        position = jnp.zeros((), jnp.int32)
        return position, restart(look(position))

    def step(key, position, action):
        position = jnp.maximum(position + 2 * action - 1, 0)
        return position, transition(look(position), position == 5, position == 5)

    return Env(reset, step, space or Box(0.0, 1.0, (1,)), Discrete(2))


def masked(mask):
    """The line, with an action mask that is always the same."""
    env = walk()

    def of(pair):
        return pair[0], pair[1].replace(info={**pair[1].info, "action_mask": mask})

    return env._replace(reset=lambda key: of(env.reset(key)), step=lambda *given: of(env.step(*given)))


def whole(env):
    return auto_reset(episode_stats(time_limit(env, 50)))


def weak(position):
    return jnp.asarray(1.0)[None]


def test_an_environment_that_always_ends_is_accepted():
    assert ppo.make(envs.make("probe/action")).steps_per_update == 512


def test_a_continuing_task_is_accepted():
    env = envs.make("world/two-colours")
    step = env.step
    assert ppo.make(env._replace(step=lambda *arguments: step(*arguments))).steps_per_update == 512


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_wrapped_environment_is_accepted(name):
    env = envs.make("Pendulum-v1") if name in CONTINUOUS else whole(walk())
    assert ALGORITHMS[name].make(env).steps_per_update > 0


class Unwrapped:
    unwrapped = None


class Gymnax:
    """gymnax.make returns one of these and its parameters."""


Gymnax.__module__ = "gymnax.environments"


MISTAKES = {
    "raw": (walk, f"no episode_length in its info: wrap it, {RIGHT}"),
    "no resets": (
        lambda: episode_stats(time_limit(walk(), 50)),
        f"never begins a new episode: wrap it, {RIGHT}",
    ),
    "statistics outside": (
        lambda: episode_stats(auto_reset(time_limit(walk(), 50))),
        f"episode_stats is around auto_reset.* {RIGHT}",
    ),
    "limit outside": (
        lambda: time_limit(auto_reset(episode_stats(walk())), 50),
        f"time_limit is around auto_reset.* {RIGHT}",
    ),
    "gymnax": (lambda: (Gymnax(), None), "an object of gymnax is not a jaxrl environment: give envs.make"),
    "a name": (lambda: "CartPole-v1", r"give envs\.make\('CartPole-v1'\)"),
    "gymnasium": (Unwrapped, "a Gymnasium environment runs on the host"),
    "a number": (lambda: 3, "made for a jaxrl.types.Env, not for 3"),
    "shape": (
        lambda: whole(walk(space=Box(0.0, 1.0, (2,)))),
        r"obs of reset has the shape \(1,\).*its space says \(2,\)",
    ),
    "dtype": (
        lambda: whole(walk(space=Box(0, 1, (1,), np.dtype(np.int32)))),
        "is float32, not int32: wrap it, fix_dtypes",
    ),
    "structure": (
        lambda: whole(walk(lambda p: {"a": p})),
        "does not have the structure of the observation space",
    ),
    "weak type": (lambda: whole(walk(weak)), "a weakly typed float32"),
}


@pytest.mark.parametrize(("env", "message"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("module", [ppo, ALGORITHMS["es"]], ids=["ppo", "es"])
def test_an_unusable_environment_is_rejected(module, env, message):
    with pytest.raises(ValueError, match=message):
        module.make(env())


def test_the_remedy_for_weak_types_helps():
    assert ppo.make(whole(fix_dtypes(walk(weak)))).steps_per_update == 512


@pytest.mark.parametrize(
    ("objective", "remedy"),
    [(objectives.dpo, r"objectives\.dpo\(\)"), ("dpo", r"objectives\.dpo\(\)"), (0.2, "objectives.ppo")],
)
def test_an_objective_is_a_value(objective, remedy):
    with pytest.raises(ValueError, match=f"an objective is a value.*: give {remedy}"):
        ppo.make(envs.make("CartPole-v1"), objective=objective)


CARTPOLE = envs.make("CartPole-v1")
ALGO = ppo.make(CARTPOLE)
KEY, HP = jax.random.key(0), ALGO.hparams


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ALGO, 0, HP, 1), "key must be a random key, as .*, not 0"),
        ((ALGO, jnp.arange(4)[0], HP, 1), "key must be a random key"),
        ((ALGO, HP, KEY, 1), "key must be a random key.*run\\(algo, key, hp, num_updates\\)"),
        ((ALGO, jax.random.split(KEY), HP, 1), r"not keys of shape \(2,\): for several agents, jax.vmap"),
        ((ALGO, KEY, {"gamma": 1.0}, 1), "hp must be hyperparameters, as algo.hparams, not a dict"),
        ((ALGO, KEY, 10, HP), "hp must be hyperparameters, as algo.hparams, not 10"),
        ((ppo, KEY, HP, 1), "algo must be what `make` of an algorithm returns, not a module"),
        ((ALGO, KEY, HP, 1.5), "num_updates must be a whole number that is known to Python, not 1.5"),
    ],
)
def test_run_arguments_of_the_wrong_type_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        train.run(*arguments)


def test_swapped_arguments_of_init_are_rejected():
    with pytest.raises(ValueError, match=r"key must be a random key.*: write init\(key, hp\)"):
        ALGO.init(HP, KEY)


def test_run_arguments_are_checked_under_transformations_too():
    many = jax.vmap(partial(train.run, ALGO, num_updates=1), (0, None))
    with pytest.raises(ValueError, match="key must be a random key"):
        jax.eval_shape(many, jnp.arange(4), HP)
    with pytest.raises(ValueError, match=r"num_updates must be .* not traced: under jax.jit"):
        jax.eval_shape(partial(train.run, ALGO), KEY, HP, 1)


@pytest.mark.parametrize(
    ("cls", "name", "remedy"),
    [
        ("Config", "hidden_sizes", r"part of network, give network=NetworkConfig\(hidden_sizes=\.\.\.\)"),
        ("Config", "activation", r"network=NetworkConfig\(activation="),
        ("Config", "learning_rate", r"belongs to Hparams, give algo.hparams.replace\(learning_rate="),
        ("Config", "num_env", "has no 'num_env'; the nearest: num_envs"),
        ("Hparams", "gama", "has no 'gama'; the nearest: gamma"),
    ],
)
@pytest.mark.parametrize("module", ["a2c", "dqn", "fixpo", "ppo", "ppo_kl", "pqn", "sac", "trpo", "vmpo"])
def test_unknown_fields_are_rejected_with_a_remedy(module, cls, name, remedy):
    with pytest.raises(TypeError, match=remedy):
        getattr(ALGORITHMS[module], cls)(**{name: 64})


@pytest.mark.parametrize("module", ALGORITHMS.values(), ids=ALGORITHMS)
def test_every_algorithm_rejects_unknown_arguments_with_a_remedy(module):
    for cls in (module.Config, module.Hparams):
        with pytest.raises(TypeError, match=rf"{cls.__name__} has no 'nonsense'; "):
            cls(nonsense=1)


def test_misplaced_hyperparameters_are_rejected_with_a_remedy():
    with pytest.raises(TypeError, match=r"it belongs to Config, give make\(env, Config\(num_envs="):
        HP.replace(num_envs=8)
    with pytest.raises(TypeError, match=r"it is part of objective, give objective=Clip\(clip_eps="):
        ppo.Hparams(clip_eps=0.1)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"network": NetworkConfig(hidden_sizes=64)}, r"hidden_sizes must be a tuple.*not 64: \(64,\)"),
        ({"network": NetworkConfig(hidden_sizes=(0,))}, "sizes must be whole numbers of at least 1"),
        ({"network": NetworkConfig(activation="Tanh")}, "unknown activation 'Tanh': take one of .*tanh"),
    ],
)
@pytest.mark.parametrize("module", ALGORITHMS.values(), ids=ALGORITHMS)
def test_make_rejects_an_invalid_network(module, config, message):
    with pytest.raises(ValueError, match=message):
        module.make(envs.make(small_env(module.__name__.rpartition(".")[2])), module.Config(**config))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ppo.Config(num_envs=4.0), "num_envs = 4.0 must be a whole number"),
        (64, "config must be a Config with num_envs and other options, not 64"),
        ({"num_envs": 8}, "config must be a Config .* not a dict"),
        (objectives.dpo(), "config must be a Config .* not a Objective"),
    ],
)
def test_a_config_of_the_wrong_type_is_rejected(config, message):
    with pytest.raises(ValueError, match=message):
        ppo.make(CARTPOLE, config)


# --- schedules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ALGORITHMS.values(), ids=ALGORITHMS)
def test_no_algorithm_has_a_default_horizon(module):
    assert module.Hparams().total_updates == float("inf")


def test_the_horizon_of_schedules_defaults_to_that_of_the_run():
    assert train.with_horizon(HP, 1500).total_updates == 1500.0
    assert train.with_horizon(HP.replace(total_updates=8.0), 1500).total_updates == 8.0
    many = jnp.array([jnp.inf, 8.0])
    np.testing.assert_array_equal(train.with_horizon(HP.replace(total_updates=many), 3).total_updates, [3, 8])
    assert train.with_horizon({"gamma": 1.0}, 3) == {"gamma": 1.0}


def test_a_run_is_annealed_from_its_first_to_its_last_update():
    """Also with batched hyperparameters, some of which set the end of the schedule."""

    def update(count, hp):
        return count + 1, {"progress": progress(count, hp.total_updates)}

    counting = Algorithm(lambda key, hp: jnp.zeros((), jnp.int32), update, None, HP, 1)
    run = partial(train.run, counting, num_updates=4)
    np.testing.assert_allclose(run(KEY, HP)[1]["progress"], [0, 0.25, 0.5, 0.75])
    hp = train.grid(HP, total_updates=[jnp.inf, 8.0])
    ours = jax.jit(jax.vmap(run, (None, 0)))(KEY, hp)[1]["progress"]
    np.testing.assert_allclose(ours, [[0, 0.25, 0.5, 0.75], [0, 0.125, 0.25, 0.375]])
    np.testing.assert_array_equal(progress(jnp.arange(3), HP.total_updates), 0.0)


# --- scales of actions, masks ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reach", "squash", "hinted"),
    [(1000.0, False, True), (1000.0, True, False), (0.01, False, True), (2.0, False, False)],
)
def test_bounds_that_an_untrained_policy_does_not_reach_are_reported(reach, squash, hinted, caplog):
    checks._hints.clear()
    env = whole(walk())._replace(action_space=Box(-reach, reach, (1,)))
    config = ppo.Config(network=NetworkConfig(squash=squash))
    env = env._replace(step=lambda key, state, action, step=env.step: step(key, state, action[0].astype(int)))
    for _ in range(2):
        ppo.make(env, config)
    assert len(caplog.records) == hinted
    assert not hinted or (f"from -{reach:g} to {reach:g}" in caplog.text and "squash=True" in caplog.text)


@pytest.mark.parametrize("mask", [jnp.ones(3, bool), jnp.ones(2), jnp.ones((), bool)])
def test_make_rejects_a_mask_that_does_not_fit_the_actions(mask):
    env = whole(masked(mask))
    with pytest.raises(
        ValueError, match=r"action_mask of reset is .*needs one bool for each choice, bool\[2\]"
    ):
        ppo.make(env)


def test_a_grid_takes_the_parameters_of_the_objective_too():
    hp = train.grid(ppo.Hparams(), clip_eps=[0.1, 0.2])
    np.testing.assert_allclose(hp.objective.clip_eps, [0.1, 0.2])
    assert hp.gamma.shape == (2,)
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'clip_epsilon'.*clip_eps"):
        train.grid(ppo.Hparams(), clip_epsilon=[0.1, 0.2])


CORES = """
import jax, warnings
from jaxrl import train
jax.devices()
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    train.use_cores(quiet=True)
    assert not seen
    train.use_cores()
print(*(str(one.message) for one in seen))
"""


def test_requesting_cores_too_late_is_reported():
    env = without_devices()
    command = [sys.executable, "-c", CORES]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    expected = "no effect: JAX has started already" if (os.cpu_count() or 1) > 1 else ""
    assert expected in answer.stdout
