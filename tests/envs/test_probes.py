"""The dynamics of the probes; test_learns_probes tests whether algorithms solve them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs
from jaxrl.envs import probes

KEYS = jax.random.split(jax.random.key(0), 16)


def one_step(env, action):
    """Reset and one step in 16 lanes."""
    state, first = jax.vmap(env.reset)(KEYS)
    _, then = jax.vmap(env.step, (0, 0, None))(KEYS, state, action)
    return first, then


@pytest.mark.parametrize("action", [0, 1])
def test_value_only(action):
    first, then = one_step(probes.value_only(), jnp.int32(action))
    assert (then.reward == 1).all() and then.terminated.all() and (first.obs == 1).all()


@pytest.mark.parametrize("action", [0, 1])
def test_value_from_obs(action):
    first, then = one_step(probes.value_from_obs(), jnp.int32(action))
    np.testing.assert_array_equal(then.reward, first.obs[:, 0])
    assert set(np.unique(first.obs)) == {-1.0, 1.0} and then.terminated.all()


def test_discount():
    env = probes.discount()
    state, timestep = env.reset(KEYS[0])
    observed = [(timestep.obs.item(), timestep.reward.item(), timestep.terminated.item())]
    for key in KEYS[:2]:
        state, timestep = env.step(key, state, jnp.int32(0))
        observed.append((timestep.obs.item(), timestep.reward.item(), timestep.terminated.item()))
    assert observed == [(0.0, 0.0, False), (1.0, 0.0, False), (2.0, 1.0, True)]


def test_action():
    for action, reward in ((0, -1), (1, 1)):
        first, then = one_step(probes.action(), jnp.int32(action))
        assert (then.reward == reward).all() and then.terminated.all() and (first.obs == 1).all()


def test_action_from_obs():
    for action, sign in ((0, -1), (1, 1)):
        first, then = one_step(probes.action_from_obs(), jnp.int32(action))
        np.testing.assert_array_equal(then.reward, sign * first.obs[:, 0])
        assert set(np.unique(first.obs)) == {-1.0, 1.0} and then.terminated.all()


@pytest.mark.parametrize(
    ("name", "action"), [("truncation", jnp.int32(0)), ("truncation-continuous", jnp.zeros(1))]
)
def test_truncation_is_cut_by_the_time_limit_and_never_terminates(name, action):
    env = envs.make(f"probe/{name}")
    state, timestep = env.reset(KEYS[0])
    for t in range(1, 25):
        state, timestep = env.step(KEYS[0], state, action)
        assert timestep.reward == 1 and not timestep.terminated
        assert timestep.truncated == (t % 8 == 0)


@pytest.mark.parametrize("delay", [1, 3])
@pytest.mark.parametrize("right", [True, False])
def test_memory(delay, right):
    env = envs.make("probe/memory", delay=delay)
    for key in KEYS[:4]:
        state, timestep = env.reset(key)
        cue = timestep.obs[0].item()
        assert abs(cue) == 1 and timestep.obs[1] == 0
        answer = int(cue > 0) if right else int(cue < 0)
        for t in range(1, delay + 2):
            asked = timestep.obs[1].item()
            assert asked == (t == delay + 1)
            action = answer if asked else 1 - answer  # actions before the question do not count
            state, timestep = env.step(key, state, jnp.int32(action))
            assert timestep.next_obs[0] == 0
            assert timestep.terminated == asked
            assert timestep.reward == (0 if not asked else 1 if right else -1)


def test_memory_needs_a_delay():
    with pytest.raises(ValueError, match="delay must be at least 1, not 0"):
        probes.memory(delay=0)


@pytest.mark.parametrize("action, reward", [(0.5, 0.0), (1.0, -0.25), (-1.0, -2.25)])
def test_action_continuous(action, reward):
    _, then = one_step(probes.action_continuous(), jnp.array([action]))
    assert (then.reward == reward).all() and then.terminated.all()


@pytest.mark.parametrize("action, reward", [((1, 2), 1.0), ((1, 0), 0.5), ((0, 1), 0.0)])
def test_multidiscrete(action, reward):
    _, then = one_step(probes.multidiscrete(), jnp.array(action))
    assert (then.reward == reward).all() and then.terminated.all()


@pytest.mark.parametrize("shift, reward", [(0, 10.0), (1, 1.0), (2, 0.0)])
def test_action_mask(shift, reward):
    env = envs.make("probe/action-mask")
    state, timestep = env.reset(KEYS[0])
    forbidden_ones = set()
    for t in range(1, 13):
        mask, forbidden = timestep.info["action_mask"], int(timestep.obs.argmax())
        np.testing.assert_array_equal(mask, np.arange(3) != forbidden)
        forbidden_ones.add(forbidden)
        state, timestep = env.step(KEYS[t], state, jnp.int32((forbidden + shift) % 3))
        assert timestep.reward == reward
        assert timestep.info["violated"] == (shift == 0)
        assert timestep.terminated == (t % 4 == 0)
    assert forbidden_ones == {0, 1, 2}


def test_count_traces():
    env, counter = probes.count_traces(envs.make("probe/discount"))
    state, _ = jax.jit(env.reset)(KEYS[0])
    step = jax.jit(env.step)
    for key in KEYS:
        state, _ = step(key, state, jnp.int32(0))
    assert counter == {"reset": 1, "step": 1}
    jax.jit(jax.vmap(env.reset))(KEYS)
    assert counter == {"reset": 2, "step": 1}
