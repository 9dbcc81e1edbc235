"""Layers with noise, the embedding of fractions, and networks of both."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import critics, envs, layers, policies
from jaxrl.artifact import recipe
from jaxrl.artifact.describe import describe
from jaxrl.networks import MLP
from jaxrl.policies import NetworkConfig
from jaxrl.q_networks import FractionEmbedding, QNetwork

INPUTS, OUTPUTS = 4, 3
PROBES = np.vstack([np.eye(INPUTS), np.zeros(INPUTS)]).astype(np.float32)  # what they give is each weight


def layer_params():
    net = layers.NoisyDense(OUTPUTS)
    return net, net.init(jax.random.key(0), PROBES)["params"]


def weights(net, params, keys):
    """The drawn weights `[n, D, F]` and biases `[n, F]` of a layer."""
    y = jax.jit(jax.vmap(lambda key: net.apply({"params": params}, PROBES, rngs={"noise": key})))(keys)
    y = np.asarray(y, np.float64)
    return y[:, :-1] - y[:, -1:], y[:, -1]


def test_noise_is_factorised():
    """Fortunato et al. 2018, equations 9 to 11, with the noise that a layer shows without means."""
    net, params = layer_params()
    keys = jax.random.split(jax.random.key(1), 20_000)
    alone = jax.tree.map(jnp.zeros_like, params) | {
        name: jnp.ones_like(params[name]) for name in ("kernel_sigma", "bias_sigma")
    }
    noise, out = weights(net, alone, keys)
    into = noise[:, :, 0] / out[:, :1]
    np.testing.assert_allclose(noise, into[:, :, None] * out[:, None], atol=1e-4)
    # f(z) = sign(z) sqrt(|z|) of a standard normal z: z is f(z) |f(z)|, and the variance of f is E |z|.
    for f in (into, out):
        z = f * np.abs(f)
        np.testing.assert_allclose([z.mean(), z.std()], [0.0, 1.0], atol=0.02)
        np.testing.assert_allclose([f.mean(), f.var()], [0.0, np.sqrt(2 / np.pi)], atol=0.02)
    covariance = np.cov(np.hstack([into, out]).T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0.0, atol=0.03)
    drawn, biases = weights(net, params, keys[:10])
    w, b, s_w, s_b = (np.asarray(params[n]) for n in ("kernel", "bias", "kernel_sigma", "bias_sigma"))
    np.testing.assert_allclose(drawn, w + s_w * noise[:10], atol=1e-5)
    np.testing.assert_allclose(biases, b + s_b * out[:10], atol=1e-5)


def test_a_noisy_layer_starts_as_published_and_has_its_means_without_a_key():
    """Section 3.2: uniform within 1 / sqrt(D), and 0.5 / sqrt(D)."""
    net, params = layer_params()
    for name in ("kernel", "bias"):
        assert 0.2 < np.abs(params[name]).max() <= 0.5
        np.testing.assert_allclose(params[f"{name}_sigma"], 0.25)
    plain = net.apply({"params": params}, PROBES)
    np.testing.assert_allclose(plain, PROBES @ params["kernel"] + params["bias"], atol=1e-6)


def test_fractions_are_embedded_by_cosines():
    """Dabney et al. 2018, equation 4, multiplied with the features of the state."""
    net, x = FractionEmbedding(5), np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    params = net.init(jax.random.key(0), x)
    w, b = np.asarray(params["params"]["Dense_0"]["kernel"], np.float64), np.array([0.1, -0.2, 0.3])
    params = {"params": {"Dense_0": {"kernel": w, "bias": b}}}
    features, fractions = net.apply(params, x, rngs={"noise": jax.random.key(1)})
    assert fractions.shape == (2, 5) and fractions.min() >= 0.0 and fractions.max() < 1.0
    assert len(np.unique(fractions)) == 10
    for row in range(2):
        for k in range(5):
            cosines = [np.cos(np.pi * i * float(fractions[row, k])) for i in range(64)]
            phi = np.maximum(sum(c * w[i] for i, c in enumerate(cosines)) + b, 0.0)
            np.testing.assert_allclose(features[row, k], x[row] * phi, atol=1e-4)
    _, middles = net.apply(params, x)
    np.testing.assert_allclose(middles, np.tile([0.1, 0.3, 0.5, 0.7, 0.9], (2, 1)), rtol=1e-6)


def test_every_parameter_of_a_network_has_a_gradient():
    """Means and deviations, with two heads, of implicit quantiles; the same key draws the same network."""
    head = critics.iqn(3)
    torso = MLP((5,), "relu", layer=layers.noisy_dense)
    net = QNetwork(torso, 2, 3, dueling=True, implicit=True, layer=layers.noisy_dense)
    x, first = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32), np.zeros(6, bool)
    params = net.init(jax.random.key(0), (), x, first)

    @jax.jit
    def loss(params, key):
        outputs = net.apply(params, (), x, first, rngs={"noise": key})[1]
        return head.loss(outputs[:, 0], jnp.arange(6.0), jnp.full(6, 0.9), outputs[:, 1])[0].mean()

    one, other = jax.random.split(jax.random.key(1))
    assert loss(params, one) == loss(params, one) != loss(params, other)
    for path, grad in jax.tree.leaves_with_path(jax.grad(loss)(params, one)):
        assert bool((grad != 0.0).any()), jax.tree_util.keystr(path)
    outputs = net.apply(params, (), x, first)[1]
    assert outputs.shape == (6, 2, 3, 2)
    np.testing.assert_allclose(outputs[..., 1], np.broadcast_to([1 / 6, 1 / 2, 5 / 6], (6, 2, 3)), rtol=1e-6)


def test_noise_explores_and_is_absent_from_evaluations():
    """With all means 0, only noise decides; it is the same for all environments in a step."""
    policy = policies.q_values(envs.make("CartPole-v1"), NetworkConfig(hidden_sizes=(4,)), noisy=True)
    params = jax.eval_shape(policy.init, jax.random.key(0))
    params = jax.tree.map_with_path(
        lambda path, x: jnp.full(x.shape, float("sigma" in jax.tree_util.keystr(path))), params
    )
    obs, first = np.ones((8, 4), np.float32), np.zeros(8, bool)
    act = policies.epsilon_greedy(policy, params, (), 0.0)
    play = jax.jit(jax.vmap(lambda key: act((), key, obs, first, None)[1]))
    actions = play(jax.random.split(jax.random.key(2), 64))
    assert actions.shape == (64, 8) and 16 < actions[:, 0].sum() < 48
    np.testing.assert_array_equal(actions, np.broadcast_to(actions[:, :1], (64, 8)))
    state = SimpleNamespace(params=params, obs_stats=())
    assert policies.best_action(policy)(state, (), None, obs, first)[1].tolist() == [0] * 8
    rarely = policies.best_action(policy, 1e-6)
    assert rarely(state, (), jax.random.key(3), obs, first)[1].tolist() == [0] * 8
    np.testing.assert_array_equal(policies.action_values(policy, params, (), obs), 0.0)


def test_the_means_of_a_noisy_policy_are_exported():
    env, network = envs.make("CartPole-v1"), NetworkConfig(hidden_sizes=(4, 3), layer_norm=True)
    policy = policies.q_values(env, network, dueling=True, noisy=True)
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32),
        jax.eval_shape(policy.init, jax.random.key(0)),
    )
    obs = rng.normal(size=(5, 4)).astype(np.float32)
    exported = recipe.step(np, describe(env.observation_space, env.action_space, network, params), [obs], ())
    np.testing.assert_allclose(exported[2], policies.action_values(policy, params, (), obs), atol=1e-4)


def test_torsos_have_noise_unless_they_are_given():
    for torso, noisy in ((None, True), (MLP((4,)), False)):
        env = envs.make("CartPole-v1")
        policy = policies.q_values(env, NetworkConfig(hidden_sizes=(4,)), torso, noisy=True)
        params = jax.eval_shape(policy.init, jax.random.key(0))["params"]
        assert ("kernel_sigma" in params["torso"]["Dense_0"]) == noisy and "kernel_sigma" in params["Dense_0"]


@pytest.mark.parametrize("torso", ["mlp", "cnn"])
def test_noisy_torsos_of_images(torso):
    """Convolutions have none; a Joined torso is an MLP behind them, as a CNN is."""
    env = envs.make("Breakout-MinAtar")
    policy = policies.q_values(env, NetworkConfig(torso=torso, hidden_sizes=(4,)), noisy=True)
    params = jax.eval_shape(policy.init, jax.random.key(0))["params"]["torso"]
    dense = params["MLP_0"] if torso == "cnn" else params
    assert "kernel_sigma" in dense["Dense_0"]
    assert torso == "mlp" or set(params["Conv_0"]) == {"kernel", "bias"}
