"""Every algorithm solves every probe: a failure indicates its cause."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ALGORITHMS, CONTINUOUS, DISCRETE, GRADIENT_FREE, config_of, slow_except

from jaxrl import action_critics, batch_norm, distributions, envs, networks, off_policy, train
from jaxrl.evaluate import evaluate
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import Discrete

SEEDS = 4
GAMMA = 0.9
OF_ACTIONS = ("mdpo", "sac", *CONTINUOUS)  # critics of actions, Q(s, a), beside a policy


# One gradient step or one short step of the policy per update: more of them, or longer ones.
MORE_UPDATES = {"a2c": 5, "vmpo": 2}
HPARAMS = {"trpo": {"max_kl": 0.05}, "dqn": {"tau": 0.3}, "pqn": {"exploration": 0.5}}
CONFIGS = {"dqn": {"num_gradient_steps": 16, "batch_size": 64, "warmup_steps": 256, "target_every": 1}}
REPLAYED = {"num_gradient_steps": 8, "batch_size": 64, "warmup_steps": 256, "capacity": 4096}
CONFIGS |= {name: REPLAYED for name in OF_ACTIONS}
HPARAMS |= {name: {"tau": 0.05, "critic_learning_rate": 1e-2} for name in OF_ACTIONS}
MORE_UPDATES |= dict.fromkeys(OF_ACTIONS, 6)
CONFIGS["xqc"] = {**REPLAYED, "policy_every": 2, "critic_hidden_sizes": (16,)}


def trained(env_name, updates=60, env=None, algo_name="ppo", hparams=(), **config):
    """States `[P]` of seeds trained in a probe, and their algorithm."""
    module, updates = ALGORITHMS[algo_name], updates * MORE_UPDATES.get(algo_name, 1)
    sizes = {"num_envs": 16, "num_steps": 16, "hidden_sizes": (16,), **CONFIGS.get(algo_name, {}), **config}
    algo = module.make(env or envs.make(env_name), config_of(module, **sizes))
    hp = algo.hparams.replace(learning_rate=1e-2, lr_decay=0.9, total_updates=float(updates), gamma=GAMMA)
    hp = hp.replace(**HPARAMS.get(algo_name, {}), **dict(hparams))
    keys = jax.vmap(jax.random.key)(jnp.arange(SEEDS))
    state, metrics = jax.jit(jax.vmap(lambda key: train.run(algo, key, hp, updates)))(keys)
    return algo, state, metrics


def values(states, obs, algo_name="ppo"):
    """V(obs) `[P, ...]` for observations `[..., 1]`, by a network of the same shape; max_a Q(obs, a)."""
    network = ALGORITHMS[algo_name].Config().network
    torso = networks.MLP((16,), network.activation, network.layer_norm)
    kind = networks.Actor if algo_name in DISCRETE else networks.ActorCritic
    net, obs = kind(torso, num_outputs=2), jnp.asarray(obs, jnp.float32)
    first = jnp.zeros(obs.shape[:-1], bool)
    outputs = jax.vmap(lambda params: net.apply(params, (), obs, first)[1])(states.params)
    return outputs.max(axis=-1) if algo_name in DISCRETE else outputs[1]


def values_of_best_actions(algo, states, env, algo_name):
    """Q(1, a) `[P, E]` of each critic for the policy's most likely action in the observation 1.

    By networks of the same shape; of DSAC-T the mean of the return, of XQC by running averages.
    Actions are between -1 and 1, or Discrete.
    """
    discrete = isinstance(env.action_space, Discrete)
    network = NetworkConfig(hidden_sizes=(16,), activation="relu")
    policy = action_critics.soft_policy(env, network)
    num_critics = jax.tree.leaves(states.critic_params)[0].shape[1]
    num_outputs = 2 if algo_name == "dsac_t" else None
    critics = action_critics.make(env.action_space, policy, network, num_critics, num_outputs=num_outputs)

    def one(state):
        x, first = jnp.ones((1, 1)), jnp.ones(1, bool)
        _, action = algo.act(state, (), jax.random.key(0), x, first)
        if algo_name == "xqc":
            net = batch_norm.ensemble(batch_norm.BatchNormMLP((16,), 1), 2, num_critics)
            joined = jnp.concatenate([x, action], axis=1)
            return net.apply(state.critic_params, state.critic_stats, joined)[:, 0]
        q = critics.value(state.critic_params, x, action if discrete else off_policy.unsquash(action))
        return (q[..., 0] if num_outputs else q)[:, 0]

    return jax.vmap(one)(states)


def returns(algo, states, env, num_episodes=64):
    """Mean evaluation return `[P]`."""

    def one(state, key):
        return evaluate(env, partial(algo.act, state), state.stream.memory, key, num_episodes).returns.mean()

    return jax.jit(jax.vmap(one))(states, jax.vmap(jax.random.key)(100 + jnp.arange(SEEDS)))


@pytest.mark.parametrize(
    ("name", "obs", "expected"),
    [
        ("value-only", [[1.0]], [1.0]),
        ("value-from-obs", [[-1.0], [1.0]], [-1.0, 1.0]),
        ("discount", [[0.0], [1.0]], [GAMMA, 1.0]),
    ],
)
def test_values_are_learned(name, obs, expected):
    _, states, _ = trained(f"probe/{name}")
    np.testing.assert_allclose(values(states, obs), np.tile(expected, (SEEDS, 1)), atol=0.05)


@pytest.mark.parametrize("max_steps", slow_except([1, 8], 8))
def test_values_bootstrap_at_a_time_limit(max_steps):
    """An endless probe truncated after a few steps has the value r / (1 - gamma), to 5 %; else 1 or 5.7."""
    env = envs.make("probe/truncation", max_steps=max_steps)
    _, states, _ = trained("probe/truncation", updates=150, env=env)
    np.testing.assert_allclose(values(states, [[1.0]]), 1.0 / (1.0 - GAMMA), rtol=0.05)


# The code of values is shared: three probes test whether each algorithm uses them correctly.
# Evolution has no values, see test_evolution; critics of actions have others, see below and test_reppo.
OTHERS = sorted(set(ALGORITHMS) - {"ppo", "reppo", *GRADIENT_FREE, *OF_ACTIONS})


FIRST = slow_except(OTHERS, "a2c")


@pytest.mark.parametrize("algo_name", FIRST)
def test_other_algorithms_bootstrap_at_a_time_limit(algo_name):
    _, states, _ = trained("probe/truncation", updates=150, algo_name=algo_name)
    np.testing.assert_allclose(values(states, [[1.0]], algo_name), 1.0 / (1.0 - GAMMA), rtol=0.05)


ENDLESS = [f"{name} probe/truncation-continuous" for name in OF_ACTIONS]
ENDLESS += [f"{name} probe/truncation" for name in OF_ACTIONS if name not in CONTINUOUS]


@pytest.mark.parametrize("case", slow_except(ENDLESS, ENDLESS[0]))
def test_critics_of_actions_bootstrap_at_a_time_limit(case):
    """1 / (1 - gamma) = 10; 1 / (1 - 7/8 gamma) = 4.7 if the limit of 8 steps were terminal.

    Of an action that the policy takes, for others are hardly in the replay. An entropy would be part of the
    value: its weight is next to nothing.
    """
    algo_name, env_name = case.split()
    hparams = {"temperature": 1e-4} if algo_name in ("dsac_t", "mdpo", "sac", "xqc") else {}
    config = {"head": "squared", "normalize_reward": False} if algo_name == "xqc" else {}
    algo, states, _ = trained(env_name, updates=30, algo_name=algo_name, hparams=hparams, **config)
    q = values_of_best_actions(algo, states, envs.make(env_name), algo_name)
    np.testing.assert_allclose(q, 1.0 / (1.0 - GAMMA), rtol=0.05)


@pytest.mark.parametrize("algo_name", FIRST)
def test_other_algorithms_learn_an_action_and_its_value(algo_name):
    algo, states, _ = trained("probe/action-from-obs", algo_name=algo_name)
    np.testing.assert_allclose(returns(algo, states, envs.make("probe/action-from-obs")), 1.0, atol=0.05)
    np.testing.assert_allclose(values(states, [[-1.0], [1.0]], algo_name), 1.0, atol=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "algo_name", [*(name for name in OTHERS if name not in DISCRETE), *OF_ACTIONS, "reppo"]
)
def test_other_algorithms_learn_a_continuous_action(algo_name):
    algo, states, _ = trained("probe/action-continuous", updates=100, algo_name=algo_name)
    assert float(returns(algo, states, envs.make("probe/action-continuous")).min()) > -0.01


@pytest.mark.slow
@pytest.mark.parametrize("algo_name", OTHERS)
@pytest.mark.parametrize(
    ("name", "best", "config"),
    [
        ("action", 1.0, {}),
        ("multidiscrete", 1.0, {}),
        ("action-mask", 4.0, {}),
        ("memory", 1.0, {"memory_size": 16}),
    ],
)
def test_other_algorithms_reach_the_best_return(name, best, config, algo_name):
    if algo_name in DISCRETE and name in ("multidiscrete", "memory"):
        pytest.skip("it has one Discrete action and no memory")
    updates = 100 if name == "memory" else 60
    algo, states, _ = trained(f"probe/{name}", updates=updates, algo_name=algo_name, **config)
    np.testing.assert_allclose(returns(algo, states, envs.make(f"probe/{name}")), best, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("algo_name", OTHERS)
def test_other_algorithms_discount(algo_name):
    _, states, _ = trained("probe/discount", algo_name=algo_name)
    expected = np.tile([GAMMA, 1.0], (SEEDS, 1))
    np.testing.assert_allclose(values(states, [[0.0], [1.0]], algo_name), expected, atol=0.05)


@pytest.mark.parametrize(
    ("name", "best", "config"),
    [
        pytest.param("action", 1.0, {}, marks=pytest.mark.slow),
        ("action-from-obs", 1.0, {}),
        pytest.param("multidiscrete", 1.0, {}, marks=pytest.mark.slow),
        ("action-mask", 4.0, {}),
        pytest.param("memory", 1.0, {"memory_size": 16}, marks=pytest.mark.slow),
        pytest.param(
            "action-from-obs",
            1.0,
            {"memory_size": 8, "shared_torso": True, "normalize_reward": True},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["action", "action-from-obs", "multidiscrete", "action-mask", "memory", "all-switches"],
)
def test_the_best_return_is_reached(name, best, config):
    env = envs.make(f"probe/{name}")
    algo, states, _ = trained(f"probe/{name}", updates=100 if name == "memory" else 60, **config)
    np.testing.assert_allclose(returns(algo, states, env), best, atol=0.05)


def test_without_memory_the_memory_probe_is_chance():
    """The probe can fail: a feed-forward policy does not remember the cue."""
    env = envs.make("probe/memory")
    algo, states, _ = trained("probe/memory")
    assert float(jnp.abs(returns(algo, states, env)).max()) < 0.6


@pytest.mark.parametrize("squash", slow_except([False, True], True))
def test_a_continuous_action_is_learned(squash):
    env = envs.make("probe/action-continuous")
    algo, states, _ = trained("probe/action-continuous", updates=100, squash=squash)
    assert float(returns(algo, states, env).min()) > -0.01


def test_a_masked_action_is_never_taken():
    env = envs.make("probe/action-mask")
    _, states, _ = trained("probe/action-mask", updates=2)
    key = jax.random.key(7)
    state = jax.tree.map(lambda x: x[0], states)
    masks = jnp.eye(3) == 0
    stochastic = ALGORITHMS["ppo"].make(env, config_of(ALGORITHMS["ppo"], hidden_sizes=(16,), greedy=False))
    act = jax.jit(partial(stochastic.act, state))
    first = jnp.zeros((3,), bool)
    for k in jax.random.split(key, 50):
        _, action = act((), k, jnp.eye(3), first, masks)
        assert not (np.asarray(action) == np.arange(3)).any()
    assert distributions.num_outputs(env.action_space) == 3
