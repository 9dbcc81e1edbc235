"""A line to walk along: the goal is at its right end. An environment to start from; change what you like.

    jaxrl train ppo ./my_env.py --steps 50000 --env.length 10 --out runs/walk
    jaxrl render runs/walk

`reset` and `step` are pure functions of arrays, compiled and run for many agents at once: decide by
`jnp.where`, not by `if`, and draw random numbers from `key`. They neither start new episodes nor cut them;
jaxrl does both. Whether an environment is sound:

    from jaxrl.envs.check import check_env
    check_env(make())
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

MAX_STEPS = 50  # after so many steps an episode is cut (--env.max-steps); without this line, never


def make(length: int = 5, slip: float = 0.1) -> Env:
    """Action 1 goes right, 0 left, now and then the other way; reward 1 at the end, which ends the episode.

    Args:
      length: steps from the left end to the goal (--env.length).
      slip: probability of going the other way (--env.slip).
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
    """A state as a picture `[H, W, 3]` of uint8, for `jaxrl render`; it may take parameters of `make`."""
    picture = np.full((48, 48 * (length + 1), 3), 245, np.uint8)
    picture[40:] = 120  # the ground
    picture[8:40, 48 * length + 8 : 48 * length + 40] = 0, 158, 115  # the goal
    left = 48 * min(int(state), length) + 16
    picture[16:40, left : left + 16] = 213, 94, 0  # the walker
    return picture
