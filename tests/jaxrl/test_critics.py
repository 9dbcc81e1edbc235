"""Value heads against loops written from the papers, `reference/critics.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import critics as slow

from jaxrl import critics

LOW, HIGH, COUNT = -2.0, 3.0, 6
POINTS = np.linspace(LOW, HIGH, COUNT)
# A termination (discount 0), rewards beyond the range, and one that moves points exactly onto points.
REWARD = np.array([0.3, -1.7, 2.5, 9.0, -9.0, 1.0], np.float32)
DISCOUNT = np.array([0.9, 0.0, 0.5, 0.9, 0.9, 1.0], np.float32)


def draw(count):
    rng = np.random.default_rng(3)
    return rng.normal(size=(2, len(REWARD), count)).astype(np.float32)


def test_the_categorical_projection_is_that_of_its_algorithm():
    outputs, following = draw(COUNT)
    head = critics.c51(LOW, HIGH, COUNT)
    loss, error = jax.jit(head.loss)(outputs, REWARD, DISCOUNT, following)
    for i in range(len(REWARD)):
        target = slow.projected(POINTS, slow.softmax(following[i]), REWARD[i], DISCOUNT[i])
        assert target.sum() == pytest.approx(1.0)
        expected = -(target * np.log(slow.softmax(outputs[i]))).sum()
        np.testing.assert_allclose((loss[i], error[i]), expected, rtol=1e-5)
        np.testing.assert_allclose(head.value(outputs[i]), slow.softmax(outputs[i]) @ POINTS, atol=1e-5)


def test_the_quantile_huber_loss_is_that_of_its_definition():
    outputs, following = draw(COUNT) * 2.0
    head = critics.qr(COUNT)
    loss, error = jax.jit(head.loss)(outputs, REWARD, DISCOUNT, following)
    expected = [
        slow.quantile_huber(outputs[i], REWARD[i] + DISCOUNT[i] * following[i]) for i in range(len(REWARD))
    ]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(loss, error)
    np.testing.assert_allclose(head.value(outputs), outputs.mean(axis=1), rtol=1e-6)


def test_the_loss_of_implicit_quantiles_is_that_of_its_definition():
    """Of each quantile with its fraction; the fractions of the target have no influence."""
    outputs, following = draw(COUNT) * 2.0
    fractions, others = np.random.default_rng(4).random((2, len(REWARD), COUNT), np.float32)
    head = critics.iqn(COUNT)
    pairs = np.stack([outputs, fractions], axis=-1)
    loss, error = jax.jit(head.loss)(pairs, REWARD, DISCOUNT, np.stack([following, others], axis=-1))
    expected = [
        slow.quantile_huber(outputs[i], REWARD[i] + DISCOUNT[i] * following[i], fractions[i])
        for i in range(len(REWARD))
    ]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(loss, error)
    np.testing.assert_allclose(head.value(pairs), outputs.mean(axis=1), rtol=1e-6)


def test_quantiles_minimize_their_loss():
    """Of 0, 10, ..., 90 those at 1/6, 1/2 and 5/6, except for the smoothing by the Huber loss."""
    head, zeros = critics.qr(3), jnp.zeros(10)
    targets = jnp.tile(jnp.arange(10.0)[:, None] * 10.0, (1, 3))

    def total(theta):
        return head.loss(jnp.tile(theta, (10, 1)), zeros, zeros + 1.0, targets)[0].mean()

    def step(theta, _):
        return theta - 2.0 * jax.grad(total)(theta), None

    theta = jax.jit(lambda start: jax.lax.scan(step, start, length=400)[0])(jnp.array([30.0, 40.0, 50.0]))
    np.testing.assert_allclose(theta, [10.0, 45.0, 80.0], atol=6.0)


def test_the_histogram_is_a_normal_distribution_around_the_target():
    outputs, following = draw(COUNT)
    head = critics.hl_gauss(LOW, HIGH, COUNT)
    edges = np.linspace(LOW, HIGH, COUNT + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    loss, error = jax.jit(head.loss)(outputs, REWARD, DISCOUNT, following)
    for i in range(len(REWARD)):
        now, after = slow.softmax(outputs[i]), slow.softmax(following[i]) @ middles
        mean = np.clip(REWARD[i] + DISCOUNT[i] * after, LOW, HIGH)
        target = slow.histogram(edges, mean, 0.75 * (HIGH - LOW) / COUNT)
        np.testing.assert_allclose(loss[i], -(target * np.log(now)).sum(), rtol=1e-4)
        np.testing.assert_allclose(error[i], abs(now @ middles - mean), rtol=1e-4)


def test_the_target_of_two_hot_is_divided_between_its_neighbours():
    outputs, following = draw(COUNT)
    head = critics.two_hot(LOW, HIGH, COUNT)
    loss, error = jax.jit(head.loss)(outputs, REWARD, DISCOUNT, following)
    for i in range(len(REWARD)):
        now, after = slow.softmax(outputs[i]), slow.softmax(following[i]) @ POINTS
        mean = REWARD[i] + DISCOUNT[i] * after
        target = slow.two_hot(POINTS, mean)
        assert target @ POINTS == pytest.approx(np.clip(mean, LOW, HIGH)) and (target > 0).sum() <= 2
        np.testing.assert_allclose(loss[i], -(target * np.log(now)).sum(), rtol=1e-4)
        np.testing.assert_allclose(error[i], abs(now @ POINTS - np.clip(mean, LOW, HIGH)), rtol=1e-4)


def test_known_values_are_fitted_as_the_rewards_of_last_steps():
    """Whatever the batch axes; a value on a point is a distribution on one point."""
    outputs = draw(COUNT)
    target = np.stack([REWARD, REWARD[::-1]])
    nothing = np.zeros(len(REWARD), np.float32)
    for name in ("qr", "two_hot"):
        head = critics.make(name, LOW, HIGH, COUNT)
        loss = critics.fit(head, outputs, target)
        for i in range(2):
            np.testing.assert_allclose(
                loss[i], head.loss(outputs[i], target[i], nothing, outputs[1 - i])[0], rtol=1e-6
            )
    sure = 40.0 * np.eye(COUNT, dtype=np.float32)
    np.testing.assert_allclose(critics.fit(critics.two_hot(LOW, HIGH, COUNT), sure, POINTS), 0.0, atol=1e-5)


def test_a_scalar_head_has_the_huber_loss_or_the_squared_one():
    (q, *_), (following, *_) = draw(6)
    delta = q - (REWARD + DISCOUNT * following)
    assert np.abs(delta).max() > 1.0  # where the two losses differ
    for head, expected in ((critics.SCALAR, slow.huber), (critics.SQUARED, lambda x: x * x / 2.0)):
        loss, error = head.loss(q, REWARD, DISCOUNT, following)
        np.testing.assert_allclose(loss, [expected(x) for x in delta], rtol=1e-5)
        np.testing.assert_allclose(error, np.abs(delta), rtol=1e-5)


@pytest.mark.parametrize("make", [critics.c51, critics.hl_gauss, critics.two_hot])
def test_an_empty_range_is_refused(make):
    for arguments in ((1.0, 1.0, 5), (0.0, 1.0, 1)):
        with pytest.raises(ValueError, match="at least 2, and the smallest return first"):
            make(*arguments)
    for quantiles in (critics.qr, critics.iqn):
        with pytest.raises(ValueError, match="at least 2 quantiles, not 1"):
            quantiles(1)
