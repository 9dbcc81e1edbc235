"""Policy objectives against their drifts in `reference/objectives.py` and against golden numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import ROOT
from reference import objectives as slow

from jaxrl import envs, train
from jaxrl.algos import ppo
from jaxrl.objectives import (
    NOT_DRIFTS,
    OBJECTIVES,
    TERMS,
    Terms,
    lpo,
    mixture,
    random_drift,
    symbolic,
    ta_lpo,
)
from jaxrl.policies import NetworkConfig

GOLDEN = json.loads((ROOT / "tests" / "golden" / "objectives.json").read_text())
NAMES = sorted(OBJECTIVES)
PARAMS = {
    "ppo": [{"clip_eps": 0.2}, {"clip_eps": 0.1}],
    "spo": [{"clip_eps": 0.2}, {"clip_eps": 0.5}],
    "dpo": [{"alpha": 2.0, "beta": 0.6}, {"alpha": 0.7, "beta": 1.5}],
    "asymmetric_clip": [{"clip_eps_low": 0.1, "clip_eps_high": 0.4}],
    "dual_clip": [{"clip_eps": 0.2, "dual_clip": 3.0}, {"clip_eps": 0.1, "dual_clip": 5.0}],
    "rollback": [{"clip_eps": 0.2, "slope": 0.3}, {"clip_eps": 0.1, "slope": 1.0}],
    "kl_penalty": [{"coef": 1.0}, {"coef": 0.3}],
    "mdpo": [{"coef": 1.0, "anneal": 1.0}, {"coef": 2.0, "anneal": 0.0}],
    "chi_square": [{"coef": 1.0}, {"coef": 0.3}],
    "p3o": [{"steepness": 4.0}, {"steepness": 2.0}],
    "policy_gradient": [{}],
}
VALID = [name for name in NAMES if name not in NOT_DRIFTS]


def grid():
    log_ratio = np.linspace(-3.0, 3.0, 61)
    advantages = np.linspace(-4.0, 4.0, 17)
    return [x.ravel() for x in np.meshgrid(log_ratio, advantages)]


def value_and_gradient(objective, log_ratio, advantages):
    """The surrogate and its derivative by log_ratio, per sample."""

    def total(x):
        surrogate = objective.apply(objective.params, x, advantages, slow.PROGRESS)
        return surrogate.sum(), surrogate

    gradient, value = jax.jit(jax.grad(total, has_aux=True))(log_ratio)
    return np.asarray(value), np.asarray(gradient)


def test_every_objective_has_a_reference():
    assert set(PARAMS) == set(OBJECTIVES) == set(slow.DRIFTS)


@pytest.mark.parametrize("row", GOLDEN["rows"], ids=lambda row: f"{row['objective']}{row['advantage']:+}")
def test_golden_numbers(row):
    objective = OBJECTIVES[row["objective"]]()
    log_ratio = jnp.log(jnp.asarray(GOLDEN["ratio"]))
    advantages = jnp.full_like(log_ratio, row["advantage"])
    ours = objective.apply(objective.params, log_ratio, advantages, 0.0)
    np.testing.assert_allclose(ours, row["surrogate"], atol=1e-5)


def test_golden_numbers_match_the_reference():
    assert slow.golden_table() == GOLDEN


@pytest.mark.parametrize("name", NAMES)
def test_surrogate_is_ratio_times_advantage_minus_drift(name):
    log_ratio, advantages = grid()
    for params in PARAMS[name]:
        with jax.enable_x64(True):
            ours, _ = value_and_gradient(OBJECTIVES[name](**params), log_ratio, advantages)
        assert ours.dtype == np.float64
        theirs = slow.surrogate(name, np.exp(log_ratio), advantages, **params)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_matches_the_reference(name):
    log_ratio, advantages = grid()
    log_ratio = log_ratio + 0.0123  # off the kinks, where the two sides differ
    step = 1e-6
    for params in PARAMS[name]:
        with jax.enable_x64(True):
            _, ours = value_and_gradient(OBJECTIVES[name](**params), log_ratio, advantages)
        high, low = (
            slow.surrogate(name, np.exp(log_ratio + move), advantages, **params) for move in (step, -step)
        )
        np.testing.assert_allclose(ours, (high - low) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", VALID)
def test_drift_is_never_negative_and_flat_at_ratio_one(name):
    log_ratio, advantages = grid()
    for params in PARAMS[name]:
        objective = OBJECTIVES[name](**params)
        with jax.enable_x64(True):
            ours, _ = value_and_gradient(objective, log_ratio, advantages)
            at_one, gradient = value_and_gradient(objective, 0.0 * log_ratio, advantages)
        drift = np.exp(log_ratio) * advantages - ours
        assert drift.min() >= -1e-12
        assert drift.max() > 0.1 or name == "policy_gradient"  # there is one
        np.testing.assert_array_equal(at_one, advantages)
        # d/d log r = r d/dr: the first step after a rollout is the policy gradient.
        np.testing.assert_allclose(gradient, advantages, rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_extreme_ratios_give_finite_values_and_gradients(name):
    log_ratio = np.concatenate([np.linspace(-100, 100, 401), [0.0, -0.0, 1e-30, -1e-30]])
    for advantage in (-50.0, -1.0, -1e-8, -0.0, 0.0, 1e-8, 1.0, 50.0):
        advantages = np.full_like(log_ratio, advantage)
        value, gradient = value_and_gradient(
            OBJECTIVES[name](), jnp.float32(log_ratio), jnp.float32(advantages)
        )
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def test_gradients_of_the_parameters_are_finite_and_not_zero():
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    # Good actions have more weight: contributions of good and bad ones to a gradient may cancel.
    weights = 1.0 + 0.5 * jnp.sign(advantages)
    for name in NAMES:
        objective = OBJECTIVES[name]()

        def mean(theta, objective=objective):
            return (weights * objective.apply(theta, log_ratio, advantages, 0.5)).mean()

        for leaf in jax.tree.leaves(jax.grad(mean)(objective.params)):
            assert np.isfinite(leaf)
            assert abs(leaf) > 1e-4


@pytest.mark.parametrize("done, weight", [(0, 1.0), (100, 4 / 3), (200, 2.0), (300, 4.0), (360, 10.0)])
@pytest.mark.parametrize("coef", [1.0, 0.3])
def test_the_weight_of_the_mirror_step_grows_as_its_step_size_falls(done, weight, coef):
    """After 0, 25, 50, 75 and 90 % of the updates."""
    log_ratio, advantages = grid()
    objective = OBJECTIVES["mdpo"](coef=coef)
    with jax.enable_x64(True):
        ours = np.asarray(objective.apply(objective.params, log_ratio, advantages, done / 400))
    ratio = np.exp(log_ratio)
    np.testing.assert_allclose(
        ours, slow.surrogate("mdpo", ratio, advantages, coef=coef, done=done), rtol=1e-9, atol=1e-9
    )
    drift = ratio * advantages - ours
    np.testing.assert_allclose(drift, coef * weight * (ratio * log_ratio - ratio + 1), rtol=1e-9, atol=1e-9)


def test_the_weight_of_the_mirror_step_stays_finite_at_the_end_and_beyond():
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    for anneal, weight in [(1.0, 1000.0), (0.5, 2.0), (0.0, 1.0), (1.5, 1000.0)]:
        objective = OBJECTIVES["mdpo"](anneal=anneal)
        ours = objective.apply(objective.params, log_ratio, advantages, 1.0)
        ratio = jnp.exp(log_ratio)
        expected = ratio * advantages - weight * (ratio * log_ratio - ratio + 1.0)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-3)


DIVERGENCES = {
    "kl_penalty": lambda new, old: scipy.stats.entropy(old, new),
    "mdpo": lambda new, old: scipy.stats.entropy(new, old),
    "chi_square": lambda new, old: np.sum((new - old) ** 2 / old),
}


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
def test_the_mean_penalty_is_the_divergence_of_the_policies(name):
    """An exact sum over the actions of a policy, without sampling."""
    rng, objective = np.random.default_rng(0), OBJECTIVES[name](coef=1.0)
    for _ in range(20):
        new, old = rng.dirichlet(np.ones(5), 2)
        with jax.enable_x64(True):
            surrogate = objective.apply(objective.params, jnp.log(new / old), jnp.zeros(5), 0.0)
        np.testing.assert_allclose(
            -np.sum(old * np.asarray(surrogate)), DIVERGENCES[name](new, old), rtol=1e-9
        )


@pytest.mark.parametrize("clip_eps", [0.1, 0.2, 0.5])
def test_simple_policy_optimization_is_best_at_the_edge_of_the_clip(clip_eps):
    objective, ratio = OBJECTIVES["spo"](clip_eps), np.linspace(0.2, 2.0, 18_001)
    for advantage, best in [(2.0, 1.0 + clip_eps), (-0.7, 1.0 - clip_eps)]:
        surrogate = objective.apply(objective.params, np.log(ratio), np.full_like(ratio, advantage), 0.0)
        assert abs(ratio[np.argmax(surrogate)] - best) < 2e-3


def test_the_discovered_objective_saturates_at_extreme_ratios():
    objective = OBJECTIVES["dpo"]()
    far = jnp.array([20.0, 80.0])
    value, gradient = value_and_gradient(objective, far, jnp.array([3.0, 3.0]))
    np.testing.assert_allclose(value, [5.0, 5.0], rtol=1e-6)  # A + alpha
    np.testing.assert_array_equal(gradient, [0.0, 0.0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (5,), (5, 1), (2, 3, 4)])
def test_output_has_the_shape_of_the_input(name, shape):
    objective = OBJECTIVES[name]()
    out = jax.eval_shape(objective.apply, objective.params, *jnp.ones((2, *shape)), 0.0)
    assert out.shape == shape


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_would_broadcast_are_rejected(name):
    objective = OBJECTIVES[name]()
    with pytest.raises(AssertionError):
        objective.apply(objective.params, jnp.ones((5, 1)), jnp.ones(5), 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_objectives_can_be_batched_over_their_parameters(name):
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    if name == "policy_gradient":
        pytest.skip("it has no parameters")
    stacked = jax.tree.map(lambda x: x * jnp.array([0.5, 1.0]), OBJECTIVES[name]().params)
    apply = OBJECTIVES[name]().apply
    both = jax.vmap(apply, (0, None, None, None))(stacked, log_ratio, advantages, 0.0)
    for i in range(2):
        lane = jax.tree.map(lambda x, i=i: float(x[i]), stacked)
        alone = apply(lane, log_ratio, advantages, 0.0)
        np.testing.assert_allclose(both[i], alone, rtol=1e-5, atol=1e-5)
    assert not np.allclose(both[0], both[1])


# --- learned drifts ------------------------------------------------------------------------------


def slow_learned(log_ratio, advantage, hidden, out, progress=None):
    """r A - f, feature by feature, for one sample."""
    ratio = np.exp(log_ratio)
    base = [log_ratio, log_ratio**2, 1 - ratio, (1 - ratio) ** 2]
    x = base + [advantage * b for b in base]
    if progress is not None:
        x = x + [progress * feature for feature in x]
    net = sum(o * np.tanh(sum(f * w for f, w in zip(x, column))) for o, column in zip(out, hidden.T))
    return ratio * advantage - max(slow.ppo_drift(ratio, advantage) + net - 1e-4, 0.0)


@pytest.mark.parametrize("timed", [False, True])
def test_a_learned_drift_matches_its_definition(timed):
    params = random_drift(jax.random.key(0), timed, width=5, scale=0.5)
    objective = (ta_lpo if timed else lpo)(params)
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    ours = objective.apply(params, log_ratio, advantages, 0.7)
    hidden, out = np.float64(params.hidden), np.float64(params.out)
    theirs = [
        slow_learned(float(x), float(a), hidden, out, 0.7 if timed else None)
        for x, a in zip(log_ratio, advantages)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("timed", [False, True])
def test_a_learned_drift_is_a_valid_drift_for_any_weights(timed):
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    objective = (ta_lpo if timed else lpo)()

    def check(key, progress):
        params = random_drift(key, timed, width=16, scale=1.0)
        surrogate = lambda x: objective.apply(params, x, advantages, progress)  # noqa: E731
        drift = jnp.exp(log_ratio) * advantages - surrogate(log_ratio)
        flat = jax.grad(lambda x: surrogate(x).sum())(jnp.zeros_like(log_ratio))
        return drift, surrogate(jnp.zeros_like(log_ratio)), flat

    keys = jax.random.split(jax.random.key(1), 100)
    drift, at_one, gradient = jax.jit(jax.vmap(check))(keys, jnp.linspace(0.0, 1.0, 100))
    assert float(drift.min()) >= -1e-5 and float(drift.max()) > 1.0
    np.testing.assert_array_equal(at_one, jnp.broadcast_to(advantages, at_one.shape))
    np.testing.assert_allclose(gradient, jnp.broadcast_to(advantages, gradient.shape), rtol=1e-6)


def test_without_weights_a_learned_drift_is_clipping():
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    clipped = OBJECTIVES["ppo"]().apply(OBJECTIVES["ppo"]().params, log_ratio, advantages, 0.0)
    for objective in (lpo(), ta_lpo()):
        ours = objective.apply(objective.params, log_ratio, advantages, 0.3)
        np.testing.assert_allclose(ours, clipped, atol=1.1e-4)


def test_time_without_weights_changes_nothing():
    params = random_drift(jax.random.key(0), width=16)
    padded = params.replace(hidden=jnp.concatenate([params.hidden, jnp.zeros_like(params.hidden)]))
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    for progress in (0.0, 0.6):
        timed = ta_lpo(padded).apply(padded, log_ratio, advantages, progress)
        np.testing.assert_allclose(timed, lpo(params).apply(params, log_ratio, advantages, 0.0), rtol=1e-5)


@pytest.mark.parametrize("timed", [False, True])
def test_every_weight_of_a_learned_drift_matters(timed):
    params = random_drift(jax.random.key(0), timed, width=8, scale=0.5)
    objective = (ta_lpo if timed else lpo)(params)
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    gradient = jax.grad(lambda p: objective.apply(p, log_ratio, advantages, 0.5).mean())(params)
    for leaf in jax.tree.leaves(gradient):
        assert (jnp.abs(leaf) > 1e-6).all() and jnp.isfinite(leaf).all()


def test_extreme_ratios_of_a_learned_drift_are_finite():
    params = random_drift(jax.random.key(0), True, scale=1.0)
    log_ratio = jnp.linspace(-100.0, 100.0, 201)
    for advantage in (-50.0, 0.0, 50.0):
        value, gradient = value_and_gradient(ta_lpo(params), log_ratio, jnp.full_like(log_ratio, advantage))
        assert np.isfinite(value).all() and np.isfinite(gradient).all()


def test_weights_of_the_other_kind_are_refused():
    with pytest.raises(ValueError, match="weights for 16 features"):
        lpo(random_drift(jax.random.key(0), True))
    with pytest.raises(AssertionError):
        lpo().apply(lpo().params, jnp.ones((5, 1)), jnp.ones(5), 0.0)


# --- formulas ------------------------------------------------------------------------------------


def slow_term(name, r, A):
    """A term by its name: `relu(r - 1)^2 relu(-A)` is read as Python."""
    for source, python in (
        (") relu", ") * relu"),
        ("^2 relu", "**2 * relu"),
        ("^2", "**2"),
        ("log r", "np.log(r)"),
    ):
        name = name.replace(source, python)
    return eval(name, {"np": np, "relu": lambda x: max(x, 0.0), "r": r, "A": A})


def test_a_formula_is_the_sum_of_its_terms():
    coefs = np.random.default_rng(0).normal(size=2 * len(TERMS)).astype(np.float32)
    log_ratio, advantages = grid()
    ours = symbolic().apply(Terms(coefs), jnp.float32(log_ratio), jnp.float32(advantages), 0.4)
    theirs = []
    for x, A in zip(log_ratio, advantages):
        each = [slow_term(name, np.exp(x), A) for name in TERMS]
        each += [0.4 * term for term in each]
        theirs.append(np.exp(x) * A - max(np.dot(coefs, each) - 1e-4, 0.0))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_formula_is_a_valid_drift_for_any_coefficients():
    log_ratio, advantages = (jnp.float32(x) for x in grid())

    def check(key, progress):
        params = Terms(jax.random.normal(key, (2 * len(TERMS),)))
        surrogate = lambda x: symbolic().apply(params, x, advantages, progress)  # noqa: E731
        drift = jnp.exp(log_ratio) * advantages - surrogate(log_ratio)
        flat = jax.grad(lambda x: surrogate(x).sum())(jnp.zeros_like(log_ratio))
        return drift, flat

    keys = jax.random.split(jax.random.key(1), 100)
    drift, gradient = jax.jit(jax.vmap(check))(keys, jnp.linspace(0.0, 1.0, 100))
    assert float(drift.min()) >= -1e-3 and float(drift.max()) > 1.0  # of values up to 1e4
    np.testing.assert_allclose(gradient, jnp.broadcast_to(advantages, gradient.shape), rtol=1e-6)


# --- mixtures --------------------------------------------------------------------------------------


def test_rows_of_a_mixture_are_its_parts():
    parts = [OBJECTIVES[name]() for name in ("ppo", "dpo", "mdpo")]
    mixed = mixture(*parts)
    log_ratio, advantages = (jnp.float32(x) for x in grid())
    rows = jax.vmap(lambda row: mixed.params.replace(weights=row))(jnp.eye(3))
    each = jax.vmap(mixed.apply, (0, None, None, None))(rows, log_ratio, advantages, 0.5)
    for ours, part in zip(each, parts):
        np.testing.assert_allclose(ours, part.apply(part.params, log_ratio, advantages, 0.5), rtol=1e-6)
    even = mixed.apply(mixed.params, log_ratio, advantages, 0.5)
    np.testing.assert_allclose(even, each.mean(axis=0), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="3 objectives need as many weights"):
        mixture(*parts, weights=jnp.ones(2))


# --- in an algorithm -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "lpo", "ta_lpo"])
def test_the_first_step_is_the_policy_gradient(name):
    """The gradient with respect to the parameters, at the policy that collected the data."""
    key = jax.random.key(0)
    weights = jax.random.normal(key, (5, 3))
    obs, advantages = jax.random.normal(key, (64, 5)), jax.random.normal(jax.random.key(1), (64,))
    action = jax.random.randint(jax.random.key(2), (64,), 0, 3)
    learned = {"lpo": lpo, "ta_lpo": ta_lpo}
    params = random_drift(key, name == "ta_lpo") if name in learned else None
    objective = learned[name](params) if name in learned else OBJECTIVES[name]()

    def log_prob(weights):
        return jnp.take_along_axis(jax.nn.log_softmax(obs @ weights), action[:, None], axis=1)[:, 0]

    def surrogate(new):
        log_ratio = log_prob(new) - jax.lax.stop_gradient(log_prob(weights))
        return objective.apply(objective.params, log_ratio, advantages, 0.3).mean()

    expected = jax.grad(lambda new: (log_prob(new) * advantages).mean())(weights)
    np.testing.assert_allclose(jax.grad(surrogate)(weights), expected, rtol=1e-5, atol=1e-7)


def test_a_learned_drift_without_weights_trains_as_clipping_does():
    config = ppo.Config(
        num_envs=4, num_steps=16, num_epochs=2, num_minibatches=2, network=NetworkConfig(hidden_sizes=(8,))
    )
    env = envs.make("CartPole-v1")

    def trained(objective):
        algo = ppo.make(env, config, objective)
        hp = algo.hparams.replace(learning_rate=1e-2, total_updates=5.0)
        return jax.jit(lambda key: train.run(algo, key, hp, 5)[0])(jax.random.key(0))

    clipped, learned = trained(OBJECTIVES["ppo"]()), trained(lpo())
    for a, b in zip(jax.tree.leaves(clipped.params), jax.tree.leaves(learned.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
