"""A line with the goal at its right end. A template for an environment; change what you like.

    jaxrl train ppo ./my_env.py --steps 50000 --env.length 10 --out runs/walk
    jaxrl render runs/walk

`reset` and `step` are pure functions of arrays, compiled and run for many agents at once: use `jnp.where`
instead of `if`, and draw random numbers from `key`. They neither start new episodes nor truncate them; jaxrl
does both. To check an environment:

    from jaxrl.envs.check import check_env
    check_env(make())
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

MAX_STEPS = 50  # steps after which an episode is truncated (--env.max-steps); without this line, never


def make(length: int = 5, slip: float = 0.1) -> Env:
    """Action 1 moves right, 0 left, sometimes the other way; reward 1 at the goal, which ends the episode.

    Args:
      length: steps from the left end to the goal (--env.length).
      slip: probability of moving the other way (--env.slip).
    """

    def look(position):
        return jnp.float32(position)[None] / length

    def reset(key):
        position = jax.random.randint(key, (), 0, length)
        return position, restart(look(position))

    def step(key, position, action):
        right = (action == 1) ^ jax.random.bernoulli(key, slip)
        position = jnp.maximum(position + jnp.where(right, 1, -1), 0)
        arrived = position >= length
        return position, transition(look(position), reward=arrived, terminated=arrived)

    return Env(reset, step, observation_space=Box(0.0, 1.0, (1,)), action_space=Discrete(2))


def render(state, length: int = 5) -> np.ndarray:
    """A state as an image `[H, W, 3]` of uint8, for `jaxrl render`; it may take parameters of `make`."""
    picture = np.full((48, 48 * (length + 1), 3), 245, np.uint8)
    picture[40:] = 120  # the ground
    picture[8:40, 48 * length + 8 : 48 * length + 40] = 0, 158, 115  # the goal
    left = 48 * min(int(state), length) + 16
    picture[16:40, left : left + 16] = 213, 94, 0  # the walker
    return picture
