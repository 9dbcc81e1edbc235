"""Rollouts, verified by observations that contain the episode and the step."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.worlds import diary
from scipy import stats

from jaxrl.rollout import episode_metrics, interact, minibatches, rollout, vectorize, without_extras
from jaxrl.types import Stream

NUM_ENVS, NUM_STEPS = 4, 24


def policy(memory, key, obs, first, action_mask):
    """Samples allowed actions and counts the steps of the episode and of all episodes."""
    action = jax.random.categorical(key, jnp.where(action_mask, 0.0, -jnp.inf))
    since, ever = memory
    memory = (jnp.where(first, 0, since) + 1, ever + 1)
    return memory, action, {"saw": obs.sum(-1), "drew": jax.random.uniform(key)}


@cache
def played(seed=0):
    """Two rollouts, one after the other, as NumPy: [(carry, transitions), ...]."""
    env = vectorize(diary(), NUM_ENVS)
    reset_key, first_key, second_key = jax.random.split(jax.random.key(seed), 3)
    memory = (jnp.zeros(NUM_ENVS, jnp.int32), jnp.zeros(NUM_ENVS, jnp.int32))
    collect = jax.jit(lambda key, stream: rollout(env, policy, key, stream, NUM_STEPS))
    start = Stream(*jax.jit(env.reset)(reset_key), memory)
    first = collect(first_key, start)
    second = collect(second_key, first[0])
    return jax.tree.map(np.asarray, [(start, None), first, second])


def joined(seed=0):
    _, (_, a), (_, b) = played(seed)
    return jax.tree.map(lambda x, y: np.concatenate([x, y]), a, b)


def test_vectorized_copies_are_independent_and_keep_the_spaces():
    env = diary()
    envs = vectorize(env, 64)
    assert envs.observation_space is env.observation_space
    assert envs.action_space is env.action_space
    state, timestep = jax.jit(envs.reset)(jax.random.key(0))
    assert timestep.obs.shape == (64, 2)
    assert timestep.first.all()
    assert not timestep.done.any()
    assert len(set(np.asarray(timestep.obs[:, 0]))) > 50
    step = jax.jit(envs.step)
    action = jnp.arange(64) % 3
    for i in range(5):  # the longest episode: by then every environment was reset with a different key
        state, timestep = step(jax.random.key(i), state, action)
    assert len(set(np.asarray(timestep.obs[:, 0]))) > 50
    again = step(jax.random.key(4), state, action)[1]
    other = step(jax.random.key(4), state, action.at[3].set(2))[1]
    changed = np.asarray(again.reward != other.reward)
    np.testing.assert_array_equal(np.flatnonzero(changed), [3])


def test_next_obs_is_the_next_obs_unless_the_episode_ended():
    traj = joined()
    assert traj.obs.shape == (2 * NUM_STEPS, NUM_ENVS, 2)
    going_on = ~traj.done[:-1]
    np.testing.assert_array_equal(traj.next_obs[:-1][going_on], traj.obs[1:][going_on])
    np.testing.assert_array_equal(traj.first[1:], traj.done[:-1])
    assert traj.first[0].all()
    # Never another episode: the code is the same, the time increases by one.
    np.testing.assert_array_equal(traj.next_obs, traj.obs + np.array([0.0, 1.0]))
    np.testing.assert_array_equal(traj.first, traj.obs[..., 1] == 0)


def test_reward_and_flags_belong_to_the_step_taken():
    traj = joined()
    code, t = traj.obs[..., 0], traj.obs[..., 1]
    np.testing.assert_array_equal(traj.reward, code + 10 * t + traj.action)
    last = t + 1 == 2 + code % 4
    np.testing.assert_array_equal(traj.terminated, last & (code % 2 == 0))
    np.testing.assert_array_equal(traj.truncated, last & (code % 2 == 1))
    assert traj.terminated.any()
    assert traj.truncated.any()


def test_the_mask_is_the_one_that_the_policy_saw():
    traj = joined()
    code, t = traj.obs[..., 0], traj.obs[..., 1]
    mask = np.stack([code >= 0, t % 2 == 0, (code + t) % 3 == 0], axis=-1)
    np.testing.assert_array_equal(traj.info["action_mask"], mask)
    assert np.take_along_axis(mask, traj.action[..., None], -1).all()
    assert set(traj.action.ravel()) == {0, 1, 2}


def test_the_rest_of_info_belongs_to_the_ended_episode():
    traj = joined()
    for n in range(NUM_ENVS):
        start = 0
        for t in range(2 * NUM_STEPS):
            so_far = slice(start, t + 1)
            assert traj.info["episode_return"][t, n] == traj.reward[so_far, n].sum()
            assert traj.info["episode_length"][t, n] == t + 1 - start
            start = t + 1 if traj.done[t, n] else start


def test_recorded_memory_is_that_before_the_step():
    traj = joined()
    since, ever = traj.memory
    np.testing.assert_array_equal(ever, np.arange(2 * NUM_STEPS)[:, None].repeat(NUM_ENVS, 1))
    inside = ~traj.first
    np.testing.assert_array_equal(since[inside], traj.obs[..., 1][inside])
    np.testing.assert_array_equal(traj.extras["saw"], traj.obs.sum(-1))


def test_every_step_has_a_key_of_its_own():
    drew = joined().extras["drew"].ravel()
    assert len(set(drew)) == 2 * NUM_STEPS
    codes = joined().obs[..., 0][joined().first]
    assert len(set(codes)) > 0.9 * len(codes)


def test_a_rollout_is_one_interaction_after_another():
    env, (stream, _) = vectorize(diary(), NUM_ENVS), played()[0]
    _, key, _ = jax.random.split(jax.random.key(0), 3)
    keys = jax.random.split(key, (2, NUM_STEPS))
    step = jax.jit(lambda stream, keys: interact(env, policy, stream, keys))
    for t in range(3):
        stream, transition = step(stream, (keys[0, t], keys[1, t]))
        expected = jax.tree.map(lambda x, t=t: x[t], played()[1][1])
        jax.tree.map(np.testing.assert_array_equal, transition, expected)


def test_a_policy_without_extras_may_draw_nothing():
    env = vectorize(diary(), NUM_ENVS)
    first = without_extras(lambda memory, key, obs, first, mask: (memory, jnp.argmax(mask, axis=-1)))
    stream = Stream(*env.reset(jax.random.key(1)), ())
    stream, transition = interact(env, first, stream, (None, jax.random.key(2)))
    assert transition.extras == () and transition.action.tolist() == [0] * NUM_ENVS
    np.testing.assert_array_equal(stream.timestep.obs[:, 1], 1)


def test_the_second_rollout_continues_the_first():
    between, first = played()[1]
    end, second = played()[2]
    np.testing.assert_array_equal(second.obs[0], between.timestep.obs)
    np.testing.assert_array_equal(second.first[0], between.timestep.first)
    np.testing.assert_array_equal(second.first[0], first.done[-1])
    np.testing.assert_array_equal(second.memory[1][0], between.memory[1])
    np.testing.assert_array_equal(end.timestep.next_obs, second.next_obs[-1])
    np.testing.assert_array_equal(end.memory[1], 2 * NUM_STEPS)


def test_two_rollouts_match_one_long_rollout():
    def reset(key):
        return jax.tree.map(lambda x: 0 * x + 1, env.reset(key)[0]), env.reset(key)[1]

    env = diary()
    # Without chance: every episode has code 1, and the policy takes the allowed action last in line.
    step = lambda key, state, action: env.step(jax.random.key(1), state, action)  # noqa: E731
    envs = vectorize(env._replace(reset=reset, step=step), 2)

    def last_allowed(memory, key, obs, first, mask):
        del key, obs, first
        return memory + 1, 2 - jnp.argmax(mask[..., ::-1], -1), memory

    collect = jax.jit(
        lambda stream, length: rollout(envs, last_allowed, jax.random.key(2), stream, length),
        static_argnums=1,
    )
    start = Stream(*envs.reset(jax.random.key(0)), jnp.zeros(2))
    carry, a = collect(start, 7)
    carry, b = collect(carry, 5)
    end, whole = collect(start, 12)
    pieces = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)
    jax.tree.map(np.testing.assert_array_equal, (carry, pieces), (end, whole))


def test_without_a_mask_the_policy_receives_none():
    env = diary()

    def unmasked(function):
        def call(*args):
            state, timestep = function(*args)
            info = {k: v for k, v in timestep.info.items() if k != "action_mask"}
            return state, timestep.replace(info=info)

        return call

    envs = vectorize(env._replace(reset=unmasked(env.reset), step=unmasked(env.step)), 2)

    def act(memory, key, obs, first, mask):
        del key, first
        assert mask is None
        return memory, jnp.zeros(obs.shape[0], jnp.int32), ()

    key = jax.random.key(0)
    shapes = jax.eval_shape(lambda k: rollout(envs, act, k, Stream(*envs.reset(k), ()), 3)[1], key)
    assert set(shapes.info) == {"episode_return", "episode_length"}
    assert shapes.reward.shape == (3, 2)


def test_episode_metrics_sum_over_the_episodes_that_ended():
    traj = joined()
    ours = episode_metrics(traj.info, traj.done)
    returns, lengths = [], []
    for n in range(NUM_ENVS):
        total, length = 0.0, 0
        for t in range(2 * NUM_STEPS):
            total, length = total + traj.reward[t, n], length + 1
            if traj.done[t, n]:
                returns.append(total)
                lengths.append(length)
                total, length = 0.0, 0
    assert ours["episode/count"] == len(returns) > 10
    assert ours["episode/return_sum"] == pytest.approx(sum(returns))
    assert ours["episode/length_sum"] == sum(lengths)
    assert all(x.dtype == np.float32 for x in ours.values())


def test_episode_metrics_without_an_end_are_zero():
    traj = joined()
    for x in episode_metrics(traj.info, np.zeros_like(traj.done)).values():
        assert x == 0.0


# ---------------------------------------------------------------------------------------------------
# Shuffling

shuffled = jax.jit(minibatches, static_argnums=(1, 2, 3))


@pytest.mark.parametrize(("size", "epochs", "count"), [(12, 3, 4), (6, 1, 1), (5, 2, 5)])
def test_every_sample_comes_once_per_epoch(size, epochs, count):
    index = np.asarray(shuffled(jax.random.key(0), size, epochs, count))
    assert index.shape == (epochs * count, size // count)
    for epoch in index.reshape(epochs, -1):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(size))


def test_epochs_and_keys_have_different_orders():
    a, b = (np.asarray(shuffled(jax.random.key(i), 64, 3, 4)).reshape(3, -1) for i in range(2))
    orders = {tuple(epoch) for epoch in (*a, *b)}
    assert len(orders) == 6
    assert tuple(range(64)) not in orders
    np.testing.assert_array_equal(a, np.reshape(shuffled(jax.random.key(0), 64, 3, 4), (3, -1)))


def test_every_sample_is_equally_likely_in_every_place():
    keys = jax.random.split(jax.random.key(0), 20_000)
    order = jax.jit(jax.vmap(lambda k: minibatches(k, 6, 2, 3)))(keys).reshape(-1, 2, 6)
    for epoch in (0, 1):
        for sample in range(6):
            places = np.argmax(order[:, epoch] == sample, axis=-1)
            assert stats.chisquare(np.bincount(places, minlength=6)).pvalue > 1e-3
    # The epochs are independent: all 36 pairs of first samples are equally likely.
    pairs = np.asarray(order[:, 0, 0] * 6 + order[:, 1, 0])
    assert stats.chisquare(np.bincount(pairs, minlength=36)).pvalue > 1e-3


def test_a_batch_that_is_not_divisible_is_rejected():
    with pytest.raises(TypeError):
        minibatches(jax.random.key(0), 10, 4, 4)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1000, 2**16, 2**16 + 1])
def test_samples_of_any_number_come_once_per_epoch(size):
    index = np.asarray(shuffled(jax.random.key(1), size, 3, 1))
    assert index.shape == (3, size)
    assert index.dtype == np.int32
    for epoch in index:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(size))
    if size >= 100:
        assert len({tuple(epoch) for epoch in index}) == 3
        for epoch in index:  # nothing is left of the old order, nor of another epoch's
            assert abs(np.corrcoef(epoch, np.arange(size))[0, 1]) < 5 / size**0.5
        assert abs(np.corrcoef(index[0], index[1])[0, 1]) < 5 / size**0.5


def test_every_order_is_equally_likely():
    keys = jax.random.split(jax.random.key(2), 24_000)
    order = np.asarray(jax.jit(jax.vmap(lambda k: minibatches(k, 4, 1, 1)))(keys)).reshape(-1, 4)
    counts = np.bincount(order @ [64, 16, 4, 1])
    counts = counts[counts > 0]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


@cache
def groups():
    """For many keys, the minibatch (of 4) in which each of 64 samples is, one-hot `[K, 2, 64, 4]`."""

    def group(key):
        order = minibatches(key, 64, 2, 4).reshape(2, 64)
        return jax.nn.one_hot(jnp.argsort(order, axis=-1) // 16, 4)

    return jax.jit(jax.vmap(group))(jax.random.split(jax.random.key(3), 8000))


def test_any_two_samples_are_equally_likely_to_share_a_minibatch():
    """All pairs at once. A sample always meets 15 others, which leaves 2016 - 64 degrees of freedom
    (the (n - 2, 2) representation of the permutations); on these the covariance is a multiple of 1.
    """
    for epoch in (0, 1):
        member = groups()[:, epoch]
        met = jnp.einsum("kig,kjg->ij", member, member)
        met = np.asarray(met, np.float64)[np.triu_indices(64, 1)]
        p, freedom = 15 / 63, 2016 - 64
        variance = 2016 * p * (1 - p) / freedom
        statistic = np.square(met - len(member) * p).sum() / (len(member) * variance)
        assert stats.chi2.sf(statistic, freedom) > 1e-3
        assert stats.chi2.cdf(statistic, freedom) > 1e-3  # and not too uniform for chance


def test_the_minibatches_of_an_epoch_do_not_predict_those_of_the_next():
    """How many samples of minibatch a are in b an epoch later: 4 on average, with 9 degrees of freedom."""
    both = groups()
    common = np.asarray(jnp.einsum("kia,kib->ab", both[:, 0], both[:, 1]), np.float64)
    # Hypergeometric: 16 drawn of 64, of which 16 count.
    variance = 16 * stats.hypergeom(64, 16, 16).var() / 9
    statistic = np.square(common - 4 * len(both)).sum() / (len(both) * variance)
    assert 1e-3 < stats.chi2.sf(statistic, 9) < 1 - 1e-3
    # In every single draw too: an order that followed from the last would give 16 or 0.
    each = np.asarray(jnp.einsum("kia,kib->kab", both[:500, 0], both[:500, 1]))
    assert np.square(each - 4).mean() == pytest.approx(stats.hypergeom(64, 16, 16).var(), rel=0.1)


def test_two_samples_have_both_orders():
    """Ties keep the order of the samples: with 8 random bits instead of 26 they would show in this."""
    keys = jax.random.split(jax.random.key(4), 16_000)

    @jax.jit
    @jax.vmap
    def swapped(key):
        order = minibatches(key, 64, 1, 1)[0]
        return jnp.triu(order[:, None] > order).sum()

    # Inversions of a random permutation: n (n - 1) / 4 on average, variance n (n - 1) (2 n + 5) / 72.
    error = (64 * 63 * 133 / 72 / len(keys)) ** 0.5
    assert abs(np.mean(swapped(keys)) - 64 * 63 / 4) < 3.5 * error


def test_orders_of_adjacent_keys_are_independent():
    """The minibatches of key k and of key k + 1, as those of two epochs."""
    first = groups()[:, 0]
    common = np.asarray(jnp.einsum("kia,kib->kab", first[:-1], first[1:]), np.float64)
    assert np.square(common - 4).mean() == pytest.approx(stats.hypergeom(64, 16, 16).var(), rel=0.05)
