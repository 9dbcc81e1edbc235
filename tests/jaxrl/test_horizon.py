"""The effective horizon: of processes solved by hand, and against recursions written from the papers."""

import jax
import numpy as np
import pytest
from reference.horizon import Process, Table, lock

from jaxrl import horizon


def exactly(table, *args, **options):
    """The analysis in float64, as NumPy arrays."""
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, horizon.analyse(table, *args, **options))


@pytest.mark.parametrize(("length", "num_actions"), [(1, 2), (6, 2), (4, 3)])
def test_the_effective_horizon_of_a_combination_lock_is_its_length(length, num_actions):
    """The random policy's values prefer the right action by A^-(n-1), after k - 1 iterations by A^-(n-k)."""
    found = exactly(lock(length, num_actions), length)
    k = np.arange(1, length + 1)
    assert found.k == 1 and found.solvable[0] and found.looked.all()
    np.testing.assert_allclose(found.gap, num_actions ** -(length - k * 1.0), rtol=1e-9)
    np.testing.assert_allclose((found.effective_horizon, found.gorp_horizon), length, rtol=1e-9)
    np.testing.assert_allclose(found.gorp_steps, length**2 * num_actions**length, rtol=1e-9)
    assert found.optimal_return == 1.0 and found.random_return == pytest.approx(num_actions**-length)


@pytest.mark.parametrize(("decoy", "k"), [(0.01, 1), (0.1, 3), (0.2, 4), (0.9, 6)])
def test_a_decoy_requires_looking_ahead(decoy, k):
    """The lock is worth 2^-(6-k) after k - 1 iterations, which must exceed the decoy."""
    found = exactly(lock(6, decoy=decoy), 6)
    assert found.k == k and found.solvable[k - 1] and not found.solvable[: k - 1].any()
    assert found.gap[k - 1] == pytest.approx(2.0 ** -(6 - k) - decoy)


def test_an_equal_decoy_is_no_solution():
    """At k = 4 both actions are worth 1/4, and one of them is wrong."""
    assert exactly(lock(6, decoy=0.25), 6).k == 5


def test_two_states_by_hand():
    """Action 0 stays and pays 1 in state 0 and 3 in state 1; action 1 changes the state and pays nothing.

    With two steps, the first actions in state 0 are worth 1 + 1/2 and 0 + 3/2 under the random policy, a tie,
    and 1 + 1 and 0 + 3 after an iteration: action 1 is better by 1 of at most 3.
    """
    stay, change = np.eye(2), np.eye(2)[::-1]
    reward = np.array([[1.0, 0.0], [3.0, 0.0]])
    table = Table(np.stack([stay, change], axis=1), reward, np.zeros(2, bool), np.array([1.0, 0.0]))
    values = horizon.action_values(table, 2)
    np.testing.assert_allclose(values.random[0, 0], [1.5, 1.5])
    np.testing.assert_allclose(values.optimal[0, 0], [2.0, 3.0])
    np.testing.assert_allclose(values.lowest[0, 0], [1.0, 0.0])
    np.testing.assert_allclose(values.highest[0, 0], [2.0, 3.0])
    found = exactly(table, 2)
    assert found.k == 2 and found.solvable.tolist() == [False, True]
    assert found.gap.tolist() == [0.0, pytest.approx(1 / 3)]
    assert found.effective_horizon == pytest.approx(2 + 2 * np.log2(3)) and found.gorp_horizon == 2.0
    np.testing.assert_allclose(exactly(table, 2, gamma=0.5).optimal_return, 1.5)


@pytest.mark.parametrize(("decoy", "k"), [(0.9, 6), (0.99, 1)])
def test_a_return_that_is_good_enough(decoy, k):
    """The random policy's return is decoy / 2 + 2^-6, and 95% of what is missing to 1 is required."""
    with jax.enable_x64(True):
        near = jax.tree.map(np.asarray, horizon.near_optimal(lock(6, decoy=decoy), 6))
    assert near.k == k and near.returns[0] == pytest.approx(decoy)
    assert k == 1 or near.returns[k - 1] == 1.0


def test_the_slack_of_a_lock_is_half_its_gap():
    """With a gap of A^-(n-k) the largest power of 2 below it is half of it: k + 2 (n - k + 1), at k = n."""
    assert horizon.near_optimal(lock(4), 4).effective_horizon == pytest.approx(6.0)
    q = horizon.action_values(lock(4), 4).random
    assert [float(horizon.worst_return(lock(4), q, slack)) for slack in (0.0, 0.1, 0.126)] == [1.0, 1.0, 0.0]


def random_table(seed, deterministic):
    """Four states, of which one may be terminal, and rewards that often tie."""
    rng = np.random.default_rng(seed)
    transition = (
        rng.dirichlet(np.full(4, 0.3), (4, 2)) * (rng.random((4, 2, 4)) < 0.6) + 1e-3 * np.eye(4)[:, None]
    )
    transition /= transition.sum(axis=2, keepdims=True)
    if deterministic:
        transition = np.eye(4)[rng.integers(0, 4, (4, 2))]
    reward = rng.integers(-1, 3, (4, 2, 4)) * 1.0
    if deterministic:
        reward = np.broadcast_to(reward[..., :1], reward.shape)
    return Table(transition, reward, np.arange(4) == 4 - seed % 2, np.array([0.5, 0.5, 0.0, 0.0]))


@pytest.mark.parametrize("deterministic", [False, True])
def test_random_processes_against_the_definitions(deterministic):
    """All at once, by a vmap: of each k that was looked at, and of the best one."""
    steps, seeds = 4, range(12)
    tables = Table(*map(np.stack, zip(*(random_table(seed, deterministic) for seed in seeds), strict=True)))
    with jax.enable_x64(True):
        both = jax.vmap(lambda table: (horizon.analyse(table, steps), horizon.near_optimal(table, steps)))
        found, near = jax.tree.map(np.asarray, both(tables))
    first = []
    for seed in seeds:
        its = jax.tree.map(lambda leaf: leaf[seed], found)  # noqa: B023
        slow = Process(*random_table(seed, deterministic), steps)
        solved = [slow.solvable(k) for k in range(1, steps + 1)]
        each = [slow.horizons(k) for k in range(1, steps + 1)]
        worst = [slow.worst(k) for k in range(1, steps + 1)]
        enough = its.random_return + 0.95 * (its.optimal_return - its.random_return) - 1e-6
        assert near.k[seed] == 1 + int(np.argmax(np.array(worst) >= enough))
        np.testing.assert_allclose(near.returns[seed, : near.k[seed]], worst[: near.k[seed]], atol=1e-9)
        first.append(1 + solved.index(True))
        assert its.k == first[-1] and its.looked[: its.k].all()
        for k in np.flatnonzero(its.looked):
            assert its.solvable[k] == solved[k]
            np.testing.assert_allclose((its.gap[k], its.samples[k]), each[k][:2], rtol=1e-6)
        np.testing.assert_allclose(its.effective_horizon, min(one[2] for one in each), rtol=1e-6)
        if deterministic:
            np.testing.assert_allclose(its.gorp_horizon, min(steps, *(one[3] for one in each)), rtol=1e-6)
        else:
            assert np.isnan(its.gorp_horizon) and np.isnan(its.gorp_steps)
    assert len(set(first)) >= 3  # the processes differ in difficulty


def test_invalid_tables_and_counts_are_named():
    table = lock(3)
    with pytest.raises(ValueError, match="horizon = 0 must be at least 1"):
        horizon.analyse(table, 0)
    with pytest.raises(ValueError, match=r"reward must have the shape \(4, 2\)"):
        horizon.analyse(table._replace(reward=np.zeros(4)), 3)
    with pytest.raises(ValueError, match=r"transition must have the shape \[S, A, S\]"):
        horizon.analyse(table._replace(transition=np.zeros((4, 2, 3))), 3)
