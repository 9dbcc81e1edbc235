"""Batch normalization, its running averages and projections against their definitions, in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import batch_norm, envs, networks, policies
from jaxrl.batch_norm import BatchNormMLP, BatchRenorm
from jaxrl.policies import NetworkConfig

RNG = np.random.default_rng(0)
EPS = 1e-3  # of the authors of CrossQ and XQC, as are a momentum of 0.99 and the limits 3 and 5


def random_like(tree, seed=1):
    """Other values than those of `init`, variances positive."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: x + rng.uniform(0.1, 1.0, x.shape).astype(x.dtype), tree)


def renormalized(x, mean, var, warm):
    """Ioffe 2017, algorithm 1. https://arxiv.org/abs/1702.03275"""
    m, s = x.mean(axis=0), np.sqrt(x.var(axis=0) + EPS)
    r, d = np.ones_like(m), np.zeros_like(m)
    if warm:
        sigma = np.sqrt(var + EPS)
        r, d = np.clip(s / sigma, 1 / 3, 3), np.clip((m - mean) / sigma, -5, 5)
    return (x - m) / s * r + d


@pytest.mark.parametrize("warm", [False, True])
def test_renormalization_and_its_averages_are_those_of_the_definition(warm):
    x = np.float64([[1.0, 20.0, 0.1], [3.0, 24.0, -0.1], [2.0, 28.0, 0.2], [8.0, 20.0, 0.0]])
    start = {"mean": jnp.float32([2.0, 1.0, 0.0]), "var": jnp.float32([4.0, 2.0, 9.0]), "count": 7}
    params = {"scale": jnp.float32([1.0, 2.0, 3.0]), "bias": jnp.float32([0.5, 0.0, -1.0])}
    variables = {"params": params, "batch_stats": {**start, "count": jnp.int32(7)}}
    module = BatchRenorm(False, warmup_steps=7 if warm else 8)
    y, changed = module.apply(variables, jnp.float32(x), mutable=["batch_stats"])
    mean, var = np.float64(start["mean"]), np.float64(start["var"])
    expected = renormalized(x, mean, var, warm) * np.float64(params["scale"]) + np.float64(params["bias"])
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    if warm:  # every limit is reached by one of these, and in one direction both
        r = np.sqrt((x.var(axis=0) + EPS) / (var + EPS))
        assert r[2] < 1 / 3 and (x.mean(axis=0) - mean)[1] / np.sqrt(var + EPS)[1] > 5.0
    averages = changed["batch_stats"]
    np.testing.assert_allclose(averages["mean"], 0.99 * mean + 0.01 * x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(averages["var"], 0.99 * var + 0.01 * x.var(axis=0), rtol=1e-6)
    assert averages["count"] == 8
    fixed = BatchRenorm(True, warmup_steps=0).apply(variables, jnp.float32(x))
    expected = (x - mean) / np.sqrt(var + EPS) * np.float64(params["scale"]) + np.float64(params["bias"])
    np.testing.assert_allclose(fixed, expected, rtol=1e-5, atol=1e-5)


def test_no_gradient_passes_through_the_correction():
    """d/dx of the sum of w y is that of r (x - m) / s, with r as a constant."""
    x, w = jnp.asarray(RNG.normal(size=(2, 5, 2)), jnp.float32)
    module = BatchRenorm(False, warmup_steps=0)
    variables = module.init(jax.random.key(0), x)
    variables["batch_stats"] |= {"mean": jnp.ones(2), "var": jnp.full(2, 2.0)}

    def outcome(x):
        return (w * module.apply(variables, x, mutable=["batch_stats"])[0]).sum()

    s = np.sqrt(np.float64(x).var(axis=0) + EPS)
    r = np.clip(s / np.sqrt(2.0 + EPS), 1 / 3, 3)
    centred = np.float64(x) - np.float64(x).mean(axis=0)
    weights = np.float64(w)
    by_mean = weights - weights.mean(axis=0)
    by_deviation = centred * (weights * centred).mean(axis=0) / s**2
    np.testing.assert_allclose(jax.grad(outcome)(x), r * (by_mean - by_deviation) / s, rtol=1e-4, atol=1e-5)


def dense(layer, x):
    return x @ np.float64(layer["kernel"]) + np.float64(layer.get("bias", 0.0))


def slow(params, x, before_activation, seen):
    """The network of the papers; `seen` `(i, x) -> (mean, var)` is what layer `i` is normalized by."""

    def norm(i, x):
        layer, (mean, var) = params[f"Norm_{i}"], seen(i, x)
        scaled = (x - mean) / np.sqrt(var + EPS)
        return scaled * np.float64(layer["scale"]) + np.float64(layer.get("bias", 0.0))

    x = norm(0, x)
    for i in range(2):
        x = dense(params[f"Dense_{i}"], x)
        x = np.maximum(norm(i + 1, x), 0.0) if before_activation else norm(i + 1, np.maximum(x, 0.0))
    return dense(params["head"], x)


@pytest.mark.parametrize("before_activation", [True, False])
@pytest.mark.parametrize("renorm_after", [0, 100])
def test_networks_learn_by_the_batch_and_act_by_running_averages(before_activation, renorm_after):
    net = BatchNormMLP((6, 5), 4, "relu", before_activation, renorm_after)
    critics = batch_norm.ensemble(net, 3, 2)
    params, stats = map(random_like, critics.init(jax.random.key(0)))
    assert ("bias" in params["Dense_0"]) == ("bias" in params["Norm_0"]) == (not before_activation)
    x = RNG.normal(size=(7, 3))
    learned, moved = critics.learn(params, stats, jnp.float32(x))
    fixed = critics.apply(params, stats, jnp.float32(x))
    assert learned.shape == fixed.shape == (2, 7, 4)
    for e in range(2):
        one, before, after = jax.tree.map(lambda leaf, e=e: leaf[e], (params, stats, moved))
        batches = {}

        def of_batch(i, x, batches=batches):
            batches[i] = x.mean(axis=0), x.var(axis=0)
            return batches[i]

        def of_averages(i, x, before=before):
            return np.float64(before[f"Norm_{i}"]["mean"]), np.float64(before[f"Norm_{i}"]["var"])

        for outputs, seen in ((learned, of_batch), (fixed, of_averages)):
            expected = slow(one, x, before_activation, seen)
            np.testing.assert_allclose(outputs[e], expected, rtol=1e-3, atol=1e-4)
        for i, (mean, var) in batches.items():
            old, new = before[f"Norm_{i}"], after[f"Norm_{i}"]
            np.testing.assert_allclose(new["mean"], 0.99 * old["mean"] + 0.01 * mean, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(new["var"], 0.99 * old["var"] + 0.01 * var, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before_activation", [True, False])
@pytest.mark.parametrize("sizes", [(6, 5), (6,)])
def test_a_folded_network_is_a_policy_without_normalization(before_activation, sizes):
    config = NetworkConfig(hidden_sizes=sizes, activation="relu")
    policy = policies.squashed(envs.make("Pendulum-v1"), config)
    actor = batch_norm.network(BatchNormMLP(sizes, 2, "relu", before_activation), 3)
    params, stats = map(random_like, actor.init(jax.random.key(0)))
    x = jnp.asarray(RNG.normal(size=(7, 3)), jnp.float32)
    plain = batch_norm.folded(params, stats, before_activation)
    assert jax.tree.structure(plain) == jax.tree.structure(policy.init(jax.random.key(0)))
    outputs = policy.step(plain, (), x, jnp.zeros(7, bool))[1]
    np.testing.assert_allclose(outputs, actor.apply(params, stats, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("before_activation", [True, False])
def test_projected_weights_of_a_unit_have_a_norm_of_one(before_activation):
    """Those of a hidden unit with its bias, those of an output without; nothing else changes."""
    net = BatchNormMLP((6, 5), 4, "relu", before_activation)
    params, _ = batch_norm.ensemble(net, 3, 2).init(jax.random.key(0))
    params = random_like(params)
    new = batch_norm.projected(params)
    assert jax.tree.structure(new) == jax.tree.structure(params)
    for e, name in itertools.product(range(2), ("Dense_0", "Dense_1", "head")):
        old, layer = (jax.tree.map(lambda leaf, e=e: np.float64(leaf[e]), p[name]) for p in (params, new))
        with_bias = name != "head" and not before_activation
        for unit in range(old["kernel"].shape[1]):
            weights = [*old["kernel"][:, unit], *([old["bias"][unit]] if with_bias else [])]
            norm = sum(weight**2 for weight in weights) ** 0.5
            np.testing.assert_allclose(layer["kernel"][:, unit], old["kernel"][:, unit] / norm, rtol=1e-5)
            if with_bias:
                np.testing.assert_allclose(layer["bias"][unit], old["bias"][unit] / norm, rtol=1e-5)
    assert (new["head"]["bias"] == params["head"]["bias"]).all()
    assert (new["Norm_1"]["scale"] == params["Norm_1"]["scale"]).all()


def test_networks_that_do_not_fit_are_refused():
    vectors, images = envs.make("Pendulum-v1"), envs.make("Breakout-MinAtar")
    cnn = policies.actor(images, NetworkConfig())
    with pytest.raises(ValueError, match=r"needs vectors, not images \[10, 10, 4\]: take torso = 'mlp'"):
        batch_norm.require_mlp(cnn, NetworkConfig())
    normalized = NetworkConfig(layer_norm=True)
    with pytest.raises(ValueError, match="layer_norm = True cannot be combined"):
        batch_norm.require_mlp(policies.squashed(vectors, normalized), normalized)
    with pytest.raises(ValueError, match=r"hidden_sizes = \(0,\)"):
        batch_norm.require_mlp(policies.squashed(vectors), NetworkConfig(), (0,))
    with pytest.raises(ValueError, match="unknown activation"):
        BatchNormMLP((4,), 2, "sigmoid").init(jax.random.key(0), jnp.ones((1, 3)))
    assert "sigmoid" not in networks.ACTIVATIONS
