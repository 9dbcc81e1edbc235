"""The soft mixture of experts: its definition, its experts, and the networks that contain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small
from reference import networks as reference

from jaxrl import envs, layers, policies
from jaxrl.algos import ALGORITHMS
from jaxrl.experiments.runs.spec import ADDED_TO_NETWORK
from jaxrl.mixture import SoftMixture
from jaxrl.networks import MLP
from jaxrl.policies import NetworkConfig


def mixture(num_experts, tokens, size, width=6):
    net = SoftMixture(MLP((width,), "tanh"), num_experts)
    x = np.random.default_rng(0).normal(size=(2, tokens, size)).astype(np.float32)
    params = net.init(jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)  # no zero biases
    return net, params, x


@pytest.mark.parametrize(("num_experts", "tokens"), [(3, 7), (4, 4), (5, 1), (1, 6)])
def test_it_is_as_defined(num_experts, tokens):
    net, params, x = mixture(num_experts, tokens, 4)
    assert params["phi"].shape == (4, num_experts, -(-tokens // num_experts))
    y = net.apply({"params": params}, x)
    for row in range(2):
        np.testing.assert_allclose(y[row], reference.soft_mixture(params, x[row]), atol=1e-5)


def test_one_expert_that_keeps_what_it_gets_keeps_the_tokens():
    """Each slot takes one token and gives it back where Phi tells the tokens apart."""
    net = SoftMixture(MLP((5,), "relu"), 1)
    eye, zero = np.eye(5, dtype=np.float32), np.zeros((1, 5), np.float32)
    layer = {"kernel": eye[None], "bias": zero}
    params = {"phi": 100.0 * eye[:, None], "body": {"Dense_0": layer}, "experts": {"out": layer}}
    np.testing.assert_allclose(net.apply({"params": params}, eye), eye, atol=1e-6)
    blind = {**params, "phi": np.zeros((5, 1, 5), np.float32)}
    np.testing.assert_allclose(net.apply({"params": blind}, eye), np.full((5, 5), 0.2), atol=1e-6)


def test_experts_differ_and_all_have_gradients():
    """Also in the first layer: all tokens reach all experts, and all experts all tokens."""
    net, params, x = mixture(4, 6, 3)
    assert len({np.asarray(one).tobytes() for one in params["body"]["Dense_0"]["kernel"]}) == 4
    target = np.random.default_rng(1).normal(size=x.shape)
    grads = jax.grad(lambda p: jnp.square(net.apply({"params": p}, x) - target).sum())(params)
    assert (jnp.abs(grads["phi"]).sum(axis=0) > 0.0).all()
    for leaf in jax.tree.leaves((grads["body"], grads["experts"])):
        assert (jnp.abs(leaf).reshape(4, -1).sum(axis=1) > 0.0).all()


def test_experts_have_noise_of_their_own():
    """Without means, what an expert returns is the noise of its last biases; here each has its own token."""
    net = SoftMixture(MLP((4,), "relu", layer=layers.noisy_dense), 3, layers.noisy_dense)
    x = np.eye(3, dtype=np.float32)
    params = jax.tree.map_with_path(
        lambda path, leaf: jnp.full_like(leaf, "bias_sigma" in jax.tree_util.keystr(path)),
        net.init(jax.random.key(0), x)["params"],
    )
    params["phi"] = 100.0 * x[..., None]
    y = net.apply({"params": params}, x, rngs={"noise": jax.random.key(1)})
    assert len({np.asarray(token).tobytes() for token in y}) == 3
    np.testing.assert_array_equal(net.apply({"params": params}, x), 0.0)


@pytest.mark.parametrize(
    ("name", "env", "extra"),
    [
        ("dqn", "Breakout-MinAtar", {"noisy": True, "head": "c51", "dueling": True, "prioritized": True}),
        ("pqn", "Breakout-MinAtar", {}),
        ("ppo", "CartPole-v1", {}),
    ],
)
def test_populations_learn_with_it(name, env, extra):
    """Lanes are different agents, and every parameter of both changes; as Rainbow, PQN and PPO have it."""
    module = ALGORITHMS[name]
    replay = {"warmup_steps": 32, "batch_size": 8, "capacity": 128, "num_gradient_steps": 2}
    sizes = {"num_envs": 2, "num_steps": 8} | (replay if name == "dqn" else {"num_minibatches": 2})
    network = NetworkConfig(torso="soft_moe", hidden_sizes=(8, 8), num_experts=3)
    algo = module.make(envs.make(env), module.Config(**sizes, **extra, network=network))

    def run(key):
        first = algo.init(key, algo.hparams)
        return first.params, algo.update(first, algo.hparams)[0].params

    before, after = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 2))
    pairs = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, was), now in pairs:
        assert bool((now != was).reshape(2, -1).any(axis=1).all()), jax.tree_util.keystr(path)
        assert bool((now[0] != now[1]).any()), jax.tree_util.keystr(path)


@pytest.mark.slow
def test_a_lane_of_a_population_is_that_agent():
    network = NetworkConfig(torso="soft_moe", hidden_sizes=(8, 8), num_experts=3)
    algo = small("ppo", network=network)

    def run(key):
        return algo.update(algo.init(key, algo.hparams), algo.hparams)[0].params

    keys = jax.random.split(jax.random.key(0), 2)
    both, alone = jax.jit(jax.vmap(run))(keys), jax.jit(run)(keys[1])
    jax.tree.map(lambda lanes, one: np.testing.assert_allclose(lanes[1], one, atol=2e-3), both, alone)


def test_invalid_choices_are_reported():
    small, image = envs.make("CartPole-v1"), envs.make("Breakout-MinAtar")
    soft = {"torso": "soft_moe", "hidden_sizes": (8, 8)}
    for env, network, text in (
        (small, {**soft, "hidden_sizes": (8,)}, "needs two layers without an image"),
        (image, {**soft, "num_experts": 0}, "num_experts = 0 must be a whole number of at least 1"),
        (image, {"num_experts": 4}, "num_experts = 4 has no effect without torso 'soft_moe'"),
    ):
        with pytest.raises(ValueError, match=text):
            policies.actor_critic(env, NetworkConfig(**network))
    with pytest.raises(ValueError, match="critics of actions have no torso 'soft_moe'"):
        ALGORITHMS["sac"].make(small, ALGORITHMS["sac"].Config(network=NetworkConfig(**soft)))


def test_old_runs_remain_valid():
    assert ADDED_TO_NETWORK["num_experts"] == NetworkConfig().num_experts
