"""Evaluation: one episode of every environment, no more and no less."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.worlds import diary, lottery

from jaxrl.evaluate import evaluate


def one(memory, key, obs, first, mask):
    del key, first, mask
    return memory, jnp.ones(obs.shape[0])


def play(act, num_episodes=8, max_steps=50, memory=(), seed=0, env=None):
    env = lottery() if env is None else env
    run = jax.jit(lambda key: evaluate(env, act, memory, key, num_episodes, max_steps))
    return jax.tree.map(np.asarray, run(jax.random.key(seed)))


def test_every_environment_counts_once_whatever_its_episode_lengths():
    result = play(one, num_episodes=400)
    assert result.finished.all()
    assert set(result.lengths) == {1, 9}
    # Only the first episodes, in which an action of 1 gives reward 1, and all of them to their end.
    np.testing.assert_array_equal(result.returns, result.lengths)
    assert (result.lengths == 9).mean() == pytest.approx(0.5, abs=0.08)


def test_episodes_cut_by_the_limit_are_flagged():
    result = play(one, num_episodes=40, max_steps=5)
    np.testing.assert_array_equal(result.finished, result.lengths == 1)
    np.testing.assert_array_equal(result.lengths[~result.finished], 5)
    np.testing.assert_array_equal(result.returns, result.lengths)
    assert 0 < result.finished.sum() < 40
    exact = play(one, num_episodes=40, max_steps=9)
    assert exact.finished.all()


def test_evaluation_stops_when_the_last_episode_ends():
    steps = []

    def count(memory, key, obs, first, mask):
        jax.debug.callback(lambda: steps.append(1))
        return one(memory, key, obs, first, mask)

    assert play(count, max_steps=100_000).finished.all()
    jax.effects_barrier()
    assert len(steps) == 9


def test_memory_starts_empty_and_is_carried():
    def act(memory, key, obs, first, mask):
        del key, obs, mask
        return memory + 1.0, memory[:, 0] + 100.0 * first

    dirty = jnp.full((3, 2), 1e6)  # of another number of environments
    result = play(act, memory=dirty)
    # Actions 100 (first, and nothing remembered), 1, 2, ..., 8
    np.testing.assert_array_equal(result.returns, np.where(result.lengths == 9, 136.0, 100.0))


def test_a_policy_is_given_a_new_key_in_every_step():
    def act(memory, key, obs, first, mask):
        del first, mask
        return memory, jax.random.uniform(key, obs.shape[:1])

    result = play(act, num_episodes=40)
    assert len(set(result.returns)) == 40
    long = result.returns[result.lengths == 9]
    assert long.mean() == pytest.approx(4.5, abs=0.8)
    assert long.std() == pytest.approx(np.sqrt(9 / 12), rel=0.5)  # 2.6 were all nine the same
    again, other = play(act, num_episodes=40), play(act, num_episodes=40, seed=1)
    np.testing.assert_array_equal(result.returns, again.returns)
    assert not np.array_equal(result.returns, other.returns)


def test_the_mask_reaches_the_policy_and_both_kinds_of_end_count():
    def act(memory, key, obs, first, mask):
        del key, first
        code, t = obs[:, 0], obs[:, 1]
        right = jnp.stack([code >= 0, t % 2 == 0, (code + t) % 3 == 0], -1)
        return memory, jnp.where((mask == right).all(-1), 0, 10_000)

    result = play(act, num_episodes=64, env=diary())
    assert result.finished.all()
    assert set(result.lengths) == {2, 3, 4, 5}
    # code + (code + 10) + ...: a wrong mask would add 10 000.
    code = (result.returns - 5 * result.lengths * (result.lengths - 1)) / result.lengths
    np.testing.assert_array_equal(code % 4 + 2, result.lengths)
    assert code.max() < 1000
