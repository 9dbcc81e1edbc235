"""Populations run, whatever the thread pool: each in a fresh process, under a time limit.

With LAPACK's batched QR as initializer they deadlocked on two cores (docs/thread_pool.md).
"""

import os
import subprocess
import sys

import pytest

POPULATION = """
import jax, jax.numpy as jnp
from flax import linen as nn
from jaxrl import envs, train
from jaxrl.algos import ppo


class Torso(nn.Module):  # a custom torso, initialized by QR
    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.tanh(nn.Dense(64, kernel_init=nn.initializers.orthogonal())(x))
        return x


algo = ppo.make(envs.make("CartPole-v1"), ppo.Config(num_steps=16), torso={torso})
agents = train.population(algo)
state = jax.jit(agents.init)(jax.vmap(jax.random.key)(jnp.arange({size})), algo.hparams)
for state, metrics in train.chunks(agents, state, algo.hparams, num_chunks=2, length=1):
    pass
print(metrics["loss/value"].shape[0], bool(jnp.isfinite(metrics["loss/value"]).all()))
"""


MORE = [(256, "2", "Torso()"), (8, "2", "None"), (64, None, "None"), (8, "2", "Torso()")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "pool", "torso"),
    [(256, "2", "None"), *MORE],
)
def test_a_population_does_not_hang(size, pool, torso):
    environment = {k: v for k, v in os.environ.items() if k != "NPROC"}
    if pool:  # the default on a machine with two cores
        environment["NPROC"] = pool
    answer = subprocess.run(
        [sys.executable, "-c", POPULATION.format(size=size, torso=torso)],
        capture_output=True,
        text=True,
        timeout=150,
        env=environment,
    )
    assert answer.stdout.split() == [str(size), "True"], answer.stderr
