"""SQIRL against the exact solution of small worlds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from reference.horizon import lock

from jaxrl import horizon, sqirl
from jaxrl.envs.worlds import chain, tabular
from jaxrl.spaces import Box

STEPS = 4


def table(decoy):
    return tabular.Tabular(*map(jnp.asarray, lock(STEPS, decoy=decoy)))


def learned_return(mdp, actions):
    """The expected return of actions `[T, S]`, step by step."""
    values = np.zeros(len(mdp.terminal))
    for action in np.asarray(actions)[::-1]:
        q = np.asarray(tabular.backup(mdp, jnp.asarray(values), 1.0))
        values = q[np.arange(len(q)), action]
    return float(np.asarray(mdp.start) @ values)


@pytest.mark.parametrize(("k", "expected"), [(1, 0.3), (3, 1.0)])
def test_it_solves_a_lock_with_a_decoy_if_it_looks_far_enough_ahead(k, expected):
    """The smallest k is 3: after two iterations the lock is worth 1/2, and at k = 2 less than the decoy."""
    mdp = table(0.3)
    assert horizon.analyse(mdp, STEPS).k == 3
    env, regression = tabular.env(mdp), sqirl.tabular(STEPS + 1, 2)
    result = jax.jit(lambda key: sqirl.sqirl(key, env, regression, STEPS, k, 256))(jax.random.key(0))
    states = jnp.eye(STEPS + 1)
    actions = jax.vmap(lambda t: sqirl.act(regression, result.params, t, states))(jnp.arange(STEPS))
    assert learned_return(mdp, actions) == pytest.approx(expected)
    # Every episode is played to its end: in the first iteration, one of 1, 2, 3 or 4 steps at random.
    assert STEPS * 256 < result.steps <= STEPS * STEPS * 256
    if k == 3:
        assert result.returns[-1] > 0.4 and result.returns[0] < 0.4


def test_the_means_are_those_of_the_random_policy_and_of_its_iterations():
    """At k = 1 they are Q^1 of the pairs that were visited, at k = 2 Q^2."""
    mdp, steps = chain.mdp(3, slip=0.3, small=1.0, large=4.0), 3
    env, regression = tabular.env(mdp, "index"), sqirl.tabular(3, 2)
    q = horizon.action_values(mdp, steps).random
    for k in (1, 2):
        result = jax.jit(lambda key: sqirl.sqirl(key, env, regression, steps, k, 20_000))(jax.random.key(1))  # noqa: B023
        seen = np.isfinite(result.params)
        assert (
            seen[0].tolist() == [[True, True], [False, False], [False, False]] and seen[2].any(axis=1).all()
        )
        np.testing.assert_allclose(np.where(seen, result.params, 0.0), np.where(seen, q, 0.0), atol=0.15)
        q = horizon.iterate(mdp, q)


def test_a_network_solves_it_too():
    mdp = table(0.3)
    env = tabular.env(mdp)
    assert isinstance(env.observation_space, Box)
    regression = sqirl.network(nn.Sequential([nn.Dense(32), nn.relu]), 2, num_steps=150, learning_rate=1e-2)
    result = jax.jit(lambda key: sqirl.sqirl(key, env, regression, STEPS, 3, 256))(jax.random.key(2))
    states = jnp.eye(STEPS + 1)
    actions = jax.vmap(lambda t: sqirl.act(regression, result.params, t, states))(jnp.arange(STEPS))
    assert learned_return(mdp, actions) == pytest.approx(1.0)


def test_invalid_counts_and_spaces_are_named():
    env, regression = tabular.env(table(0.0)), sqirl.tabular(STEPS + 1, 2)
    with pytest.raises(ValueError, match="k = 0 must be at least 1"):
        sqirl.sqirl(jax.random.key(0), env, regression, STEPS, 0, 8)
    with pytest.raises(ValueError, match="sqirl and gorp need one Discrete action space"):
        continuous = env._replace(action_space=Box(-1.0, 1.0, (1,)))
        sqirl.sqirl(jax.random.key(0), continuous, regression, STEPS, 1, 8)
