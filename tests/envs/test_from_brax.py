"""The environments of brax match brax: steps, initial states, terminations."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow_except

from jaxrl.envs import from_brax
from jaxrl.spaces import contains, sample

KEY = jax.random.key(0)
# They run only briefly: optimizing the program would take longer than it saves.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@cache
def compiled(pair, **params):
    env = from_brax.make(pair, **params)
    return env._replace(reset=quick(env.reset), step=quick(env.step))


def brax_of(pair):
    from brax import envs

    name, _, backend = pair.partition(":")
    return envs.get_environment(name, backend=backend)


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for (path, a), b in zip(jax.tree.leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=jax.tree_util.keystr(path))


@pytest.mark.slow
def test_a_step_of_ant_matches_brax():
    env, original = compiled("ant:spring"), brax_of("ant:spring")
    state, timestep = env.reset(KEY)
    expected = quick(original.reset)(KEY)
    original_step = quick(original.step)
    assert_same(state, expected)
    np.testing.assert_array_equal(timestep.obs, expected.obs)
    for key in jax.random.split(KEY, 5):
        action = sample(env.action_space, key)
        state, timestep = env.step(key, state, action)
        expected = original_step(expected, action)
        assert_same(state, expected)
        np.testing.assert_allclose(timestep.next_obs, expected.obs, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(timestep.reward, expected.reward, rtol=1e-5, atol=1e-5)
        assert timestep.terminated == bool(expected.done)


@pytest.mark.parametrize("pair", slow_except(["hopper", "inverted_pendulum", "swimmer"], "inverted_pendulum"))
def test_every_key_starts_somewhere_else(pair):
    reset = quick(jax.vmap(from_brax.make(pair).reset))
    state, timestep = reset(jax.random.split(KEY, 8))
    assert len(np.unique(timestep.obs, axis=0)) == 8
    assert len(np.unique(state.pipeline_state.q, axis=0)) == 8


def fall(env, num_steps=30):
    """The TimeSteps `[T]` of a hopper that bends every joint, and where it has fallen."""

    def step(state, key):
        state, timestep = env.step(key, state, -jnp.ones(3))
        return state, timestep

    state, _ = env.reset(KEY)
    _, timestep = quick(partial(jax.lax.scan, step))(state, jax.random.split(KEY, num_steps))
    height, angle = timestep.next_obs[:, 0], timestep.next_obs[:, 1]
    fallen = (height <= 0.7) | (np.abs(angle) >= 0.2)
    assert fallen.any() and not fallen[0]
    return timestep, fallen


@pytest.mark.slow
def test_a_hopper_that_falls_terminates_and_is_not_truncated():
    timestep, fallen = fall(from_brax.make("hopper"))
    np.testing.assert_array_equal(timestep.terminated, fallen)
    assert not timestep.truncated.any() and not timestep.first.any()
    timestep, _ = fall(from_brax.make("hopper", terminate_when_unhealthy=False))
    assert not timestep.done.any()


def test_brax_clips_with_arguments_that_jax_has_removed():
    from brax import fluid

    from_brax._construct("swimmer")
    np.testing.assert_array_equal(fluid.jp.clip(jnp.array([-1.0, 2.0]), a_min=0.0), [0.0, 2.0])
    with pytest.raises(TypeError):
        jnp.clip(jnp.zeros(1), a_min=0.0)


@pytest.mark.slow
def test_water_slows_the_swimmer_and_jax_is_not_patched():
    env = compiled("swimmer")
    state, _ = env.reset(KEY)
    moving = state.pipeline_state.replace(qd=jnp.array([2.0, 0.0, 0.0, 0.0, 0.0]))
    _, timestep = env.step(KEY, state.replace(pipeline_state=moving), jnp.zeros(2))
    assert 0.0 < timestep.next_obs[3] < 1.99
    with pytest.raises(TypeError):
        jnp.clip(jnp.zeros(1), a_min=0.0)


def test_a_backend_that_an_environment_does_not_have_is_refused():
    with pytest.raises(ValueError, match="spring"):
        from_brax.make("swimmer:spring")


@pytest.mark.slow
@pytest.mark.parametrize("pair", [pair for pair in from_brax.PAIRS if ":" in pair])
def test_every_pair_steps(pair):
    env = compiled(pair)
    state, timestep = env.reset(KEY)
    _, other = env.reset(jax.random.key(1))
    assert (timestep.obs != other.obs).any()
    assert not {"steps", "truncation"} & set(state.info)  # no time limit of brax that could set `done`
    for key in jax.random.split(KEY, 5):
        state, timestep = env.step(key, state, sample(env.action_space, key))
        assert contains(env.observation_space, timestep.next_obs)
        assert np.isfinite(timestep.next_obs).all() and np.isfinite(timestep.reward)
        assert not timestep.truncated
    ends = {"ant", "hopper", "humanoid", "inverted_double_pendulum", "inverted_pendulum", "walker2d"}
    if pair.partition(":")[0] not in ends:
        assert not timestep.terminated


def test_every_environment_of_brax_is_listed():
    from brax.envs import _envs

    assert set(_envs) - set(from_brax.NAMES) == {"fast"}  # a dummy for the tests of brax
    assert from_brax.PAIRS[:3] == ("ant", "ant:spring", "ant:positional")
    assert "swimmer:generalized" in from_brax.PAIRS and "swimmer:spring" not in from_brax.PAIRS
