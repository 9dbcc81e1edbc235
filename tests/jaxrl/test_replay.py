"""Replays, compared with Python lists of what happened, over random programs of steps and ends."""

import collections
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrl import replay, train
from jaxrl.replay import tree
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Algorithm, Transition

GAMMA = 0.5


class World:
    """`N` environments whose observations are (number of the episode, time in it), and their steps."""

    def __init__(self, seed, num_envs, p_end):
        self.rng = np.random.default_rng(seed)
        self.p_end = p_end
        self.now = [(100 * (env + 1), 0) for env in range(num_envs)]
        self.steps = [[] for _ in range(num_envs)]

    def step(self, env):
        obs = self.now[env]
        led_to = (obs[0], obs[1] + 1)
        end = self.rng.random() < self.p_end
        terminated = end and self.rng.random() < 0.4
        truncated = end and (not terminated or self.rng.random() < 0.2)  # both are possible
        self.now[env] = (obs[0] + 1, 0) if end else led_to
        self.steps[env].append(
            {
                "obs": obs,
                "next_obs": led_to,
                "first": obs[1] == 0,
                "action": int(self.rng.integers(0, 5)),
                "reward": float(self.rng.integers(1, 9)),
                "terminated": terminated,
                "truncated": truncated,
            }
        )
        return self.steps[env][-1]

    def block(self, num_steps):
        """Transitions `[T, N]`."""
        rows = [[self.step(env) for env in range(len(self.now))] for _ in range(num_steps)]

        def array(name, dtype):
            return jnp.asarray(np.array([[step[name] for step in row] for row in rows]), dtype)

        return Transition(
            obs=array("obs", jnp.float32),
            first=array("first", bool),
            memory=(),
            action=array("action", jnp.int32),
            extras={"twice": 2 * array("action", jnp.uint8)},
            next_obs=array("next_obs", jnp.float32),
            reward=array("reward", jnp.float32),
            terminated=array("terminated", bool),
            truncated=array("truncated", bool),
            info={},
        )


def transition(steps, i, n):
    """What the definition says about the step `i` of a list: `(reward, discount, next_obs)`."""
    reward, discount, j = 0.0, 1.0, i
    while True:
        reward += discount * steps[j]["reward"]
        discount *= GAMMA
        if steps[j]["terminated"]:
            return reward, 0.0, None
        if steps[j]["truncated"] or j - i + 1 == n or j + 1 == len(steps):
            return reward, discount, steps[j]["next_obs"]
        j += 1


def oldest(world, length, max_ends):
    """The first time of which transitions can be drawn: all truncated steps since then have a place."""
    times = len(world.steps[0])
    cuts = [
        time
        for time in range(times)
        for steps in world.steps
        if steps[time]["truncated"] and not steps[time]["terminated"]
    ]
    lost = cuts[: max(0, len(cuts) - max_ends)]
    return max([times - length, 0, *(time + 1 for time in lost[-1:])])


# seed, N, T, additions, capacity, n, probability of an end, ends that can be stored
PROGRAMS = [
    (0, 3, 1, 5, 36, 1, 0.3, None),
    (1, 3, 2, 9, 36, 2, 0.3, 36),
    (2, 1, 3, 20, 24, 3, 0.2, None),
    (3, 4, 1, 40, 32, 5, 0.5, 8),
    (4, 2, 4, 7, 32, 1, 0.9, 32),
    (5, 3, 1, 1, 30, 3, 0.3, None),
    (6, 2, 1, 30, 20, 4, 1.0, None),
    (7, 5, 2, 11, 45, 2, 0.0, 1),
]


def played(kind, seed, num_envs, num_steps, adds, capacity, p_end, **options):
    world = World(seed, num_envs, p_end)
    memory = kind(
        jnp.zeros(2),
        Discrete(5),
        num_envs,
        capacity,
        num_steps=num_steps,
        extras={"twice": jnp.zeros((), jnp.uint8)},
        **options,
    )
    rows, add = memory.init(), jax.jit(memory.add, donate_argnums=0)
    for _ in range(adds):
        rows = add(rows, world.block(num_steps))
    return world, memory, rows


def drawn(memory, rows, seed, size, *args):
    noise = memory.draw(jax.random.key(seed), (size,))
    return jax.tree.map(np.asarray, jax.jit(memory.sample)(rows, noise, *args))


def counts_of(batch):
    """How often each (obs, action, extras, reward, discount, next_obs) was drawn."""
    parts = batch.obs, batch.action, batch.extras["twice"], batch.reward, batch.discount, batch.next_obs
    rows = zip(*(part.reshape(len(batch.row), -1).tolist() for part in parts))
    return collections.Counter(tuple(tuple(part) for part in row) for row in rows)


def expected(world, start, n):
    """The transitions from the time `start` on, as `counts_of` has them."""
    rows = []
    for steps in world.steps:
        for i in range(start, len(steps)):
            reward, discount, next_obs = transition(steps, i, n)
            if next_obs is None:  # the last one acted on
                j = next(j for j in range(i, len(steps)) if steps[j]["terminated"])
                next_obs = steps[j]["obs"]
            action = steps[i]["action"]
            rows.append((steps[i]["obs"], (action,), (2 * action,), (reward,), (discount,), next_obs))
    return rows


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_transitions_are_those_of_a_list(program):
    """All that can be drawn, no others, equally often."""
    seed, num_envs, num_steps, adds, capacity, n, p_end, max_ends = program
    options = {"n_step": n, "max_ends": max_ends}
    world, memory, rows = played(replay.uniform, seed, num_envs, num_steps, adds, capacity, p_end, **options)
    assert capacity <= memory.capacity < capacity + num_envs * num_steps
    room = max(-(-memory.capacity // 8) if max_ends is None else max_ends, num_envs * num_steps)
    there = expected(world, oldest(world, memory.capacity // num_envs, room), n)
    counts = counts_of(drawn(memory, rows, seed, 200 * len(there), GAMMA))
    assert set(counts) == set(there) and len(there) == int(rows.filled) * num_envs
    assert_chi_square([counts[one] for one in there], [200.0] * len(there))


def assert_chi_square(counts, means):
    """At most 5 standard deviations from its mean."""
    counts, means = np.array(counts), np.array(means)
    chi_square, freedom = (np.square(counts - means) / means).sum(), len(means) - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom) + 1e-9


def test_sequences_are_those_of_a_list():
    """All of `length` steps, no others, equally often."""
    length = 4
    for seed, num_envs, num_steps, adds, capacity, p_end in [(0, 3, 2, 9, 36, 0.3), (1, 2, 1, 7, 20, 0.6)]:
        options = {"length": length, "max_ends": capacity}
        world, memory, rows = played(
            replay.sequence, seed, num_envs, num_steps, adds, capacity, p_end, **options
        )
        there = {}
        for steps in world.steps:
            for i in range(max(0, len(steps) - memory.capacity // num_envs), len(steps) - length + 1):
                there[steps[i]["obs"]] = steps[i : i + length]
        batch = drawn(memory, rows, seed, 100 * len(there))
        starts = collections.Counter(tuple(obs) for obs in batch.obs[0].tolist())
        assert set(starts) == set(there) and batch.mask.all()
        assert_chi_square([starts[one] for one in there], [100.0] * len(there))
        for b in range(len(batch.row)):
            for t, step in enumerate(there[tuple(batch.obs[0, b])]):
                seen = {
                    name: getattr(batch, name)[t, b].tolist()
                    for name in step
                    if name not in ("obs", "next_obs")
                }
                assert seen == {name: step[name] for name in seen}
                assert tuple(batch.obs[t, b]) == step["obs"]
                led_to = step["obs"] if step["terminated"] else step["next_obs"]
                assert tuple(batch.next_obs[t, b]) == led_to
                assert batch.extras["twice"][t, b] == 2 * step["action"]


def test_a_sequence_longer_than_the_steps_so_far_is_masked():
    _, memory, rows = played(replay.sequence, 0, 3, 1, 2, 36, 0.3, length=4)
    batch = drawn(memory, rows, 0, 60)
    assert set(batch.row) == {0, 1, 2} and (batch.mask.sum(axis=0) == 2).all() and batch.mask[:2].all()


@pytest.mark.parametrize("n", [1, 3])
def test_prioritized_transitions_are_drawn_in_proportion(n):
    """1e5 draws, by chi-square: new rows have the largest priority so far; priority 0 never occurs."""
    world, memory, rows = played(replay.prioritized, 0, 3, 2, 8, 36, 0.3, n_step=n)
    assert all(len(steps) == 16 for steps in world.steps) and memory.capacity == 36
    priority = np.random.default_rng(0).choice([0.0, 0.1, 1.0, 2.5], 36).astype(np.float32)
    priority[7], priority[20] = 2.5, 0.0
    reweigh = jax.jit(memory.reweigh)
    for part in np.split(np.arange(36), 3):
        rows = reweigh(rows, jnp.asarray(part), jnp.asarray(priority[part]))
    new = world.block(2)
    at = 3 * (16 % 12) + np.arange(6)
    rows = jax.jit(memory.add)(rows, new)
    priority[at] = 2.5

    batch = drawn(memory, rows, 3, 100_000, GAMMA)
    share = priority / priority.sum()
    counts = np.bincount(batch.row, minlength=36)
    assert not counts[priority == 0.0].any() and (priority == 0.0).sum() > 3
    some = priority > 0.0
    assert_chi_square(counts[some], 100_000 * share[some])
    np.testing.assert_allclose(batch.probability, share[batch.row], rtol=1e-5)
    assert set(counts_of(batch)) <= set(expected(world, 18 - 12, n))

    weights = replay.importance_weights(jnp.asarray(batch.probability), 0.4)
    by_definition = (36 * share[batch.row]) ** -0.4
    np.testing.assert_allclose(weights, by_definition / by_definition.max(), rtol=1e-5)


def test_priorities_of_many_rows():
    """Sums over several levels remain those of the leaves, whatever is changed."""
    rng, size = np.random.default_rng(0), 1003
    priorities, state = np.zeros(size, np.float32), tree.init(size)
    for i in range(30):
        start, index = 17 * rng.integers(0, 59), rng.integers(0, size, 40)
        priorities[start : start + 17] = i
        state = BLOCK(state, start, 17, np.float32(i))
        priorities[index] = index % 7
        state = ASSIGN(state, jnp.asarray(index), jnp.asarray(index % 7, jnp.float32))
    sums = priorities
    for level in state:
        np.testing.assert_allclose(level[: len(sums)], sums, rtol=1e-6)
        assert not level[len(sums) :].any()
        sums = np.pad(sums, (0, -len(sums) % tree.FAN)).reshape(-1, tree.FAN).sum(axis=1)
    moved = tree.rolled(jax.tree.map(lambda x: x[None], state), size, 40)
    np.testing.assert_array_equal(moved[0][0, :size], np.roll(priorities, 40))
    np.testing.assert_allclose(moved[-1].sum(), priorities.sum(), rtol=1e-6)
    uniform = jax.random.uniform(jax.random.key(0), (100_000, len(state)))
    index, _ = jax.jit(tree.draw)(state, uniform)
    some = priorities > 0.0
    counts = np.bincount(index, minlength=size)
    assert not counts[~some].any()
    assert_chi_square(counts[some], 100_000 * priorities[some] / priorities.sum())


BLOCK, ASSIGN = jax.jit(tree.assign_block, static_argnums=2), jax.jit(tree.assign)


# ---------------------------------------------------------------------------------------------------
# Populations


@struct.dataclass
class State:
    key: jax.Array
    replay: replay.Rows | replay.PrioritizedRows


def learner(kind):
    """Adds a row of random numbers for each of 4 environments, and samples 8; what it learns is their sum."""
    memory = kind(jnp.zeros(6), Discrete(5), num_envs=4, capacity=4096)

    def init(key, hp):
        return State(key, memory.init())

    def update(state, hp):
        key, obs_key, end_key, draw_key = jax.random.split(state.key, 4)
        obs, ends = jax.random.normal(obs_key, (2, 1, 4, 6)), jax.random.uniform(end_key, (2, 1, 4)) < 0.1
        action, reward = jnp.zeros((1, 4), jnp.int32), obs[0].sum(-1)
        rest = {"memory": (), "extras": (), "info": {}, "terminated": ends[0], "truncated": ends[1]}
        steps = Transition(obs=obs[0], first=ends[0], action=action, next_obs=obs[1], reward=reward, **rest)
        rows = memory.add(state.replay, steps)
        batch = memory.sample(rows, memory.draw(draw_key, (8,)), GAMMA)
        if memory.reweigh:
            rows = memory.reweigh(rows, batch.row, jnp.abs(batch.reward))
        return State(key, rows), {"loss/sum": batch.obs.sum() + batch.next_obs.sum() + batch.reward.sum()}

    return Algorithm(init, update, lambda *args: args, {}, steps_per_update=4)


@pytest.mark.parametrize("kind", [replay.uniform, replay.prioritized])
def test_a_population_neither_copies_its_replay_nor_scatters_into_it(kind):
    """32 lanes of a compiled, donated loop; and a lane is that agent alone."""
    algo = learner(kind)
    many = train.population(algo)
    keys = jax.random.split(jax.random.key(0), 32)
    state = jax.jit(many.init)(keys, {})
    zeros = train.no_totals(many.update, state, {})
    program = train.program(many.update).lower(state, zeros, {}, np.int32(1)).compile()
    rows = getattr(state.replay, "rows", state.replay)
    assert rows.obs.shape == (32, 4096, 6) and rows.steps.shape == (32, 4096, 3)
    text = program.as_text()
    results = re.findall(r"= \(?(\w+\[[\d,]*\])[^=]*? ([a-z-]+)\(", text)
    assert ("u32[32,4096,6]", "dynamic-update-slice") in results
    large = [
        (shape, op)
        for shape, op in results
        if math.prod(map(int, re.findall(r"\d+", shape[3:]))) >= rows.steps.size
    ]
    assert not {op for _, op in large} & {"copy", "scatter", "select", "concatenate", "transpose"}
    assert program.memory_analysis().temp_size_in_bytes < 0.1 * (rows.obs.nbytes + rows.steps.nbytes)

    one = State(keys[5], algo.init(keys[5], {}).replay)
    single = train.program(algo.update)
    (state, totals), (one, total) = (
        program(state, zeros, {}, np.int32(20)),
        single(one, jax.tree.map(lambda x: x[0], zeros), {}, 20),
    )
    for a, b in zip(jax.tree.leaves(state.replay), jax.tree.leaves(one.replay)):
        np.testing.assert_allclose(a[5], b, rtol=1e-5)
    np.testing.assert_allclose(totals["loss/sum"][5], total["loss/sum"], rtol=1e-5)


@pytest.mark.parametrize("kind", [replay.uniform, replay.prioritized])
def test_an_agent_that_is_started_again_has_its_own_rows_only(kind):
    """Its lane is at another position than the others until its rows are moved there."""
    worlds = [World(seed, 2, 0.4) for seed in range(3)]
    options = {} if kind is replay.prioritized else {"max_ends": 4}
    memory = kind(
        jnp.zeros(2), Discrete(5), 2, 24, n_step=2, extras={"twice": jnp.zeros((), jnp.uint8)}, **options
    )
    add, sample = jax.jit(jax.vmap(memory.add)), jax.jit(jax.vmap(memory.sample, (0, 0, None)))

    def play(rows, worlds, adds):
        for _ in range(adds):
            blocks = [world.block(1) for world in worlds]
            rows = add(rows, jax.tree.map(lambda *x: jnp.stack(x), *blocks))
        return rows

    start = jax.vmap(lambda _: memory.init())(jnp.arange(3))
    rows = play(start, worlds, 17)
    worlds[1] = World(7, 2, 0.4)
    fresh = play(start, [World(8, 2, 0.4), worlds[1], World(9, 2, 0.4)], 5)
    rows = jax.jit(replay.choose)(jnp.array([False, True, False]), fresh, rows)
    for adds in (0, 2, 9):
        rows = play(rows, worlds, adds)
        noise = jax.vmap(lambda key: memory.draw(key, (2000,)))(jax.random.split(jax.random.key(adds), 3))
        batch = jax.tree.map(np.asarray, sample(rows, noise, GAMMA))
        for lane, world in enumerate(worlds):
            room = 24 if kind is replay.prioritized else 4
            there = expected(world, oldest(world, 12, room), 2)
            counts = counts_of(jax.tree.map(lambda x, i=lane: x[i], batch))
            assert set(counts) == set(there)
            assert_chi_square([counts[one] for one in there], [2000 / len(there)] * len(there))


# ---------------------------------------------------------------------------------------------------
# Words

LEAVES = {
    "planes": jax.ShapeDtypeStruct((10, 10, 4), bool),
    "bytes": jax.ShapeDtypeStruct((3,), jnp.uint8),
    "small": jax.ShapeDtypeStruct((2, 2), jnp.int8),
    "shorts": jax.ShapeDtypeStruct((3,), jnp.int16),
    "half": jax.ShapeDtypeStruct((5,), jnp.bfloat16),
    "other half": jax.ShapeDtypeStruct((), jnp.float16),
    "real": jax.ShapeDtypeStruct((), jnp.float32),
    "whole": jax.ShapeDtypeStruct((2, 3), jnp.int32),
    "empty": jax.ShapeDtypeStruct((0,), jnp.float32),
    "space": Box(-1.0, 1.0, (2,)),
    "choice": Discrete(200),
    "larger choice": Discrete(70_000),
    "choices": MultiDiscrete((3, 300)),
}


def test_words_are_unpacked_to_the_bit():
    rows, rng = replay.packing(LEAVES), np.random.default_rng(0)
    assert replay.packing(LEAVES["planes"]).num_words == 13

    def some(leaf):
        n = np.max(getattr(leaf, "nvec", getattr(leaf, "n", 0)))
        if n:
            return jnp.asarray(rng.integers(0, n, (7, *leaf.shape)), jnp.int32)
        raw = rng.integers(0, 256, (7, *leaf.shape, leaf.dtype.itemsize), np.uint8)
        return jnp.asarray((raw % 2 == 1)[..., 0] if leaf.dtype == bool else raw.view(leaf.dtype)[..., 0])

    values = jax.tree.map(some, LEAVES)
    words = jax.jit(rows.pack)(values)
    assert words.shape == (7, rows.num_words) and words.dtype == jnp.uint32
    bits = 400 + 8 * (3 + 4 + 1) + 16 * (3 + 5 + 1 + 2) + 32 * (1 + 6 + 2 + 1)
    assert 32 * rows.num_words < bits + 3 * 32
    for a, b in zip(jax.tree.leaves(values), jax.tree.leaves(jax.jit(rows.unpack)(words)), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (replay.uniform, {"capacity": 0}, "capacity = 0 must be a whole number of at least 1"),
        (replay.uniform, {"n_step": 1.5}, "n_step = 1.5 must be"),
        (replay.uniform, {"max_ends": 0}, "max_ends = 0 must be"),
        (replay.uniform, {"capacity": 2**29}, "capacity = 536870912 is too large"),
        (replay.sequence, {"length": 9}, "length = 9 is more than the 8 steps per environment"),
        (replay.uniform, {"obs": jax.eval_shape(lambda: jax.random.key(0))}, "a replay stores real numbers"),
        (replay.uniform, {"obs": jnp.zeros(2, jnp.complex64)}, "a replay stores real numbers"),
    ],
)
def test_a_replay_that_is_impossible_is_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"obs": jnp.zeros(2), "action": Discrete(5), "num_envs": 2, "capacity": 16, **options})


def test_steps_that_do_not_fit_are_refused():
    memory = replay.uniform(jnp.zeros(2), Discrete(5), 2, 16, num_steps=2)
    steps = World(0, 2, 0.5).block(2)
    for wrong, message in [
        (jax.tree.map(lambda x: x[:1], steps), r"takes 2 steps of 2 environments at a time, not .* \(1, 2\)"),
        (steps.replace(obs=steps.obs[..., :1]), r"numbers of the shape \(2,\), not"),
        (steps.replace(obs=steps.obs.astype(jnp.int32)), "hold float32, not int32"),
    ]:
        with pytest.raises(ValueError, match=message):
            memory.add(memory.init(), wrong)
