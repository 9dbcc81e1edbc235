"""Evolution of policies: fitness, ranks, novelty, genomes, and the two algorithms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import FUSED, config_of, jitted, slow_except, small
from reference import evolution as slow
from test_contract import bits

from jaxrl import envs, evolution, fitness, genome, novelty, stats, train
from jaxrl.algos import ALGORITHMS, es, ga
from jaxrl.envs.wrappers import auto_reset, episode_stats, restart, time_limit, transition
from jaxrl.evolution import by_lot
from jaxrl.policies import NetworkConfig
from jaxrl.rollout import vectorize
from jaxrl.spaces import Box
from jaxrl.types import Env

KEY = jax.random.key(0)


# --- fitness -------------------------------------------------------------------------------------


def lottery(length=6):
    """Each step gives a random reward, which is observed, and ends the episode with probability 1/5."""

    def reset(key):
        return jnp.zeros(()), restart(jnp.zeros(1))

    def step(key, state, action):
        reward_key, end_key = jax.random.split(key)
        reward = jax.random.normal(reward_key) + 0.0 * action.sum()
        end = jax.random.uniform(end_key) < 1 / 5
        return reward, transition(reward[None], reward, end)

    raw = Env(reset, step, Box(-np.inf, np.inf, (1,)), Box(-1.0, 1.0, (1,)))
    return auto_reset(episode_stats(time_limit(raw, length)))


@pytest.mark.parametrize("length", [4, 100])
def test_fitness_is_of_the_first_episode_alone(length):
    """Rewards after its end are not counted; an unfinished episode counts with its return so far."""
    num_envs, num_steps = 50, 8
    env = lottery(length)
    player = fitness.player(env, num_steps, NetworkConfig(hidden_sizes=(2,)), normalize_obs=True)
    params, stream = player.init(KEY), player.reset(KEY, num_envs)
    state, timestep = stream.env_state, stream.timestep
    play = jax.jit(player.play)
    episodes = play(params, player.obs_stats, KEY, stream)

    many, rewards, ends, seen, obs = vectorize(env, num_envs), [], [], [], []
    step = jax.jit(many.step)
    for key in jax.random.split(KEY, num_steps):
        obs.append(timestep.obs)
        state, timestep = step(key, state, jnp.zeros((num_envs, 1)))
        rewards.append(timestep.reward)
        ends.append(timestep.done)
        seen.append(timestep.next_obs)
    rewards, ends, seen, obs = (np.asarray(x) for x in (rewards, ends, seen, obs))
    np.testing.assert_allclose(episodes.returns, slow.first_returns(rewards, ends), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(episodes.finished, ends.any(0))
    lengths = np.where(ends.any(0), ends.argmax(0) + 1, num_steps)
    np.testing.assert_array_equal(episodes.lengths, lengths)
    np.testing.assert_allclose(episodes.last_obs, seen[lengths - 1, np.arange(num_envs)])
    assert ends.sum() > num_envs and (length == 4) == bool(episodes.finished.all())

    counted = np.concatenate([obs[: lengths[n], n] for n in range(num_envs)])
    stats = fitness.observe(player.obs_stats, jax.tree.map(lambda x: x[None], episodes.seen))
    assert float(stats.count) == len(counted) == lengths.sum()
    np.testing.assert_allclose(stats.mean, counted.mean(0), atol=1e-5)
    np.testing.assert_allclose(stats.var, counted.var(0), rtol=1e-4)
    again = fitness.observe(stats, jax.tree.map(lambda x: x[None], play(params, stats, KEY, stream).seen))
    assert float(again.count) > float(stats.count)


@pytest.mark.parametrize("name", slow_except(["es", "ga", "ppo"], "es"))
def test_the_variance_of_observations_far_from_zero_is_accurate(name):
    """Observes three numbers, N(0, 1), N(1000, 1) and N(10000, 1) around a level N(0, 1/4) per episode."""
    offset = jnp.array([0.0, 1e3, 1e4])

    def reset(key):
        level_key, key = jax.random.split(key)
        level = offset + 0.5 * jax.random.normal(level_key)
        return level, restart(level + jax.random.normal(key))

    def step(key, level, action):
        return level, transition(level + jax.random.normal(key), jnp.sum(action), False)

    raw = Env(reset, step, Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (1,)))
    module = ALGORITHMS[name]
    sizes = {"num_members": 4, "num_parents": 2, "num_candidates": 2, "num_envs": 8, "num_steps": 100}
    config = config_of(module, **sizes, elite_episodes=0, normalize_obs=True, hidden_sizes=(4,))
    algo = module.make(auto_reset(episode_stats(time_limit(raw, 25))), config)
    state = jax.jit(algo.init)(KEY, algo.hparams)
    for _ in range(6):
        state, _ = jitted(algo.update)(state, algo.hparams)
    assert float(state.obs_stats.count) >= 1200
    np.testing.assert_allclose(state.obs_stats.mean - offset, 0.0, atol=0.4)
    np.testing.assert_allclose(state.obs_stats.var, 1.25, rtol=0.25)


def test_ranks_match_the_definition_with_ties():
    for values in ([3.0, 1.0, 2.0, 2.0, np.nan, -np.inf, 3.0], [5.0] * 4, [np.nan] * 3, [0.0, 1.0]):
        values = np.array(values, np.float32)
        np.testing.assert_allclose(fitness.centred_ranks(values), slow.centred_ranks(values), atol=1e-6)
    drawn = np.random.default_rng(0).integers(0, 5, 40).astype(np.float32)
    np.testing.assert_allclose(fitness.centred_ranks(drawn), slow.centred_ranks(drawn), atol=1e-6)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_allclose(fitness.centred_ranks(drawn[order]), fitness.centred_ranks(drawn)[order])


def test_the_weight_moves_from_quality_to_novelty():
    quality, other = jnp.array([1.0, 2.0, 3.0]), jnp.array([9.0, 5.0, 0.0])
    np.testing.assert_allclose(fitness.blend(quality, other, 0.0), [-0.5, 0.0, 0.5])
    np.testing.assert_allclose(fitness.blend(quality, other, 1.0), [0.5, 0.0, -0.5])
    np.testing.assert_allclose(fitness.blend(quality, other, 0.5), 0.0, atol=1e-7)


# --- novelty -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("met", "k"), [(0, 3), (5, 3), (12, 4), (30, 100)])
def test_novelty_matches_the_definition(met, k):
    """With an archive that is empty, half full, and overwritten; also of fewer others than neighbours."""
    draws = np.random.default_rng(met).normal(size=(met + 9, 3)).astype(np.float32)
    archive = novelty.init(10, 3)
    for one in draws[:met]:
        archive = novelty.remember(archive, KEY, jnp.asarray(one)[None], 1)
    now = jnp.asarray(draws[met:])
    kept = draws[max(0, met - 10) : met]
    np.testing.assert_allclose(novelty.novelty(now, archive, k), slow.novelty(now, kept, k), rtol=1e-5)
    shifted = jnp.asarray(draws[met:]).at[4].add(100.0)
    assert int(novelty.novelty(shifted, archive, k).argmax()) == 4


def test_a_behaviour_that_is_nan_is_never_a_neighbour():
    now = jnp.array([[0.0], [1.0], [jnp.nan], [3.0]])
    archive = novelty.remember(novelty.init(4, 1), KEY, jnp.array([[jnp.inf]]), 1)
    result = novelty.novelty(now, archive, 2)
    np.testing.assert_allclose(result, [2.0, 1.5, 0.0, 2.5])


def test_the_archive_takes_different_members_and_forgets_the_oldest():
    archive = novelty.init(5, 1)
    for generation in range(4):
        behaviours = generation * 10.0 + jnp.arange(4.0)[:, None]
        archive = novelty.remember(archive, jax.random.key(generation), behaviours, 3)
    kept = np.asarray(archive.behaviours)[:, 0]
    assert int(archive.count) == 12 and len(set(kept)) == 5
    assert sorted(kept // 10) == [2.0, 2.0, 3.0, 3.0, 3.0]


# --- genomes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "parameters"), [(7_700, 400_000), pytest.param(77_000, 4_000_000, marks=pytest.mark.slow)]
)
def test_a_large_network_is_rebuilt_bitwise(units, parameters):
    """A policy carried along from parent to child, and rebuilt from its keys, alone and in a batch."""
    player = fitness.player(envs.make("Catch-bsuite"), 10, NetworkConfig(hidden_sizes=(units,)))
    net = genome.network(jax.eval_shape(player.init, KEY))
    mutate, express = jax.jit(genome.mutate), jax.jit(partial(genome.express, net))
    chain = genome.genome(jax.random.key(3), max_mutations=100)
    vector = jax.jit(net.vector)(chain.start)
    for i in range(7):
        # The last one operation by operation: a compiler fuses nothing there.
        step = genome.mutate if i == 6 else mutate
        chain, vector = step(chain, vector, jax.random.key(i), 0.1 / (i + 1))
    assert vector.size > parameters
    again = express(chain)
    assert bits(again) == bits(vector)
    other = genome.mutate(chain, vector, jax.random.key(9), 0.1)[0]
    batch = jax.jit(jax.vmap(partial(genome.express, net)))(
        jax.tree.map(lambda *x: jnp.stack(x), chain, other)
    )
    assert bits(batch[0]) == bits(vector) and bits(batch[1]) != bits(vector)
    assert sum(np.asarray(x).nbytes for x in jax.tree.leaves(as_data(chain))) == 8 + 100 * 12 + 4
    assert vector.nbytes > 4 * parameters


def as_data(tree):
    return jax.tree.map(
        lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, tree
    )


def test_a_full_chain_has_its_parent_as_child():
    net = genome.network({"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2), "scale": jnp.zeros(2)})
    chain = genome.genome(KEY, max_mutations=2)
    vector = net.vector(KEY)
    np.testing.assert_array_equal(net.params(vector)["scale"], 1.0)
    np.testing.assert_array_equal(net.params(vector)["bias"], 0.0)
    for i in range(4):
        chain, vector = genome.mutate(chain, vector, jax.random.key(i), 0.1)
        assert int(chain.length) == min(i + 1, 2)
        np.testing.assert_array_equal(genome.express(net, chain), vector)


def test_mutations_are_gaussian_and_independent():
    net = genome.network({"kernel": jnp.zeros((50, 400))})
    start = net.vector(KEY)
    child, moved = genome.mutate(genome.genome(KEY, 4), start, jax.random.key(1), 0.5)
    _, again = genome.mutate(child, moved, jax.random.key(2), 0.5)
    first, second = np.asarray(moved - start), np.asarray(again - moved)
    for step in (first, second):
        assert abs(step.mean()) < 0.02 and abs(step.std() - 0.5) < 0.01
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    assert abs(np.asarray(start).std() - 50**-0.5) < 0.005


# --- the algorithms ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["openes", "cmaes", "snes"])
def test_a_search_maximizes(method):
    """evosax minimises: with the wrong sign the distance would grow."""
    search = es.strategy(method, num_members=16, size=3)
    target = jnp.array([3.0, -2.0, 1.0])

    @partial(jax.jit, static_argnums=1)
    def best(key, broken):
        def generation(carry, key):
            state, mean = carry
            ask_key, tell_key = jax.random.split(key)
            state, z = search.ask(ask_key, state)
            score = -jnp.square(mean + 0.5 * z - target).sum(axis=1)
            score = score.at[0].set(jnp.nan) if broken else score
            state, step = search.tell(tell_key, state, z, score)
            return (state, mean + 0.5 * 0.5 * step), None

        return jax.lax.scan(generation, (search.init(), jnp.zeros(3)), jax.random.split(key, 100))[0][1]

    for broken in (False, True):
        assert float(jnp.abs(best(KEY, broken) - target).max()) < 0.3, broken


@pytest.mark.parametrize("method", ["openes", "snes"])
def test_a_score_that_all_have_moves_by_no_index(method):
    """The order of members with equal scores has no effect."""
    search = es.strategy(method, num_members=8, size=2)
    state, z = search.ask(KEY, search.init())
    score = jnp.array([1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    order = jnp.array([5, 3, 7, 0, 2, 4, 1, 6])
    _, step = search.tell(KEY, state, z, score)
    _, turned = search.tell(KEY, state, z[order], score[order])
    np.testing.assert_allclose(step, turned, atol=1e-5)
    if method == "openes":
        _, still = search.tell(KEY, state, z, jnp.ones(8))
        np.testing.assert_allclose(still, 0.0, atol=1e-6)


def test_the_spread_does_not_collapse_on_a_plateau():
    """With the mean ranks of ties, the spread of CMA-ES would collapse."""
    search = es.strategy("cmaes", num_members=16, size=20)

    def generation(state, key):
        ask_key, tell_key = jax.random.split(key)
        state, z = search.ask(ask_key, state)
        state, _ = search.tell(tell_key, state, z, jnp.zeros(16))
        return state, jnp.sqrt(jnp.square(z).mean())

    _, spread = jax.lax.scan(generation, search.init(), jax.random.split(KEY, 200))
    # A random walk: over keys its minimum is between 0.06 and 0.7. With mean ranks it falls to 2e-15.
    assert float(spread.min()) > 0.01 and float(spread.max()) < 5.0


def test_ties_are_broken_at_random():
    score = jnp.array([2.0, jnp.nan, 1.0, 1.0, 1.0, 3.0])
    places = jax.vmap(by_lot, (0, None))(jax.random.split(KEY, 300), score)
    np.testing.assert_array_equal(places[:, np.array([1, 0, 5])], np.tile([0, 4, 5], (300, 1)))
    np.testing.assert_allclose(places[:, 2:5].mean(axis=0), 2.0, atol=0.2)
    assert (jnp.sort(places, axis=1) == jnp.arange(6)).all()


def test_diverged_members_do_not_affect_normalization():
    start = stats.init((2,))
    mean = jnp.array([[[1.0, 2.0]], [[jnp.nan, 1.0]], [[3.0, jnp.inf]]])
    seen = stats.RunningStats(mean, jnp.square(mean), jnp.ones((3, 1)))
    one = jax.tree.map(lambda x: x[:1], seen)
    for ours, expected in zip(
        jax.tree.leaves(fitness.observe(start, seen)), jax.tree.leaves(fitness.observe(start, one))
    ):
        np.testing.assert_array_equal(ours, expected)


def test_openes_draws_opposite_pairs():
    search = es.strategy("openes", num_members=6, size=4)
    state, z = search.ask(KEY, search.init())
    np.testing.assert_array_equal(z[:3], -z[3:])
    _, other = search.ask(jax.random.key(1), state)
    assert bool((other != z).any())


def members_meet(algo, monkeypatch):
    """The returns `[P, N]` of two generations of members, as they come to their fitness."""
    mean_return = fitness.mean_return

    @jax.jit
    def two_generations(key):
        seen = []
        monkeypatch.setattr(fitness, "mean_return", lambda e: seen.append(e.returns) or mean_return(e))
        state = algo.init(key, algo.hparams)
        for _ in range(2):
            state, _ = algo.update(state, algo.hparams)
        return seen

    return [np.asarray(x) for x in two_generations(KEY)]


@pytest.mark.parametrize("module", [es, ga], ids=["es", "ga"])
def test_members_share_keys_and_generations_do_not(module, monkeypatch):
    """In an environment in which actions have no effect."""
    config = {"num_members": 8, "num_envs": 3, "num_steps": 5, "hidden_sizes": (2,)}
    extra = {"num_parents": 2, "num_candidates": 2, "elite_episodes": 0} if module is ga else {}
    algo = module.make(lottery(), config_of(module, **config, **extra))
    first, second = members_meet(algo, monkeypatch)
    assert first.shape == (8, 3)
    assert (first == first[0]).all() and len(set(first[0])) == 3
    assert not (first[0] == second[0]).any()


def test_selection_matches_the_definition():
    rng = np.random.default_rng(0)
    select = jax.jit(ga.select, static_argnums=2)
    for draw in range(20):
        score = rng.integers(0, 6, 15).astype(np.float32)
        score[rng.integers(0, 15, 2)] = np.nan
        for number in (1, 4, 14):
            chosen = np.asarray(select(jax.random.key(draw), score, number)).tolist()
            must, may = slow.selected(score, number)
            assert len(set(chosen)) == number and must <= set(chosen) <= must | may


def test_ties_in_selection_are_broken_at_random():
    chosen = jax.vmap(lambda key: ga.select(key, jnp.zeros(10), 3))(jax.random.split(KEY, 2000))
    counts = np.bincount(np.asarray(chosen).ravel(), minlength=10)
    assert counts.min() > 500 and counts.max() < 700  # 600 each, 20 either way


@pytest.mark.slow
def test_the_state_holds_the_policies_of_its_genomes(fused_updates):
    """The elite, and with `keep_parents` the parents; otherwise the states are the same."""
    kept, built = (small("ga", num_steps=7, keep_parents=keep) for keep in (True, False))
    fused = partial(jax.jit, compiler_options=FUSED)
    net = genome.network(jax.eval_shape(lambda: built.init(KEY, built.hparams).params))
    states = []
    for algo in (kept, built):
        state = fused(algo.init)(KEY, algo.hparams)
        zeros = train.no_totals(algo.update, state, algo.hparams)
        state, _ = train.program(algo.update)(state, zeros, algo.hparams, 3)
        elite = fused(partial(genome.express, net))(jax.tree.map(lambda x: x[0], state.parents))
        assert bits(net.params(elite)) == bits(state.params)
        states.append(state)
    parents = fused(jax.vmap(partial(genome.express, net)))(states[0].parents)
    assert bits(parents) == bits(states[0].kept)
    assert states[1].kept == ()
    for name in ("params", "parents", "archive"):
        assert bits(getattr(states[0], name)) == bits(getattr(states[1], name))
    assert int(states[1].parents.length.max()) >= 2


@pytest.mark.parametrize("num_candidates", [1, 4])
def test_the_elite_is_the_best_over_more_episodes(num_candidates):
    """Returns are mostly noise; only the action for the sign of the first observation matters."""
    env = envs.make("probe/action-from-obs")
    config = ga.Config(
        num_members=16,
        num_parents=4,
        num_steps=1,
        num_candidates=num_candidates,
        elite_episodes=64,
        network=NetworkConfig(hidden_sizes=(4,)),
    )
    algo = ga.make(env, config)
    assert algo.steps_per_update == 16 + num_candidates * 64
    state, metrics = jax.jit(partial(train.run, algo, num_updates=20))(KEY, algo.hparams)
    score = float(metrics["fitness/elite"][-1])
    assert score == 1.0 if num_candidates > 1 else score <= 1.0
    if num_candidates == 1:  # the first elite has no competitor
        assert int(state.parents.length[0]) == 0


@pytest.mark.parametrize(
    ("module", "probe", "config"),
    [
        (es, "multidiscrete", {}),
        (es, "action-mask", {}),
        pytest.param(ga, "memory", {"memory_size": 8}, marks=pytest.mark.slow),
        (ga, "action-continuous", {"squash": True, "normalize_obs": True}),
    ],
    ids=["multidiscrete", "action-mask", "memory", "action-continuous"],
)
def test_probes_are_solved(module, probe, config):
    """The player, which both share, is tested once for each of its parts."""
    env = envs.make(f"probe/{probe}")
    steps = {"memory": 5, "action-mask": 4}.get(probe, 1)
    extra = {"num_candidates": 6, "num_parents": 8} if module is ga else {}
    algo = module.make(
        env,
        config_of(module, num_members=32, num_envs=8, num_steps=steps, hidden_sizes=(8,), **config, **extra),
    )
    hp = algo.hparams.replace(sigma=0.3)
    _, metrics = jax.jit(partial(train.run, algo, num_updates=60))(KEY, hp)
    best = {"multidiscrete": 1.0, "action-mask": 4.0, "memory": 1.0, "action-continuous": 0.0}[probe]
    assert float(metrics["fitness/best"][-5:].mean()) > best - 0.05
    assert float(metrics["episode/count"][-1]) == 32 * 8


def test_novelty_uses_a_custom_behaviour():
    env = envs.make("Pendulum-v1")
    algo = es.make(env, es.Config(num_members=4, num_steps=3, archive_size=4), behaviour=lambda obs: obs[:1])
    state = jax.jit(algo.init)(KEY, algo.hparams)
    assert state.archive.behaviours.shape == (4, 1)
    state, _ = jax.jit(algo.update)(state, algo.hparams)
    assert int(state.archive.count) == 1 and abs(float(state.archive.behaviours[0, 0])) > 0


@pytest.mark.parametrize(
    ("module", "config", "message"),
    [
        (es, {"num_members": 7}, "num_members = 7 must be even"),
        (es, {"num_members": 2}, "use at least 4"),
        (es, {"num_steps": 0}, "num_steps = 0 must be at least 1"),
        (es, {"method": "cma"}, "unknown method 'cma'"),
        (es, {"method": "cmaes", "hidden_sizes": (64, 64)}, "use smaller hidden_sizes"),
        (es, {"squash": True}, "squash requires continuous actions"),
        (ga, {"num_parents": 128}, "num_parents = 128 must be below num_members = 128"),
        (ga, {"num_candidates": 200}, "num_candidates = 200 must be below"),
        (ga, {"archive_size": 4, "archive_additions": 5}, "must lie between 1 and 4"),
        (ga, {"max_mutations": 0}, "max_mutations = 0 must be at least 1"),
    ],
)
def test_invalid_arguments_are_rejected(module, config, message):
    with pytest.raises(ValueError, match=message):
        module.make(envs.make("CartPole-v1"), config_of(module, **config))


def test_without_evosax_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(evolution.importlib.util, "find_spec", lambda package: None)
    with pytest.raises(ValueError, match=r"pip install 'jaxrl\[evolution\]'"):
        es.make(envs.make("CartPole-v1"))


def test_a_population_of_cma_searches_is_one_program():
    """Eigenvectors are computed agent by agent: a batch of them can deadlock on a CPU."""
    algo = train.population(small("es", method="cmaes"))
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    state = jax.jit(algo.init)(keys, algo.hparams)
    state, metrics = jax.jit(algo.update)(state, algo.hparams)
    assert metrics["grad/norm"].shape == (3,) and bool((metrics["grad/norm"] > 0).all())
    assert len({float(x) for x in metrics["grad/norm"]}) == 3
