"""MountainCar-v0: a car too weak to climb a hill must first gain momentum on the opposite slope.

https://github.com/Farama-Foundation/Gymnasium/blob/v1.3.0/gymnasium/envs/classic_control/mountain_car.py,
after Moore 1990, https://www.cl.cam.ac.uk/techreports/UCAM-CL-TR-209.pdf.
Differences: numbers are float32.

`State`, `draw`, `start` and `roll` are shared with MountainCarContinuous-v0.
"""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.envs.classic.common import require_numbers, require_positive, row, sincos, vector
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """Position, increasing to the right, and velocity per step."""

    position: jax.Array
    velocity: jax.Array


def make(
    *,
    min_position=-1.2,
    max_position=0.6,
    max_speed=0.07,
    goal_position=0.5,
    goal_velocity=0.0,
    force=0.001,
    gravity=0.0025,
) -> Env:
    """Observes position and velocity; actions 0, 1, 2: push left, none, right; reward -1 in every step.

    Terminates at `goal_position` or beyond it with at least `goal_velocity`. The left wall stops the car.

    Args:
      max_speed, goal_velocity: in units of position per step.
      force, gravity: change of the velocity in one step by a push and by the steepest slope.

    Raises:
      ValueError: for a speed that is not positive, or a `max_position` that is not above `min_position`.
    """
    require_numbers(goal_position=goal_position, goal_velocity=goal_velocity, force=force, gravity=gravity)
    space = observation_space(min_position, max_position, max_speed)

    def reset(key):
        state = start(draw(key))
        return state, restart(show(state))

    def step(key, state, action):
        state = roll(state, (action - 1) * force, gravity, min_position, max_position, max_speed)
        terminated = (state.position >= goal_position) & (state.velocity >= goal_velocity)
        return state, transition(show(state), -1.0, terminated)

    return Env(reset, step, space, Discrete(3))


def draw(key: jax.Array) -> jax.Array:
    """A random number in [0, 1) for an initial state."""
    return jax.random.uniform(key)


def start(draws: jax.Array) -> State:
    """At rest, near the bottom of the valley."""
    return State(0.2 * draws - 0.6, jnp.zeros((), jnp.float32))


def roll(state: State, push, gravity, min_position, max_position, max_speed) -> State:
    """One step in the valley `sin(3 position)`; the left wall stops the car."""
    _, cos = sincos(3.0 * state.position)
    velocity = jnp.clip(state.velocity + push - gravity * cos, -max_speed, max_speed)
    position = jnp.clip(state.position + velocity, min_position, max_position)
    return State(position, jnp.where((position <= min_position) & (velocity < 0), 0.0, velocity))


def show(state: State) -> jax.Array:
    """The observation of a state."""
    return row(state.position, state.velocity)


def observation_space(min_position, max_position, max_speed) -> Box:
    """The observation space of both cars; raises ValueError if it would be empty."""
    require_numbers(min_position=min_position, max_position=max_position)
    require_positive(max_speed=max_speed)
    ends = (min_position, max_position)
    if not any(isinstance(end, jax.core.Tracer) for end in ends) and not min_position < max_position:
        raise ValueError(f"min_position must be below max_position, not {ends!r}")
    return Box(vector(min_position, -max_speed), vector(max_position, max_speed), (2,))
