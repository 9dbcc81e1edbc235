"""MountainCarContinuous-v0: MountainCar-v0 with a continuous force, which has a cost.

https://github.com/Farama-Foundation/Gymnasium/blob/v1.3.0/gymnasium/envs/classic_control/continuous_mountain_car.py,
after Moore 1990, https://www.cl.cam.ac.uk/techreports/UCAM-CL-TR-209.pdf.
Differences: rounding only. Gradients flow through `step`.
"""

import jax
import jax.numpy as jnp

from jaxrl.envs.classic.common import require_numbers
from jaxrl.envs.classic.mountain_car import draw, observation_space, roll, show, start
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box
from jaxrl.types import Env


def make(
    *,
    min_action=-1.0,
    max_action=1.0,
    min_position=-1.2,
    max_position=0.6,
    max_speed=0.07,
    goal_position=0.45,
    goal_velocity=0.0,
    power=0.0015,
    gravity=0.0025,
) -> Env:
    """Observes position and velocity; the action `[1]` is a force; reward 100 at the goal, -0.1 action^2.

    Terminates at `goal_position` or beyond it with at least `goal_velocity`. The action is clipped for the
    force, but its cost is that of the unclipped action. The left wall stops the car.

    Args:
      max_speed, goal_velocity: in units of position per step.
      power, gravity: change of the velocity in one step by an action of 1 and by the steepest slope.

    Raises:
      ValueError: for a speed that is not positive, or an upper bound that is not above its lower bound.
    """
    require_numbers(goal_position=goal_position, goal_velocity=goal_velocity, power=power, gravity=gravity)
    require_numbers(min_action=min_action, max_action=max_action)
    bounds = (min_action, max_action)
    if not any(isinstance(bound, jax.core.Tracer) for bound in bounds) and not min_action < max_action:
        raise ValueError(f"min_action must be below max_action, not {bounds!r}")
    space = observation_space(min_position, max_position, max_speed)

    def reset(key):
        state = start(draw(key))
        return state, restart(show(state))

    def step(key, state, action):
        push = jnp.clip(action[0], min_action, max_action) * power
        state = roll(state, push, gravity, min_position, max_position, max_speed)
        terminated = (state.position >= goal_position) & (state.velocity >= goal_velocity)
        reward = jnp.where(terminated, 100.0, 0.0) - 0.1 * action[0] ** 2
        return state, transition(show(state), reward, terminated)

    return Env(reset, step, space, Box(min_action, max_action, (1,)))
