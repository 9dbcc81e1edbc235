"""Families: parameters are drawn from their distributions at the right time, and have an effect."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrl import envs
from jaxrl.envs import families
from jaxrl.envs.check import check_env
from jaxrl.envs.entry import Entry
from jaxrl.envs.families import choice, family, log_uniform, normal, uniform
from jaxrl.envs.wrappers import restart, transition
from jaxrl.evaluate import evaluate
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

KEY = jax.random.key(0)


def paid(wage=1.0, start=0.0):
    """Never ends; observes its initial value, the reward is the wage."""

    def reset(key):
        obs = jnp.stack([jnp.asarray(start, jnp.float32), jax.random.uniform(key)])
        return obs, restart(obs)

    def step(key, state, action):
        return state, transition(state, wage, False)

    return Env(reset, step, Box(0.0, 9.0, (2,)), Discrete(2))


def play(env, lanes=8, steps=12, key=KEY):
    """TimeSteps `[L, 1 + T, ...]` under action 0."""

    @jax.jit
    @jax.vmap
    def lane(key):
        state, first = env.reset(key)
        step = lambda state, key: env.step(key, state, jnp.int32(0))  # noqa: E731
        _, then = jax.lax.scan(step, state, jax.random.split(jax.random.fold_in(key, 1), steps))
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, then)

    return jax.tree.map(np.asarray, lane(jax.random.split(key, lanes)))


def draws(distribution, n=4000):
    return np.asarray(jax.vmap(distribution)(jax.random.split(KEY, n)))


@pytest.mark.parametrize(
    "distribution, reference",
    [
        (uniform(0.3, 1.0), stats.uniform(0.3, 0.7)),
        (log_uniform(0.1, 10.0), stats.loguniform(0.1, 10.0)),
        (normal(2.0, 0.5), stats.norm(2.0, 0.5)),
        (normal(2.0, 0.5, low=1.5), stats.truncnorm(-1, np.inf, 2.0, 0.5)),
        (normal(2.0, 0.5, 1.0, 2.5), stats.truncnorm(-2, 1, 2.0, 0.5)),
        (normal(0.0, 1.0, 5.0, 6.0), stats.truncnorm(5, 6)),
        (normal(0.0, 1.0, 6.0, 9.0), stats.truncnorm(6, 9)),
        (normal(1.0, 0.5, -3.5, -2.0), stats.truncnorm(-9, -6, 1.0, 0.5)),
        (normal(0.0, 1.0, 10.0), stats.truncnorm(10, np.inf)),
    ],
)
def test_distributions(distribution, reference):
    assert stats.kstest(draws(distribution), reference.cdf).pvalue > 1e-3


def test_a_normal_number_keeps_to_its_bounds():
    tail = draws(normal(0.0, 1.0, 5.0, 6.0))
    assert tail.min() >= 5 and tail.max() <= 6 and len(np.unique(tail)) > 3000
    assert (draws(normal(3.0, 0.1, 3.05, 3.05), 10) == np.float32(3.05)).all()
    far = jax.vmap(lambda low: normal(0.0, 1.0, low, 20.0)(KEY))(jnp.array([14.0]))  # traced: not refused
    assert far[0] == 14


@pytest.mark.parametrize("weights, expected", [(None, [1 / 3] * 3), ([1, 0, 3], [0.25, 0, 0.75])])
def test_choice(weights, expected):
    drawn = draws(choice([9.8, 3.7, 1.6], weights))
    for value, share in zip([9.8, 3.7, 1.6], expected):
        error = (share * (1 - share) / len(drawn)) ** 0.5
        assert abs((drawn == np.float32(value)).mean() - share) <= 4 * error


def test_parameters_are_drawn_at_every_reset():
    env = family(paid, wage=uniform(0.0, 1.0), max_steps=4, report=True)
    timestep = play(env, lanes=500)
    wages = timestep.info["params"]["wage"]
    np.testing.assert_array_equal(wages[:, 1:], timestep.reward[:, 1:])
    episodes = timestep.reward[:, 1:].reshape(500, 3, 4)
    assert (episodes == episodes[..., :1]).all()
    first = episodes[..., 0]
    assert stats.kstest(first.ravel(), stats.uniform().cdf).pvalue > 1e-3
    for a, b in ((0, 1), (1, 2)):  # neither episodes of a lane nor neighbouring lanes are correlated
        assert abs(np.corrcoef(first[:, a], first[:, b])[0, 1]) < 4 / 500**0.5
    assert abs(np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1]) < 4 / 500**0.5
    done = timestep.truncated[:, 1:].reshape(500, 3, 4)[..., -1]
    assert done.all()
    returns = timestep.info["episode_return"][:, 1:].reshape(500, 3, 4)[..., -1]
    np.testing.assert_allclose(returns, 4 * first, rtol=1e-5)


def test_a_lane_keeps_its_parameters():
    env = family(paid, wage=uniform(0.0, 1.0), start=uniform(5.0, 9.0), max_steps=4, per="lane", report=True)
    timestep = play(env, lanes=500)
    wage = timestep.reward[:, 1]
    np.testing.assert_array_equal(timestep.reward[:, 1:], np.repeat(wage[:, None], 12, 1))
    np.testing.assert_array_equal(timestep.info["params"]["wage"], np.repeat(wage[:, None], 13, 1))
    starts = timestep.obs[..., 0]  # every start is that of the lane's member, and all starts differ
    np.testing.assert_array_equal(starts, np.repeat(timestep.info["params"]["start"][:, :1], 13, 1))
    assert len(np.unique(timestep.obs[0, :, 1])) == 4
    assert timestep.truncated.sum() == 500 * 3
    assert stats.kstest(wage, stats.uniform().cdf).pvalue > 1e-3
    assert abs(np.corrcoef(wage, starts[:, 0])[0, 1]) < 4 / 500**0.5
    np.testing.assert_allclose(timestep.info["episode_return"][:, 4], 4 * wage, rtol=1e-5)


def test_a_draw_does_not_depend_on_other_draws():
    alone = play(family(paid, wage=uniform(0.0, 1.0)))
    both = play(family(paid, wage=uniform(0.0, 1.0), start=uniform(0.0, 1.0)))
    np.testing.assert_array_equal(alone.reward, both.reward)
    np.testing.assert_array_equal(alone.obs[..., 1], both.obs[..., 1])


@pytest.mark.parametrize("per", ["episode", "lane"])
@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-misc", "Breakout-MinAtar"])
def test_a_family_of_one_is_bitwise_that_environment(name, per):
    plain = jax.tree.leaves(play(envs.make(name, max_steps=9, resets="fresh"), steps=30))
    alone = jax.tree.leaves(play(family(name, per=per, max_steps=9, resets="fresh"), steps=30))
    for a, b in zip(alone, plain, strict=True):
        assert a.tobytes() == b.tobytes()


def test_members_match_make():
    env = family("CartPole-v1", length=uniform(0.3, 1.0), gravity=choice([9.8, 3.7]), per="lane", report=True)
    timestep = play(env, steps=30)
    params = timestep.info["params"]
    keys = jax.random.split(KEY, 8)
    for lane in (0, 5):
        drawn = {name: float(value[lane, 0]) for name, value in params.items()}
        assert 0.3 <= drawn["length"] <= 1 and drawn["gravity"] in (np.float32(9.8), np.float32(3.7))
        member = envs.make("CartPole-v1", resets="fresh", **drawn)
        state, first = member.reset(keys[lane])
        np.testing.assert_allclose(first.obs, timestep.obs[lane, 0], rtol=1e-5)
        for t, key in enumerate(jax.random.split(jax.random.fold_in(keys[lane], 1), 30)[:8]):
            state, then = member.step(key, state, jnp.int32(0))
            np.testing.assert_allclose(then.obs, timestep.obs[lane, t + 1], rtol=1e-4, atol=1e-5)
            assert then.terminated == timestep.terminated[lane, t + 1]


def test_the_time_limit_does_not_depend_on_drawn_parameters():
    def length_of_the_cut(env, steps):
        timestep = play(env, lanes=16, steps=steps)
        return set(timestep.info["episode_length"][timestep.truncated])

    seeds = lambda key: jax.random.randint(key, (), 0, 1000)  # noqa: E731
    # The longest of all levels, as where `envs.make` is vmapped over seeds; level 0 ends after 87.
    assert length_of_the_cut(family("world/grid", seed=seeds), 101) == {100}
    assert length_of_the_cut(family("world/grid", seed=0), 101) == {87}
    assert length_of_the_cut(family("world/loop", length=4, small=uniform(0.0, 1.0)), 9) == {3}
    assert length_of_the_cut(family("world/t-maze", length=choice([3, 4]), max_steps=7), 9) == {7}


def test_a_time_limit_that_depends_on_drawn_parameters_requires_max_steps(monkeypatch):
    limit = lambda wage=1.0, start=0.0: 5 if start > 1 else 7  # noqa: E731
    monkeypatch.setitem(envs.REGISTRY, "test/paid", Entry(paid, 7, limit=limit))
    wages, starts = uniform(0.0, 1.0), uniform(0.0, 2.0)
    assert play(family("test/paid", wage=wages, start=2.0)).truncated[:, 5].all()
    with pytest.raises(ValueError, match=r"depends on drawn parameters \(start, wage\): give max_steps"):
        family("test/paid", wage=wages, start=starts)


def test_parameters_can_be_observed():
    env = family(
        "CartPole-v1", length=uniform(0.3, 1.0), gravity=choice([9.8, 3.7]), observe=True, report=True
    )
    timestep = play(env, steps=40)
    params = timestep.info["params"]
    assert env.observation_space.shape == (6,)
    np.testing.assert_array_equal(timestep.next_obs[..., 4], params["gravity"])
    np.testing.assert_array_equal(timestep.next_obs[..., 5], params["length"])
    ends = timestep.terminated
    assert ends.any() and (timestep.obs[ends][:, 5] != timestep.next_obs[ends][:, 5]).all()
    check_env(env)
    boards = family("FrozenLake-misc", observe=True)
    assert (
        boards.observation_space.shape
        == envs.wrappers.flatten_obs(envs.make("FrozenLake-misc")).observation_space.shape
    )


@pytest.mark.parametrize("per", ["episode", "lane"])
def test_families_pass_check_env(per):
    check_env(
        family("CartPole-v1", length=uniform(0.3, 1.0), gravity=choice([9.8, 3.7]), per=per, report=True)
    )


def test_bounds_that_depend_on_a_parameter_become_infinite():
    def bounded(reach=1.0, other=2.0):
        env = paid()
        low = jnp.zeros(2) * reach
        return env._replace(observation_space=Box(low, 9.0, (2,)), action_space=Box(-other, other, (1,)))

    env = family(bounded, reach=uniform(1.0, 2.0))
    assert env.observation_space.low == -np.inf and env.observation_space.high == 9
    assert (env.action_space.low, env.action_space.high) == (-2, 2)
    env = family(bounded, other=uniform(1.0, 2.0))
    assert env.action_space.low == -np.inf and (env.observation_space.low == 0).all()


def test_a_policy_is_evaluated_on_the_family():
    env = family(paid, wage=choice([0.0, 1.0], [3, 1]), max_steps=5)
    act = lambda memory, key, obs, first, mask: (memory, jnp.zeros(len(first), jnp.int32))  # noqa: E731
    result = evaluate(env, act, (), KEY, 1000, max_steps=5)
    assert set(np.unique(result.returns)) == {0.0, 5.0}
    assert abs((result.returns == 5).mean() - 0.25) < 4 * (0.1875 / 1000) ** 0.5


def test_a_distribution_may_be_traced():
    def mean_wage(high):
        env = family(paid, wage=uniform(0.0, high), max_steps=1)
        return jnp.mean(
            jax.vmap(lambda k: env.step(k, env.reset(k)[0], 0)[1].reward)(jax.random.split(KEY, 500))
        )

    means = np.asarray(jax.jit(jax.vmap(mean_wage))(jnp.array([1.0, 10.0])))
    np.testing.assert_allclose(means[1], 10 * means[0], rtol=1e-5)
    assert abs(means[0] - 0.5) < 4 * (1 / 12 / 500) ** 0.5


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: family("cartpole", length=uniform(0, 1)), "the nearest: CartPole-v1"),
        (lambda: family("CartPole-v1", lenght=uniform(0, 1)), "CartPole-v1 has no parameter 'lenght'"),
        (lambda: family("CartPole-v1", per="day"), "per must be 'episode' or 'lane', not 'day'"),
        (lambda: family("CartPole-v1", per="lane", resets="pool"), "per='lane' needs resets='fresh'"),
        (lambda: family("CartPole-v1", max_steps=0), "max_steps must be a positive integer"),
        (
            lambda: family("world/t-maze", length=choice([200])),
            r"time limit of world/t-maze depends on drawn parameters \(length\): give max_steps",
        ),
        (lambda: uniform(1.0, 0.5), "needs low <= high"),
        (lambda: normal(0.5, 0.0), "normal needs a positive std, not 0.0"),
        (lambda: normal(0.5, -0.1), "normal needs a positive std, not -0.1"),
        (lambda: normal(0.0, 1.0, 14.0, 15.0), "not drawn beyond 10 std from its mean"),
        (lambda: normal(0.0, 0.1, high=-2.0), "not drawn beyond 10 std from its mean"),
        (lambda: log_uniform(0.0, 0.5), "positive bounds"),
        (lambda: choice([]), "choice needs values"),
        (lambda: choice([1, 2], [1]), "as many weights"),
        (lambda: choice([1, 2], [0, 0]), "must not be negative nor all 0"),
    ],
)
def test_invalid_arguments_are_rejected(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_static_parameters_cannot_be_drawn():
    def sized(n=3):
        return paid()._replace(action_space=Discrete(n))

    def shaped(n=3):
        return paid(start=np.zeros(n)[0])

    for make in (sized, shaped):
        with pytest.raises(ValueError, match="n determines array shapes and can neither be drawn nor drift"):
            families.drawn(make, {"n": choice([2, 3])})
    assert partial(sized, n=4)().action_space == Discrete(4)
