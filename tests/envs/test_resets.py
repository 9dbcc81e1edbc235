"""Initial states of new episodes: every kind of reset passes the checks and has the same distribution."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow_except
from scipy import stats

from jaxrl import envs, train
from jaxrl.algos import a2c
from jaxrl.envs.wrappers import (
    OPTIMISTIC_SHARE,
    POOL_PERIOD,
    RESETS,
    auto_reset,
    episode_stats,
    restart,
    time_limit,
    transition,
)
from jaxrl.policies import NetworkConfig
from jaxrl.rollout import rollout, vectorize
from jaxrl.spaces import Box, Discrete, sample
from jaxrl.types import Env, Stream

STARTS = 8


def counting_env(length=5):
    """Starts at one of eight values, adds 100 per step; `length` steps terminate odd, truncate even ones."""

    def reset(key):
        state = jax.random.randint(key, (), 0, STARTS)
        return state, restart(state[None].astype(jnp.float32), {"action_mask": state > jnp.arange(STARTS)})

    def step(key, state, action):
        state = state + 100
        over = (state >= 100 * length) & (state % 2 == 1)
        mask = state % 100 > jnp.arange(STARTS)
        return state, transition(state[None].astype(jnp.float32), 1.0, over, {"action_mask": mask})

    return time_limit(Env(reset, step, Box(0.0, np.inf, (1,)), Discrete(STARTS)), length)


def played(resets, num_envs, num_steps, key=0, length=5):
    env = vectorize(auto_reset(episode_stats(counting_env(length)), resets), num_envs)

    def policy(memory, key, obs, first, mask):
        return memory, jax.random.randint(key, (num_envs,), 0, STARTS), {"mask": mask}

    @jax.jit
    def run(key):
        state, timestep = env.reset(key)
        return timestep, rollout(env, policy, key, Stream(state, timestep, ()), num_steps)[1]

    return jax.tree.map(np.asarray, run(jax.random.key(key)))


@pytest.mark.parametrize("num_envs", slow_except([1, 7, 64], 7))
@pytest.mark.parametrize("resets", RESETS)
def test_episodes_never_cross_and_both_kinds_of_end_are_distinguished(resets, num_envs):
    _, batch = played(resets, num_envs, 43)
    obs, next_obs = batch.obs[..., 0], batch.next_obs[..., 0]
    np.testing.assert_array_equal(next_obs, obs + 100)  # the episode of the step, not the next one
    done = batch.terminated | batch.truncated
    np.testing.assert_array_equal(done, next_obs >= 500)
    np.testing.assert_array_equal(batch.terminated, done & (next_obs % 2 == 1))
    np.testing.assert_array_equal(batch.first[1:], done[:-1])
    np.testing.assert_array_equal(obs[1:] < 100, done[:-1])  # a start only after an end
    np.testing.assert_array_equal(obs[1:][~done[:-1]], next_obs[:-1][~done[:-1]])
    np.testing.assert_array_equal(batch.info["episode_length"][done], 5)
    np.testing.assert_array_equal(batch.extras["mask"], obs[..., None] % 100 > np.arange(STARTS))


@pytest.mark.parametrize("length", slow_except([1, 5, 33], 5))
@pytest.mark.parametrize("resets", RESETS)
def test_starts_are_drawn_as_a_reset_draws_them(resets, length):
    first, batch = played(resets, 48, 400 * length, key=3, length=length)
    # Starts that may be shared, by a lane's next episode or by lanes that end together, count once: one
    # of each lane group and of each time that a pool needs to change.
    apart = max(1, -(-POOL_PERIOD // length)) if resets == "pool" else 1
    lanes = slice(None, 48 // OPTIMISTIC_SHARE) if resets == "optimistic" else slice(None)
    starts = batch.obs[::length][::apart, lanes].astype(int).ravel()
    assert starts.max() < 100 and len(starts) >= 1000
    assert stats.chisquare(np.bincount(starts, minlength=STARTS)).pvalue > 1e-3
    assert stats.chisquare(np.bincount(first.obs[:, 0].astype(int), minlength=STARTS)).pvalue > 1e-3
    pairs = batch.obs[::length][::apart, lanes, 0].astype(int)
    table = np.zeros((STARTS, STARTS))
    np.add.at(table, (pairs[:-1].ravel(), pairs[1:].ravel()), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3  # consecutive starts are independent


def test_optimistic_starts_are_assigned_in_turn():
    _, batch = played("optimistic", 40, 30)
    starts = batch.obs[5::5, :, 0]  # all lanes end together: three starts for forty of them
    np.testing.assert_array_equal(starts, starts[:, np.arange(40) % 3])
    assert (starts[:, 0] != starts[:, 1]).any()


def test_a_pool_changes_all_its_starts_in_a_period():
    """After two ends further apart than the period, the starts differ, except by chance."""
    _, batch = played("pool", 40, 3 * POOL_PERIOD + 3, length=POOL_PERIOD + 1)
    starts = batch.obs[:: POOL_PERIOD + 1, :, 0]
    same = (starts[1:-1] == starts[2:]).mean()
    assert same == pytest.approx(1 / STARTS, abs=0.15)


@pytest.mark.parametrize("num_envs", slow_except([1, 3, 16, 40], 1, 40))
@pytest.mark.parametrize("resets", RESETS)
def test_short_episodes_do_not_choose_their_starts(resets, num_envs):
    """One of two starts leads to episodes of one step, the other of twelve: both are equally frequent."""

    def reset(key):
        state = jnp.where(jax.random.bernoulli(key), 1, 12)
        return state, restart(state.astype(jnp.float32))

    def step(key, state, action):
        return state - 1, transition((state - 1).astype(jnp.float32), 0.0, state == 1)

    env = vectorize(auto_reset(Env(reset, step, Box(0.0, 12.0, ()), Discrete(1)), resets), num_envs)

    @jax.jit
    def run(key):
        start, steps = jax.random.split(key)
        state, _ = env.reset(start)

        def body(state, key):
            state, timestep = env.step(key, state, jnp.zeros(num_envs, jnp.int32))
            return state, (timestep.first, timestep.obs)

        return jax.lax.scan(body, state, jax.random.split(steps, 60_000 // num_envs))[1]

    first, obs = map(np.asarray, run(jax.random.key(7)))
    # Lanes that end together may share a start: count one lane in 16 where they can.
    lanes = slice(None, None, 1 if resets == "fresh" else OPTIMISTIC_SHARE)
    starts = obs[:, lanes][first[:, lanes]]
    short = (starts == 1).mean()
    assert len(starts) > 300 and set(starts) == {1.0, 12.0}
    assert abs(short - 0.5) < 5 * 0.5 / np.sqrt(len(starts)), short


@pytest.mark.parametrize("resets", RESETS)
def test_without_vmap_it_is_one_environment(resets):
    env = auto_reset(counting_env(2), resets)

    def step(state, key):
        state, timestep = env.step(key, state, jnp.int32(0))
        return state, (timestep.obs, timestep.done)

    state, _ = env.reset(jax.random.key(0))
    obs, done = jax.jit(lambda s: jax.lax.scan(step, s, jax.random.split(jax.random.key(1), 400)))(state)[1]
    np.testing.assert_array_equal(done, np.arange(400) % 2 == 1)
    starts = np.asarray(obs)[1::2, 0].astype(int)
    assert set(starts) == set(range(STARTS))


@pytest.mark.parametrize("resets", slow_except(RESETS, "pool"))
def test_an_agent_of_a_population_is_that_agent_alone(resets):
    algo = a2c.make(
        envs.make("CartPole-v1", resets=resets), a2c.Config(network=NetworkConfig(hidden_sizes=(8,)))
    )
    keys = jax.random.split(jax.random.key(0), 3)

    def learn(key):
        return train.run(algo, key, algo.hparams, 3)

    together = jax.jit(jax.vmap(learn))(keys)
    alone = jax.jit(learn)(keys[1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5),
        jax.tree.map(_words, together),
        jax.tree.map(_words, alone),
    )


def _words(x):
    return jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x


@pytest.mark.parametrize("resets", RESETS)
def test_parameters_may_be_traced_and_differentiated(resets):
    def total(pace):
        """After 7 steps: one episode of 5, then 2 steps from a new start; each advances by `pace`."""

        def reset(key):
            state = jax.random.uniform(key)
            return state, restart(state[None])

        def step(key, state, action):
            return state + pace, transition(state[None] + pace, 0.0, False)

        env = Env(reset, step, Box(0.0, np.inf, (1,)), Discrete(2))
        env = vectorize(auto_reset(time_limit(env, 5), resets), 4)
        state, _ = env.reset(jax.random.key(0))
        for key in jax.random.split(jax.random.key(1), 7):
            state, timestep = env.step(key, state, jnp.ones(4, jnp.int32))
        return timestep.next_obs.sum()

    paces = jnp.array([0.0, 1.0, 2.5])
    np.testing.assert_allclose(jax.jit(jax.vmap(total))(paces) - total(0.0), 4 * 2 * paces, atol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(total)))(paces), 8.0, atol=1e-5)


def starts_of(name, num_envs, rounds):
    """First observations `[rounds * num_envs, D]` by resets, and from a pool, each start counted once."""
    raw = envs.REGISTRY[name].make()
    env = vectorize(auto_reset(time_limit(raw, 1), "pool"), num_envs)

    def flat(obs):
        return jnp.concatenate([x.reshape(num_envs, -1).astype(jnp.float32) for x in jax.tree.leaves(obs)], 1)

    @jax.jit
    def pooled(key):
        def step(state, key):
            action_key, step_key = jax.random.split(key)
            action = jax.vmap(partial(sample, env.action_space))(jax.random.split(action_key, num_envs))
            state, timestep = env.step(step_key, state, action)
            return state, flat(timestep.obs)

        def period(state, key):  # in which every lane's start is exchanged once
            state, obs = jax.lax.scan(step, state, jax.random.split(key, POOL_PERIOD))
            return state, obs[-1]

        reset_key, run_key = jax.random.split(key)
        return jax.lax.scan(period, env.reset(reset_key)[0], jax.random.split(run_key, rounds))[1]

    @jax.jit
    def fresh(key):
        reset = jax.vmap(raw.reset)
        return jax.lax.map(
            lambda k: flat(reset(jax.random.split(k, num_envs))[1].obs), jax.random.split(key, rounds)
        )

    both = fresh(jax.random.key(0)), pooled(jax.random.key(1))
    return [np.asarray(x).reshape(num_envs * rounds, -1) for x in both]


def alike(a, b):
    """The p-value of two samples `[n, D]` having one distribution, by their columns (Bonferroni)."""
    least, columns = 1.0, 0
    for x, y in zip(a.T, b.T):
        values, both = np.unique(np.concatenate([x, y]), return_inverse=True)
        if len(values) == 1:
            continue
        columns += 1
        if len(values) > 30:
            p = stats.ks_2samp(x, y).pvalue
        else:
            counts = [np.bincount(part, minlength=len(values)) for part in np.split(both, 2)]
            p = stats.chi2_contingency(counts).pvalue
        least = min(least, p)
    return min(1.0, least * max(columns, 1))


SPOT = ("CartPole-v1", "Taxi-v3", "Breakout-MinAtar", "DeepSea-bsuite")
OURS = sorted({id(e): n for n, e in envs.REGISTRY.items() if e.origin == "jaxrl"}.values())


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in SPOT else pytest.mark.slow) for n in OURS])
def test_starts_from_a_pool_are_distributed_as_resets(name):
    fresh, pooled = starts_of(name, 500, 20)
    assert len(fresh) == len(pooled) == 10_000
    assert alike(fresh, pooled) > 1e-3
    if fresh.std() > 0 and (fresh.std(0) > 0).any():  # the test can detect a difference
        shifted = np.where(np.arange(len(pooled))[:, None] % 5 == 0, pooled[:1], pooled)
        assert alike(fresh, shifted) < 1e-3


def test_an_unknown_kind_of_reset_is_rejected():
    with pytest.raises(ValueError, match="resets 'pol' is not known: take 'fresh', 'pool', 'optimistic'"):
        envs.make("CartPole-v1", resets="pol")


def test_levels_are_not_generated_for_every_lane_in_every_step_by_default():
    """64 of Craftax's for 64 steps at once took 1.5 GB."""
    packages = ("craftax", "jumanji", "navix", "xminigrid")
    generated = [name for name in envs.names() if name.split("/")[0] in packages]
    assert len(generated) > 50
    assert {envs.REGISTRY[name].resets for name in generated} == {"optimistic"}
