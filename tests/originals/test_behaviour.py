"""The behaviour suite against bsuite 0.3.6, with injected states and draws.

`pip install --no-deps bsuite==0.3.6 dm_env immutabledict` is sufficient (with pandas installed): the other
imports of bsuite are not used.
"""

import importlib
import importlib.util
import math
import sys
from functools import partial
from types import SimpleNamespace
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs.behaviour import (
    ENTRIES,
    cartpole,
    cartpole_swingup,
    catch,
    common,
    deep_sea,
    discounting_chain,
    memory_chain,
    mountain_car,
    simple_bandit,
    umbrella_chain,
)
from jaxrl.spaces import sample
from originals.ledger import record

VERSION = "bsuite 0.3.6"
STEPS = 200  # of random play from each reset


@pytest.fixture(scope="module")
def original():
    """A function that imports one of bsuite's modules."""
    for name in ("dm_env", "immutabledict", "pandas"):
        pytest.importorskip(name)
    if importlib.util.find_spec("bsuite") is None:
        pytest.skip("bsuite is not installed")
    missing = [n for n in ("skimage", "termcolor") if importlib.util.find_spec(n) is None]
    sys.modules.update({name: mock.MagicMock() for name in missing})
    try:
        importlib.import_module("bsuite")
    finally:
        for name in missing:
            del sys.modules[name]
    return lambda name: importlib.import_module(f"bsuite.{name}")


# --- stepping both ----------------------------------------------------------------------------


@partial(jax.jit, static_argnums=(0, 1))
def rollout(env, count, key):
    """Random play: keys, states and actions `[count]` of every step."""

    def step(carry, key):
        state, _ = carry
        action_key, step_key, reset_key = jax.random.split(key, 3)
        action = sample(env.action_space, action_key)
        after, then = env.step(step_key, state, action)
        fresh = env.reset(reset_key)
        carry = jax.tree.map(lambda a, b: jnp.where(then.terminated, a, b), fresh, (after, then))
        return carry, (step_key, state, action)

    def lane(key):
        reset_key, run_key = jax.random.split(key)
        return jax.lax.scan(step, env.reset(reset_key), jax.random.split(run_key, STEPS))[1]

    lanes = jax.vmap(lane)(jax.random.split(key, math.ceil(count / STEPS)))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], lanes)


def collect(env, count, scatter=None):
    """Keys, states, actions and what `env.step` returns for them, `[count]`; NumPy except for the keys.

    Args:
      scatter: `(NumPy generator, count) -> State` of arrays; half of the transitions start there.
    """
    half = count // 2
    parts = [rollout(env, half, jax.random.key(1))]
    if scatter is None:
        parts.append(rollout(env, half, jax.random.key(2)))
    else:
        keys = jax.random.split(jax.random.key(3), half)
        actions = jax.vmap(partial(sample, env.action_space))(jax.random.split(jax.random.key(4), half))
        parts.append((keys, jax.tree.map(jnp.asarray, scatter(np.random.default_rng(5), half)), actions))
    keys, states, actions = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    after = jax.jit(jax.vmap(env.step))(keys, states, actions)
    states, actions, after = jax.tree.map(np.asarray, (states, actions, after))
    return keys, states, actions, *after


def beside(theirs, inject, read, actions):
    """Steps the original from each of the B states: observations, rewards, ends and states `[B, ...]`.

    Args:
      inject: `(i) -> None` writes the state and the draws of transition `i` into the original.
      read: `() -> tuple`, the original's state.
      actions: `[B]`.
    """
    obs, reward, over, states = [], [], [], []
    for i, action in enumerate(actions.tolist()):
        inject(i)
        theirs._reset_next_step = False
        timestep = theirs.step(action)
        obs.append(timestep.observation)
        reward.append(timestep.reward)
        over.append(timestep.last())
        assert timestep.discount == (0.0 if timestep.last() else 1.0)
        states.append(read())
    return np.stack(obs), np.array(reward), np.array(over), [np.array(x) for x in zip(*states)]


def largest_difference(pairs, rtol=0.0):
    """Over `(ours, theirs)`; relative to theirs where `rtol` is 1 and theirs is above 1."""
    worst = 0.0
    for ours, theirs in pairs:
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        theirs = theirs.reshape(ours.shape)
        scale = np.maximum(1.0, rtol * np.abs(theirs))
        worst = max(worst, np.max(np.abs(ours - theirs) / scale, initial=0.0))
    return worst


class Draws:
    """Replaces NumPy's generator and returns given numbers."""

    def __init__(self):
        self.single, self.many = [], None

    def give(self, *single, many=None):
        self.single, self.many = list(single), many

    def _next(self, *_, size=None, **__):
        return self.single.pop(0) if size is None else self.many

    randn = rand = randint = uniform = _next

    def binomial(self, n, p, size=None):
        assert (n, p) == (1, 0.5)
        return self._next(size=size)


def as_lists(state):
    return [x.tolist() for x in jax.tree.leaves(state)]


# --- steps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, columns", [(10, 5), (4, 6)])
def test_catch(original, transitions, rows, columns):
    env = catch.make(rows=rows, columns=columns)
    theirs = original("environments.catch").Catch(rows, columns)

    def scatter(rng, n):
        ball_y = rng.integers(0, rows - 1, n)
        return catch.State(
            *(x.astype(np.int32) for x in (rng.integers(0, columns, n), ball_y, ball_y % columns))
        )

    _, states, actions, after, then = collect(env, transitions, scatter)
    ball_x, ball_y, paddle_x = as_lists(states)
    theirs._paddle_y = rows - 1

    def inject(i):
        theirs._ball_x, theirs._ball_y, theirs._paddle_x = ball_x[i], ball_y[i], paddle_x[i]

    def read():
        return theirs._ball_x, theirs._ball_y, theirs._paddle_x

    obs, reward, over, fields = beside(theirs, inject, read, actions)
    assert over.mean() > 0.05 and (reward > 0).any() and (reward < 0).any()
    pairs = [
        (then.obs, obs),
        (then.reward, reward),
        (then.terminated, over),
        *zip(jax.tree.leaves(after), fields),
    ]
    assert largest_difference(pairs) == 0
    if rows == 10:
        record("Catch-bsuite", VERSION, transitions, 0, "exact; every field of state, obs, reward, end")


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("size, seed", [(8, 0), (13, 42)])
@pytest.mark.filterwarnings("ignore:Environment is in debug mode")
def test_deep_sea(original, transitions, deterministic, size, seed):
    params = dict(size=size, deterministic=deterministic, mapping_seed=seed)
    env = deep_sea.make(**params)
    theirs = original("environments.deep_sea").DeepSea(**params)

    def scatter(rng, n):
        row = rng.integers(0, size, n).astype(np.int32)
        column = np.minimum(np.where(rng.random(n) < 0.5, row, rng.integers(0, size, n)), row)
        return deep_sea.State(row, column.astype(np.int32), rng.random(n) < 0.5)

    keys, states, actions, after, then = collect(env, transitions, scatter)
    row, column, bad = as_lists(states)
    noise, wind = (x.tolist() for x in map(np.asarray, jax.jit(jax.vmap(deep_sea.draw))(keys)))
    theirs._rng = draws = Draws()

    def inject(i):
        theirs._row, theirs._column, theirs._bad_episode = row[i], column[i], bad[i]
        noisy = not deterministic and row[i] == size - 1 and column[i] in (0, size - 1)
        draws.give(*([noise[i]] if noisy else []), wind[i])

    def read():
        return theirs._row, theirs._column, theirs._bad_episode

    obs, reward, over, fields = beside(theirs, inject, read, actions)
    state = zip(jax.tree.leaves(after), fields)
    assert largest_difference([(then.obs, obs), (then.terminated, over), *state]) == 0
    worst = largest_difference([(then.reward, reward)])
    assert worst < 1e-6 and over.any() and (reward > 0.9).any()
    if size == 8:
        name = "DeepSea-bsuite" if deterministic else "DeepSea-bsuite/stochastic"
        record(name, VERSION, transitions, worst, "exact except for rounding of rewards; draws injected")


@pytest.mark.filterwarnings("ignore:Environment is in debug mode")
def test_the_hidden_mappings_are_the_originals(original):
    for size, seed in ((8, 0), (10, 42), (50, 42)):
        theirs = original("environments.deep_sea").DeepSea(size, mapping_seed=seed)
        np.testing.assert_array_equal(deep_sea.mapping(size, seed), theirs._action_mapping)
    for num_actions, seed in ((11, 0), (11, 19), (4, 7)):
        theirs = original("environments.bandit").SimpleBandit(seed, num_actions)
        np.testing.assert_array_equal(simple_bandit.arms(num_actions, seed), theirs._rewards)
    env = deep_sea.make(randomize_actions=False, size=5)
    state, _ = env.reset(jax.random.key(0))
    for _ in range(5):
        state, timestep = env.step(jax.random.key(0), state, jnp.int32(1))
    np.testing.assert_allclose(timestep.reward, 1 - 0.01 / 5, rtol=1e-6)


@pytest.mark.parametrize("memory_length, num_bits", [(5, 1), (3, 4), (1, 2)])
def test_memory_chain(original, transitions, memory_length, num_bits):
    env = memory_chain.make(memory_length=memory_length, num_bits=num_bits)
    theirs = original("environments.memory_chain").MemoryChain(memory_length, num_bits)

    _, states, actions, after, then = collect(env, transitions)
    context = states.context.astype(int)
    query, time = states.query.tolist(), states.time.tolist()

    def inject(i):
        theirs._context, theirs._query, theirs._timestep = context[i], query[i], time[i]

    def read():
        return theirs._context, theirs._query, theirs._timestep

    obs, reward, over, fields = beside(theirs, inject, read, actions)
    pairs = [(then.reward, reward), (then.terminated, over), *zip(jax.tree.leaves(after), fields)]
    pairs += [(then.obs[:, 1:], obs[:, 0, 1:])]
    assert largest_difference(pairs) == 0 and 0 < over.mean() < 1
    worst = largest_difference([(then.obs, obs)])
    assert worst < 1e-6
    if memory_length == 5:
        record(
            "MemoryChain-bsuite", VERSION, transitions, worst, "exact except for rounding of the time left"
        )


def test_a_whole_episode_of_memory_chain_shows_the_bits_twice(original):
    theirs = original("environments.memory_chain").MemoryChain(3, 2)
    env = memory_chain.make(memory_length=3, num_bits=2)
    state, timestep = env.reset(jax.random.key(7))
    theirs._rng = draws = Draws()
    draws.give(int(state.query), many=np.asarray(state.context).astype(int))
    with mock.patch.object(draws, "binomial", lambda n, p, size: draws.many):
        expected = theirs.reset()
    seen = [(timestep.obs, expected.observation)]
    for _ in range(4):
        state, timestep = env.step(jax.random.key(0), state, jnp.int32(1))
        expected = theirs.step(1)
        seen.append((timestep.obs, expected.observation))
    assert expected.last() and timestep.terminated and timestep.reward == expected.reward
    assert largest_difference(seen) < 1e-6
    assert [np.abs(ours[2:]).sum() for ours, _ in seen] == [2, 2, 0, 0, 0]


@pytest.mark.parametrize("chain_length, n_distractor", [(10, 0), (4, 40), (1, 20)])
def test_umbrella_chain(original, transitions, chain_length, n_distractor):
    env = umbrella_chain.make(chain_length=chain_length, n_distractor=n_distractor)
    theirs = original("environments.umbrella_chain").UmbrellaChain(chain_length, n_distractor)

    def scatter(rng, n):
        time = rng.integers(0, chain_length, n).astype(np.int32)
        return umbrella_chain.State(rng.random(n) < 0.5, rng.random(n) < 0.5, time)

    keys, states, actions, after, then = collect(env, transitions, scatter)
    need, has, time = as_lists(states)
    draw = jax.jit(jax.vmap(partial(umbrella_chain.draw, n_distractor=n_distractor)))
    lucky, distractors = map(np.asarray, draw(keys))
    lucky = lucky.astype(int).tolist()
    theirs._rng = draws = Draws()

    def inject(i):
        theirs._need_umbrella, theirs._has_umbrella, theirs._timestep = need[i], has[i], time[i]
        draws.give(lucky[i], many=distractors[i])

    def read():
        return theirs._need_umbrella, theirs._has_umbrella, theirs._timestep

    obs, reward, over, fields = beside(theirs, inject, read, actions)
    pairs = [(then.reward, reward), (then.terminated, over), *zip(jax.tree.leaves(after), fields)]
    pairs += [(then.obs[:, :2], obs[:, 0, :2]), (then.obs[:, 3:], obs[:, 0, 3:])]
    assert largest_difference(pairs) == 0 and over.any()
    worst = largest_difference([(then.obs, obs)])
    assert worst < 1e-6
    if chain_length == 10:
        record(
            "UmbrellaChain-bsuite", VERSION, transitions, worst, "exact except for rounding of the time left"
        )


@pytest.mark.parametrize("seed", [0, 13])
def test_discounting_chain(original, transitions, seed):
    env = discounting_chain.make(mapping_seed=seed)
    theirs = original("environments.discounting_chain").DiscountingChain(seed)

    def scatter(rng, n):
        soon = rng.choice(discounting_chain.REWARD_TIMES, n) - 1  # so that rewards are not rare
        time = np.where(rng.random(n) < 0.5, soon, rng.integers(0, 100, n))
        context = np.where(time == 0, -1, rng.integers(0, 5, n))
        return discounting_chain.State(context.astype(np.int32), time.astype(np.int32))

    _, states, actions, after, then = collect(env, transitions, scatter)
    context, time = as_lists(states)

    def inject(i):
        theirs._context, theirs._timestep = context[i], time[i]

    def read():
        return theirs._context, theirs._timestep

    obs, reward, over, fields = beside(theirs, inject, read, actions)
    assert largest_difference([(then.terminated, over), *zip(jax.tree.leaves(after), fields)]) == 0
    worst = largest_difference([(then.reward, reward), (then.obs, obs)])
    assert worst < 1e-6 and over.any() and {1.0, 1.1} < set(reward)
    if seed == 0:
        record(
            "DiscountingChain-bsuite",
            VERSION,
            transitions,
            worst,
            "exact except for rounding to single precision",
        )


@pytest.mark.parametrize("num_actions, seed", [(11, 0), (5, 3)])
def test_simple_bandit(original, transitions, num_actions, seed):
    env = simple_bandit.make(num_actions=num_actions, mapping_seed=seed)
    theirs = original("environments.bandit").SimpleBandit(seed, num_actions)
    _, _, actions, _, then = collect(env, transitions)
    obs, reward, over, _ = beside(theirs, lambda i: None, tuple, actions)
    assert largest_difference([(then.terminated, over), (then.obs, obs)]) == 0 and over.all()
    worst = largest_difference([(then.reward, reward)])
    assert worst < 1e-6
    if num_actions == 11:
        record(
            "SimpleBandit-bsuite", VERSION, transitions, worst, "the hidden order of arms is the original's"
        )


def test_mountain_car(original, transitions):
    env = mountain_car.make()
    theirs = original("environments.mountain_car").MountainCar()

    def scatter(rng, n):
        position = np.where(rng.random(n) < 0.1, -1.2, rng.uniform(-1.2, 0.6, n))
        velocity = np.where(rng.random(n) < 0.1, 0.0, rng.uniform(-0.07, 0.07, n))
        time = np.where(rng.random(n) < 0.1, rng.integers(995, 1000, n), rng.integers(0, 1000, n))
        kinds = (np.float32, np.float32, np.int32)
        return mountain_car.State(*(x.astype(k) for x, k in zip((position, velocity, time), kinds)))

    _, states, actions, after, then = collect(env, transitions, scatter)
    position, velocity, time = as_lists(states)

    def inject(i):
        theirs._position, theirs._velocity, theirs._timestep = position[i], velocity[i], time[i]

    def read():
        return theirs._position, theirs._velocity, theirs._timestep

    obs, reward, over, fields = beside(theirs, inject, read, actions)
    pairs = [(then.obs, obs), (then.reward, reward), *zip(jax.tree.leaves(after), fields)]
    worst = largest_difference(pairs)
    assert worst < 1e-6
    clear = np.abs(fields[0] - 0.5) > 1e-6  # at the edge of the goal, rounding decides
    assert clear.mean() > 0.999 and (fields[0] == -1.2).mean() > 0.001 and 0.02 < over.mean() < 0.5
    np.testing.assert_array_equal(then.terminated[clear], over[clear])
    record("MountainCar-bsuite", VERSION, transitions, worst, "every field of state, obs, reward, end")


POLES = {
    "CartPole-bsuite": (cartpole, "environments.cartpole", "Cartpole"),
    "CartPoleSwingup-bsuite": (
        cartpole_swingup,
        "experiments.cartpole_swingup.cartpole_swingup",
        "CartpoleSwingup",
    ),
}


@pytest.mark.parametrize("name", POLES)
def test_cartpoles(original, transitions, name):
    module, path, cls = POLES[name]
    env = module.make()
    theirs = getattr(original(path), cls)()
    make_state = original("environments.cartpole").CartpoleState
    elapsed = np.cumsum([0.0] + [0.01] * 1001)

    def scatter(rng, n):
        near = rng.random(n) < 0.5  # otherwise few poles would be up
        theta = np.where(near, rng.normal(0, 0.4, n), rng.uniform(0, 2 * np.pi, n)) % (2 * np.pi)
        x = np.where(
            rng.random(n) < 0.2, rng.choice([-1, 1], n) * rng.uniform(2.9, 3.1, n), rng.uniform(-3, 3, n)
        )
        theta_dot = rng.normal(0, np.where(near, 1, 6), n)
        time = np.where(rng.random(n) < 0.1, rng.integers(996, 1001, n), rng.integers(0, 1001, n))
        floats = (x, rng.normal(0, 3, n), theta, theta_dot)
        return cartpole.State(*(v.astype(np.float32) for v in floats), time.astype(np.int32))

    _, states, actions, after, then = collect(env, transitions, scatter)
    x, x_dot, theta, theta_dot, time = as_lists(states)

    def inject(i):
        theirs._state = make_state(x[i], x_dot[i], theta[i], theta_dot[i], elapsed[time[i]])

    obs, reward, over, fields = beside(theirs, inject, lambda: theirs._state, actions)
    turn = 2 * np.pi
    angle = np.abs(after.theta - fields[2])
    angle = np.minimum(angle, turn - angle)  # 0 and 2 pi are one angle
    pairs = [(after.x, fields[0]), (after.x_dot, fields[1]), (angle, 0 * angle), (after.theta_dot, fields[3])]
    pairs += [(after.time * 0.01, fields[4]), (then.obs[:, :6], obs[:, 0, :6])]
    worst = largest_difference(pairs, rtol=1.0)
    assert worst < 1e-5
    # Near a threshold, within rounding, both results are correct.
    height = 0.8 if name == "CartPole-bsuite" else 0.5
    clear = np.abs(np.cos(fields[2]) - height) > 1e-5
    for value, edges in ((np.abs(fields[0]), (1.0, 3.0)), (np.abs(fields[3]), (1.0,))):
        for edge in edges:
            clear &= np.abs(value - edge) > 1e-5
    assert clear.mean() > 0.999
    pairs = [(then.reward, reward), (then.obs, obs)]
    worst = max(worst, largest_difference([(a[clear], b[clear]) for a, b in pairs], rtol=1.0))
    assert worst < 1e-5
    np.testing.assert_array_equal(then.terminated[clear], over[clear])
    late = (after.time > 1000) & (np.abs(after.x) < 3) & (np.cos(after.theta) > 0.8)
    assert then.terminated[late].all() and late.any() and 0.01 < over.mean() < 0.6
    assert 0.02 < (reward > 0.5).mean() < 0.98
    record(
        name, VERSION, transitions, worst, f"{int((~clear).sum())} steps within 1e-5 of a threshold excluded"
    )


@pytest.mark.parametrize(
    "timescale, max_time", [(0.01, 10.0), (0.02, 10.0), (0.1, 1.0), (0.03, 5.0), (0.5, 2.0)]
)
def test_cartpoles_run_out_of_time_in_the_same_step(original, timescale, max_time):
    theirs = original("environments.cartpole").Cartpole(-2.0, math.inf, timescale, max_time)
    theirs.reset()
    count = 1
    while not theirs.step(1).last():
        count += 1
    assert cartpole.steps_until(timescale, max_time) == count


@pytest.mark.parametrize("kind", ["noise", "scale"])
@pytest.mark.parametrize("base", ["Catch", "SimpleBandit", "MountainCar", "CartPole"])
def test_noisy_and_scaled_rewards(original, transitions, base, kind):
    scale = 0.3
    name = f"{base}-bsuite/{kind}"
    env = ENTRIES[name].make(**{"noise_scale" if kind == "noise" else "reward_scale": scale})
    inner = ENTRIES[f"{base}-bsuite"].make()
    keys, states, actions, after, then = collect(env, transitions)
    left, noise = jax.jit(jax.vmap(common.draw_noise))(keys)
    bare_after, bare = jax.jit(jax.vmap(inner.step))(left if kind == "noise" else keys, states, actions)

    rewards, ends = bare.reward.tolist(), bare.terminated.tolist()
    dm_env = importlib.import_module("dm_env")
    inner_steps = iter(
        [(dm_env.termination if end else dm_env.transition)(r, None) for r, end in zip(rewards, ends)]
    )
    # The inner environment replays its steps, which the other tests compare.
    stub = SimpleNamespace(step=lambda action: next(inner_steps))
    wrapper = getattr(original("utils.wrappers"), "RewardNoise" if kind == "noise" else "RewardScale")
    wrapped = wrapper(stub, scale)
    wrapped._rng = draws = Draws()
    expected = []
    for number in noise.tolist():
        draws.give(number)
        expected.append(wrapped.step(0).reward)
    worst = largest_difference([(then.reward, expected)])
    assert worst < 1e-6
    for ours, theirs in zip(jax.tree.leaves((after, then.obs)), jax.tree.leaves((bare_after, bare.obs))):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    note = "only the wrapper; the environment is compared above"
    record(name, VERSION, transitions, worst, note)


# --- resets -----------------------------------------------------------------------------------


def fresh(env, count=20_000):
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), count)))


def test_starts_that_count_are_uniform_as_the_originals():
    chi2 = pytest.importorskip("scipy.stats").chisquare
    state, _ = fresh(catch.make())
    assert (state.ball_y == 0).all() and (state.paddle_x == 2).all()
    assert chi2(np.bincount(state.ball_x, minlength=5)).pvalue > 1e-3
    state, _ = fresh(memory_chain.make(num_bits=3))
    assert chi2(np.bincount(state.query, minlength=3)).pvalue > 1e-3
    assert chi2(np.bincount(state.context @ [1, 2, 4], minlength=8)).pvalue > 1e-3
    state, _ = fresh(memory_chain.make(num_bits=40))  # the query must not depend on the bits
    together = np.concatenate([state.query[:, None], state.context], axis=1).astype(float)
    assert np.abs(np.corrcoef(together.T) - np.eye(41)).max() < 0.035
    state, timestep = fresh(umbrella_chain.make(n_distractor=40))
    assert chi2(np.bincount(state.need + 2 * state.has, minlength=4)).pvalue > 1e-3
    assert np.abs(timestep.obs[:, 3:].mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(np.corrcoef(timestep.obs[:, [0, 1, *range(3, 43)]].T) - np.eye(42)).max() < 0.035


@pytest.mark.parametrize("name", ["MountainCar-bsuite", *POLES])
def test_starts_on_a_line_match_the_original(original, name):
    ks_2samp = pytest.importorskip("scipy.stats").ks_2samp
    path, cls = POLES[name][1:] if name in POLES else ("environments.mountain_car", "MountainCar")
    theirs = getattr(original(path), cls)(seed=0)
    expected = np.stack([theirs.reset().observation[0] for _ in range(4000)])
    obs = fresh(ENTRIES[name].make())[1].obs
    for i in range(obs.shape[1]):
        if np.ptp(expected[:, i]) < 1e-6:
            np.testing.assert_allclose(obs[:, i], expected[0, i], atol=1e-6)
            continue
        assert ks_2samp(obs[:, i], expected[:, i]).pvalue > 1e-3
        # An estimate of the ends of a range is good to about 1 in 4000.
        np.testing.assert_allclose(obs[:, i].min(), expected[:, i].min(), atol=2e-4)
        np.testing.assert_allclose(obs[:, i].max(), expected[:, i].max(), atol=2e-4)


def test_first_observations_of_fixed_starts_match_the_original(original):
    pairs = [
        (deep_sea.make(), original("environments.deep_sea").DeepSea(8)),
        (discounting_chain.make(), original("environments.discounting_chain").DiscountingChain(0)),
        (simple_bandit.make(), original("environments.bandit").SimpleBandit(0)),
    ]
    for env, theirs in pairs:
        obs = env.reset(jax.random.key(0))[1].obs
        assert largest_difference([(obs, theirs.reset().observation)]) == 0


def test_the_draws_of_deep_sea_are_normal_and_uniform():
    stats = pytest.importorskip("scipy.stats")
    noise, wind = jax.vmap(deep_sea.draw)(jax.random.split(jax.random.key(0), 20_000))
    assert stats.kstest(np.asarray(noise), "norm").pvalue > 1e-3
    assert stats.kstest(np.asarray(wind), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(noise, wind)[0, 1]) < 0.03


# --- the port ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, params, message",
    [
        (catch.make, dict(rows=1), "rows must be a whole number, 2 or more, not 1"),
        (deep_sea.make, dict(size=2.5), "size must be a whole number, 1 or more, not 2.5"),
        (simple_bandit.make, dict(num_actions=1), "num_actions must be a whole number, 2 or more"),
        (umbrella_chain.make, dict(n_distractor=-1), "n_distractor must be a whole number, 0 or more"),
        (cartpole.make, dict(timescale=0.0), "timescale must be above 0, not 0.0"),
        (memory_chain.make, dict(memory_length=True), "memory_length must be a whole number"),
    ],
)
def test_impossible_parameters_are_refused(make, params, message):
    with pytest.raises(ValueError, match=message):
        make(**params)


def test_static_parameters_cannot_be_traced():
    with pytest.raises(ValueError, match="size determines array shapes and cannot be traced"):
        jax.jit(lambda n: deep_sea.make(size=n).reset(jax.random.key(0)))(3)
    with pytest.raises(ValueError, match="max_time determines the number of steps"):
        jax.jit(lambda t: cartpole.make(max_time=t).reset(jax.random.key(0)))(3.0)


def test_thresholds_can_be_vmapped():
    def reward(threshold):
        env = cartpole_swingup.make(height_threshold=threshold)
        state, _ = env.reset(jax.random.key(0))
        return env.step(jax.random.key(0), state, jnp.int32(1))[1].reward

    np.testing.assert_array_equal(jax.vmap(reward)(jnp.array([-1.0, -2.0, 0.5])), [1.0, 1.0, 0.0])
