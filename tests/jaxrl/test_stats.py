"""Running statistics against NumPy over all samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import stats as slow

from jaxrl import stats

update, update_reward = jax.jit(stats.update), jax.jit(stats.update_reward)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_running_moments_match_the_concatenation(shape, offset):
    rng = np.random.default_rng(0)
    running, batches = stats.init(shape), []
    for leading, scale in [((5, 2), 1.0), ((1,), 1.0), ((40, 3), 3.0), ((7,), 0.1), ((64,), 1.0)]:
        center = offset + rng.normal(size=shape)
        batch = (center + scale * rng.normal(size=(*leading, *shape))).astype(np.float32)
        batches.append(batch)
        running = update(running, batch)
        mean, var, count = slow.moments(batches, len(shape))
        assert running.mean.shape == running.var.shape == shape
        assert running.count == count
        np.testing.assert_allclose(running.mean, mean, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(running.var, var, rtol=1e-4 if offset == 0.0 else 1e-2)


def test_many_batches_far_from_zero_do_not_drift():
    samples = np.random.default_rng(1).normal(1e4, 2.0, size=(500, 64, 3)).astype(np.float32)
    running, _ = jax.jit(
        lambda all: jax.lax.scan(lambda s, b: (stats.update(s, b), None), stats.init((3,)), all)
    )(samples)
    mean, var, count = slow.moments([samples], 1)
    assert running.count == count
    np.testing.assert_allclose(running.mean, mean, atol=0.01)
    np.testing.assert_allclose(running.var, var, rtol=0.01)


def test_order_and_split_do_not_matter():
    samples = np.random.default_rng(2).normal(size=(60, 2)).astype(np.float32)
    whole = update(stats.init((2,)), samples)
    halves = update(update(stats.init((2,)), samples[45:]), samples[:45])
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(halves)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_integers_and_constants_are_accepted():
    images = np.random.default_rng(3).integers(0, 256, size=(30, 2), dtype=np.uint8)
    running = update(stats.init((2,)), images)
    mean, var, _ = slow.moments([images], 1)
    np.testing.assert_allclose(running.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(running.var, var, rtol=1e-4)
    constant = update(update(stats.init(), jnp.full(9, 5.0)), jnp.full(3, 5.0))
    assert constant.mean == 5.0
    assert constant.var == 0.0
    assert stats.normalize(constant, jnp.asarray(5.0)) == 0.0
    assert stats.normalize(constant, jnp.asarray(6.0)) == 10.0  # cut, not infinite


def test_normalize_centres_scales_and_cuts():
    samples = np.random.default_rng(4).normal([3.0, -50.0], [2.0, 0.1], size=(400, 2))
    samples = samples.astype(np.float32)
    running = update(stats.init((2,)), samples)
    ours = np.asarray(stats.normalize(running, jnp.asarray(samples)))
    theirs = (samples - samples.mean(0, dtype=float)) / samples.std(0, dtype=float)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(ours.std(0), 1.0, rtol=1e-3)
    far = running.mean + jnp.array([[100.0, -100.0]]) * jnp.sqrt(running.var)
    np.testing.assert_array_equal(stats.normalize(running, far), [[10.0, -10.0]])
    np.testing.assert_array_equal(stats.normalize(running, far, clip=2.5), [[2.5, -2.5]])
    near = running.mean + 2.0 * jnp.sqrt(running.var)
    np.testing.assert_allclose(stats.normalize(running, near, clip=2.5), [2.0, 2.0], rtol=1e-3)


def test_initial_statistics_change_nothing():
    x = jnp.linspace(-3.0, 3.0, 7)
    np.testing.assert_allclose(stats.normalize(stats.init(), x), x, rtol=1e-6)
    np.testing.assert_allclose(stats.scale_reward(stats.init_reward(2), x), x, rtol=1e-6)


def test_reward_scale_is_the_spread_of_the_discounted_return_so_far():
    rng = np.random.default_rng(5)
    reward = (rng.normal(size=(36, 3)) + 2.0).astype(np.float32)
    done = rng.random((36, 3)) < 0.2
    done[11, 0] = done[23, 1] = True  # ends on the seams between rollouts
    sums = slow.discounted_rewards(reward, done, 0.9)
    running = stats.init_reward(3)
    for end in (12, 24, 36):
        rollout = slice(end - 12, end)
        running = update_reward(running, reward[rollout], done[rollout], 0.9)
        assert running.returns.count == end * 3
        assert running.returns.mean == pytest.approx(sums[:end].mean(), rel=1e-5)
        assert running.returns.var == pytest.approx(sums[:end].var(), rel=1e-4)
        carried = np.where(done[end - 1], 0.0, sums[end - 1])
        np.testing.assert_allclose(running.discounted, carried, rtol=1e-5)
    ours = stats.scale_reward(running, jnp.asarray(reward))
    np.testing.assert_allclose(ours, reward / sums.std(), rtol=1e-4)


def test_the_last_reward_of_an_episode_does_not_seed_the_next():
    reward = np.array([[0.0], [100.0], [1.0], [1.0]], np.float32)
    done = np.array([[False], [True], [False], [False]])
    running = update_reward(stats.init_reward(1), reward, done, 0.5)
    assert running.discounted == 1.5
    assert running.returns.mean == pytest.approx((0 + 100 + 1 + 1.5) / 4)


def test_scaled_rewards_keep_their_sign_and_are_cut():
    running = stats.RewardStats(jnp.zeros(1), stats.RunningStats(jnp.array(7.0), jnp.array(4.0), 9))
    reward = jnp.array([-1.0, 0.0, 3.0, 1e3, -1e3])
    ours = stats.scale_reward(running, reward)
    np.testing.assert_allclose(ours, [-0.5, 0.0, 1.5, 10.0, -10.0], rtol=1e-6)
    np.testing.assert_allclose(stats.scale_reward(running, reward, clip=1.0)[2:], [1, 1, -1])
