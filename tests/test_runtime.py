"""The thread pool: populations never hang, and what the user has set stands."""

import os
import subprocess
import sys

import pytest

from jaxrl import runtime

POPULATION = """
import jaxrl, jax, jax.numpy as jnp
from jaxrl import envs, train
from jaxrl.algos import ppo
algo = ppo.make(envs.make("CartPole-v1"), ppo.Config(num_steps=16))
agents = train.population(algo)
state = jax.jit(agents.init)(jax.vmap(jax.random.key)(jnp.arange({size})), algo.hparams)
for state, metrics in train.chunks(agents, state, algo.hparams, num_chunks=2, length=4):
    pass
print(metrics["loss/value"].shape[0], bool(jnp.isfinite(metrics["loss/value"]).all()))
"""


@pytest.mark.parametrize(("size", "pool"), [(8, None), (64, None), (256, None), (8, "2"), (256, "2")])
def test_a_population_does_not_hang(size, pool):
    """In a fresh process; with flax's orthogonal initializer a pool of two threads waited for ever.

    docs/thread_pool.md
    """
    environment = {k: v for k, v in os.environ.items() if k != "NPROC"}
    if pool:
        environment["NPROC"] = pool
    answer = subprocess.run(
        [sys.executable, "-c", POPULATION.format(size=size)],
        capture_output=True,
        text=True,
        timeout=150,
        env=environment,
    )
    assert answer.stdout.split() == [str(size), "True"], answer.stderr


@pytest.mark.parametrize(
    ("cores", "given", "expected"),
    [(1, None, None), (2, None, "4"), (3, None, "4"), (4, None, None), (2, "2", "2"), (2, "16", "16")],
)
def test_pool_size(monkeypatch, cores, given, expected):
    monkeypatch.setattr(runtime, "available_cores", lambda: cores)
    monkeypatch.setattr(runtime, "_cpu_backend_started", lambda: False)
    monkeypatch.delenv("NPROC", raising=False)
    if given is not None:
        monkeypatch.setenv("NPROC", given)
    runtime.ensure_thread_pool()
    assert os.environ.get("NPROC") == expected


def test_linear_algebra_of_a_population_does_not_hang():
    """Six batched QR decompositions at once, as flax's initializer makes them in a user's own torso."""
    script = (
        "import jaxrl, jax, jax.numpy as jnp\n"
        "from flax import linen as nn\n"
        "class Net(nn.Module):\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        init = nn.initializers.orthogonal()\n"
        "        return [nn.Dense(64, kernel_init=init)(x) for _ in range(6)]\n"
        "keys = jax.random.split(jax.random.key(0), 256)\n"
        "params = jax.jit(jax.vmap(lambda key: Net().init(key, jnp.zeros(64))))(keys)\n"
        "print(len(jax.tree.leaves(jax.block_until_ready(params))))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NPROC"}
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=150, env=environment
    )
    assert answer.stdout.split() == ["12"], answer.stderr


def test_too_late_is_said(monkeypatch):
    monkeypatch.setattr(runtime, "available_cores", lambda: 2)
    monkeypatch.setattr(runtime, "_cpu_backend_started", lambda: True)
    monkeypatch.delenv("NPROC", raising=False)
    with pytest.warns(UserWarning, match="import jaxrl first"):
        runtime.ensure_thread_pool()
    assert "NPROC" not in os.environ


def test_a_started_backend_is_noticed():
    script = (
        "import os; os.environ.pop('NPROC', None)\n"
        "from jaxrl import runtime\n"
        "os.environ.pop('NPROC', None)\n"
        "print(runtime._cpu_backend_started())\n"
        "import jax; jax.devices()\n"
        "print(runtime._cpu_backend_started())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "True"]
