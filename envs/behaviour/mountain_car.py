"""Mountain car: a car too weak to climb a hill must gain momentum; the time limit is part of the task.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/mountain_car.py. Its `max_steps` is called `horizon` here, because it terminates the
episode; the observation is `[3]` where the original has `[1, 3]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.require import require_count
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

MIN_POSITION, MAX_POSITION, GOAL = -1.2, 0.6, 0.5
MAX_SPEED = 0.07


@struct.dataclass
class State:
    """Position and velocity of the car, and the steps taken."""

    position: jax.Array
    velocity: jax.Array
    time: jax.Array


def make(*, horizon: int = 1000, force=0.001, gravity=0.0025) -> Env:
    """Drive up the hill; the reward is -1 in every step.

    Observes `[position, velocity, time / horizon]`. Actions: left, none, right. Terminates at the goal and
    after `horizon` steps, which is no truncation because the time is observed.

    Raises:
      ValueError: `horizon` below 1.
    """
    require_count("horizon", horizon, 1)

    def show(state):
        return jnp.stack([state.position, state.velocity, (state.time / horizon).astype(jnp.float32)])

    def reset(key):
        position = jax.random.uniform(key, minval=-0.6, maxval=-0.4)
        state = State(position, jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))
        return state, restart(show(state))

    def step(key, state, action):
        slope = jnp.cos(3 * state.position)
        velocity = state.velocity + (action - 1) * force - slope * gravity
        velocity = jnp.clip(velocity, -MAX_SPEED, MAX_SPEED)
        position = jnp.clip(state.position + velocity, MIN_POSITION, MAX_POSITION)
        at_wall = position == np.float32(MIN_POSITION)
        velocity = jnp.where(at_wall, jnp.maximum(velocity, 0.0), velocity)
        state = State(position, velocity, state.time + 1)
        over = (position >= GOAL) | (state.time >= horizon)
        return state, transition(show(state), -1.0, over)

    low = np.array([MIN_POSITION, -MAX_SPEED, 0], np.float32)
    high = np.array([MAX_POSITION, MAX_SPEED, 1], np.float32)
    return Env(reset, step, Box(low, high, (3,)), Discrete(3))
