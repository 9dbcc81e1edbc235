"""How values of actions act, on a network that returns its input as values."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import distributions, policies
from jaxrl.spaces import Discrete

TABLE = SimpleNamespace(
    step=lambda params, memory, x, first, rngs=None: (memory, x),
    encode=lambda obs_stats, obs: obs,
    distribution=lambda q, mask: distributions.make(Discrete(4), q, False, mask),
)
Q = jnp.array([0.0, 3.0, 1.0, 2.0])
ALLOWED = jnp.array([True, False, True, True])  # not the best


def test_a_random_action_is_taken_with_probability_epsilon():
    """Uniform among the allowed ones, 40,000 draws: 5 standard deviations are below 0.0125."""
    obs, first = jnp.tile(Q, (40_000, 1)), jnp.zeros(40_000, bool)
    mask = jnp.tile(ALLOWED, (40_000, 1))

    def shares(epsilon, mask):
        act = policies.epsilon_greedy(TABLE, (), (), epsilon)
        _, action, extras = act((), jax.random.key(0), obs, first, mask)
        assert extras == ()
        return np.bincount(action, minlength=4) / 40_000

    np.testing.assert_array_equal(shares(0.0, None), [0, 1, 0, 0])
    np.testing.assert_array_equal(shares(0.0, mask), [0, 0, 0, 1])
    np.testing.assert_allclose(shares(1.0, None), 0.25, atol=0.0125)
    np.testing.assert_allclose(shares(0.6, None), [0.15, 0.55, 0.15, 0.15], atol=0.0125)
    masked = shares(0.6, mask)
    np.testing.assert_allclose(masked, [0.2, 0, 0.2, 0.6], atol=0.0125)
    assert masked[1] == 0


def test_the_best_allowed_action_is_evaluated():
    act, state = policies.best_action(TABLE), SimpleNamespace(params=(), obs_stats=())
    obs, first = Q[None], jnp.zeros(1, bool)
    assert act(state, (), None, obs, first)[1].tolist() == [1]
    assert act(state, (), None, obs, first, ALLOWED[None])[1].tolist() == [3]
    at_random = policies.best_action(TABLE, 1.0)
    _, action = at_random(state, (), jax.random.key(1), jnp.tile(Q, (64, 1)), jnp.zeros(64, bool))
    assert set(action.tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(policies.value_of(jnp.stack([Q, -Q]), jnp.array([3, 1])), [2, -3])


def test_masks_belong_to_the_observations_before_and_after_a_step():
    """Two steps in two environments; in the second one, an episode ends with the first step."""
    mask = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]], bool)
    last = np.array([[1, 0], [0, 1]], bool)
    done = np.array([[False, True], [False, False]])
    steps = SimpleNamespace(info={"action_mask": jnp.asarray(mask)}, done=jnp.asarray(done))
    stream = SimpleNamespace(timestep=SimpleNamespace(info={"action_mask": jnp.asarray(last)}))
    now, after = policies.action_masks(steps, stream)
    np.testing.assert_array_equal(now, mask)
    np.testing.assert_array_equal(after, [[[0, 1], [1, 1]], last])
    steps.info = {}
    assert policies.action_masks(steps, stream) == (None, None)
