"""GAE and lambda-returns against the explicit sums of `reference/returns.py`, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import returns as slow

from jaxrl.returns import gae, lambda_returns

RATES = [(0.9, 0.0), (0.9, 1.0), (0.99, 0.95), (1.0, 0.7), (0.0, 0.5)]


def draw(num_steps, num_envs, seed, end=None):
    """A random rollout in which episodes end in both ways, never at once; `end`: the last step ends one."""
    rng = np.random.default_rng(seed)
    shape = (num_steps, num_envs)
    fate = rng.choice(3, size=shape, p=[0.7, 0.15, 0.15])
    if end is not None:
        fate[-1] = {"terminated": 1, "truncated": 2}[end]
    reward, value, next_value = rng.normal(size=(3, *shape))
    return reward, value, next_value, fate == 1, fate == 2


def in_float64(function, rollout, gamma, gae_lambda):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(function)(*rollout, gamma, gae_lambda))


@pytest.mark.parametrize("end", [None, "terminated", "truncated"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 2), (33, 4)])
def test_gae_is_the_sum_of_td_errors_up_to_the_end_of_the_episode(shape, end):
    rollout = draw(*shape, seed=sum(shape), end=end)
    for rates in RATES:
        ours = in_float64(gae, rollout, *rates)
        assert ours.dtype == np.float64
        np.testing.assert_allclose(ours, slow.gae(*rollout, *rates), atol=1e-12)


@pytest.mark.parametrize("end", [None, "terminated", "truncated"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 2), (33, 4)])
def test_lambda_return_is_the_mixture_of_n_step_returns(shape, end):
    rollout = draw(*shape, seed=10 + sum(shape), end=end)
    reward, _, next_value, terminated, truncated = rollout
    for rates in RATES:
        ours = in_float64(lambda_returns, rollout, *rates)
        theirs = slow.lambda_returns(reward, next_value, terminated, truncated, *rates)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_lambda_return_is_advantage_plus_value_where_the_rollout_is_consistent():
    reward, value, next_value, terminated, truncated = draw(20, 3, seed=9)
    going_on = ~(terminated | truncated)[:-1]
    next_value[:-1] = np.where(going_on, value[1:], next_value[:-1])
    rollout = (reward, value, next_value, terminated, truncated)
    both = in_float64(gae, rollout, 0.99, 0.8) + value
    np.testing.assert_allclose(in_float64(lambda_returns, rollout, 0.99, 0.8), both, atol=1e-12)


@pytest.mark.parametrize("end", [None, "terminated", "truncated"])
def test_lambda_returns_of_the_best_actions_are_q_lambda_targets(end):
    """The values of the best actions are arbitrary numbers, unrelated to those of the actions taken."""
    reward, _, next_value, terminated, truncated = rollout = draw(12, 4, seed=11, end=end)
    for rates in RATES:
        ours = in_float64(lambda_returns, rollout, *rates)
        theirs = slow.q_lambda(reward, next_value, terminated, truncated, *rates)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_lambda_one_is_the_discounted_sum_and_lambda_zero_looks_one_step_ahead():
    reward = np.array([[1.0], [2.0], [4.0], [8.0]])
    value, next_value = np.full((4, 1), 100.0), np.full((4, 1), 16.0)
    no, end = np.zeros((4, 1), bool), np.arange(4)[:, None] == 3
    ended = in_float64(lambda_returns, (reward, value, next_value, end, no), 0.5, 1.0)
    np.testing.assert_allclose(ended[:, 0], [4.0, 6.0, 8.0, 8.0])
    running = in_float64(lambda_returns, (reward, value, next_value, no, no), 0.5, 1.0)
    np.testing.assert_allclose(running[:, 0], [5.0, 8.0, 12.0, 16.0])
    one_step = in_float64(lambda_returns, (reward, value, next_value, end, no), 0.5, 0.0)
    np.testing.assert_allclose(one_step[:, 0], [9.0, 10.0, 12.0, 8.0])


def test_a_truncated_step_bootstraps_and_a_terminated_one_does_not():
    one, no, yes = np.ones((1, 1)), np.zeros((1, 1), bool), np.ones((1, 1), bool)
    cut = in_float64(gae, (one, 10 * one, 100 * one, no, yes), 0.9, 0.95)
    terminated = in_float64(gae, (one, 10 * one, 100 * one, yes, no), 0.9, 0.95)
    assert cut.item() == pytest.approx(1 + 90 - 10)
    assert terminated.item() == pytest.approx(1 - 10)


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_advantages_do_not_depend_on_later_episodes(end):
    rollout = [x.copy() for x in draw(12, 3, seed=5)]
    rollout[3][5], rollout[4][5] = end == "terminated", end == "truncated"
    before = in_float64(gae, rollout, 0.99, 0.95)
    for x in rollout[:3]:
        x[6:] += 1000.0
    after = in_float64(gae, rollout, 0.99, 0.95)
    np.testing.assert_array_equal(before[:6], after[:6])
    assert np.all(before[6:] != after[6:])


def test_the_value_of_a_terminal_state_is_ignored():
    reward, value, next_value, terminated, truncated = draw(9, 2, seed=6, end="terminated")
    wild = np.where(terminated, np.nan, next_value)
    for function in (gae, lambda_returns):
        ours = in_float64(function, (reward, value, wild, terminated, truncated), 0.99, 0.95)
        tame = in_float64(function, (reward, value, next_value, terminated, truncated), 0.99, 0.95)
        np.testing.assert_array_equal(ours, tame)


def test_leading_axis_is_time_whatever_follows():
    rollout = draw(8, 6, seed=7)
    ours = jax.jit(gae)(*(x.reshape(8, 2, 3) for x in rollout), 0.99, 0.95)
    assert ours.dtype == jnp.float32
    theirs = slow.gae(*rollout, 0.99, 0.95).reshape(8, 2, 3)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    flat = jax.jit(gae)(*(x[:, 0] for x in rollout), 0.99, 0.95)
    np.testing.assert_allclose(flat, theirs[:, 0, 0], atol=1e-5)


@pytest.mark.parametrize("function", [gae, lambda_returns])
def test_shapes_that_do_not_match_are_rejected(function):
    rollout = list(draw(4, 3, seed=8))
    rollout[2] = rollout[2][:, :1]  # would broadcast
    with pytest.raises(AssertionError):
        function(*rollout, 0.99, 0.95)
