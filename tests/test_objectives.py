"""Policy objectives against their drifts in `reference/objectives.py` and against golden numbers."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import objectives as slow

from jaxrl.objectives import OBJECTIVES

GOLDEN = json.loads((Path(__file__).parent / "golden" / "objectives.json").read_text())
NAMES = sorted(OBJECTIVES)
PARAMS = {
    "ppo": [{"clip_eps": 0.2}, {"clip_eps": 0.1}],
    "spo": [{"clip_eps": 0.2}, {"clip_eps": 0.5}],
    "dpo": [{"alpha": 2.0, "beta": 0.6}, {"alpha": 0.7, "beta": 1.5}],
}


def grid():
    log_ratio = np.linspace(-3.0, 3.0, 61)
    advantages = np.linspace(-4.0, 4.0, 17)
    return [x.ravel() for x in np.meshgrid(log_ratio, advantages)]


def value_and_gradient(objective, log_ratio, advantages):
    """The surrogate and its derivative by log_ratio, per sample."""

    def total(x):
        surrogate = objective.apply(objective.params, x, advantages, 0.5)
        return surrogate.sum(), surrogate

    gradient, value = jax.jit(jax.grad(total, has_aux=True))(log_ratio)
    return np.asarray(value), np.asarray(gradient)


def test_every_objective_has_a_second_opinion():
    assert set(PARAMS) == set(OBJECTIVES) == set(slow.DRIFTS)


@pytest.mark.parametrize("row", GOLDEN["rows"], ids=lambda row: f"{row['objective']}{row['advantage']:+}")
def test_golden_numbers(row):
    objective = OBJECTIVES[row["objective"]]()
    log_ratio = jnp.log(jnp.asarray(GOLDEN["ratio"]))
    advantages = jnp.full_like(log_ratio, row["advantage"])
    ours = objective.apply(objective.params, log_ratio, advantages, 0.0)
    np.testing.assert_allclose(ours, row["surrogate"], atol=1e-5)


def test_golden_numbers_are_those_of_the_reference():
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
def test_gradient_is_that_of_the_reference(name):
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


@pytest.mark.parametrize("name", NAMES)
def test_drift_is_never_negative_and_flat_at_ratio_one(name):
    log_ratio, advantages = grid()
    for params in PARAMS[name]:
        objective = OBJECTIVES[name](**params)
        with jax.enable_x64(True):
            ours, _ = value_and_gradient(objective, log_ratio, advantages)
            at_one, gradient = value_and_gradient(objective, 0.0 * log_ratio, advantages)
        drift = np.exp(log_ratio) * advantages - ours
        assert drift.min() >= -1e-12
        assert drift.max() > 0.1  # there is one
        np.testing.assert_array_equal(at_one, advantages)
        # d/d log r = r d/dr: the first step after a rollout is the policy gradient.
        np.testing.assert_allclose(gradient, advantages, rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_far_ratios_give_finite_values_and_gradients(name):
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
    for name in NAMES:
        objective = OBJECTIVES[name]()
        gradient = jax.grad(lambda theta, o=objective: o.apply(theta, log_ratio, advantages, 0.0).mean())(
            objective.params
        )
        for leaf in jax.tree.leaves(gradient):
            assert np.isfinite(leaf)
            assert abs(leaf) > 1e-4


def test_a_far_ratio_of_the_discovered_objective_saturates():
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
    stacked = jax.tree.map(lambda x: x * jnp.array([0.5, 1.0]), OBJECTIVES[name]().params)
    apply = OBJECTIVES[name]().apply
    both = jax.vmap(apply, (0, None, None, None))(stacked, log_ratio, advantages, 0.0)
    for i in range(2):
        lane = jax.tree.map(lambda x, i=i: float(x[i]), stacked)
        alone = apply(lane, log_ratio, advantages, 0.0)
        np.testing.assert_allclose(both[i], alone, rtol=1e-5, atol=1e-6)
    assert not np.allclose(both[0], both[1])
