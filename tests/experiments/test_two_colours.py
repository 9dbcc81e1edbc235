"""Two colours: its step against a slow implementation, its optimum against enumeration."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs.worlds import optimal_return, two_colours
from jaxrl.envs.worlds.two_colours import State

MOVES = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}  # up, down, left, right


def landed(cell, action, size):
    row, column = divmod(cell, size)
    down, right = MOVES[action]
    if not (0 <= row + down < size and 0 <= column + right < size):
        return cell
    return (row + down) * size + column + right


def slow_step(cell, objects, time, action, size, period, cost):
    """The new cell, the reward, and the collected object: 0, 1 or None."""
    cell = landed(cell, action, size)
    hit = objects.index(cell) if cell in objects else None
    good = time // period % 2
    return cell, (-cost if hit is None else 1.0 if hit == good else -1.0), hit


def test_steps_match_a_slow_implementation():
    size, period, cost = 4, 3, 0.1
    env = two_colours.make(size=size, period=period, cost=cost)
    reset_key, key = jax.random.split(jax.random.key(0))
    state, _ = jax.jit(env.reset)(reset_key)
    keys = jax.random.split(key, 2000)
    actions = jax.random.randint(key, (2000,), 0, 4)

    def step(state, now):
        new, timestep = env.step(*now[:1], state, now[1])
        return new, (state, new, timestep)

    _, played = jax.jit(partial(jax.lax.scan, step))(state, (keys, actions))
    before, after, timestep = jax.tree.map(np.asarray, played)
    seen = set()
    for t, action in enumerate(np.asarray(actions)):
        objects = before.objects[t].tolist()
        cell, reward, hit = slow_step(int(before.cell[t]), objects, t, int(action), size, period, cost)
        seen.add((hit, reward))
        assert after.cell[t] == cell and after.time[t] == t + 1
        np.testing.assert_allclose(timestep.reward[t], reward, rtol=1e-6)
        moved = [new != old for new, old in zip(after.objects[t], objects)]
        assert moved == [hit == 0, hit == 1]
        assert len({cell, *after.objects[t].tolist()}) == 3
        shown = np.argmax(timestep.obs[t].reshape(3, 2, size), axis=-1)
        places = [cell, *after.objects[t].tolist()]
        np.testing.assert_array_equal(shown, [divmod(place, size) for place in places])
    assert {(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)} < seen
    assert not timestep.terminated.any() and not timestep.truncated.any() and not timestep.first.any()


def test_objects_reappear_uniformly_in_free_cells():
    env = two_colours.make(size=3)
    state = State(jnp.int32(0), jnp.array([1, 5]), jnp.int32(0))  # the agent moves right, onto the first
    after = jax.jit(jax.vmap(lambda key: env.step(key, state, jnp.int32(3))[0]))(
        jax.random.split(jax.random.key(0), 7000)
    )
    counts = np.bincount(np.asarray(after.objects)[:, 0], minlength=9)
    assert counts[1] == counts[5] == 0 and (np.asarray(after.objects)[:, 1] == 5).all()
    np.testing.assert_allclose(counts[[0, 2, 3, 4, 6, 7, 8]], 1000, atol=150)  # 5 standard deviations
    starts = jax.jit(jax.vmap(lambda key: env.reset(key)[0]))(jax.random.split(jax.random.key(1), 9000))
    cells = np.concatenate([np.asarray(starts.cell)[:, None], np.asarray(starts.objects)], axis=1)
    assert (np.sort(cells, axis=1)[:, 1:] > np.sort(cells, axis=1)[:, :-1]).all()
    for column in cells.T:
        np.testing.assert_allclose(np.bincount(column, minlength=9), 1000, atol=150)


def slow_optimum(size, period, cost, gamma, horizon):
    """Backward induction over every state and time, one at a time."""
    cells = range(size**2)
    states = list(itertools.permutations(cells, 3))
    values = dict.fromkeys(states, 0.0)
    for t in reversed(range(horizon)):
        now = {}
        for cell, first, second in states:
            options = []
            for action in range(4):
                to, reward, hit = slow_step(cell, [first, second], t, action, size, period, cost)
                free = [c for c in cells if c not in (to, second if hit == 0 else first)]
                if hit is None:
                    then = values[to, first, second]
                else:
                    led = [(to, c, second) if hit == 0 else (to, first, c) for c in free]
                    then = np.mean([values[state] for state in led])
                options.append(reward + gamma * then)
            now[cell, first, second] = max(options)
        values = now
    return np.mean(list(values.values()))


@pytest.mark.parametrize(("size", "period", "horizon"), [(2, 3, 10), (3, 2, 6), (3, 100, 7)])
def test_the_optimum_matches_enumeration(size, period, horizon):
    sizes = {"size": size, "period": period, "cost": 0.1}
    for gamma in (1.0, 0.8):
        result = optimal_return("world/two-colours", gamma=gamma, horizon=horizon, **sizes)
        expected = slow_optimum(**sizes, gamma=gamma, horizon=horizon)
        np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_the_infinite_horizon_optimum_is_the_limit_of_long_horizons():
    endless = optimal_return("world/two-colours", gamma=0.9)
    long = optimal_return("world/two-colours", gamma=0.9, horizon=200)
    np.testing.assert_allclose(endless, long, rtol=1e-5)
    rate = float(optimal_return("world/two-colours", gamma=1.0, horizon=1000)) / 1000
    assert rate == pytest.approx(0.2735, abs=5e-4)  # as documented


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"size": 1}, "size must be a whole number, 2 or more"),
        ({"period": 0}, "period must be at least 1, not 0"),
    ],
)
def test_invalid_tables_are_rejected(params, message):
    with pytest.raises(ValueError, match=message):
        two_colours.make(**params)
