"""Every core of `CORES`, and one with an `unroll` of its own, against stepping by hand."""

import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_loop import SPEC

from jaxrl import cores, envs, networks, policies
from jaxrl.artifact.describe import describe
from jaxrl.experiments import runs
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import Box, Discrete

STEPS, LANES = 9, 3


def average(size):
    """A core without parameters that is unrolled in parallel: m' = 0.5 m + x, and m = 0 where `first`."""

    def step(cell, memory, x, first):
        memory = jnp.where(first[..., None], 0.0, 0.5 * memory) + x
        return memory, memory

    def unroll(cell, memory, x, first):
        def joined(a, b):  # of two stretches of time: memory' = keep * memory + add
            return a[0] * b[0], a[1] * b[0] + b[1]

        keep, add = jax.lax.associative_scan(joined, (jnp.where(first[..., None], 0.0, 0.5) + 0.0 * x, x))
        features = keep * memory + add
        return features[-1], features

    def initial(num_envs):
        return jnp.zeros((num_envs, size), jnp.float32)

    return cores.Core("average", lambda name: None, initial, step, unroll)


@pytest.fixture(params=[*cores.CORES, "average"])
def policy(request, monkeypatch):
    """A registered core is one line: all that makes a policy of it is its name."""
    monkeypatch.setitem(cores.CORES, "average", average)
    ends = Box(-1.0, 1.0, (4,), np.float32)
    env = envs.make("CartPole-v1")._replace(observation_space=ends, action_space=Discrete(3))
    made = policies.actor_critic(env, NetworkConfig(hidden_sizes=(5,), memory_size=5, core=request.param))
    params = jax.eval_shape(made.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    return made, jax.tree.map(lambda p: rng.normal(scale=0.5, size=p.shape).astype(p.dtype), params)


def sequence():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(STEPS, LANES, 4)).astype(np.float32)
    first = np.zeros((STEPS, LANES), bool)
    first[0, 0] = first[4, 0] = first[5, 1] = True
    return x, first


def test_a_sequence_in_any_pieces_is_stepping_by_hand(policy):
    made, params = policy
    (x, first), step = sequence(), jax.jit(partial(made.step, params))
    start = jax.tree.map(lambda m: m + 0.5, made.initial_memory(LANES))
    memory, memories, expected = start, [start], []
    for t in range(STEPS):
        memory, (outputs, value) = step(memory, x[t], first[t])
        memories.append(memory)
        expected.append((outputs, value))
    unroll = jax.jit(partial(made.unroll, params))
    for begin, end in ((0, STEPS), (2, 6), (6, STEPS)):
        found = unroll(memories[begin], x[begin:end], first[begin:end])
        wanted = jax.tree.map(lambda *each: np.stack(each), *expected[begin:end])
        for a, b in zip(found, wanted):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_what_was_before_an_episode_has_no_influence(policy):
    made, params = policy
    x, first = sequence()
    last = jax.jit(jax.grad(lambda x: made.unroll(params, made.initial_memory(LANES), x, first)[1][-1].sum()))
    gradient = np.abs(last(x)).sum(-1)
    assert np.all(gradient[:4, 0] == 0.0) and np.all(gradient[:5, 1] == 0.0)
    remembers = bool(jax.tree.leaves(made.initial_memory(1)))
    assert np.all(gradient[5:8, :2] > 0.0) == remembers


def test_a_memory_may_have_several_parts():
    policy = policies.actor_critic(
        envs.make("CartPole-v1"), NetworkConfig(hidden_sizes=(), memory_size=3, core="lstm")
    )
    assert jax.tree.map(jnp.shape, policy.initial_memory(4)) == (((4, 3), (4, 3)),) * 2
    names = jax.eval_shape(policy.init, jax.random.key(0))["params"]
    assert set(names) == {"actor_torso_lstm", "critic_torso_lstm", "actor_head", "critic_head"}


def test_what_a_core_cannot_do_is_one_line():
    network = NetworkConfig(hidden_sizes=(), memory_size=2, core="lstm")
    spaces = Box(-1.0, 1.0, (4,), np.float32), Discrete(3)
    weights = {"actor_torso_lstm": {}, "actor_head": {}}
    with pytest.raises(ValueError, match="with the core 'lstm' cannot be exported: take core 'gru'"):
        describe(*spaces, network, {"params": weights})
    with pytest.raises(ValueError, match="unknown core 'gur'"):
        cores.make("gur", 2)


def test_runs_name_a_core_only_if_it_is_not_that_of_earlier_versions():
    def spec(name):
        network = dataclasses.replace(SPEC.config.network, memory_size=4, core=name)
        return dataclasses.replace(SPEC, config=dataclasses.replace(SPEC.config, network=network))

    assert not {"core", "layer_norm"} & set(spec("gru").to_json()["config"]["network"])
    assert spec("lstm").to_json()["config"]["network"]["core"] == "lstm"
    for name in ("gru", "lstm"):
        assert runs.from_json(json.loads(json.dumps(spec(name).to_json()))).config.network.core == name


def test_the_default_core_keeps_the_names_of_its_parameters():
    """Folders of earlier versions have them."""
    net = networks.Actor(networks.MLP((2,)), 3, cores.make("gru", 2))
    shapes = jax.eval_shape(net.init, jax.random.key(0), net.initial_memory(1), np.zeros((1, 4)), np.ones(1))
    assert set(shapes["params"]) == {"torso", "gru", "Dense_0"}


def test_a_core_without_memory_is_refused():
    with pytest.raises(ValueError, match="core = 'lstm' has no effect without memory"):
        policies.actor_critic(envs.make("CartPole-v1"), NetworkConfig(core="lstm"))
