"""Stochastic wrappers: their effects have the given probability, and with probability 0 there are none."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import FUSED, slow_except

from jaxrl import envs
from jaxrl.envs.check import check_env
from jaxrl.envs.stochastic import (
    corrupted_action,
    cyclic,
    drift,
    noisy_obs,
    non_stationary,
    partial_obs,
    scaled_reward,
    shifted_action,
    sudden,
    unpredictable_dynamics,
)
from jaxrl.envs.stochastic.action_masks import sample_allowed
from jaxrl.envs.wrappers import auto_reset, episode_stats, flatten_obs, restart, time_limit, transition
from jaxrl.spaces import Box, Discrete, MultiDiscrete, sample
from jaxrl.types import Env

KEY = jax.random.key(0)
LANES, STEPS = 64, 128
TREE = {
    "float": Box(-1.0, 1.0, (2,)),
    "bool": Box(False, True, (3,), np.dtype(bool)),
    "grey": Box(0, 9, (2,), np.dtype(np.uint8)),
    "one": (Discrete(5), MultiDiscrete((2, 4))),
}


def still(space, action_space=None):
    """Always observes one value of a space; the reward is 1."""
    value = sample(space, jax.random.key(1))

    def reset(key):
        return jnp.zeros((), jnp.int32), restart(value)

    def step(key, state, action):
        return state + 1, transition(value, 1.0, False)

    return Env(reset, step, space, action_space or Discrete(2)), value


def echo(action_space, mask=None):
    """The state is the action that was executed last; the reward tells whether it was legal."""
    info = {} if mask is None else {"action_mask": jnp.asarray(mask)}

    def reset(key):
        return jnp.full(action_space.shape, -1, action_space.dtype), restart(jnp.zeros(1), info)

    def step(key, state, action):
        return action, transition(jnp.zeros(1), 1.0, False, info)

    return Env(reset, step, Box(0.0, 0.0, (1,)), action_space)


def counting(length=None):
    """Counts its steps, rewards the action taken and ends after `length`."""

    def reset(key):
        return jnp.zeros((), jnp.int32), restart(jnp.zeros(1))

    def step(key, state, action):
        state = state + 1
        obs = state.astype(jnp.float32)[None]
        return state, transition(obs, action, False if length is None else state >= length)

    return Env(reset, step, Box(0.0, np.inf, (1,)), Discrete(5))


def play(env, lanes=LANES, steps=STEPS, action=None, key=KEY, options=None):
    """States `[L, T, ...]` and TimeSteps `[L, 1 + T, ...]` of random or of fixed actions."""

    def lane(key):
        reset_key, run_key = jax.random.split(key)
        state, first = env.reset(reset_key)

        def step(carry, keys):
            state, mask = carry
            act = sample_allowed(env.action_space, keys[0], mask) if action is None else action
            state, then = env.step(keys[1], state, act)
            return (state, then.info.get("action_mask")), (state, then)

        keys = jax.random.split(run_key, (steps, 2))
        _, (states, then) = jax.lax.scan(step, (state, first.info.get("action_mask")), keys)
        join = lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b])  # noqa: E731
        return states, jax.tree.map(join, first, then)

    run = jax.jit(jax.vmap(lane), compiler_options=options)
    return jax.tree.map(np.asarray, run(jax.random.split(key, lanes)))


def assert_rate(happened, rate):
    """The share of true values is `rate` to 4 standard errors, overall and over lanes and steps."""
    happened = np.asarray(happened, np.float64).reshape(*happened.shape[:2], -1)
    error = (rate * (1 - rate) / happened.size) ** 0.5
    assert abs(happened.mean() - rate) <= 4 * error, (happened.mean(), rate, error)
    if rate == 0:
        return
    # Were lanes or steps alike, their means would differ by more than the noise of their sizes.
    for axes in ((1, 2), (0, 2)):
        means = happened.mean(axis=axes)
        variance = rate * (1 - rate) / (happened.size / len(means))
        spread = ((means - rate) ** 2).mean() / variance
        assert abs(spread - 1) < 4 * (2 / len(means)) ** 0.5 + 0.05, spread


# --- observations -----------------------------------------------------------------------------


def test_floats_get_gaussian_noise():
    env, value = still(Box(-1.0, 1.0, (2, 3)))
    env = noisy_obs(env, 0.5)
    _, timestep = play(env)
    noise = (timestep.obs - np.asarray(value)) / 0.5
    n = noise.size
    assert abs(noise.mean()) < 4 / n**0.5
    assert abs(noise.std() - 1) < 4 / (2 * n) ** 0.5
    assert abs((noise**4).mean() - 3) < 4 * (96 / n) ** 0.5
    np.testing.assert_array_equal(timestep.obs, timestep.next_obs)
    assert env.observation_space.high == np.inf
    lanes = np.corrcoef(noise.reshape(LANES, -1))[np.triu_indices(LANES, 1)]
    assert abs(lanes).max() < 5 / (n / LANES) ** 0.5
    steps = np.corrcoef(noise.swapaxes(0, 1).reshape(STEPS + 1, -1))[np.triu_indices(STEPS + 1, 1)]
    assert abs(steps).max() < 5.5 / (n / (STEPS + 1)) ** 0.5


def test_a_scale_may_differ_by_component():
    env, value = still(Box(-1.0, 1.0, (2,)))
    _, timestep = play(noisy_obs(env, np.array([0.0, 2.0])))
    noise = timestep.obs - np.asarray(value)
    assert (noise[..., 0] == 0).all() and abs(noise[..., 1].std() - 2) < 0.1


@pytest.mark.parametrize("scale", [[0.1] * 4, np.full((1,), 0.1), jnp.float32(0.1), np.array(0.1)])
def test_a_scale_may_be_a_list_or_an_array(scale):
    env = noisy_obs(CARTPOLE(), scale)
    assert env.reset(KEY)[1].obs.shape == env.observation_space.shape
    np.testing.assert_array_equal(env.reset(KEY)[1].obs, noisy_obs(CARTPOLE(), 0.1).reset(KEY)[1].obs)


def test_a_flip_probability_may_differ_by_component():
    env, value = still(TREE["grey"])
    _, timestep = play(noisy_obs(env, 0.0, [0.0, 1.0]))
    changed = timestep.obs != np.asarray(value)
    assert not changed[..., 0].any() and abs(changed[..., 1].mean() - 0.9) < 0.02


def test_bools_flip_and_discrete_values_are_redrawn():
    env, value = still(TREE)
    env = noisy_obs(env, 0.0, 0.3)
    _, timestep = play(env)
    changed = jax.tree.map(lambda a, b: a != np.asarray(b), timestep.obs, value)
    assert_rate(changed["bool"], 0.3)
    assert_rate(changed["grey"], 0.3 * 9 / 10)
    assert_rate(changed["one"][0], 0.3 * 4 / 5)
    assert_rate(changed["one"][1][..., :1], 0.3 / 2)
    assert_rate(changed["one"][1][..., 1:], 0.3 * 3 / 4)
    assert not changed["float"].any()
    others = timestep.obs["one"][0][changed["one"][0]]
    counts = np.bincount(others, minlength=5) / len(others)
    assert (abs(np.delete(counts, int(value["one"][0])) - 0.25) < 4 * (0.1875 / len(others)) ** 0.5).all()


@pytest.mark.parametrize("salt, same", [(0, True), (1, False)])
def test_two_wrappers_of_a_kind_need_two_salts(salt, same):
    env, value = still(Box(-1.0, 1.0, (4,)))
    _, once = play(noisy_obs(env, 1.0), lanes=8)
    _, twice = play(noisy_obs(noisy_obs(env, 1.0), 1.0, salt=salt), lanes=8)
    first, both = once.obs - np.asarray(value), twice.obs - np.asarray(value)
    assert np.allclose(both, 2 * first, atol=1e-5) == same
    assert abs(both.std() - (2.0 if same else 2**0.5)) < 0.1


def test_whole_frames_flicker():
    env, value = still(TREE)
    env = partial_obs(env, hide_probability=0.4)
    _, timestep = play(env)
    hidden = timestep.obs["one"][0] == 5
    assert_rate(hidden, 0.4)
    assert_rate(hidden[:, :1], 0.4)  # the first frame, too
    assert (timestep.obs["float"][hidden] == 0).all() and (timestep.obs["one"][1][hidden] == [2, 4]).all()
    assert not timestep.obs["bool"][hidden].any()
    for leaf, true in zip(jax.tree.leaves(timestep.obs), jax.tree.leaves(value)):
        np.testing.assert_array_equal(leaf[~hidden], np.broadcast_to(true, leaf[~hidden].shape))
    assert env.observation_space["one"] == (Discrete(6), MultiDiscrete((3, 5)))
    np.testing.assert_array_equal(timestep.obs["float"], timestep.next_obs["float"])


def test_a_mask_hides_components_always_or_with_a_probability():
    raw = envs.REGISTRY["CartPole-v1"].make()
    mask = [True, False, True, False]
    _, plain = play(time_limit(raw, 500), lanes=2, steps=8)
    _, timestep = play(partial_obs(raw, mask), lanes=2, steps=8)
    np.testing.assert_array_equal(timestep.obs, np.where(mask, plain.obs, 0))
    env, value = still(Box(1.0, 2.0, (3,)))
    env = partial_obs(env, [True, True, False], 0.25)
    _, timestep = play(env)
    assert_rate(timestep.obs[..., 2] == 0, 0.25)
    np.testing.assert_array_equal(timestep.obs[..., :2], np.broadcast_to(value[:2], (LANES, STEPS + 1, 2)))
    np.testing.assert_array_equal(env.observation_space.low, [1, 1, 0])


@pytest.mark.parametrize(
    "wrap, mask",
    [(lambda x: {"a": x}, {"a": [False, False, True]}), (lambda x: (x,), ([False, False, True],))],
)
def test_a_mask_of_a_tree_of_one_leaf(wrap, mask):
    env, value = still(wrap(Box(1.0, 2.0, (3,))))
    obs = partial_obs(env, mask).reset(KEY)[1].obs
    [seen], [true] = jax.tree.leaves(obs), jax.tree.leaves(value)
    np.testing.assert_array_equal(seen, np.where([False, False, True], true, 0))


# --- actions and dynamics ---------------------------------------------------------------------


def test_actions_are_replaced_by_random_ones():
    states, _ = play(corrupted_action(echo(Discrete(4)), 0.4), action=jnp.int32(2))
    assert_rate(states.inner != 2, 0.4 * 3 / 4)
    for other in (0, 1, 3):
        assert_rate(states.inner == other, 0.1)
    states, _ = play(corrupted_action(echo(Box(-1.0, 3.0, (2,))), 0.4), action=jnp.full(2, 7.0))
    assert_rate((states.inner != 7).all(axis=-1), 0.4)
    drawn = states.inner[states.inner != 7]
    assert abs(drawn.mean() - 1) < 4 * (4 / 12**0.5) / len(drawn) ** 0.5


def test_an_illegal_action_is_never_executed():
    mask = [False, True, False, True, True]
    states, _ = play(corrupted_action(echo(Discrete(5), mask), 1.0), action=jnp.int32(1))
    for action, legal in enumerate(mask):
        assert_rate(states.inner == action, 1 / 3 if legal else 0.0)
    space = MultiDiscrete((2, 3))
    mask = [False, True, True, False, True]
    states, _ = play(corrupted_action(echo(space, mask), 0.5), action=jnp.array([1, 0]))
    assert (states.inner[..., 0] == 1).all()
    assert_rate(states.inner[..., 1] == 2, 0.25)
    assert_rate(states.inner[..., 1] == 1, 0.0)


@pytest.mark.parametrize("event", ["action", "repeat", "disturb"])
def test_the_mask_is_current_even_after_a_reset(event):
    raw = envs.REGISTRY["probe/action-mask"].make()
    wrapped = corrupted_action(raw, 0.5) if event == "action" else unpredictable_dynamics(raw, 0.5, event)
    _, timestep = play(auto_reset(wrapped))
    assert timestep.terminated.sum() > 100
    assert not timestep.info["violated"].any()


def test_skipped_steps_cost_time_and_nothing_else():
    states, timestep = play(unpredictable_dynamics(counting(), 0.3), action=jnp.int32(3))
    moved = np.diff(timestep.obs[..., 0], axis=1)
    assert_rate(moved == 0, 0.3)
    np.testing.assert_array_equal(timestep.reward[:, 1:], 3 * moved)
    np.testing.assert_array_equal(states.inner, timestep.obs[:, 1:, 0])
    assert not timestep.terminated.any()


def test_repeated_steps_add_their_rewards():
    _, timestep = play(unpredictable_dynamics(counting(), 0.3, "repeat"), action=jnp.int32(3))
    moved = np.diff(timestep.obs[..., 0], axis=1)
    assert_rate(moved == 2, 0.3)
    assert_rate(moved == 1, 0.7)
    np.testing.assert_array_equal(timestep.reward[:, 1:], 3 * moved)


def test_disturb_adds_steps_with_random_actions():
    _, timestep = play(unpredictable_dynamics(counting(), 0.3, "disturb"), action=jnp.int32(3))
    moved = np.diff(timestep.obs[..., 0], axis=1)
    assert_rate(moved == 2, 0.3)
    added = timestep.reward[:, 1:][moved == 2] - 3
    for action in range(5):
        assert abs((added == action).mean() - 0.2) < 4 * (0.16 / len(added)) ** 0.5


def test_after_an_end_nothing_happens():
    env = unpredictable_dynamics(counting(length=1), 1.0, "repeat")
    state, _ = env.reset(KEY)
    _, timestep = env.step(KEY, state, jnp.int32(4))
    assert timestep.terminated and timestep.reward == 4 and timestep.obs == 1


# --- concept drift ----------------------------------------------------------------------------


def paid(wage):
    """Endless; the reward is the wage."""
    env, _ = still(Box(-1.0, 1.0, (1,)))

    def step(key, state, action):
        state, timestep = env.step(key, state, action)
        return state, timestep.replace(reward=jnp.asarray(wage, jnp.float32))

    return env._replace(step=step)


@pytest.mark.parametrize(
    "schedule, expected",
    [
        (sudden(1.0, -1.0, at=5), [1] * 5 + [-1] * 7),
        (cyclic(1.0, -1.0, period=3), [1, 1, 1, -1, -1, -1] * 2),
        (drift(0.0, 8.0, duration=8), [*range(8), 8, 8, 8, 8]),
    ],
)
def test_a_parameter_follows_its_schedule_through_all_episodes(schedule, expected):
    def lasting(wage):
        return auto_reset(episode_stats(time_limit(paid(wage), 4)))

    _, timestep = play(non_stationary(lasting, "wage", schedule), lanes=2, steps=12)
    np.testing.assert_allclose(timestep.reward[:, 1:], [expected] * 2)
    ends = np.arange(4, 13, 4)
    np.testing.assert_array_equal(np.flatnonzero(timestep.truncated[0]), ends)
    np.testing.assert_allclose(timestep.info["episode_return"][0, ends], np.reshape(expected, (3, 4)).sum(1))
    _, timestep = play(non_stationary(lasting, "wage", schedule, "episodes"), lanes=1, steps=12)
    np.testing.assert_allclose(timestep.reward[0, 1:], np.repeat(expected[:3], 4))


def test_around_a_raw_environment_time_restarts_with_each_episode():
    env = auto_reset(time_limit(non_stationary(paid, "wage", drift(0.0, 9.0, 9)), 3))
    _, timestep = play(env, lanes=1, steps=9)
    np.testing.assert_allclose(timestep.reward[0, 1:], [0, 1, 2] * 3)


def test_parameters_of_the_registry_drift():
    make = partial(envs.make, "CartPole-v1", resets="fresh")
    _, drifting = play(non_stationary(make, "gravity", sudden(9.8, 50.0, at=4)), lanes=4, steps=8)
    _, plain = play(make(), lanes=4, steps=8)
    np.testing.assert_allclose(drifting.next_obs[:, :5], plain.next_obs[:, :5], atol=1e-6)
    assert not np.allclose(drifting.next_obs[:, 6:], plain.next_obs[:, 6:], atol=1e-4)


def test_actions_and_their_mask_are_renamed():
    raw = envs.REGISTRY["probe/action-mask"].make()

    def make(shift):
        return auto_reset(shifted_action(raw, shift))

    _, timestep = play(non_stationary(make, "shift", cyclic(0, 1, period=3)))
    assert not timestep.info["violated"].any() and timestep.terminated.any()
    space = MultiDiscrete((2, 3))
    env = shifted_action(echo(space, [True, False, True, True, False]), 1)
    states, timestep = play(env, lanes=1, steps=1, action=jnp.array([1, 1]))
    assert states.inner[0, 0].tolist() == [0, 2]
    assert timestep.info["action_mask"][0, 1].tolist() == [False, True, True, False, True]


def test_a_shift_may_be_a_float():
    raw = echo(Discrete(3), [True, True, False])
    one, two = (shifted_action(raw, shift) for shift in (1, 1.0))
    for a, b in zip(jax.tree.leaves(one.reset(KEY)), jax.tree.leaves(two.reset(KEY)), strict=True):
        np.testing.assert_array_equal(a, b)
    _, timestep = play(non_stationary(partial(shifted_action, raw), "shift", drift(0.0, 2.0, 2)), 1, 2)
    assert timestep.info["action_mask"][0].tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]


# --- all of them ------------------------------------------------------------------------------

WRAPPERS = {
    "noise": lambda env, p: noisy_obs(env, p, p),
    "hide": lambda env, p: partial_obs(env, hide_probability=p),
    "corrupt": corrupted_action,
    "skip": unpredictable_dynamics,
    "repeat": partial(unpredictable_dynamics, event="repeat"),
    "disturb": partial(unpredictable_dynamics, event="disturb"),
}
ENVIRONMENTS = {
    "tree": lambda: still(TREE)[0],
    **{
        name: envs.REGISTRY[name].make
        for name in ("CartPole-v1", "Pendulum-v1", "Breakout-MinAtar", "FrozenLake-misc", "probe/action-mask")
    },
}


def all_wrappers(env, probability):
    for wrap in WRAPPERS.values():
        env = wrap(env, probability)
    return scaled_reward(env, 1.0)


@cache
def plain_timesteps(env_name):
    """Of an environment without wrappers."""
    return timesteps(auto_reset(time_limit(ENVIRONMENTS[env_name](), 20)))


@pytest.mark.parametrize("env_name", slow_except(ENVIRONMENTS, "tree", "Breakout-MinAtar"))
def test_at_probability_zero_no_bit_changes(env_name):
    raw = ENVIRONMENTS[env_name]()
    env = all_wrappers(raw, 0.0)
    assert jax.tree.leaves(env.observation_space) == jax.tree.leaves(raw.observation_space)
    wrapped, plain = timesteps(auto_reset(time_limit(env, 20))), plain_timesteps(env_name)
    for a, b in zip(jax.tree.leaves(wrapped), jax.tree.leaves(plain), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("env_name", slow_except(["CartPole-v1", "FrozenLake-misc", "tree"], "CartPole-v1"))
def test_at_a_traced_probability_of_zero_nothing_changes(env_name):
    raw = ENVIRONMENTS[env_name]()
    run = lambda zero, keys: lanes(auto_reset(time_limit(all_wrappers(raw, zero), 20)), keys)  # noqa: E731
    wrapped, plain = jax.jit(run)(0.0, jax.random.split(KEY, 8)), plain_timesteps(env_name)
    for a, b in zip(jax.tree.leaves(wrapped), jax.tree.leaves(plain), strict=True):
        # Two programs may round the same computation differently.
        close = 1e-5 if jnp.issubdtype(a.dtype, jnp.floating) else 0
        np.testing.assert_allclose(a, b, rtol=close, atol=close)


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_traced_zero_changes_no_bit_without_jit(name):
    raw = envs.REGISTRY["CartPole-v1"].make()

    def run(zero):
        # Under `vmap` without `jit`: traced, but every operation is rounded separately.
        env = WRAPPERS[name](raw, zero)
        state, first = env.reset(KEY)
        return first, env.step(jax.random.key(1), state, jnp.int32(1))[1]

    wrapped = jax.vmap(run)(jnp.zeros(1))
    plain = (raw.reset(KEY)[1], raw.step(jax.random.key(1), raw.reset(KEY)[0], jnp.int32(1))[1])
    for a, b in zip(jax.tree.leaves(wrapped), jax.tree.leaves(plain), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def timesteps(env):
    """TimeSteps of 8 lanes, to the bit those of another program for the same computation."""
    return jax.jit(partial(lanes, env), compiler_options=FUSED)(jax.random.split(KEY, 8))


def lanes(env, keys):
    """As `play`, traceable. The compiler would compute what depends on constant keys, and take long."""

    @jax.vmap
    def lane(key):
        state, first = env.reset(key)

        def step(carry, key):
            state, mask = carry
            action_key, key = jax.random.split(key)
            action = sample_allowed(env.action_space, action_key, mask)
            state, then = env.step(key, state, action)
            return (state, then.info.get("action_mask")), then

        keys = jax.random.split(jax.random.fold_in(key, 1), 50)
        return first, jax.lax.scan(step, (state, first.info.get("action_mask")), keys)[1]

    return lane(keys)


@pytest.mark.parametrize(
    "env_name",
    slow_except(
        ["CartPole-v1", "FrozenLake-misc", "probe/action-mask", "tree"], "CartPole-v1", "probe/action-mask"
    ),
)
def test_wrapped_environments_pass_check_env(env_name):
    raw = ENVIRONMENTS[env_name]()
    check_env(noisy_obs(corrupted_action(unpredictable_dynamics(raw, 0.3), 0.3), 0.3, 0.3))
    check_env(partial_obs(unpredictable_dynamics(raw, 0.3, "disturb"), None, 0.3))


def test_obs_is_next_obs_to_the_last_bit():
    raw = envs.REGISTRY["CartPole-v1"].make()
    for event in ("skip", "repeat"):
        env = unpredictable_dynamics(partial_obs(noisy_obs(raw, 0.1), None, 0.3), 0.3, event)
        env = noisy_obs(flatten_obs(env), 0.1, salt=1)
        _, timestep = play(auto_reset(env), lanes=16, options=FUSED)
        inside = ~timestep.first
        np.testing.assert_array_equal(timestep.obs[inside], timestep.next_obs[inside])
        assert (timestep.obs[timestep.terminated] != timestep.next_obs[timestep.terminated]).all()


@pytest.mark.parametrize("name", [n for n in envs.names() if "/" not in n and "MNIST" not in n])
def test_every_environment_can_be_wrapped(name):
    env = envs.REGISTRY[name].make()
    for wrap in WRAPPERS.values():
        env = wrap(env, 0.3)
    env = scaled_reward(env, -1.0)
    state, first = jax.eval_shape(env.reset, KEY)
    action = jax.eval_shape(partial(sample, env.action_space), KEY)
    new_state, then = jax.eval_shape(env.step, KEY, state, action)
    assert new_state == state and first.info == then.info
    for space, obs in zip(jax.tree.leaves(env.observation_space), jax.tree.leaves(then.obs), strict=True):
        assert (tuple(space.shape), np.dtype(space.dtype)) == (obs.shape, obs.dtype)


def test_known_values_are_checked_under_jit_too():
    half, wrong = jnp.float32(0.5), jnp.float32(1.5)

    def start(probability):
        env = unpredictable_dynamics(noisy_obs(CARTPOLE(), half), probability)
        return drift(half, half, jnp.int32(3))(0) + env.reset(KEY)[1].obs

    jax.jit(lambda: start(half))()
    with pytest.raises(ValueError, match="between 0 and 1"):
        jax.jit(lambda: start(wrong))()


def test_probabilities_can_be_vmapped():
    def moves(probability):
        env = unpredictable_dynamics(counting(), probability)
        state, _ = env.reset(KEY)
        keys = jax.random.split(KEY, 2000)
        return jax.lax.scan(lambda s, k: env.step(k, s, jnp.int32(0)), state, keys)[0].inner

    moved = np.asarray(jax.vmap(moves)(jnp.array([0.0, 0.5, 1.0])))
    assert moved[0] == 2000 and moved[2] == 0 and abs(moved[1] - 1000) < 4 * 500**0.5


CARTPOLE = envs.REGISTRY["CartPole-v1"].make


@pytest.mark.parametrize(
    "wrap, message",
    [
        (lambda: noisy_obs(CARTPOLE(), -1.0), "scale must not be negative"),
        (lambda: noisy_obs(CARTPOLE(), jnp.array([0.1, 0.1, 0.1, -1.0])), "scale must not be negative"),
        (
            lambda: noisy_obs(CARTPOLE(), np.ones((4, 1))),
            r"scale of shape \(4, 1\) does not broadcast to \(4,\)",
        ),
        (lambda: noisy_obs(CARTPOLE(), np.ones(3)), r"scale of shape \(3,\) does not broadcast to \(4,\)"),
        (lambda: noisy_obs(still(TREE)[0], 0.0, np.full(2, 0.1)), "flip_probability of shape"),
        (lambda: noisy_obs(still(TREE)[0], 0.0, np.array(1.1)), "flip_probability must be between 0 and 1"),
        (lambda: noisy_obs(CARTPOLE(), 0.0, 0.5), "this noise does not apply to .* give scale instead"),
        (lambda: noisy_obs(still(Discrete(3))[0], 0.5), "give flip_probability instead"),
        (lambda: partial_obs(CARTPOLE()), "needs a mask, a hide_probability or both"),
        (lambda: partial_obs(CARTPOLE(), [True, False]), r"mask must fit observations of shape \(4,\)"),
        (lambda: partial_obs(still(TREE)[0], [True]), "mask must fit"),
        (lambda: partial_obs(CARTPOLE(), {"a": [True] * 4}), "mask must fit"),
        (lambda: partial_obs(still({"a": Discrete(2)})[0], {"b": True}), "mask must fit"),
        (lambda: partial_obs(still({"a": Discrete(2)})[0], [True]), "mask must fit"),
        (lambda: partial_obs(CARTPOLE(), None, np.full(4, 0.5)), r"hide_probability of shape \(4,\)"),
        (lambda: corrupted_action(CARTPOLE(), 1.5), "probability must be between 0 and 1, not 1.5"),
        (lambda: corrupted_action(CARTPOLE(), jnp.float32(1.5)), "probability must be between 0 and 1"),
        (lambda: unpredictable_dynamics(CARTPOLE(), np.full(2, 0.5)), r"probability of shape \(2,\)"),
        (lambda: cyclic(1.0, 2.0, 0), "period must be at least 1, not 0"),
        (lambda: drift(1.0, 2.0, 0), "duration must be at least 1, not 0"),
        (
            lambda: non_stationary(
                partial(envs.make, "CartPole-v1", resets="pool"), "gravity", sudden(9.8, 3.7, 2)
            ),
            "non_stationary needs resets='fresh', not 'pool'",
        ),
        (lambda: unpredictable_dynamics(CARTPOLE(), 0.5, "jump"), "event must be 'skip', 'repeat' or"),
        (
            lambda: non_stationary(paid, "wage", sudden(0, 1, 2), "days"),
            "clock must be 'steps' or 'episodes'",
        ),
        (lambda: non_stationary(CARTPOLE, "gravitas", sudden(0.0, 1.0, 2)), "gravitas"),
        (lambda: shifted_action(envs.REGISTRY["Pendulum-v1"].make()), "needs a Discrete or MultiDiscrete"),
    ],
)
def test_a_wrong_use_names_the_remedy(wrap, message):
    with pytest.raises((ValueError, TypeError), match=message):
        wrap()
