"""A deceptive maze: moving towards the goal leads into a dead end, and the way around leads away from it.

    +-------------------+
    |        goal       |      reward_t = |x_{t-1} - goal| - |x_t - goal|
    |   +-----------+   |
    |   |           |   |      so that a return is the reduction of the distance to the goal; the goal ends
    |   |   start   |   |      the episode and gives a bonus
    |   |           |   |
    |   +--       --+   |
    |                   |
    +-------------------+

New here, in the style of Lehman and Stanley 2011, https://doi.org/10.1162/EVCO_a_00025 (a maze in which the
objective is the distance to the goal), and of the trap in Conti et al. 2018,
https://arxiv.org/abs/1712.06560. Here a point moves in the plane and observes only its position. Following
the reward leads to the upper wall, with a return of 0.4; at the goal the return is at least 0.6 and the
bonus, after a path of about 30 steps, of which the first 6 lead away from it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box
from jaxrl.types import Env

START, GOAL = np.array([0.0, 0.0], np.float32), np.array([0.0, 0.8], np.float32)
# Walls: (x, from y, to y) and (y, from x, to x).
UPRIGHT = ((-0.5, -0.5, 0.4), (0.5, -0.5, 0.4))
LEVEL = ((0.4, -0.5, 0.5), (-0.5, -0.5, -0.25), (-0.5, 0.25, 0.5))


@struct.dataclass
class State:
    """The position of the point, `[2]`: to the right and up, each between -1 and 1."""

    pos: jax.Array


def make(*, speed: float = 0.1, radius: float = 0.15, bonus: float = 1.0, spread: float = 0.05) -> Env:
    """The action is a velocity `[2]`, each number between -1 and 1; walls block movement across them.

    The observation is the position `[2]`.

    Args:
      speed: distance of a step per unit of velocity and direction.
      radius: of the goal.
      bonus: for reaching it.
      spread: initial positions are drawn uniformly within this of the centre, in each direction.

    Raises:
      ValueError: a speed or radius that is not positive, or initial positions outside the inner walls.
    """
    for name, value in {"speed": speed, "radius": radius}.items():
        if not isinstance(value, jax.core.Tracer) and not value > 0:
            raise ValueError(f"{name} = {value} must be positive")
    if not isinstance(spread, jax.core.Tracer) and not 0 <= spread < 0.4:
        raise ValueError(f"spread = {spread} must lie between 0 and 0.4, where the inner walls are")

    def reset(key):
        pos = spread * jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0) + START
        return State(pos), restart(pos)

    def step(key, state, action):
        pos = move(state.pos, speed * jnp.clip(action, -1.0, 1.0))
        left = distance(pos)
        reached = left < radius
        reward = distance(state.pos) - left + bonus * reached
        return State(pos), transition(pos, reward, reached)

    return Env(reset, step, Box(-1.0, 1.0, (2,)), Box(-1.0, 1.0, (2,)))


def distance(pos):
    """The distance to the goal."""
    return jnp.sqrt(jnp.square(pos - GOAL).sum())


def move(pos, by):
    """Moves horizontally, then vertically; a move that would touch a wall is omitted, so the point slides."""
    x, y = pos
    x = _go(x, by[0], y, UPRIGHT)
    y = _go(y, by[1], x, LEVEL)
    return jnp.stack([x, y])


def _go(along, by, across, walls):
    to = jnp.clip(along + by, -1.0, 1.0)
    blocked = False
    for at, low, high in walls:
        crosses = (along - at) * (to - at) <= 0.0
        blocked |= crosses & (low <= across) & (across <= high)
    return jnp.where(blocked, along, to)
