"""The tables of environments against their steps, and against those of Gymnasium."""

import gymnasium
import jax
import numpy as np
import pytest

from jaxrl.envs import REGISTRY, tables


@pytest.mark.parametrize(
    ("name", "params", "original", "options"),
    [
        ("FrozenLake-v1", {}, "FrozenLake-v1", {}),
        ("FrozenLake8x8-v1", {"success_rate": 0.5}, "FrozenLake8x8-v1", {"success_rate": 0.5}),
        ("CliffWalkingSlippery-v1", {}, "CliffWalking-v1", {"is_slippery": True}),
        ("CliffWalking-v1", {}, "CliffWalking-v1", {}),
    ],
)
def test_tables_are_those_of_gymnasium(name, params, original, options):
    theirs = gymnasium.make(original, **options).unwrapped
    mdp = jax.tree.map(np.asarray, tables.table(name, **params))
    end = mdp.terminal.size - 1
    assert mdp.terminal.tolist() == [False] * end + [True]
    np.testing.assert_allclose(mdp.start[:-1], theirs.initial_state_distrib, atol=1e-6)
    # Theirs also have transitions of finished episodes and, in the cliff, of states that are never reached.
    over = {s for row in theirs.P.values() for outcomes in row.values() for _, s, _, done in outcomes if done}
    for state, actions in theirs.P.items():
        for action, outcomes in actions.items():
            if state in over:
                continue
            row, mean = np.zeros(end + 1), 0.0
            for probability, following, reward, done in outcomes:
                row[end if done else following] += probability
                mean += probability * reward
            np.testing.assert_allclose(mdp.transition[state, action], row, atol=1e-6)
            np.testing.assert_allclose((mdp.transition * mdp.reward)[state, action].sum(), mean, atol=1e-4)


def test_states_are_explored_by_steps():
    """A deep sea of 4 rows: 4 + 3 + 2 + 1 cells, and the left column again after leaving the only path."""
    mdp = jax.tree.map(np.asarray, tables.table("DeepSea-bsuite", size=4))
    assert mdp.transition.shape == (mdp.terminal.size, 2, mdp.terminal.size) and mdp.start[0] == 1.0
    assert tables.longest_episode(mdp) == 4
    env = REGISTRY["DeepSea-bsuite"].make(size=4)
    for path in range(16):
        (state, _), number = env.reset(jax.random.key(0)), 0
        for action in [path >> i & 1 for i in range(4)]:
            state, timestep = env.step(jax.random.key(1), state, action)
            following = mdp.transition[number, action].argmax()
            assert mdp.reward[number, action, following] == pytest.approx(timestep.reward)
            number = following
        assert mdp.terminal[number] and timestep.terminated


def test_first_states_and_states_without_arrays():
    starts = np.asarray(tables.table("Catch-bsuite").start)
    assert (starts > 0).sum() == 5 and starts.sum() == pytest.approx(1.0)
    assert tables.table("SimpleBandit-bsuite").terminal.size == 2
    assert tables.longest_episode(tables.table("world/chain")) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v1", "more than 1100 states"),
        ("world/grid", None),
        ("DeceptiveMaze-misc", "actions are not discrete"),
        ("Catch-bsuite/noise", "transitions are random"),
    ],
)
def test_what_has_no_table(name, message):
    if message is None:
        with pytest.raises(ValueError, match="more than 1100 states"):
            tables.table(name, level="large")
        assert tables.table(name, level="tiny").terminal.size == 65
        return
    with pytest.raises(ValueError, match=message):
        tables.table(name)
