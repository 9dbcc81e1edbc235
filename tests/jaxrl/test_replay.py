"""Replays, compared with Python lists of what happened, over random programs of steps and ends."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import replay
from jaxrl.spaces import Box, Discrete, MultiDiscrete
from jaxrl.types import Transition

GAMMA = 0.5


class World:
    """`N` environments whose observations are (number of the episode, time in it), and lists of their steps."""

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
    rows = zip(*(part.reshape(len(batch.index), -1).tolist() for part in parts))
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
