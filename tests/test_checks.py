"""What `make` says of environments, objectives and keys that it cannot use."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs, objectives, train
from jaxrl.algos import ALGORITHMS, ppo
from jaxrl.envs.wrappers import auto_reset, episode_stats, fix_dtypes, restart, time_limit, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

RIGHT = r"auto_reset\(episode_stats\(time_limit\(env, max_steps\)\)\)"


def walk(look=lambda position: jnp.float32(position)[None] / 5, space=None):
    """A line to walk along; `look` is what is seen of a position."""

    def reset(key):
        position = jnp.zeros((), jnp.int32)
        return position, restart(look(position))

    def step(key, position, action):
        position = jnp.maximum(position + 2 * action - 1, 0)
        return position, transition(look(position), position == 5, position == 5)

    return Env(reset, step, space or Box(0.0, 1.0, (1,)), Discrete(2))


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
    assert ALGORITHMS[name].make(whole(walk())).steps_per_update > 0


class Unwrapped:
    unwrapped = None


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
    "structure": (lambda: whole(walk(lambda p: {"a": p})), "another structure than the observation space"),
    "weak type": (lambda: whole(walk(weak)), "a weakly typed float32"),
}


@pytest.mark.parametrize(("env", "message"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("module", [ppo, ALGORITHMS["es"]], ids=["ppo", "es"])
def test_an_environment_that_cannot_be_used_is_named(module, env, message):
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


def test_a_run_begins_with_a_key():
    algo = ppo.make(envs.make("CartPole-v1"))
    for key in (0, jnp.arange(4)[0], algo.hparams):
        with pytest.raises(ValueError, match="the first argument of a run is a key"):
            train.run(algo, key, algo.hparams, 1)
    many = jax.vmap(partial(train.run, algo, num_updates=1), (0, None))
    with pytest.raises(ValueError, match="the first argument of a run is a key"):
        jax.eval_shape(many, jnp.arange(4), algo.hparams)


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


def test_cores_that_are_asked_for_too_late_are_reported():
    names = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")
    env = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", CORES]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    expected = "no effect: JAX has started already" if (os.cpu_count() or 1) > 1 else ""
    assert expected in answer.stdout
