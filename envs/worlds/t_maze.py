"""The T-maze: a sign at the start indicates which way to turn at the end of a corridor.

Bakker 2001, "Reinforcement learning with long short-term memory",
https://papers.nips.cc/paper/1953-reinforcement-learning-with-long-short-term-memory. The sign is visible
only at the start, and the corridor looks the same everywhere: the value of memory is the difference between

    gamma^length prize    and without it    gamma^length (prize + miss) / 2

The observation has three numbers, as in the original: 0 1 1 or 1 1 0 at the start (the sign), 1 0 1 in the
corridor, 0 1 0 at the junction. Actions are north, east, south and west; at the junction, `length` steps
east of the start, north and south end the episode. Moving into a wall has no effect except the reward
`bump`. Every parameter may be traced in `make`; the registered time limit is ten times `length`, so with a
traced `length` it must be given.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.worlds import tabular
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

NORTH, EAST, SOUTH, WEST = range(4)


@struct.dataclass
class State:
    """Whether the prize is in the north, and the steps east of the start."""

    north: jax.Array
    position: jax.Array


def make(*, length: int = 10, prize: float = 4.0, miss: float = -0.1, bump: float = -0.1) -> Env:
    """The maze as an environment.

    Args:
      length: steps from the start to the junction, at least 1.
      prize, miss: rewards at the junction for the right turn and for the wrong one.
      bump: reward for walking into a wall.

    Raises:
      ValueError: a length below 1.
    """
    _require_length(length)

    def observe(state):
        start, junction = state.position == 0, state.position == length
        left, right = ~junction & ~(start & state.north), ~junction & ~(start & ~state.north)
        return jnp.stack([left, start | junction, right]).astype(jnp.float32)

    def reset(key):
        state = State(jax.random.uniform(key) < 0.5, jnp.zeros((), jnp.int32))
        return state, restart(observe(state))

    def step(key, state, action):
        east, west = action == EAST, action == WEST
        junction = state.position == length
        turned = junction & ~east & ~west
        position = jnp.clip(state.position + east - west, 0, length).astype(jnp.int32)
        still = ~turned & (position == state.position)
        found = (action == NORTH) == state.north
        reward = jnp.where(turned, jnp.where(found, prize, miss), jnp.where(still, bump, 0.0))
        state = state.replace(position=position)
        return state, transition(observe(state), reward, turned)

    return Env(reset, step, Box(0.0, 1.0, (3,)), Discrete(4))


def mdp(length: int = 10, prize: float = 4.0, miss: float = -0.1, bump: float = -0.1) -> Tabular:
    """The maze for an agent that remembers the sign: `[north or south] x [position]`, then the end.

    State `north * (length + 1) + position`; the last state is terminal.
    """
    _require_length(length)
    width = length + 1
    size = 2 * width + 1
    kind = np.zeros((size, 4), int)  # 0: moved, 1: bumped, 2: prize, 3: miss
    to = np.full((size, 4), size - 1)
    for north in (0, 1):
        for position in range(width):
            here = north * width + position
            for action in range(4):
                if position == length and action in (NORTH, SOUTH):
                    kind[here, action] = 2 if (action == NORTH) == north else 3
                    continue
                move = min(max(position + (action == EAST) - (action == WEST), 0), length)
                kind[here, action] = 1 if move == position else 0
                to[here, action] = north * width + move
    start = np.zeros(size, np.float32)
    start[[0, width]] = 0.5
    return Tabular(
        jnp.asarray(np.eye(size, dtype=np.float32)[to]),
        jnp.asarray(bump * (kind == 1) + prize * (kind == 2) + miss * (kind == 3), jnp.float32),
        jnp.arange(size) == size - 1,
        jnp.asarray(start),
    )


def optimal_return(
    *,
    gamma,
    horizon=None,
    memory: bool = True,
    length: int = 10,
    prize: float = 4.0,
    miss: float = -0.1,
    bump: float = -0.1,
):
    """The best expected return of an episode, a scalar, with or without a memory of the sign.

    Without memory: the best of all deterministic maps from observations to actions (reactive policies), and,
    without a horizon, also of all stochastic ones. The two starts are one state each, where no mixture of
    actions is better than the best one; with these fixed, one of three policies is at least as good as any:

    * with both signs to the junction, where one of the two turns is right: gamma^length (prize + miss) / 2,
    * with one sign to the junction and to the better turn, with the other one staying at the start, for
      `bump` in each step: (gamma^length max(prize, miss) + bump + gamma bump + ...) / 2,
    * moving back and forth indefinitely: 0.

    With a horizon a stochastic policy can be better than these maps: if it leaves the start late, it does not
    reach the junction in time to miss. Such policies are not considered.

    Raises:
      ValueError: without memory, if moving into walls has a positive reward (`bump` above 0).
    """
    if memory:
        return tabular.optimal_return(mdp(length, prize, miss, bump), gamma, horizon)
    if not isinstance(bump, jax.core.Tracer) and bump > 0.0:
        raise ValueError(f"bump = {bump} is positive: the optimum without memory is known only for costs")
    gamma = jnp.asarray(gamma, jnp.float32)
    endless = gamma >= 1.0
    steps = jnp.inf if horizon is None else horizon
    discounted = (1.0 - gamma**steps) / jnp.where(endless, 1.0, 1.0 - gamma)
    count = jnp.where(endless, steps, discounted)  # of bumps by a policy that stays at the start
    stay = jnp.where(bump == 0.0, 0.0, bump * jnp.where(bump == 0.0, 1.0, count))
    in_time = True if horizon is None else horizon > length
    arrive = jnp.where(in_time, gamma**length, 0.0)
    both = 0.5 * arrive * (prize + miss)
    one = 0.5 * (arrive * jnp.maximum(prize, miss) + stay)
    return jnp.maximum(jnp.maximum(both, one), 0.0)


def limit(*, length: int = 10, **_) -> int:
    """The time limit: ten times the distance to the junction."""
    return 10 * (length + 1)


def _require_length(length) -> None:
    if not jnp.issubdtype(jnp.result_type(length), jnp.integer):
        raise ValueError(f"length must be a whole number, not {length!r}: the junction would be missed")
    if not isinstance(length, jax.core.Tracer) and length < 1:
        raise ValueError(f"length must be at least 1, not {length!r}: the sign would be at the junction")
