"""Search on the device: each strategy against its definition, on agents whose returns are known."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small
from flax import struct

from jaxrl import objectives, search, train
from jaxrl.experiments.search import Axis, strategies
from jaxrl.search.asha import promoted, rungs
from jaxrl.search.pbt import exploit, explore
from jaxrl.types import Algorithm

AXES = [Axis("--hp.learning-rate", (), 1e-4, 1e-1, True), Axis("--hp.gamma", (), 0.0, 1.0)]


@struct.dataclass
class Hp:
    learning_rate: float = 1e-3
    gamma: float = 0.5
    objective: object = ()


@struct.dataclass
class Agent:
    key: jax.Array
    born: jax.Array  # random bits of its beginning
    params: jax.Array  # sum of its learning rates
    num_updates: jax.Array


def pretend(value):
    """A population of agents whose return in each update is `value(hp, agent)`; nan: it diverges."""

    def init(key, hp):
        key, born_key = jax.random.split(key)
        return Agent(key, jax.random.bits(born_key), jnp.zeros(()), jnp.zeros((), jnp.int32))

    def update(agent, hp):
        key, _ = jax.random.split(agent.key)
        agent = agent.replace(
            key=key, params=agent.params + hp.learning_rate, num_updates=agent.num_updates + 1
        )
        score = value(hp, agent)
        metrics = {"episode/return_sum": score, "episode/count": jnp.ones(()), "loss/policy": score}
        return agent, metrics

    single = Algorithm(init, update, lambda *args: args, Hp(), steps_per_update=1)
    return train.population(single, vary_hparams=True)


def searched(algo, strategy, space, seeds, lanes=None, num_updates=None):
    """The final state of a search, and the metrics of every update."""
    over = search.over(algo, strategy, space, seeds)
    seed = jnp.arange(lanes or strategy.slots * seeds) % seeds
    keys = jax.vmap(jax.random.key)(seed)

    @jax.jit
    def run(keys):
        state = over.init(keys, Hp())
        return jax.lax.scan(
            lambda s, _: over.update(s, Hp()), state, length=num_updates or strategy.num_updates
        )

    return run(keys)


# --- the space ----------------------------------------------------------------------------------


def test_a_box_has_the_ranges_of_the_sweeps_axes():
    axes = [*AXES, Axis("--hp.objective.clip-eps", ("0.1", "0.2", "0.4"))]
    space = search.box(axes)
    for share in (0.0, 0.2, 0.5, 0.7, 0.99):
        x = jnp.full(3, share, jnp.float32)
        expected = [float(one.at(share)) for one in axes]
        np.testing.assert_allclose(space.values(x), expected, rtol=1e-5)
        hp = space.hparams(small("ppo").hparams, x)
        actual = [hp.learning_rate, hp.gamma, hp.objective.clip_eps]
        np.testing.assert_allclose(actual, expected, rtol=1e-5)
    np.testing.assert_allclose(space.values(jnp.array([-1.0, 2.0, 2.0])), [1e-4, 1.0, 0.4], rtol=1e-5)


def test_any_subtree_can_be_searched():
    start = objectives.dpo().params
    space = search.subtree(start, scale=0.5)
    hp = space.hparams(small("ppo").hparams, jnp.array([1.5, 0.25]))
    assert (float(hp.objective.alpha), float(hp.objective.beta)) == (1.5, 0.25)
    np.testing.assert_allclose(space.centre, [2.0, 0.6], rtol=1e-6)
    assert space.names == ("objective[0]", "objective[1]")


# --- asynchronous successive halving -------------------------------------------------------------


def halve(quality, slots, eta, num_rungs, base):
    """ASHA by its definition, trial by trial. Returns the rungs reached and when each trial began."""
    ages = [base * eta**i for i in range(num_rungs)]
    scores = [{} for _ in ages]
    running, waiting = {}, list(range(len(quality)))
    began, reached = {}, dict.fromkeys(range(len(quality)), 0)
    for slot in range(slots):
        running[slot] = waiting.pop(0)
        began[running[slot]] = 0
    now = 0
    while running:
        now += base
        arrived = [s for s, t in running.items() if now - began[t] in ages]
        for slot in arrived:
            trial = running[slot]
            rung = ages.index(now - began[trial])
            scores[rung][trial] = quality[trial]
            reached[trial] = rung + 1
        for slot in sorted(arrived):
            trial = running[slot]
            rung = ages.index(now - began[trial])
            places = max(1, len(scores[rung]) // eta)
            place = sum(other > quality[trial] for other in scores[rung].values())
            if place < places and rung < num_rungs - 1:
                continue
            del running[slot]
            if waiting:
                running[slot] = waiting.pop(0)
                began[running[slot]] = now
    return reached, began, now


@pytest.mark.parametrize(
    ("trials", "slots", "eta", "num_rungs"), [(16, 4, 4, 3), (9, 9, 3, 2), (20, 3, 2, 4)]
)
def test_halving_matches_a_manual_computation(trials, slots, eta, num_rungs):
    x = np.random.default_rng(trials).random((trials, 2)).astype(np.float32)
    strategy = search.asha(x, slots, agent_updates=eta ** (num_rungs - 1) * 2, eta=eta, num_rungs=num_rungs)
    algo = pretend(lambda hp, agent: hp.gamma)
    state, _ = searched(algo, strategy, search.box(AXES), seeds=3, lanes=3 * slots + 2)
    result = search.on_host(state.strategy)
    reached, began, end = halve(x[:, 1], slots, eta, num_rungs, base=2)
    assert (~np.isnan(result.rung_score)).sum(axis=0).tolist() == list(reached.values())
    assert result.began.tolist() == [began[trial] for trial in range(trials)]
    assert result.ended.max() == end <= strategy.num_updates
    assert bool(strategy.finished(state.strategy))
    np.testing.assert_allclose(result.per_seed, np.repeat(x[:, 1:], 3, axis=1), rtol=1e-5)


def test_a_rung_promotes_the_best_share():
    score = jnp.array([0.1, 0.9, jnp.nan, 0.5, 0.7, 0.3, 0.8, 0.2, 0.6])
    assert promoted(score, jnp.arange(9), 4).tolist() == [False, True] + [False] * 4 + [True, False, False]
    alone = jnp.array([jnp.nan, 0.1, jnp.nan])
    assert promoted(alone, jnp.arange(3), 4).tolist() == [False, True, False]
    no_scores = jnp.full(4, -jnp.inf)
    assert promoted(no_scores, jnp.arange(4), 4).all()


def test_diverged_trials_are_not_promoted():
    x = np.array([[0.5, 0.9], [0.5, 0.2], [0.5, 0.1], [0.5, 0.05]], np.float32)
    strategy = search.asha(x, 4, agent_updates=4, eta=2, num_rungs=3)
    algo = pretend(lambda hp, agent: jnp.where(hp.gamma > 0.8, jnp.nan, hp.gamma))
    state, _ = searched(algo, strategy, search.box(AXES), seeds=2)
    result = search.on_host(state.strategy)
    assert (~np.isnan(result.rung_score)).sum(axis=0).tolist() == [1, 3, 2, 1]


def test_a_freed_lane_starts_another_agent_with_the_key_of_its_seed():
    """Trials are compared with the same seeds, and a trial is the same agent as in a separate run."""
    x = np.array([[0.1, 0.9], [0.2, 0.1], [0.3, 0.5]], np.float32)
    strategy = search.asha(x, 2, agent_updates=4, eta=2, num_rungs=2)
    algo = pretend(lambda hp, agent: hp.gamma)
    state, _ = searched(algo, strategy, search.box(AXES), seeds=2, num_updates=5)
    # Trial 0 ended after 4 updates and trial 1 after 2, so trial 2 has had 3, in lanes 2 and 3.
    assert state.agents.num_updates.tolist() == [1, 1, 3, 3] or state.agents.num_updates.tolist() == [
        5,
        5,
        3,
        3,
    ]
    born = state.agents.born
    assert born[0] == born[2] and born[1] == born[3] and born[0] != born[1]
    rate = float(AXES[0].at(0.3))
    np.testing.assert_allclose(state.agents.params[2:], 3 * rate, rtol=1e-5)


def test_rungs_round_up():
    assert rungs(196, 4, 3) == [13, 52, 208]
    assert rungs(9, 3, 3) == [1, 3, 9]


# --- population based training --------------------------------------------------------------------


def test_the_worst_quarter_copies_the_best():
    score = jnp.arange(16.0)
    sources = jax.vmap(lambda key: exploit(key, score, 4))(jax.random.split(jax.random.key(0), 500))
    assert (sources[:, 4:] == jnp.arange(4, 16)).all()
    drawn = np.asarray(sources[:, :4])
    assert set(drawn.ravel()) == {12, 13, 14, 15}
    counts = np.bincount(drawn.ravel(), minlength=16)[12:]
    assert abs(counts - 500).max() < 4 * np.sqrt(500 * 0.75)  # four standard deviations
    # Draws are independent: two members agree one time in four.
    assert abs((drawn[:, 0] == drawn[:, 1]).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 500)


def test_equal_members_are_kept_and_diverged_ones_replaced():
    key = jax.random.key(0)
    assert exploit(key, jnp.ones(8), 2).tolist() == list(range(8))
    score = jnp.array([-jnp.inf, 1.0, 2.0, 3.0])
    assert exploit(key, score, 1).tolist() == [3, 1, 2, 3]


def test_hyperparameters_are_perturbed_independently():
    x = jnp.full((40, 25, 3), 0.5)
    spread = np.array([0.1, 0.1, 0.01], np.float32)
    moved = np.asarray(explore(jax.random.key(0), x, spread)).reshape(-1, 3) - 0.5
    correlation = np.corrcoef(moved.T)
    assert abs(correlation[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(1000)
    assert len(np.unique(moved[:, 0])) == 1000
    # Three quarters are normal steps, the rest new samples: the third column distinguishes them.
    far = (abs(moved[:, 2]) > 0.05).mean()
    assert abs(far - 0.25 * 0.9) < 4 * np.sqrt(0.225 * 0.775 / 1000)
    edges = np.asarray(explore(jax.random.key(1), jnp.ones((500, 1, 1)), spread[:1]))
    assert edges.min() >= 0 and edges.max() <= 1 and (edges < 1).mean() > 0.9


def test_a_copy_has_all_but_the_key_and_ancestry_records_its_parent():
    x = np.stack([np.linspace(0.1, 0.8, 8), np.linspace(0.05, 0.95, 8)], axis=1).astype(np.float32)
    space = search.box(AXES)
    strategy = search.pbt(x, agent_updates=12, decisions=3, space=space)
    assert (strategy.every, strategy.num_updates) == (3, 12)
    algo = pretend(lambda hp, agent: hp.gamma)
    state, _ = searched(algo, strategy, space, seeds=5)
    result = search.on_host(state.strategy)
    parent = result.parent
    assert parent.shape == (4, 8, 5)
    np.testing.assert_array_equal(result.x[0], np.repeat(x[:, None], 5, axis=1))
    # Replay: the ancestry determines the sum of learning rates of each member.
    total = np.zeros((8, 5))
    for generation in range(4):
        total += 3 * np.asarray(space.values(result.x[generation]))[..., 0]
        np.testing.assert_allclose(
            result.score[generation], space.values(result.x[generation])[..., 1], rtol=1e-5
        )
        total = np.take_along_axis(total, parent[generation], axis=0)
    np.testing.assert_allclose(state.agents.params.reshape(8, 5), total, rtol=1e-4)
    # No member is replaced at the end, and all have the same number of updates.
    np.testing.assert_array_equal(parent[-1], np.repeat(np.arange(8)[:, None], 5, axis=1))
    assert (state.agents.num_updates == 12).all()
    # Every seed is a separate population, with independent choices.
    assert any((parent[:-1, :, 0] != parent[:-1, :, seed]).any() for seed in range(1, 5))


def test_updates_are_rounded_up_as_little_as_intervals_allow():
    strategy = search.pbt(np.zeros((4, 2)), agent_updates=123, decisions=19, space=search.box(AXES))
    assert (strategy.every, strategy.num_updates, strategy.agent_updates) == (7, 126, 126)


def test_a_copy_draws_different_numbers_from_its_original():
    x = np.array([[0.5, 0.1], [0.5, 0.4], [0.5, 0.6], [0.5, 0.9]], np.float32)
    space = search.box(AXES)
    strategy = search.pbt(x, agent_updates=4, decisions=1, space=space)
    algo = pretend(lambda hp, agent: hp.gamma)
    over = search.over(algo, strategy, space, 2)
    keys = jax.vmap(jax.random.key)(jnp.arange(8))  # all different here, to see that keys stay
    state = over.init(keys, Hp())
    expected = algo.init(keys, jax.vmap(lambda _: Hp())(jnp.arange(8)))
    for _ in range(2):
        state, _ = jax.jit(over.update)(state, Hp())
        expected, _ = algo.update(expected, jax.vmap(lambda _: Hp())(jnp.arange(8)))
    assert (state.strategy.parent[0] == 3).sum() >= 2  # the worst of each seed became the best
    np.testing.assert_array_equal(jax.random.key_data(state.agents.key), jax.random.key_data(expected.key))


# --- evolution ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "generations"), [("cmaes", 25), ("openes", 60)])
def test_evolution_finds_a_maximum(method, generations):
    space = search.box(AXES)
    top = jnp.array([0.8, 0.3])

    def height(hp, agent):
        x = jnp.stack([jnp.log10(hp.learning_rate) / 3 + 4 / 3, hp.gamma])
        return -jnp.square(x - top).sum()

    strategy = search.evolution(method, space, 12, agent_updates=10, generations=generations)
    state, _ = searched(pretend(height), strategy, space, seeds=2)
    result = search.on_host(state.strategy)
    assert result.x.shape == (generations, 12, 2) and np.isfinite(result.score).all()
    np.testing.assert_allclose(result.mean, top, atol=0.05)
    assert result.score[-1].mean() > result.score[0].mean()


def test_every_generation_starts_over_with_new_keys():
    space = search.box(AXES)
    strategy = search.evolution("cmaes", space, 4, agent_updates=10, generations=3)
    algo = pretend(lambda hp, agent: agent.born / 2.0**32)  # the return is the luck of its beginning
    state, metrics = searched(algo, strategy, space, seeds=2)
    luck = np.asarray(metrics["episode/return_sum"])[9::10]  # [G, P]
    assert len(np.unique(luck.round(6))) == 6  # one of each seed and generation, the same in every slot
    assert (state.agents.num_updates == 10).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda space: search.asha(np.zeros((4, 2)), 5, 64), "slots = 5"),
        (lambda space: search.asha(np.zeros((4, 2)), 2, 64, eta=1), "eta = 1"),
        (lambda space: search.asha(np.zeros((4, 2)), 2, 8, eta=3), "8 updates are too few"),
        (lambda space: search.pbt(np.zeros((3, 2)), 20, 2, space), "at least 4 members, not 3"),
        (lambda space: search.pbt(np.zeros((4, 2)), 20, 20, space), "decisions = 20"),
        (lambda space: search.evolution("cmaes", space, 5, 20, 2), "even number of candidates"),
        (lambda space: search.evolution("cmaes", space, 6, 20, 0), "generations = 0"),
    ],
)
def test_settings_that_make_no_search(make, message):
    with pytest.raises(ValueError, match=message):
        make(search.box(AXES))


# --- with a real algorithm -----------------------------------------------------------------------


@functools.cache
def ppo_population():
    algo = small("ppo")
    return algo, train.population(algo, vary_hparams=True)


def test_agents_under_search_are_the_agents_without():
    """Until the first decision; the same holds for any algorithm."""
    algo, population = ppo_population()
    space = search.box(AXES)
    x = np.random.default_rng(0).random((4, 2)).astype(np.float32)
    strategy = search.pbt(x, agent_updates=8, decisions=1, space=space)
    over = search.over(population, strategy, space, 2)
    keys = jax.vmap(jax.random.key)(jnp.arange(8) % 2)
    state = jax.jit(over.init)(keys, algo.hparams)
    hp = jax.vmap(lambda result: space.hparams(algo.hparams, result))(np.repeat(x, 2, axis=0))
    alone = jax.jit(population.init)(keys, hp)
    update, update_alone = jax.jit(over.update), jax.jit(population.update)
    for _ in range(3):
        state, _ = update(state, algo.hparams)
        alone, _ = update_alone(alone, hp)
    for a, b in zip(jax.tree.leaves(state.agents.params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    # The state of a search is a fixed point of its update in shape and type, as any state is.
    kinds = [
        jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
        for tree in (state, update(state, algo.hparams)[0])
    ]
    assert kinds[0] == kinds[1]


# --- which agents diverged -------------------------------------------------------------------------


def test_the_update_of_a_divergence_is_recorded():
    def value(hp, agent):
        return jnp.where((agent.num_updates >= 7) & (hp.gamma > 0.5), jnp.nan, 1.0)

    algo = train.watched(pretend(value))
    hp = train.grid(Hp(), gamma=jnp.array([0.4, 0.6]))
    state = algo.init(jax.random.split(jax.random.key(0), 2), hp)
    totals = train.no_totals(algo.update, state, hp)
    _, totals = jax.jit(functools.partial(train.advance, algo.update))(state, totals, hp, 10)
    assert totals["agent/dead/count"].tolist() == [0.0, 4.0]  # the updates 7, 8, 9 and 10


def test_the_candidates_of_complete_generations_are_scored():
    """Two of three generations of four candidates, each trained for ten updates, after twenty."""
    pytest.importorskip("evosax")
    space = search.Space(("a", "b"), lambda hp, x: hp, lambda x: x, np.zeros(2), np.ones(2), np.ones(2))
    options = {"kind": "openes", "slots": 4, "generations": 3}
    strategy = strategies.strategy(options, space, 10)
    assert (strategy.slots, strategy.agent_updates) == (4, 10)
    x, score = np.arange(24.0).reshape(3, 4, 2), np.arange(12.0).reshape(3, 4, 1)
    state = Searched(Generations(x, score), np.int32(20))
    found = strategies.scored(options, strategy, state)
    assert [(one["trial"], one["generation"]) for one in found] == [(i, i // 4) for i in range(8)]
    assert [one["per_seed"].tolist() for one in found] == [[float(i)] for i in range(8)]
    assert all(
        one["x"].tolist() == [2.0 * i, 2.0 * i + 1] and one["updates"] == 20 for i, one in enumerate(found)
    )


class Generations(NamedTuple):
    x: np.ndarray
    score: np.ndarray


class Searched(NamedTuple):
    strategy: Generations
    num_updates: np.ndarray
