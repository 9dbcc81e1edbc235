"""Toy text against Gymnasium: whole tables, sampled transitions, whole games of cards, distributions.

The random numbers and cards of the original are replaced by those of the port.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs.toy_text import ENTRIES, blackjack, cliff_walking, frozen_lake, taxi
from originals.ledger import record

gymnasium = pytest.importorskip("gymnasium")
scipy_stats = pytest.importorskip("scipy.stats")
originals = pytest.importorskip("gymnasium.envs.toy_text")
BlackjackEnv, CliffWalkingEnv = originals.BlackjackEnv, originals.CliffWalkingEnv
FrozenLakeEnv, TaxiEnv = originals.FrozenLakeEnv, originals.TaxiEnv
deck, MAPS = originals.blackjack.deck, originals.frozen_lake.MAPS

ORIGINAL = f"gymnasium {gymnasium.__version__}"
DRAWS = 100_000  # for frequencies, which are computed in one batch
WIDE = ("FSFH", "FFHF", "HFFS", "FHFF", "SFFG")


@functools.cache
def every_uniform():
    """All values that `jax.random.uniform` can return, `[2**23]`."""
    return np.arange(2**23, dtype=np.float32) / 2**23


class Prepared:
    """Replaces NumPy's generator: returns given numbers, in this order."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def random(self):
        return self.numbers.pop(0)

    def choice(self, options):
        return options[int(self.numbers.pop(0) * len(options))]


class Cards(Prepared):
    """Returns cards; the other random numbers of a reset are only used for rendering."""

    def choice(self, options):
        return self.numbers.pop(0) if options is deck else options[0]


def chi_square(counts, probabilities):
    """The p-value of counts under probabilities; impossible outcomes must not occur."""
    counts, probabilities = np.asarray(counts), np.asarray(probabilities)
    assert (counts[probabilities == 0] == 0).all()
    counts, probabilities = counts[probabilities > 0], probabilities[probabilities > 0]
    return scipy_stats.chisquare(counts, probabilities / probabilities.sum() * counts.sum()).pvalue


def shares(slots, number):
    """The fraction of all random numbers that leads to each of 0 .. number - 1."""
    return np.bincount(np.asarray(slots), minlength=number) / len(slots)


# --- tables --------------------------------------------------------------------------------------

LAKES = {
    "4x4": {},
    "8x8": {"map_name": "8x8"},
    "still": {"is_slippery": False},
    "rewarded": {"desc": WIDE, "success_rate": 0.75, "reward_schedule": (10, -5, -0.5)},
    "sure": {"success_rate": 1.0},
}
TAXIS = {
    "plain": {},
    "rainy": {"is_rainy": True},
    "fickle": {"fickle_passenger": True},
    "both": {
        "is_rainy": True,
        "fickle_passenger": True,
        "rainy_probability": 0.6,
        "fickle_probability": 0.5,
    },
}


def assert_same_table(table, advance, probabilities, slots=(0, 1, 2)):
    """The table `P` of the original against the port; `advance(state, action, slot)` is vectorized."""
    num_actions = len(table[0])
    size = len(table) * num_actions
    state, action = (x.ravel() for x in np.mgrid[: len(table), :num_actions].astype(np.int32))
    ours = [[np.asarray(x) for x in jax.jit(advance)(state, action, np.full(size, s))] for s in slots]
    for index in range(size):
        rows = table[state[index]][action[index]]
        outcomes = [tuple(x[index] for x in slot) for slot in ours]
        if len(rows) == 1:
            probability, *outcome = rows[0]
            assert probability == 1.0
            # Slots may be many where the original has one outcome: all of them must be that one.
            for slot, chance in zip(outcomes, probabilities):
                assert chance == 0 or slot == tuple(outcome)
        else:
            assert len(rows) == len(outcomes)
            for (probability, *outcome), slot, chance in zip(rows, outcomes, probabilities):
                assert abs(probability - chance) <= 2**-23  # the random numbers are multiples of this
                assert tuple(outcome) == slot
    return size


@pytest.mark.parametrize("name", LAKES)
def test_table_of_frozen_lake(name):
    options = LAKES[name]
    original = FrozenLakeEnv(**options)
    lake = np.array([list(row) for row in options.get("desc", MAPS[options.get("map_name", "4x4")])])
    table, rewards = frozen_lake.moves(lake), options.get("reward_schedule", (1.0, 0.0, 0.0))
    straight = options.get("success_rate", 1 / 3) if options.get("is_slippery", True) else 1.0
    turns = jax.jit(frozen_lake.slip)(every_uniform(), jnp.float32(straight))

    def advance(position, action, slot):
        state, *rest = frozen_lake.advance(table, rewards, frozen_lake.State(position), action, slot - 1)
        return state.position, *rest

    size = assert_same_table(original.P, advance, shares(turns + 1, 3))
    record("FrozenLake-v1" + f" ({name})" * (name != "4x4"), ORIGINAL, size, 0.0, "the whole table")


@pytest.mark.parametrize("slippery", [False, True])
def test_table_of_cliff_walking(slippery):
    def advance(position, action, slot):
        state, *rest = cliff_walking.advance(cliff_walking.State(position), action, slot - 1)
        return state.position, *rest

    chances = shares(jax.jit(cliff_walking.slip)(every_uniform()) + 1, 3) if slippery else [0, 1, 0]
    size = assert_same_table(CliffWalkingEnv(is_slippery=slippery).P, advance, chances)
    record("CliffWalking" + "Slippery" * slippery + "-v1", ORIGINAL, size, 0.0, "the whole table")


def taxi_state(number, fickle=False):
    return taxi.State(
        row=number // 100,
        column=number // 20 % 5,
        passenger=number // 4 % 5,
        destination=number % 4,
        fickle=jnp.broadcast_to(fickle, jnp.shape(number)),
    )


@pytest.mark.parametrize("rainy", [False, True])
def test_table_of_taxi(rainy):
    def advance(number, action, slot):
        state, *rest = jax.vmap(taxi.advance)(taxi_state(number), action, slot, jnp.zeros_like(number))
        return taxi.observe(state), *rest

    straight = jnp.float32(0.8 if rainy else 1.0)
    chances = shares(jax.jit(taxi.slip)(every_uniform(), straight), 3)
    original = TaxiEnv(is_rainy=rainy)
    size = assert_same_table(original.P, advance, chances)
    masks = jax.vmap(taxi.mask)(taxi_state(np.arange(500)))
    np.testing.assert_array_equal(masks, [original.action_mask(s) for s in range(500)])
    record("Taxi-v4" + " (rainy)" * rainy, ORIGINAL, size, 0.0, "the whole table, and the action masks")


# --- sampled transitions -------------------------------------------------------------------------


def sampled(env, states, num_states, num_actions, draws, transitions):
    """Steps from states drawn uniformly: state numbers, actions, draws, outcomes."""

    @jax.jit
    @jax.vmap
    def go(key):
        state_key, action_key, step_key = jax.random.split(key, 3)
        number = jax.random.randint(state_key, (), 0, num_states)
        action = jax.random.randint(action_key, (), 0, num_actions)
        new, timestep = env.step(step_key, states(number), action)
        return number, action, draws(step_key), new, timestep

    return jax.tree.map(np.asarray, go(jax.random.split(jax.random.key(0), transitions)))


@pytest.mark.parametrize("name", LAKES)
def test_transitions_of_frozen_lake(name, transitions):
    original = FrozenLakeEnv(**LAKES[name])
    size = original.observation_space.n
    env = frozen_lake.make(**LAKES[name])
    assert (env.observation_space.n, env.action_space.n) == (size, 4)
    compare_positions(original, env, frozen_lake.State, frozen_lake.draw, size, transitions)
    record("FrozenLake-v1" + f" ({name})" * (name != "4x4"), ORIGINAL, transitions, 0.0, "state injected")


@pytest.mark.parametrize("name", ["CliffWalking-v1", "CliffWalkingSlippery-v1"])
def test_transitions_of_cliff_walking(name, transitions):
    original, env = gymnasium.make(name).unwrapped, ENTRIES[name].make()
    compare_positions(original, env, cliff_walking.State, cliff_walking.draw, 48, transitions)
    record(name, ORIGINAL, transitions, 0.0, "state injected")


def compare_positions(original, env, make_state, draws, size, transitions):
    number, action, u, new, then = sampled(env, make_state, size, 4, draws, transitions)
    expected = []
    for state, chosen, draw in zip(number.tolist(), action.tolist(), u):
        original.s, original.np_random = state, Prepared(draw)
        expected.append(original.step(chosen)[:3])
    obs, reward, terminated = zip(*expected)
    np.testing.assert_array_equal(new.position, obs)
    np.testing.assert_array_equal(then.obs, obs)
    np.testing.assert_array_equal(then.reward, reward)
    np.testing.assert_array_equal(then.terminated, terminated)


@pytest.mark.parametrize("name", TAXIS)
def test_transitions_of_taxi(name, transitions):
    original, env = TaxiEnv(**TAXIS[name]), taxi.make(**TAXIS[name])
    can_be_fickle = TAXIS[name].get("fickle_passenger", False)
    states = lambda number: taxi_state(number % 500, (number >= 500) & can_be_fickle)  # noqa: E731
    number, action, u, new, then = sampled(env, states, 1000, 6, taxi.draw, transitions)
    fickle = can_be_fickle & (number >= 500)
    expected = []
    # Float32 numbers, so that a choice among three is rounded as in the port.
    rows = zip((number % 500).tolist(), action.tolist(), fickle.tolist(), u)
    for original.s, chosen, original.fickle_step, draws in rows:
        original.np_random = Prepared(*draws)
        obs, reward, terminated, _, info = original.step(chosen)
        fields = tuple(original.decode(obs))
        expected.append((obs, fields, reward, terminated, original.fickle_step, info["action_mask"]))
    obs, fields, reward, terminated, still_fickle, mask = (np.array(x) for x in zip(*expected))
    ours = np.stack([new.row, new.column, new.passenger, new.destination], axis=1)
    np.testing.assert_array_equal(ours, fields)
    np.testing.assert_array_equal(then.obs, obs)
    np.testing.assert_array_equal(then.reward, reward)
    np.testing.assert_array_equal(then.terminated, terminated)
    np.testing.assert_array_equal(new.fickle, still_fickle)
    np.testing.assert_array_equal(then.info["action_mask"], mask)
    assert ((still_fickle != fickle).sum() > transitions // 100) == can_be_fickle
    record("Taxi-v4" + f" ({name})" * (name != "plain"), ORIGINAL, transitions, 0.0, "state injected")


# --- frequencies of resets and outcomes ----------------------------------------------------------


def reset_states(env, number=60_000):
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), number)))


def test_resets_of_taxi():
    env, original = taxi.make(fickle_passenger=True), TaxiEnv(fickle_passenger=True)
    state, timestep = reset_states(env)
    draws = np.asarray(jax.jit(jax.vmap(taxi.draw))(jax.random.split(jax.random.key(0), 2000)))
    expected = []
    for u in draws:
        original.np_random = Prepared(*u)
        obs, info = original.reset()
        expected.append((obs, original.fickle_step, info["action_mask"]))
    obs, fickle, mask = (np.array(x) for x in zip(*expected))
    np.testing.assert_array_equal(timestep.obs[: len(draws)], obs)
    np.testing.assert_array_equal(state.fickle[: len(draws)], fickle)
    np.testing.assert_array_equal(timestep.info["action_mask"][: len(draws)], mask)
    counts = np.bincount(timestep.obs, minlength=500)
    assert chi_square(counts, original.initial_state_distrib) > 1e-4
    assert chi_square(np.bincount(state.fickle), [0.7, 0.3]) > 1e-4
    assert not reset_states(taxi.make(), 1000)[0].fickle.any()


def test_resets_on_maps():
    for options in LAKES.values():
        _, timestep = reset_states(frozen_lake.make(**options))
        expected = FrozenLakeEnv(**options).initial_state_distrib
        counts = np.bincount(timestep.obs, minlength=len(expected))
        assert (expected > 0).sum() == 1 or chi_square(counts, expected) > 1e-4
        assert (counts[expected == 0] == 0).all()
    for slippery in (False, True):
        _, timestep = reset_states(cliff_walking.make(is_slippery=slippery), 100)
        assert (timestep.obs == 36).all()


@pytest.mark.parametrize(
    "module, original, options, state, number, action",
    [
        (frozen_lake, FrozenLakeEnv, {}, frozen_lake.State, 9, 2),
        (frozen_lake, FrozenLakeEnv, {"success_rate": 0.75}, frozen_lake.State, 9, 1),
        (cliff_walking, CliffWalkingEnv, {"is_slippery": True}, cliff_walking.State, 35, 1),
        (taxi, TaxiEnv, {"is_rainy": True}, taxi_state, 253, 0),
    ],
    ids=["frozen-lake", "frozen-lake-0.75", "cliff-walking", "taxi"],
)
def test_outcomes_have_the_expected_probabilities(module, original, options, state, number, action):
    env, original = module.make(**options), original(**options)
    start = jax.tree.map(jnp.asarray, state(np.int32(number)))
    step = jax.jit(jax.vmap(lambda key: env.step(key, start, jnp.int32(action))[1].next_obs))
    counts = np.bincount(step(jax.random.split(jax.random.key(0), DRAWS)), minlength=len(original.P))
    expected = np.zeros(len(original.P))
    for probability, new, *_ in original.P[number][action]:
        expected[new] += probability
    assert (expected > 0).sum() == 3
    assert chi_square(counts, expected) > 1e-4


def test_a_fickle_passenger_takes_every_other_destination():
    env = taxi.make(fickle_passenger=True)
    start = jax.tree.map(jnp.asarray, taxi_state(np.int32(((2 * 5 + 2) * 5 + 4) * 4 + 1), True))
    step = jax.jit(jax.vmap(lambda key: env.step(key, start, jnp.int32(0))[0].destination))
    counts = np.bincount(step(jax.random.split(jax.random.key(0), DRAWS)), minlength=4)
    assert chi_square(counts, [1, 0, 1, 1]) > 1e-4


# --- Blackjack -----------------------------------------------------------------------------------

STEPS = 200


def games(natural, sab, num_lanes):
    """Random games: each step's cards, and those of the reset that follows if it ends the game."""
    env = blackjack.make(natural=natural, sab=sab)

    def step(carry, key):
        state, _ = carry
        action_key, step_key, reset_key = jax.random.split(key, 3)
        action = jax.random.bernoulli(action_key, 0.5).astype(jnp.int32)
        new, then = env.step(step_key, state, action)
        carry = jax.tree.map(lambda a, b: jnp.where(then.terminated, a, b), env.reset(reset_key), (new, then))
        drawn = action, jnp.stack(blackjack.draw(step_key)), jnp.stack(blackjack.deal(reset_key))
        return carry, (*drawn, new, then, carry[1].obs)

    @jax.jit
    @jax.vmap
    def play(key):
        reset_key, run_key = jax.random.split(key)
        first = env.reset(reset_key)
        _, steps = jax.lax.scan(step, first, jax.random.split(run_key, STEPS))
        return jnp.stack(blackjack.deal(reset_key)), first[1].obs, steps

    return jax.tree.map(np.asarray, play(jax.random.split(jax.random.key(0), num_lanes)))


@pytest.mark.parametrize("natural, sab", [(False, True), (False, False), (True, False), (True, True)])
def test_games_of_blackjack(natural, sab, transitions):
    first_cards, first_obs, steps = games(natural, sab, transitions // STEPS)
    action, cards, deals, new, then, obs_after = steps
    original, expected_first, expected, longest = BlackjackEnv(natural=natural, sab=sab), [], [], 0

    def deal(four):
        original.np_random = Cards(*four)
        return original.reset()[0]

    given = (x.tolist() for x in (first_cards, action, cards, deals))
    for first, *lane in zip(*given):
        expected_first.append(deal(first))
        for hit, drawn, dealt in zip(*lane):
            original.np_random = Cards(*drawn)
            obs, reward, terminated, _, _ = original.step(hit)
            player, dealer = original.player, original.dealer
            hands = sum(player), 1 in player, len(player) == 2, *dealer[:2]
            longest = max(longest, len(dealer) - 2)
            expected.append((*obs, reward, terminated, *hands, *(deal(dealt) if terminated else obs)))
    np.testing.assert_array_equal(np.stack(first_obs, axis=-1), expected_first)
    hands = new.total, new.ace, new.untouched, new.shown, new.hidden
    ours = np.stack([*then.obs, then.reward, then.terminated, *hands, *obs_after], axis=-1)
    np.testing.assert_array_equal(ours.reshape(transitions, -1), expected)
    rewards = set(then.reward.ravel().tolist())
    assert rewards == {-1.0, 0.0, 1.0} | ({1.5} if natural and not sab else set())
    assert longest >= (4 if transitions < 100_000 else 5)  # a dealer rarely takes five cards
    record(
        "Blackjack-v1" + f" (natural={natural}, sab={sab})" * (natural or not sab),
        ORIGINAL,
        transitions,
        0.0,
        "whole games in lockstep with the same cards",
    )


def test_the_dealer_never_needs_more_cards():
    @functools.cache
    def most(total, ace):
        """The most cards that a dealer with this hand can take, by the original's count of a hand."""
        value = total + 10 if ace and total + 10 <= 21 else total
        if value >= 17:
            return 0
        return 1 + max(most(total + card, ace or card == 1) for card in set(deck))

    longest = max(most(a + b, 1 in (a, b)) for a in deck for b in deck)
    assert longest == blackjack.DEALER_CARDS == len(blackjack.draw(jax.random.key(0)))
    # That longest game: two aces, four more, a six, five aces.
    ones = [jnp.int32(card) for card in (1, 1, 1, 1, 6, 1, 1, 1, 1, 1)]
    assert blackjack.dealer_plays(jnp.int32(2), jnp.bool_(True), ones) == 17
    assert blackjack.dealer_plays(jnp.int32(2), jnp.bool_(True), ones[:-1]) == 16


def test_cards_are_independent_and_identically_distributed():
    keys = jax.random.split(jax.random.key(0), DRAWS)
    expected = np.bincount(deck, minlength=11) / 13
    for draw in (blackjack.draw, blackjack.deal):
        cards = np.stack(jax.jit(jax.vmap(draw))(keys))
        for place in cards:
            assert chi_square(np.bincount(place, minlength=11), expected) > 1e-4
        for one, other in zip(cards, [*cards[1:], cards[0]]):
            counts = np.bincount(one * 11 + other, minlength=121)
            assert chi_square(counts, np.outer(expected, expected).ravel()) > 1e-4


def test_the_dealer_ends_as_often_with_each_sum_as_in_theory():
    @functools.cache
    def ends(total, ace):
        value = total + 10 if ace and total <= 11 else total
        if value >= 17:
            return np.eye(6)[min(value, 22) - 17]
        return sum(ends(total + card, ace or card == 1) for card in deck) / 13

    start = blackjack.State(
        total=jnp.int32(20), ace=jnp.bool_(False), untouched=jnp.bool_(True), shown=jnp.int32(0), hidden=0
    )
    env = blackjack.make()
    step = jax.jit(jax.vmap(lambda key, state: env.step(key, state, jnp.int32(0))[1].reward, (0, None)))
    for shown, hidden in [(1, 1), (2, 2), (6, 10), (10, 10), (1, 5), (10, 2)]:
        state = start.replace(shown=jnp.int32(shown), hidden=jnp.int32(hidden))
        reward = np.asarray(step(jax.random.split(jax.random.key(0), DRAWS), state))
        chance = ends(shown + hidden, 1 in (shown, hidden))
        expected = [chance[4], chance[3], chance[:3].sum() + chance[5]]  # against a 20
        counts = [(reward == r).sum() for r in (-1.0, 0.0, 1.0)]
        assert (np.array(expected) > 0).sum() < 2 or chi_square(counts, expected) > 1e-4
        assert all(n == 0 for n, p in zip(counts, expected) if p == 0)


# --- the registry --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_environments_have_the_limits_of_gymnasium(name):
    entry = ENTRIES[name]
    if not name.endswith("-misc") and name != "Taxi-v3":  # an old name, which now warns or is gone
        assert entry.max_steps == gymnasium.spec(name).max_episode_steps


def test_defaults_match_the_ids():
    defaults = {
        "natural": ENTRIES["Blackjack-v1"].params()["natural"],
        "sab": ENTRIES["Blackjack-v1"].params()["sab"],
    }
    assert gymnasium.spec("Blackjack-v1").kwargs == defaults
    for name in ("FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalkingSlippery-v1"):
        assert gymnasium.spec(name).kwargs.items() <= ENTRIES[name].params().items()


def test_options_may_be_traced():
    for make, name, value in (
        (frozen_lake.make, "success_rate", 0.5),
        (frozen_lake.make, "is_slippery", False),
        (cliff_walking.make, "is_slippery", True),
        (taxi.make, "is_rainy", True),
        (taxi.make, "fickle_probability", 0.5),
        (blackjack.make, "sab", False),
    ):

        def play(value, make=make, name=name):
            env = make(**{name: value})
            keys = jax.random.split(jax.random.key(0), 64)
            states, _ = jax.vmap(env.reset)(keys)
            return jax.vmap(env.step)(keys, states, jnp.zeros(64, jnp.int32))

        for a, b in zip(jax.tree.leaves(jax.jit(play)(value)), jax.tree.leaves(play(value))):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "make, arguments, message",
    [
        (frozen_lake.make, {"map_name": "5x5"}, "map_name must be one of 4x4, 8x8, not '5x5'"),
        (frozen_lake.make, {"desc": ["SF", "G"]}, "rows of one length"),
        (frozen_lake.make, {"desc": ["FFG"]}, "with an S"),
        (frozen_lake.make, {"desc": ["SXG"]}, "of S, F, H and G"),
        (frozen_lake.make, {"desc": []}, "with an S"),
        (frozen_lake.make, {"desc": [1]}, "rows of the letters"),
        (frozen_lake.make, {"success_rate": 1.5}, "success_rate must be a probability, not 1.5"),
        (frozen_lake.make, {"reward_schedule": (1, 0)}, "reward_schedule must be for goal, hole and ice"),
        (taxi.make, {"rainy_probability": -1}, "rainy_probability must be a probability, not -1"),
        (taxi.make, {"fickle_probability": 2}, "fickle_probability must be a probability, not 2"),
    ],
)
def test_invalid_arguments_are_rejected(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)
