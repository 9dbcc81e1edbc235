"""The games of MinAtar against the original: every transition from the same state with the same draws."""

import operator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow_except

from jaxrl.envs.min_atar import ENTRIES, common
from originals.ledger import record
from originals.min_atar_asterix_seaquest import GAMES as MORE_GAMES
from originals.min_atar_asterix_seaquest import play_seaquest
from originals.min_atar_games import GAMES as FIRST_GAMES

minatar = pytest.importorskip("minatar")

GAMES = [*MORE_GAMES, *FIRST_GAMES]
STICKY = 0.1
NAMES = {
    "asterix": "Asterix",
    "breakout": "Breakout",
    "freeway": "Freeway",
    "seaquest": "Seaquest",
    "space_invaders": "SpaceInvaders",
}
# The second of two has no ramping and all actions.
MINIMAL = [game for i, game in enumerate(GAMES) if game.name not in {other.name for other in GAMES[:i]}]
each_game = pytest.mark.parametrize(
    "game", slow_except(GAMES, *MINIMAL), ids=lambda game: f"{game.name}{len(game.actions)}"
)


class Repeat:
    """Replaces the random numbers of `minatar.Environment`, which draws one for sticky actions."""

    def rand(self):
        return self.uniform


def fields(state) -> dict:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


def play(game, num_lanes, num_steps, key):
    """Transitions `[B, ...]` of the port: before, action, draws, after, observation, reward, terminated."""
    module = game.module
    advance = partial(module.advance, actions=game.actions, sticky_action_prob=STICKY, **game.options)

    def fresh(key):
        start_key, vary_key, which_key = jax.random.split(key, 3)
        state = module.start(start_key)
        other = game.vary(vary_key, state)
        varied = jax.random.bernoulli(which_key)
        return jax.tree.map(lambda a, b: jnp.where(varied, a, b), other, state)

    def step(state, key):
        draw_key, policy_key, fresh_key = jax.random.split(key, 3)
        action, draws = game.policy(policy_key, state), module.draw(draw_key)
        after, reward, terminated = advance(state, action, draws)
        then = jax.tree.map(lambda a, b: jnp.where(terminated, a, b), fresh(fresh_key), after)
        return then, (fields(state), action, draws, fields(after), module.observe(after), reward, terminated)

    def lane(key):
        start_key, run_key = jax.random.split(key)
        return jax.lax.scan(step, fresh(start_key), jax.random.split(run_key, num_steps))[1]

    batch = jax.jit(jax.vmap(lane))(jax.random.split(key, num_lanes))
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch)


def rows(tree):
    """A pytree of arrays `[B, ...]` as one of plain values for each of B rows; scalars become Python's."""
    leaves, treedef = jax.tree.flatten(tree)
    leaves = [leaf.tolist() if leaf.ndim == 1 else list(leaf) for leaf in leaves]
    return [treedef.unflatten(row) for row in zip(*leaves)]


def as_ours(game, original) -> dict:
    """The state of the original in the fields of the port."""
    last_action = game.actions.index(common.ALL_ACTIONS[original.last_action])
    return {**game.read(original.env), "last_action": last_action}


def compare(game, num_lanes, num_steps, key):
    """Steps the original from each state of the port; returns their number and the largest difference."""
    before, action, draws, after, obs, reward, terminated = play(game, num_lanes, num_steps, key)
    original = minatar.Environment(game.name, sticky_action_prob=STICKY, **game.original)
    original.random = repeat = Repeat()
    numbers = [common.ALL_ACTIONS.index(letter) for letter in game.actions]
    expected, expected_obs, answers = [], np.zeros_like(obs), []
    for i, (state, number, drawn) in enumerate(zip(rows(before), action.tolist(), rows(draws))):
        game.write(original.env, state)
        original.env.terminal = False
        original.last_action = numbers[state["last_action"]]
        original.env.random, repeat.uniform = game.random(drawn), drawn[0]
        answers.append(original.act(numbers[number]))
        expected.append(as_ours(game, original))
        expected_obs[i] = original.state()

    rewards, ends = (np.array(column) for column in zip(*answers))
    largest = {"obs": np.abs(obs.astype(int) - expected_obs).max()}
    largest["reward"] = np.abs(reward - rewards).max()
    largest["terminated"] = np.abs(terminated.astype(int) - ends).max()
    for name, ours in after.items():
        theirs = np.array([row[name] for row in expected])
        largest[name] = np.abs(ours.astype(float) - theirs.astype(float)).max()
    wrong = {name: value for name, value in largest.items() if value > 0}
    assert not wrong, f"{game.name} differs from the original in {wrong}"
    happened = {"rewards": (rewards != 0).sum(), "ends": ends.sum()}
    enough = max(50, len(rewards) // 1000)
    assert min(happened.values()) > enough, f"{game.name}: too little happened to compare, {happened}"
    return max(largest.values())


@each_game
def test_transitions_are_the_originals(game, transitions):
    num_lanes = 250
    largest = compare(game, num_lanes, transitions // num_lanes, jax.random.key(1))
    note = f"state, observation, reward, end; actions {game.actions}"
    record(f"MinAtar/{NAMES[game.name]}", "MinAtar 1.0.15", transitions, largest, note)


def follow_seaquest(num_lanes, num_steps, key):
    """Steps the original and the port from the start, and only clears the `terminal` flag in between.

    Information in the original's lists that the port lacks would cause differences after some time. Half of
    the lanes may surface repeatedly, so that the difficulty rises fast.

    Returns:
      The largest difference.
    """
    game = next(game for game in GAMES if game.name == "seaquest")
    module = game.module
    advance = partial(module.advance, actions=game.actions, sticky_action_prob=STICKY, ramping=True)

    def step(state, key):
        draw_key, policy_key = jax.random.split(key)
        action, draws = play_seaquest(policy_key, state), module.draw(draw_key)
        state, *answer = advance(state, action, draws)
        return state, (action, draws, fields(state), module.observe(state), *answer)

    def lane(key, diver_count):
        state = module.start(key).replace(diver_count=diver_count)
        return jax.lax.scan(step, state, jax.random.split(key, num_steps))[1]

    counts = jnp.where(jnp.arange(num_lanes) % 2 == 0, -60, 0)
    played = jax.jit(jax.vmap(lane))(jax.random.split(key, num_lanes), counts)
    largest, speeds = 0.0, set()
    played = jax.tree.map(np.asarray, played)
    for i in range(num_lanes):
        original = minatar.Environment("seaquest", sticky_action_prob=STICKY)
        original.random = repeat = Repeat()
        start = fields(module.start(key).replace(diver_count=counts[i]))
        game.write(original.env, rows(jax.tree.map(lambda x: np.asarray(x)[None], start))[0])
        one = jax.tree.map(operator.itemgetter(i), played)
        for action, drawn, after, obs, reward, terminated in rows(one):
            original.env.terminal = False
            original.env.random, repeat.uniform = game.random(drawn), drawn[0]
            answer = original.act(action)
            state = as_ours(game, original)
            original.env.clock = state["clock"] % 11 + 1
            differences = [np.abs(np.subtract(after[n], state[n], dtype=float)).max() for n in after]
            differences += [abs(reward - answer[0]), abs(terminated - answer[1])]
            largest = max(largest, *differences, (obs != original.state()).max())
            speeds.add(original.env.move_speed)
        assert largest == 0, f"lane {i} differs from the original"
    assert speeds == {2, 3, 4, 5}
    return largest


@pytest.mark.slow
def test_endless_seaquest_is_the_originals(transitions):
    num_steps = 2500
    largest = follow_seaquest(transitions // num_steps, num_steps, jax.random.key(4))
    note = "consecutive steps; the state is never injected"
    record("MinAtar/Seaquest", "MinAtar 1.0.15", transitions, largest, note)


@each_game
def test_starts_are_distributed_as_the_originals(game):
    num = 4000
    state = jax.jit(jax.vmap(game.module.start))(jax.random.split(jax.random.key(2), num))
    original = minatar.Environment(game.name, **game.original)
    original.seed(0)
    expected, expected_obs = [], []
    for _ in range(num):
        original.reset()
        expected.append(as_ours(game, original))
        expected_obs.append(original.state())
    for name, ours in fields(state).items():
        theirs = np.array([row[name] for row in expected]).reshape(num, -1)
        ours = np.asarray(ours).reshape(num, -1)
        for value in np.union1d(ours, theirs):
            # A share of 1/2 has a standard deviation of 0.008: 5.6 of the difference's.
            difference = np.abs((ours == value).mean(0) - (theirs == value).mean(0)).max()
            assert difference < 0.0625, f"{name} = {value}: shares differ by {difference}"
    seen = np.asarray(jax.jit(jax.vmap(game.module.observe))(state))
    assert np.abs(seen.mean(0) - np.mean(expected_obs, axis=0)).max() < 0.0625


@each_game
def test_spaces_are_the_originals(game):
    original = minatar.Environment(game.name)
    env = ENTRIES[f"MinAtar/{NAMES[game.name]}-v1"].make()
    assert [common.ALL_ACTIONS.index(a) for a in game.module.MINIMAL_ACTIONS] == original.minimal_action_set()
    assert env.action_space.n == len(original.minimal_action_set())
    assert ENTRIES[f"MinAtar/{NAMES[game.name]}-v0"].make().action_space.n == original.num_actions()
    assert list(env.observation_space.shape) == original.state_shape()
    assert list(original.env.channels) == list(game.module.CHANNELS)


@pytest.mark.parametrize("name", sorted(NAMES[game.name] for game in GAMES))
def test_a_sticky_action_is_the_last_executed_one(name):
    """With probability 1 no other action is ever executed; a wrong probability is refused."""
    entry = ENTRIES[f"MinAtar/{name}-v1"]
    env = entry.make(sticky_action_prob=1.0)
    step = jax.jit(env.step)
    state, _ = env.reset(jax.random.key(0))
    for key in jax.random.split(jax.random.key(1), 5):
        state, _ = step(key, state, jnp.int32(1))
        assert state.last_action == 0
    with pytest.raises(ValueError, match="sticky_action_prob must be between 0 and 1"):
        entry.make(sticky_action_prob=1.5)
