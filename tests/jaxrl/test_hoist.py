"""`hoist.scan` against `jax.lax.scan`, and that random numbers are really computed before the loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import FUSED, OPTIMIZED, slow_except
from flax import struct

from jaxrl import envs, spaces
from jaxrl import rollout as rollouts
from jaxrl.algos import ppo
from jaxrl.cpu import hoist, threefry
from jaxrl.types import Stream

NUM_STEPS = 5  # odd: two steps per turn of the loop leave one over
KEYS = jax.random.split(jax.random.key(0), NUM_STEPS)
WEIGHT = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
START = jnp.array([0.5, -0.25])


def assert_same(ours, theirs, rounding=0.0):
    """Equal in tree, shapes, dtypes and bits, except floats, which are equal to `rounding`."""
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        if rounding and jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, rtol=rounding, atol=rounding)
        else:
            np.testing.assert_array_equal(a, b)


def both(step, carry, keys):
    """The compiled results of `hoist.scan` and of JAX's scan."""
    return [jax.jit(lambda c, k, s=scan: s(step, c, k))(carry, keys) for scan in (hoist.scan, jax.lax.scan)]


def equations(jaxpr):
    """Every equation of a jaxpr and of all jaxprs inside it."""
    for eqn in jaxpr.eqns:
        yield eqn
        for inner in jax.tree.leaves(list(eqn.params.values())):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def in_the_loop(step, carry, keys, scan=hoist.scan):
    """Names of the primitives in the body of the one scan over the steps."""
    closed = jax.make_jaxpr(lambda c, k: scan(step, c, k))(carry, keys)
    length = jax.tree.leaves(keys)[0].shape[0]
    (body,) = [
        eqn.params["jaxpr"].jaxpr
        for eqn in equations(closed.jaxpr)
        if eqn.primitive.name == "scan" and eqn.params["length"] == length
    ]
    return {eqn.primitive.name for eqn in equations(body)}


def is_random(name):
    return name.startswith(("random_", "threefry"))


# ---------------------------------------------------------------------------------------------------
# The same numbers


def policy_like(carry, key):
    """Draws in nested jits and under vmap; some depend on the carry, some are not used."""
    noise_key, choice_key, coin_key = jax.random.split(key, 3)
    noise = jax.jit(lambda k: jax.jit(jax.random.normal, static_argnums=1)(k, (3,)))(noise_key)
    logits = carry @ WEIGHT + noise
    action = jax.random.categorical(choice_key, logits)
    coins = jax.vmap(jax.random.bernoulli)(jax.random.split(coin_key, 2))
    fresh = jax.random.uniform(coin_key, (2,))
    return jnp.where(coins, fresh, carry + 0.125 * action), {"action": action, "inner": (logits, None, coins)}


def random_in_a_branch(carry, key):
    draw = lambda k: jax.random.uniform(k, (2,))  # noqa: E731
    by_carry = jax.lax.cond(carry.sum() > 0, draw, lambda k: -draw(jax.random.fold_in(k, 1)), key)
    by_key = jax.lax.cond(jax.random.bernoulli(key), lambda k: draw(k) + 1, draw, key)
    return by_carry, by_key


def loops_inside(carry, key):
    def more(i, x):
        return x + jax.random.randint(jax.random.fold_in(key, i), (2,), 0, 9)

    counted = jax.lax.fori_loop(0, 3, more, carry)
    tries = jax.lax.while_loop(
        lambda t: jax.random.uniform(jax.random.fold_in(key, t)) < 0.7, lambda t: t + 1, 0
    )
    summed = jax.lax.scan(lambda a, k: (a + jax.random.bits(k), a), jnp.uint32(0), jax.random.split(key, 4))
    return counted, (tries, summed)


def key_in_the_carry(carry, key):
    kept, total = carry
    kept, now_key = jax.random.split(kept)
    total = total + jax.random.bits(now_key) + jax.random.bits(key)
    return (jax.random.fold_in(kept, total % 7), total), (kept, key)


def nothing_out(carry, key):
    return carry + jax.random.randint(key, (), 0, 100), None


def only_the_key(carry, key):
    return jax.random.uniform(key, carry.shape), ()


def same_words_twice(carry, key):
    """Two calls of one compiled function, a literal and a constant as outputs, an unused key."""
    draw = jax.jit(lambda k: jax.random.bits(k, (2,)))
    return carry + draw(key), (draw(key), 3.0, WEIGHT, carry)


CASES = {
    "policy": (policy_like, START),
    "branch": (random_in_a_branch, START),
    "loops": (loops_inside, jnp.zeros(2, jnp.int32)),
    "key in carry": (key_in_the_carry, (jax.random.key(7), jnp.uint32(3))),
    "no output": (nothing_out, jnp.int32(0)),
    "no carry used": (only_the_key, START),
    "twice": (same_words_twice, jnp.zeros(2, jnp.uint32)),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_a_scan(name):
    step, carry = CASES[name]
    # Products and transcendental functions are compiled differently inside and outside of a loop.
    assert_same(*both(step, carry, KEYS), rounding=1e-6 if name == "policy" else 0.0)


@pytest.mark.parametrize("length", [0, 1, 2, 4])
def test_it_is_a_scan_of_any_length(length):
    assert_same(*both(policy_like, START, KEYS[:length]), rounding=1e-6)


def test_keys_may_be_a_tree():
    def step(carry, keys):
        a = jax.random.uniform(keys["a"], (2,))
        b = jax.vmap(jax.random.uniform)(keys["b"][0])
        return jnp.where(carry > b, a, carry), (a, keys["b"][1] * carry)

    b_keys = jax.random.split(jax.random.key(1), (NUM_STEPS, 2))
    keys = {"a": KEYS, "b": (b_keys, jnp.arange(NUM_STEPS, dtype=jnp.float32))}
    assert_same(*both(step, START, keys))


def test_a_weakly_typed_carry_is_a_scan():
    assert_same(*both(lambda c, k: (c + jax.random.uniform(k), c), 0.0, KEYS))
    assert_same(*both(lambda c, k: (c + 1, jax.random.randint(k, (), 0, 5) + c), 0, KEYS))


def test_a_carry_of_another_tree_is_rejected():
    """If it were accepted, the parts of a state would be swapped silently."""
    with pytest.raises(TypeError, match="carry"):
        hoist.scan(lambda c, k: ([c[0] + jax.random.uniform(k)], c[0]), (jnp.float32(0.0),), KEYS)


@struct.dataclass
class Comparing:
    """A part of a state that compares its arrays, as NAVIX's entities do; of shapes it cannot."""

    position: jax.Array

    def __eq__(self, other):
        return bool(jnp.array_equal(self.position, other.position))


def test_a_carry_that_defines_equality_is_a_scan():
    def step(carry, key):
        return Comparing(carry.position + jax.random.randint(key, (2,), 0, 9)), carry.position

    assert_same(*both(step, Comparing(jnp.zeros(2, jnp.int32)), KEYS))


def test_a_step_that_draws_nothing_is_a_scan():
    assert_same(*both(lambda c, k: (c + 1, c), jnp.int32(0), KEYS))


def test_a_carry_of_another_type_is_rejected():
    """`lax.scan` would make the whole number a float; a state that is trained does not change its type."""
    with pytest.raises(TypeError, match="carry"):
        hoist.scan(lambda c, k: (c * 2 + jax.random.uniform(k), c), 0, KEYS)


def closing_over(scan):
    """A function of a weight and a start that its step closes over, not given through the carry."""

    def function(weight, keys):
        offset = jnp.tanh(weight).sum(0)

        def step(carry, key):
            noise = jax.random.normal(key, (3,))
            return jnp.tanh(carry @ weight + offset * noise)[:2], offset + noise

        return scan(step, START, keys)

    return function


def test_it_closes_over_traced_values_under_jit_and_vmap():
    weights = jnp.stack([WEIGHT, 2 * WEIGHT, WEIGHT + 1])
    many_keys = jax.vmap(lambda k: jax.random.split(k, NUM_STEPS))(jax.random.split(jax.random.key(2), 3))
    ours, theirs = (jax.jit(closing_over(scan)) for scan in (hoist.scan, jax.lax.scan))
    assert_same(ours(WEIGHT, KEYS), theirs(WEIGHT, KEYS), rounding=1e-6)
    over_both = [
        jax.jit(jax.vmap(closing_over(scan)))(weights, many_keys) for scan in (hoist.scan, jax.lax.scan)
    ]
    assert_same(*over_both, rounding=1e-6)
    alone = ours(weights[1], many_keys[1])
    np.testing.assert_allclose(over_both[0][0][1], alone[0], atol=1e-6)


def test_gradients_of_closed_over_values_match_a_scan():
    def loss(scan):
        def function(weight):
            carry, out = closing_over(scan)(weight, KEYS)
            return carry.sum() + jnp.square(out).mean()

        return function

    ours, theirs = (jax.jit(jax.grad(loss(scan)))(WEIGHT) for scan in (hoist.scan, jax.lax.scan))
    assert np.abs(theirs).min() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------
# Placement of the computations


def test_random_numbers_are_hoisted():
    for name in ("policy", "no carry used", "twice"):
        step, carry = CASES[name]
        assert any(map(is_random, in_the_loop(step, carry, KEYS, jax.lax.scan)))
        assert not any(map(is_random, in_the_loop(step, carry, KEYS)))


def test_values_derived_from_random_numbers_are_hoisted_too():
    names = in_the_loop(lambda c, k: (c + jnp.sin(jax.random.normal(k)), jnp.cos(c)), 0.0, KEYS)
    assert {"sin", "erf_inv"}.isdisjoint(names)
    assert {"cos", "add"} <= names


def test_random_numbers_by_a_key_that_is_carried_stay():
    assert any(map(is_random, in_the_loop(*CASES["key in carry"], KEYS)))


def large_reset(carry, key):
    """A state of 4 KB made from a key alone, where a step returns 4 bytes."""
    noise = jax.random.uniform(key)
    fresh = jnp.sin(noise * jnp.arange(1024.0))
    carry = jnp.where(carry.sum() * 0.01 > noise, fresh, carry + 1.0)
    return carry, noise


@pytest.fixture
def little_memory(monkeypatch):
    """With limits such that a reset of 4 KB is too large to be computed for five steps at once."""
    monkeypatch.setattr(hoist, "MOST_BYTES", 4096)


def test_only_the_random_numbers_of_a_large_reset_are_hoisted(little_memory):
    state = jnp.ones(1024)
    names = in_the_loop(large_reset, state, KEYS)
    assert "sin" in names
    assert not any(map(is_random, names))
    assert_same(*both(large_reset, state, KEYS))


def large_reset_of_halves(carry, key):
    """The same, from a key that is split first, as environments do."""
    _, reset_key = jax.random.split(key)
    return large_reset(carry, reset_key)


def test_random_numbers_of_a_large_reset_are_hoisted_although_keys_are_split(little_memory):
    state = jnp.ones(1024)
    names = in_the_loop(large_reset_of_halves, state, KEYS)
    assert "sin" in names
    assert not any(map(is_random, names))
    assert_same(*both(large_reset_of_halves, state, KEYS))


def test_random_numbers_are_hoisted_without_outputs():
    assert not any(map(is_random, in_the_loop(*CASES["no output"], KEYS)))


def generated_level(num_lanes, num_words):
    """A level per lane is generated in every step, from many random bits, and is rarely used."""

    def step(carry, key):
        action_key, level_key = jax.random.split(key)
        action = jax.random.randint(action_key, (num_lanes,), 0, 4)
        levels = jax.vmap(lambda k: jax.random.uniform(k, (num_words,)))(
            jax.random.split(level_key, num_lanes)
        )
        carry = jnp.where((action == 0)[:, None], levels > 0.5, carry)
        return carry, carry[:, :8].sum(axis=1)

    return step, jnp.zeros((num_lanes, num_words), bool)


def temporary_memory(scan, step, carry, keys):
    lowered = jax.jit(threefry.unrolled(lambda c, k: scan(step, c, k))).lower(carry, keys)
    return lowered.compile(OPTIMIZED).memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("num_words", slow_except([4, 256, 20_000], 256, 20_000))
def test_random_numbers_of_any_size_take_little_more_memory_than_in_a_scan(num_words):
    step, carry = generated_level(64, num_words)
    keys = jax.random.split(jax.random.key(0), 64)
    ours, theirs = (temporary_memory(scan, step, carry, keys) for scan in (hoist.scan, jax.lax.scan))
    assert ours <= 1.5 * theirs + 4 * hoist.FEW_BYTES  # and the results: words of keys and counters
    assert_same(*both(step, carry, keys[:8]))


def test_steps_are_hoisted_in_blocks_where_all_at_once_need_too_much_memory():
    step, carry = generated_level(8, 64)
    keys = jax.random.split(jax.random.key(0), 512)  # 2 KB of numbers per step: 31 steps fit at once
    closed = jax.make_jaxpr(lambda c, k: hoist.scan(step, c, k))(carry, keys)
    lengths = [eqn.params["length"] for eqn in equations(closed.jaxpr) if eqn.primitive.name == "scan"]
    assert lengths == [32, 2, 16]  # blocks, parts of the numbers of one, and its steps
    (body,) = [
        eqn.params["jaxpr"].jaxpr
        for eqn in equations(closed.jaxpr)
        if eqn.primitive.name == "scan" and eqn.params["length"] == 16
    ]
    assert not any(is_random(eqn.primitive.name) for eqn in equations(body))
    assert_same(*both(step, carry, keys))
    assert_same(*both(step, carry, keys[:509]))  # a prime number of steps has no blocks


def test_intermediate_values_take_memory_for_a_part_of_the_steps():
    """A step that keeps one number of 4,096 that it draws: 16 KB in a plain scan, 1 MB for all 64 at once."""

    def step(carry, key):
        return carry + 1, jnp.sort(jax.random.uniform(key, (4096,)))[0] + jnp.zeros(5120)

    keys = jax.random.split(jax.random.key(0), 64)
    assert temporary_memory(hoist.scan, step, jnp.int32(0), keys) <= 64 * 4096 * 4
    assert_same(*both(step, jnp.int32(0), keys))


def host_noise(key):
    return jax.pure_callback(
        lambda data: np.float32(np.asarray(data).sum() % 1000), jnp.zeros(()), jax.random.key_data(key)
    )


def noise_in_a_branch(key):
    return jax.lax.cond(jax.random.bernoulli(key), lambda: host_noise(key), lambda: 0.0)


@pytest.mark.parametrize("noise", [host_noise, noise_in_a_branch, jax.jit(host_noise)])
def test_calls_of_the_host_that_depend_on_the_key_alone_stay_in_the_loop(noise):
    """They may not be batched: `pure_callback` without a `vmap_method` refuses it."""

    def step(carry, key):
        return carry + noise(key), noise(key) + jax.random.uniform(key)

    assert_same(*both(step, jnp.float32(0.0), KEYS))


def test_effects_happen_once_per_step():
    calls = []

    def step(carry, key):
        number = jax.random.randint(key, (), 0, 1000)
        jax.debug.callback(lambda n: calls.append(("key", int(n))), number, ordered=True)
        inner = jax.jit(
            lambda c: jax.debug.callback(lambda n: calls.append(("carry", int(n))), c, ordered=True)
        )
        inner(carry)
        jax.lax.cond(
            number % 2 == 0, lambda: jax.debug.callback(lambda: calls.append(("even", 0))), lambda: None
        )
        return carry + 1, number

    _, numbers = jax.jit(lambda k: hoist.scan(step, jnp.int32(0), k))(KEYS)
    jax.effects_barrier()
    numbers = np.asarray(numbers).tolist()
    assert [n for kind, n in calls if kind == "key"] == numbers
    assert [n for kind, n in calls if kind == "carry"] == list(range(NUM_STEPS))
    assert sum(kind == "even" for kind, _ in calls) == sum(n % 2 == 0 for n in numbers)


# ---------------------------------------------------------------------------------------------------
# Rollouts


@pytest.mark.parametrize(
    "name",
    slow_except(
        ["CartPole-v1", "Catch-bsuite", "Breakout-MinAtar", "probe/memory"], "CartPole-v1", "probe/memory"
    ),
)
def test_a_rollout_matches_a_plain_scan(name, monkeypatch):
    env = envs.make(name, max_steps=7)
    many = rollouts.vectorize(env, 3)

    def policy(memory, key, obs, first, mask):
        del obs, mask
        action = jax.random.randint(key, (3,), 0, env.action_space.n)
        return jnp.where(first, 0, memory) + 1, action, {"drew": jax.random.uniform(key)}

    def play(key):
        start = Stream(*many.reset(key), jnp.zeros(3, jnp.int32))
        return rollouts.rollout(many, policy, jax.random.fold_in(key, 1), start, 21)

    ours = jax.jit(play, compiler_options=FUSED)(jax.random.key(3))
    monkeypatch.setattr(rollouts.hoist, "scan", lambda *args: jax.lax.scan(*args))
    theirs = jax.jit(lambda key: play(key), compiler_options=FUSED)(jax.random.key(3))
    assert np.asarray(ours[1].done).sum() >= 3  # some of them start new episodes
    assert_same(ours, theirs)


# Extras that generate levels, and environments of jaxrl with large or random states.
LARGE = [
    "craftax/Craftax-Classic-Symbolic-v1",
    "craftax/Craftax-Symbolic-v1",
    "jumanji/Game2048-v1",
    "jumanji/Maze-v0",
    "jumanji/Minesweeper-v0",
    "jumanji/Snake-v1",
    "navix/Navix-DoorKey-8x8-v0",
    "navix/Navix-FourRooms-v0",
    "navix/Navix-LavaGapS7-v0",
    "pgx/2048",
    "xminigrid/MiniGrid-DoorKey-8x8",
    "xminigrid/MiniGrid-FourRooms",
    "CartPole-v1",
    "Breakout-MinAtar",
    "Pong-misc",
    "Seaquest-MinAtar",
    "world/garnet",
    "CartPole-v1 family",
]


def made(name):
    package = name.split("/")[0]
    if package in ("craftax", "jumanji", "navix", "pgx", "xminigrid"):
        pytest.importorskip(package)
    drawn = {"length": envs.families.uniform(0.3, 1.0)}
    return envs.family("CartPole-v1", **drawn) if name.endswith("family") else envs.make(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_rollout_takes_little_more_memory_than_in_a_plain_scan(name, monkeypatch):
    """Memory of 64 environments x 64 steps, the returned transitions included."""
    env = made(name)
    many = rollouts.vectorize(env, 64)

    def policy(memory, key, obs, first, mask):
        del obs, first, mask
        return memory, jax.vmap(lambda k: spaces.sample(env.action_space, k))(jax.random.split(key, 64)), {}

    def needed(scan):
        monkeypatch.setattr(rollouts.hoist, "scan", scan)
        play = jax.jit(lambda key, *start: rollouts.rollout(many, policy, key, Stream(*start, ()), 64))
        key = jax.eval_shape(lambda: jax.random.key(0))
        memory = play.lower(key, *jax.eval_shape(many.reset, key)).compile().memory_analysis()
        return memory.temp_size_in_bytes + memory.output_size_in_bytes

    ours, theirs = (needed(scan) for scan in (hoist.scan, jax.lax.scan))
    print(f"{name}: {ours / 1e6:.2f} MB, in a plain scan {theirs / 1e6:.2f} MB, ratio {ours / theirs:.2f}")
    assert ours <= 1.5 * theirs + 2 * hoist.FEW_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_an_update_with_a_rollout_takes_at_most_half_more_memory(name, monkeypatch):
    """Temporary memory of an update of PPO with 64 environments x 64 steps, transitions included."""
    algo = ppo.make(made(name), ppo.Config(num_envs=64, num_steps=64))

    def temporary(scan):
        monkeypatch.setattr(rollouts.hoist, "scan", scan)
        state = jax.eval_shape(algo.init, jax.eval_shape(lambda: jax.random.key(0)), algo.hparams)
        update = jax.jit(lambda state, hp: algo.update(state, hp))  # a new function, so that it is traced
        compiled = update.lower(state, algo.hparams).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    ours, theirs = (temporary(scan) for scan in (hoist.scan, jax.lax.scan))
    print(f"{name}: {ours / 1e6:.2f} MB, in a plain scan {theirs / 1e6:.2f} MB")
    assert ours <= 1.5 * theirs
