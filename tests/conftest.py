"""What tests share: small algorithms, compiled once."""

import os

os.environ.setdefault("JAXRL_CACHE", "off")

import functools
import signal

import jax
import pytest

from jaxrl import envs, objectives
from jaxrl.algos import ALGORITHMS

# Started in the background of a shell, a process ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Sizes at which a program compiles fast and every branch of it runs: Config, then Hparams.
SMALL = {
    "ppo": (
        {
            "num_envs": 4,
            "num_steps": 8,
            "num_epochs": 2,
            "num_minibatches": 2,
            "hidden_sizes": (8,),
            "clip_value": True,
        },
        {
            "learning_rate": 1e-2,
            "total_updates": 8.0,
            "value_clip_eps": 0.01,
            "objective": objectives.ppo(clip_eps=0.02).params,
        },
    )
}


@functools.cache
def small(name, env_name="CartPole-v1", **changes):
    """A small instance of an algorithm; the same one for the same arguments, so it compiles once."""
    module = ALGORITHMS[name]
    config, hparams = SMALL.get(name, ({}, {}))
    algo = module.make(envs.make(env_name), module.Config(**{**config, **changes}))
    return algo._replace(hparams=algo.hparams.replace(**hparams))


@functools.cache
def jitted(function):
    """`jax.jit`, once per function."""
    return jax.jit(function)


@pytest.fixture(params=sorted(ALGORITHMS))
def algo_name(request):
    return request.param
