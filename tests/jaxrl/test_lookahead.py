"""GORP, and the estimate of the effective horizon by playing, against the exact one of tables."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.horizon import lock

from jaxrl import gorp, horizon, lookahead, sqirl
from jaxrl.envs.worlds import chain, tabular
from jaxrl.spaces import Box

STEPS = 4


def lock_with_decoy():
    mdp = tabular.Tabular(*map(jnp.asarray, lock(STEPS, decoy=0.3)))
    return mdp, tabular.env(mdp, "index")


def planned(mdp, k):
    """The first action of the best sequence of k actions before uniformly random ones, as GORP plans it.

    Algorithm 1 of Laidlaw et al. 2023 with the expectations themselves in place of means over episodes.
    """
    p, r, end = (np.asarray(x) for x in (mdp.transition, mdp.reward, mdp.terminal))

    def value(chances, actions, t):
        if t == STEPS:
            return 0.0
        chances, total = np.where(end, 0.0, chances), 0.0
        for a in [actions[t]] if t < len(actions) else range(2):
            share = 1.0 if t < len(actions) else 0.5
            total += share * (chances @ r[:, a] + value(chances @ p[:, a], actions, t + 1))
        return total

    plan = []
    for _ in range(STEPS):
        tried = [
            (value(np.asarray(mdp.start), [*plan, *rest], 0), rest) for rest in product((0, 1), repeat=k)
        ]
        plan.append(max(tried, key=lambda one: one[0])[1][0])
    return plan, value(np.asarray(mdp.start), plan, 0)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_gorp_plans_as_with_exact_expectations(k):
    mdp, env = lock_with_decoy()
    result = jax.jit(lambda key: gorp.gorp(key, env, STEPS, k, 256))(jax.random.key(0))
    returns = gorp.follow(jax.random.key(1), env, result.actions, 3)
    plan, expected = planned(mdp, k)
    assert result.actions[0] == plan[0]
    np.testing.assert_allclose(returns, [expected] * 3, rtol=1e-6)
    # All episodes are played to their ends, T^2 A^k m steps if none ends early.
    assert STEPS * 2**k * 256 < result.steps <= STEPS**2 * 2**k * 256


def test_gorp_finds_the_k_of_a_deterministic_table():
    """The lock is 3-QVI-solvable, and its effective horizon by GORP, an upper bound, is its length."""
    mdp, env = lock_with_decoy()
    exact, _ = horizon.exactly(mdp, STEPS)
    assert lookahead.is_deterministic(jax.random.key(0), env, STEPS)
    learn, cost, far = lookahead.by_gorp(env, STEPS)
    found = lookahead.search(jax.random.key(0), learn, cost, 1.0, STEPS, budget=5_000)
    assert found.reached[0].k == int(exact.k) == 3
    assert min(map(far, found.reached)) <= float(exact.gorp_horizon) == 4.0
    assert {trial.k for trial in found.trials if trial.median_return < 0.31} == {1, 2}
    assert all(trial.steps == cost(trial.k, trial.episodes) <= 5_000 for trial in found.trials)


def test_sqirl_finds_the_k_of_a_stochastic_table():
    """For a return of 20 the chain requires two iterations: greedy policies of Q^1 and Q^2 return 13.1."""
    mdp, steps = chain.mdp(4, slip=0.1), 6
    _, near = horizon.exactly(mdp, steps)
    returns = np.asarray(near.returns)
    assert near.k == 3 and returns[:2].max() < 20.0 < returns[2]
    env = tabular.env(mdp, "index")
    assert not lookahead.is_deterministic(jax.random.key(0), env, steps)
    learn, cost, far = lookahead.by_sqirl(env, sqirl.tabular(4, 2), steps)
    found = lookahead.search(jax.random.key(0), learn, cost, 20.0, 3, budget=80_000)
    (reached,) = found.reached
    assert reached.k == near.k and reached.episodes < 1024 and far(reached) == np.log2(reached.episodes)
    assert [trial.k for trial in found.trials[:3]] == [1, 2, 3] and found.best().k == 3


def test_a_search_bisects_powers_of_two_and_stops_at_its_budget():
    """With a learner that needs k = 2 and 5 episodes, in every run."""

    def learn(key, k, episodes):
        return jnp.full(3, float(k >= 2 and episodes >= 5))

    found = lookahead.search(jax.random.key(0), learn, lambda k, m: 10 * 2**k * m, 1.0, 4, 10_000, runs=3)
    tried = [(1, 256), (2, 128), (2, 8), (2, 2), (2, 4), (3, 2), (4, 1)]
    assert [(trial.k, trial.episodes) for trial in found.trials] == tried
    assert [(t.k, t.episodes, t.steps) for t in found.reached] == [(2, 8, 320)]
    none = lookahead.search(jax.random.key(0), learn, lambda k, m: 10 * 2**k * m, 1.0, 4, 100)
    assert not none.reached and [(t.k, t.episodes) for t in none.trials] == [(1, 4), (2, 2), (3, 1)]
    assert none.best().median_return == 0.0
    with pytest.raises(ValueError, match="a run takes at least 20 steps, more than the budget of 19"):
        lookahead.search(jax.random.key(0), learn, lambda k, m: 10 * 2**k * m, 1.0, 4, 19)


def test_invalid_counts_and_spaces_are_named():
    _, env = lock_with_decoy()
    with pytest.raises(ValueError, match="k = 0"):
        gorp.gorp(jax.random.key(0), env, STEPS, 0, 8)
    with pytest.raises(ValueError, match="one Discrete action space"):
        gorp.gorp(jax.random.key(0), env._replace(action_space=Box(-1.0, 1.0, (1,))), STEPS, 1, 8)
