"""Agents divided among devices and groups match agents alone."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import without_devices

from jaxrl import devices, train

FLAG = "--xla_force_host_platform_device_count"


def run_script(script, *args, **environment):
    """The output of a new process, in an environment without a choice of devices."""
    answer = subprocess.run(
        [sys.executable, "-c", script, *args],
        capture_output=True,
        text=True,
        timeout=120,
        env={**without_devices(), "JAX_PLATFORMS": "cpu", **environment},
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.split()


# ---------------------------------------------------------------------------------------------------
# Over devices

SPREAD = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jaxrl import checkpoint, envs, train
from jaxrl.algos import ppo
from jaxrl.policies import NetworkConfig

def plain(tree):
    keys = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return jax.tree.map(lambda x: np.asarray(keys(x)), tree)

def bits(tree):
    return [leaf.tobytes() for leaf in jax.tree.leaves(plain(tree))]

def trained(algo, state, hp, num_updates=2):
    for state, metrics in train.chunks(algo, state, hp, 1, num_updates):
        pass
    return state, metrics

assert len(jax.devices()) == 8
sizes = {n: train.mesh(n).size for n in (1, 2, 3, 7, 8, 9, 11, 12, 16, 30)}
assert sizes == {1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 3, 11: 1, 12: 6, 16: 8, 30: 6}, sizes
assert train.mesh(12).axis_names == ("agents",)

small = NetworkConfig(hidden_sizes=(8,))
config = ppo.Config(num_envs=2, num_steps=8, network=small, num_epochs=1, num_minibatches=1)
algo = ppo.make(envs.make("CartPole-v1"), config)
keys = jax.random.split(jax.random.key(0), 16)
rates = jnp.linspace(1e-3, 5e-2, 16)
one = algo.hparams.replace(learning_rate=1e-2)
many = train.grid(algo.hparams, learning_rate=rates, gamma=jnp.linspace(0.8, 0.99, 16))
init = jax.jit(algo.init)

for size, hp, axis in ((16, many, 0), (12, one, None)):
    mesh = train.mesh(size)
    agents = train.population(algo, vary_hparams=axis == 0, mesh=mesh)
    start = jax.jit(agents.init)(keys[:size], hp)
    state, metrics = trained(agents, start, hp)
    for leaf in jax.tree.leaves((start, state, metrics)):
        assert len(leaf.sharding.device_set) == {16: 8, 12: 6}[size], leaf.sharding
        assert leaf.addressable_shards[0].data.shape[0] == 2, leaf.sharding
    whole, sums = plain(state), plain(metrics)
    for lane in range(size):
        own = jax.tree.map(lambda x: x[lane], hp) if axis == 0 else hp
        alone, alone_metrics = trained(algo, init(keys[lane], own), own)
        for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(plain(alone)), strict=True):
            if b.dtype.kind == "f":
                np.testing.assert_allclose(a[lane], b, atol=1e-5, rtol=1e-5)
            else:  # keys, counts, flags
                np.testing.assert_array_equal(a[lane], b)
        for name, value in alone_metrics.items():
            np.testing.assert_allclose(sums[name][lane], value, atol=1e-4, rtol=1e-4, err_msg=name)
    if axis == 0:  # different rates have an effect; otherwise this test would be vacuous
        state_other, _ = trained(agents, start, hp.replace(learning_rate=rates[::-1]))
        kernels = [jax.tree.leaves(plain(s.params))[1] for s in (state, state_other)]
        assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(*kernels))
        checkpoint.save(sys.argv[1], 2, state)
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("agents"))
        target = jax.eval_shape(agents.init, keys, hp)
        restored, _ = checkpoint.restore(sys.argv[1], target, sharding=sharding)
        assert bits(restored) == bits(state)
        for leaf in jax.tree.leaves(restored):
            assert len(leaf.sharding.device_set) == 8 and leaf.addressable_shards[0].data.shape[0] == 2
        compiled = train.program(agents.update)._cache_size()
        further, further_metrics = trained(agents, restored, hp, 3)
        straight, straight_metrics = trained(agents, state, hp, 3)
        assert bits((further, further_metrics)) == bits((straight, straight_metrics))
        assert bits(further) != bits(restored)
        print("programs", compiled, train.program(agents.update)._cache_size())
print("done")
"""


def test_agents_on_many_devices_match_agents_alone(tmp_path):
    answer = run_script(SPREAD, str(tmp_path), JAX_NUM_CPU_DEVICES="8")
    assert answer[-1] == "done"
    assert answer[1] == answer[2]  # a restored population uses the compiled program


# ---------------------------------------------------------------------------------------------------
# In groups, on one device


def agent(x, y):
    """A function of a vector and a tree, with a gradient, that is not a sum over agents."""
    moved = jnp.tanh(x @ y["matrix"] + y["offset"])
    return {"moved": moved, "count": (moved > 0).sum()}, jnp.square(moved).sum()


def inputs(size, axes):
    rng = np.random.default_rng(size)
    shapes = (4,), {"matrix": (4, 3), "offset": ()}

    def draw(shape, axis):
        return jnp.asarray(rng.normal(size=(size, *shape) if axis == 0 else shape), jnp.float32)

    is_shape = lambda s: isinstance(s, tuple)  # noqa: E731
    return [jax.tree.map(lambda s, a=a: draw(s, a), t, is_leaf=is_shape) for t, a in zip(shapes, axes)]


@pytest.mark.parametrize("axes", [(0, None), (0, 0), (None, 0)])
@pytest.mark.parametrize("size", [1, 3, 8, 11])
def test_groups_of_agents_are_all_agents(size, axes):
    args = inputs(size, axes)
    functions = train.over_agents(agent, axes), jax.vmap(agent, axes)

    def loss(function):
        weights = jnp.arange(1.0, size + 1)
        return lambda *args: (function(*args)[1] * weights).sum()

    for ours, theirs in (
        (jax.jit(f)(*args) for f in functions),
        (jax.jit(jax.grad(loss(f), (0, 1)))(*args) for f in functions),
    ):
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert np.abs(np.asarray(b)).max() > 1e-3


def test_a_mesh_of_one_device_changes_nothing():
    args = inputs(3, (0, None))
    mesh = train.mesh(3) if len(jax.devices()) == 1 else jax.sharding.Mesh(jax.devices()[:1], ("agents",))
    assert mesh.size == 1
    ours, theirs = (jax.jit(train.over_agents(agent, (0, None), m))(*args) for m in (mesh, None))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices take all agents at once")
def test_a_cpu_takes_a_group_at_a_time():
    function = train.over_agents(agent, (0, 0))
    text = jax.jit(function).lower(*inputs(11, (0, 0))).as_text()
    assert f"tensor<{devices.GROUP}x3xf32>" in text
    assert "tensor<3x3xf32>" in text  # the remainder
    tanhs = [line for line in text.splitlines() if "tanh" in line]
    assert tanhs
    assert not any("tensor<11x" in line for line in tanhs)


# ---------------------------------------------------------------------------------------------------
# Cores and the compiler

DEVICES = """
import sys, jax
from jaxrl import train
if sys.argv[1] == "late":
    jax.devices()
train.use_cores()
train.use_cores()
print(len(jax.devices()))
"""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("when", "environment", "devices"),
    [
        ("early", {}, CORES),
        ("late", {}, 1),
        ("early", {"XLA_FLAGS": f"--xla_cpu_enable_fast_math=false {FLAG}=3"}, 3),
        ("early", {"XLA_FLAGS": "--xla_cpu_enable_fast_math=false"}, CORES),
        ("early", {"JAX_NUM_CPU_DEVICES": "3"}, 3),
        ("early", {"JAX_NUM_CPU_DEVICES": "1"}, 1),
    ],
)
def test_cores_are_devices_unless_configured(when, environment, devices):
    assert run_script(DEVICES, when, **environment) == [str(devices)]


def test_compiler_options_can_be_turned_off(monkeypatch):
    monkeypatch.delenv("JAXRL_COMPILER_OPTIONS", raising=False)
    chosen = train.compiler_options()
    assert bool(chosen) == (jax.default_backend() == "cpu")
    assert jax.jit(lambda x: x + 1, compiler_options=chosen)(1) == 2  # XLA knows them
    monkeypatch.setenv("JAXRL_COMPILER_OPTIONS", "off")
    assert train.compiler_options() == {}
