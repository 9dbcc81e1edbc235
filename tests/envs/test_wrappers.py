"""Wrappers against plain Python and NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs import probes
from jaxrl.envs.wrappers import (
    auto_reset,
    clip_action,
    episode_stats,
    fix_dtypes,
    flatten_obs,
    frame_stack,
    one_hot_obs,
    rescale_action,
    restart,
    sticky_actions,
    time_limit,
    transition,
)
from jaxrl.spaces import Box, Discrete, MultiDiscrete, contains, flat_size
from jaxrl.types import Env

KEY = jax.random.key(0)


def counting(length=3, shape=(1,)):
    """Starts at a random tenth, adds 1 each step; reward is the action; terminates after `length`."""

    def obs(state):
        return jnp.broadcast_to(state, shape)

    def reset(key):
        state = jax.random.randint(key, (), 0, 10).astype(jnp.float32) / 10
        return state, restart(obs(state), {"action_mask": jnp.floor(state * 10) > jnp.arange(4)})

    def step(key, state, action):
        state = state + 1
        info = {"action_mask": jnp.floor(state * 10) > jnp.arange(4)}
        return state, transition(obs(state), action, state >= length, info)

    return Env(reset, step, Box(0.0, length + 2.0, shape), Discrete(4))


def recording(action_space):
    """Endless; the state is the last action that reached it."""

    def reset(key):
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), action_space), restart(jnp.zeros(1))

    def step(key, state, action):
        return action, transition(jnp.zeros(1), 0.0, False)

    return Env(reset, step, Box(0.0, 0.0, (1,)), action_space)


def showing(space, values):
    """Observes `values` one after the other."""
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *values)

    def reset(key):
        return jnp.int32(0), restart(jax.tree.map(lambda x: x[0], stack))

    def step(key, state, action):
        return state + 1, transition(jax.tree.map(lambda x: x[state + 1], stack), 0.0, False)

    return Env(reset, step, space, Discrete(2))


def play(env, key, actions):
    """TimeSteps of a reset and a step per action, `[1 + T, ...]`, and the states."""
    reset_key, key = jax.random.split(key)
    state, timestep = env.reset(reset_key)
    step = jax.jit(env.step)
    states, timesteps = [state], [timestep]
    for step_key, action in zip(jax.random.split(key, len(actions)), actions):
        state, timestep = step(step_key, state, action)
        states.append(state)
        timesteps.append(timestep)
    return jax.tree.map(lambda *x: np.stack(x), *states), jax.tree.map(lambda *x: np.stack(x), *timesteps)


@pytest.mark.parametrize(
    "limit, terminated, truncated",
    [
        (2, [0, 0, 0, 1], [0, 0, 1, 1]),
        (3, [0, 0, 0, 1], [0, 0, 0, 0]),  # both at once: the episode is terminated
        (4, [0, 0, 0, 1], [0, 0, 0, 0]),
        (None, [0, 0, 0, 1], [0, 0, 0, 0]),
    ],
)
def test_time_limit_truncates_what_did_not_terminate(limit, terminated, truncated):
    env = time_limit(counting(3), limit)
    _, timestep = play(env, jax.random.key(0), [0] * 3)
    # The raw environment is stepped after its truncation, so it terminates in its third step.
    truncated = np.array(truncated, bool) & ~np.array(terminated, bool)
    np.testing.assert_array_equal(timestep.terminated, np.array(terminated, bool))
    np.testing.assert_array_equal(timestep.truncated, truncated)


def test_a_time_limit_may_be_an_array_or_traced():
    def end(limit):
        return play(time_limit(counting(9), limit), jax.random.key(0), [0] * 3)[1].truncated

    for limit in (np.int64(2), jnp.int32(2)):
        assert end(limit).tolist() == [False, False, True, True]
    cut = jax.vmap(lambda n: (env := time_limit(counting(9), n)).step(KEY, env.reset(KEY)[0], 0)[1].truncated)
    assert cut(jnp.array([1, 2])).tolist() == [True, False]


def test_auto_reset_exchanges_the_state_the_observation_and_the_mask_only():
    raw = counting(3)
    env = auto_reset(raw)
    key = jax.random.key(3)
    state = jnp.float32(2.5)
    new_state, timestep = env.step(key, state, 2)
    step_key, reset_key = jax.random.split(key)
    _, old = raw.step(step_key, state, 2)
    fresh_state, fresh = raw.reset(reset_key)

    assert new_state == fresh_state
    np.testing.assert_array_equal(timestep.obs, fresh.obs)
    np.testing.assert_array_equal(timestep.info["action_mask"], fresh.info["action_mask"])
    assert not np.array_equal(fresh.info["action_mask"], old.info["action_mask"])
    np.testing.assert_array_equal(timestep.next_obs, old.obs)
    assert timestep.next_obs[0] == 3.5
    assert timestep.reward == 2.0
    assert timestep.terminated and not timestep.truncated and timestep.first


def test_auto_reset_leaves_a_running_episode_alone():
    raw = counting(3)
    key = jax.random.key(3)
    _, timestep = auto_reset(raw).step(key, jnp.float32(0.5), 2)
    _, expected = raw.step(jax.random.split(key)[0], jnp.float32(0.5), 2)
    for a, b in zip(jax.tree.leaves(timestep), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


def test_after_a_truncation_the_observation_that_has_a_value_is_kept():
    env = auto_reset(time_limit(counting(100), 4))
    _, timestep = play(env, jax.random.key(1), [0] * 12)
    ends = np.flatnonzero(timestep.truncated)
    assert ends.tolist() == [4, 8, 12]
    np.testing.assert_array_equal(timestep.first, np.isin(np.arange(13), [0, 4, 8, 12]))
    for start, end in zip([0, 4, 8], ends):
        np.testing.assert_allclose(timestep.next_obs[end], timestep.obs[start] + 4, rtol=1e-6)
        assert timestep.obs[end, 0] < 1  # the next start


def test_episode_stats_across_resets():
    actions = np.random.default_rng(0).integers(0, 4, 30)
    env = auto_reset(episode_stats(time_limit(counting(3), 5)))
    _, timestep = play(env, jax.random.key(0), actions)
    total, length = 0.0, 0
    for t, action in enumerate(actions, start=1):
        total, length = total + action, length + 1
        assert timestep.info["episode_return"][t] == total
        assert timestep.info["episode_length"][t] == length
        if timestep.terminated[t] or timestep.truncated[t]:
            total, length = 0.0, 0
    assert timestep.terminated.sum() == 10


def test_fix_dtypes_makes_python_scalars_a_scan_carry():
    def reset(key):
        return {"time": 0, "sum": 0.0, "key": key}, restart(jnp.zeros(1))

    def step(key, state, action):
        state = {"time": state["time"] + 1, "sum": state["sum"] + jnp.int32(2), "key": key}
        return state | {"time": jnp.float32(state["time"])}, transition(jnp.zeros(1), 0, 0)

    env = fix_dtypes(Env(reset, step, Box(0.0, 0.0, (1,)), Discrete(2)))
    key = jax.random.key(0)
    state, _ = env.reset(key)
    assert not state["time"].weak_type and not state["sum"].weak_type
    final, _ = jax.lax.scan(lambda s, k: env.step(k, s, 0), state, jax.random.split(key, 3))
    assert final["time"] == 3 and final["time"].dtype == jnp.int32
    assert final["sum"] == 6 and final["sum"].dtype == jnp.float32


def test_flatten_obs_lays_a_tree_end_to_end():
    space = {
        "a": Box(0.0, np.array([1.0, 2.0]), (3, 2)),
        "b": (Discrete(3), MultiDiscrete((2, 2))),
        "c": Box(0, 255, (2,), np.dtype(np.uint8)),
    }
    grid = jnp.arange(6.0).reshape(3, 2) / 6
    first = {"a": grid, "b": (jnp.int32(2), jnp.array([0, 1])), "c": jnp.array([7, 255], jnp.uint8)}
    then = {"a": -grid, "b": (jnp.int32(0), jnp.array([1, 1])), "c": jnp.array([0, 1], jnp.uint8)}
    env = flatten_obs(showing(space, [first, then]))
    _, timestep = play(env, jax.random.key(0), [0])
    rows = [
        [*np.ravel(grid), 0, 0, 1, 1, 0, 0, 1, 7, 255],
        [*np.ravel(-grid), 1, 0, 0, 0, 1, 0, 1, 0, 1],
    ]
    np.testing.assert_allclose(timestep.obs, np.array(rows, np.float32), rtol=1e-6)
    np.testing.assert_array_equal(timestep.next_obs, timestep.obs)
    assert timestep.obs.dtype == np.float32
    assert env.observation_space.shape == (flat_size(space),) == (15,)
    np.testing.assert_array_equal(env.observation_space.low, np.zeros(15))
    high = [1, 2, 1, 2, 1, 2, *[1] * 7, 255, 255]
    np.testing.assert_array_equal(env.observation_space.high, high)
    assert contains(env.observation_space, timestep.obs[0])


@pytest.mark.parametrize(
    "space, value, expected",
    [
        (Discrete(4), jnp.int32(2), [0, 0, 1, 0]),
        (MultiDiscrete((2, 3)), jnp.array([1, 0]), [0, 1, 1, 0, 0]),
    ],
)
def test_one_hot_obs(space, value, expected):
    env = one_hot_obs(showing(space, [value, value]))
    _, timestep = play(env, jax.random.key(0), [0])
    np.testing.assert_array_equal(timestep.next_obs, [expected] * 2)
    assert timestep.obs.dtype == np.float32
    assert env.observation_space.shape == (len(expected),)
    assert contains(env.observation_space, timestep.obs[1])


@pytest.mark.parametrize(
    "shape, stacked, axis", [((2,), (6,), 0), ((2, 3), (2, 3, 3), 2), ((2, 3, 2), (2, 3, 6), 2)]
)
def test_frame_stack_shows_the_last_observations(shape, stacked, axis):
    frames = np.random.default_rng(0).random((6, *shape)).astype(np.float32)
    high = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    env = frame_stack(showing(Box(0.0, high, shape), list(frames)), 3)
    _, timestep = play(env, jax.random.key(0), [0] * 5)
    join = np.stack if len(shape) == 2 else np.concatenate
    for t in range(6):
        expected = join([frames[max(t - 2, 0)], frames[max(t - 1, 0)], frames[t]], axis=axis)
        np.testing.assert_array_equal(timestep.obs[t], expected)
        np.testing.assert_array_equal(timestep.next_obs[t], expected)
        assert contains(env.observation_space, timestep.obs[t])
    assert env.observation_space.shape == stacked
    np.testing.assert_array_equal(env.observation_space.high, join([high] * 3, axis=axis))


def test_frame_stack_does_not_look_across_the_end_of_an_episode():
    env = auto_reset(time_limit(frame_stack(counting(100), 2), 3))
    _, timestep = play(env, jax.random.key(0), [0] * 7)
    for end in (3, 6):
        assert timestep.truncated[end]
        np.testing.assert_allclose(np.diff(timestep.next_obs[end]), 1, rtol=1e-5)
        np.testing.assert_array_equal(np.diff(timestep.obs[end]), 0)  # two copies of the new start
        assert timestep.next_obs[end, 1] >= 3 > timestep.obs[end, 1]
    np.testing.assert_allclose(np.diff(timestep.obs[7]), 1, rtol=1e-5)


@pytest.mark.parametrize("space", [Discrete(1000), Box(-1.0, 1.0, (2,)), MultiDiscrete((9, 99))])
def test_sticky_actions_repeat_what_was_executed(space):
    rng = np.random.default_rng(0)
    shape = (400, *space.shape)
    actions = rng.random(shape, np.float32) if isinstance(space, Box) else rng.integers(0, 9, shape)
    actions = actions.astype(space.dtype)
    env = auto_reset(time_limit(sticky_actions(recording(space), 0.25), 10))
    states, timestep = play(env, jax.random.key(0), actions)
    executed = states.inner.previous
    repeated = fresh = 0
    for t in range(1, 401):
        if timestep.first[t]:  # the state is that of the next episode
            continue
        chosen = np.array_equal(executed[t], actions[t - 1])
        if timestep.first[t - 1]:
            assert chosen, "the first step of an episode has nothing to repeat"
            continue
        assert chosen or np.array_equal(executed[t], executed[t - 1])
        distinct = not np.array_equal(actions[t - 1], executed[t - 1])
        repeated += distinct and not chosen
        fresh += distinct and chosen
    assert abs(repeated / (repeated + fresh) - 0.25) < 0.08  # 3.3 standard errors at 320 steps


@pytest.mark.parametrize("probability, expected", [(0.0, [3, 1, 2]), (1.0, [3, 3, 3])])
def test_sticky_actions_at_its_extremes(probability, expected):
    env = sticky_actions(recording(Discrete(5)), probability)
    states, _ = play(env, jax.random.key(0), np.array([3, 1, 2], np.int32))
    assert states.inner[1:].tolist() == expected


def test_clip_action():
    env = clip_action(recording(Box(np.array([-1.0, 0.0]), 2.0, (2,))))
    states, _ = play(env, jax.random.key(0), np.array([[-5, -5], [1, 1], [9, 9]], np.float32))
    np.testing.assert_array_equal(states[1:], [[-1, 0], [1, 1], [2, 2]])
    assert contains(env.action_space, jnp.array([-1e9, 1e9]))


def test_rescale_action():
    env = rescale_action(recording(Box(np.array([-1.0, 0.0]), np.array([3.0, 0.5]), (2,))))
    actions = np.array([[-1, -1], [0, 0], [1, 1], [0.5, -0.5], [2, -2]], np.float32)
    states, _ = play(env, jax.random.key(0), actions)
    expected = [[-1, 0], [1, 0.25], [3, 0.5], [2, 0.125], [3, 0]]
    np.testing.assert_allclose(states[1:], expected, rtol=1e-6)
    assert (env.action_space.low, env.action_space.high) == (-1.0, 1.0)


def test_rescale_action_takes_traced_bounds():
    def act(high):
        env = rescale_action(recording(Box(0.0, high, (1,))))
        state, _ = env.reset(jax.random.key(0))
        return env.step(jax.random.key(1), state, jnp.ones(1))[0]

    np.testing.assert_allclose(jax.vmap(act)(jnp.array([2.0, 5.0]))[:, 0], [2, 5])


DISCRETE = probes.action()
CONTINUOUS = probes.action_continuous()
TREE = showing({"a": Discrete(2)}, [{"a": jnp.int32(0)}] * 2)


@pytest.mark.parametrize(
    "wrap, remedy",
    [
        (lambda: one_hot_obs(DISCRETE), "use it as it is"),
        (lambda: one_hot_obs(TREE), "flatten_obs first"),
        (lambda: frame_stack(TREE, 2), "flatten_obs first"),
        (lambda: frame_stack(showing(Discrete(2), [jnp.int32(0)] * 2), 2), "one_hot_obs first"),
        (lambda: frame_stack(DISCRETE, 0), "positive integer, not 0"),
        (lambda: sticky_actions(DISCRETE, 1.5), "between 0 and 1, not 1.5"),
        (lambda: sticky_actions(DISCRETE, jnp.float32(1.5)), "between 0 and 1"),
        (lambda: sticky_actions(DISCRETE, np.full(2, 0.5)), "one number between 0 and 1"),
        (lambda: time_limit(DISCRETE, 0), "positive integer or None, not 0"),
        (lambda: time_limit(DISCRETE, "5"), "positive integer or None, not '5'"),
        (lambda: time_limit(DISCRETE, 2.5), "positive integer or None, not 2.5"),
        (lambda: time_limit(DISCRETE, True), "positive integer or None, not True"),
        (lambda: clip_action(DISCRETE), "needs one Box as action space, not Discrete"),
        (lambda: rescale_action(DISCRETE), "needs one Box as action space, not Discrete"),
        (lambda: rescale_action(clip_action(CONTINUOUS)), "apply clip_action instead"),
    ],
)
def test_a_wrong_use_names_the_remedy(wrap, remedy):
    with pytest.raises(ValueError, match=remedy):
        wrap()
