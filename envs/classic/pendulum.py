"""Pendulum-v1: swing a pendulum up and hold it there, with a motor that is too weak to lift it.

https://github.com/Farama-Foundation/Gymnasium/blob/v1.3.0/gymnasium/envs/classic_control/pendulum.py.
Differences: numbers are float32. As in the original, `theta` is not wrapped; after ten thousand steps at
full speed, it is accurate to 1e-4 only. Gradients flow through `step`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.classic.common import require_numbers, require_positive, row, sincos, vector, wrap
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box
from jaxrl.types import Env


@struct.dataclass
class State:
    """Angle from upright, anticlockwise [rad], its velocity, and the last torque, used only for drawing."""

    theta: jax.Array
    theta_dot: jax.Array
    last_u: jax.Array


def make(*, max_speed=8.0, max_torque=2.0, dt=0.05, g=10.0, m=1.0, l=1.0) -> Env:
    """Observes cos(theta), sin(theta), theta_dot; the action `[1]` is a torque, clipped; never terminates.

    The reward is -(theta^2 + 0.1 theta_dot^2 + 0.001 torque^2) of the state before the step, with theta
    wrapped to [-pi, pi].

    Args:
      max_speed, max_torque: [rad/s], [N m].
      dt: seconds per step.
      g, m, l: gravity [m/s^2], mass [kg] and length [m] of the rod.

    Raises:
      ValueError: for a parameter other than `g` that is not positive.
    """
    require_numbers(g=g)
    require_positive(max_speed=max_speed, max_torque=max_torque, dt=dt, m=m, l=l)
    pull = dt * 3.0 * g / (2.0 * l)
    turn = dt * 3.0 / (m * l**2)

    def reset(key):
        theta, theta_dot = 2.0 * draw(key) - 1.0
        state = State(np.float32(np.pi) * theta, theta_dot, jnp.zeros((), jnp.float32))
        return state, restart(_obs(state))

    def step(key, state, action):
        u = jnp.clip(action[0], -max_torque, max_torque)
        cost = wrap(state.theta) ** 2 + 0.1 * state.theta_dot**2 + 0.001 * u**2
        sin, _ = sincos(state.theta)
        theta_dot = jnp.clip(state.theta_dot + pull * sin + turn * u, -max_speed, max_speed)
        state = State(state.theta + dt * theta_dot, theta_dot, u)
        return state, transition(_obs(state), -cost, False)

    high = vector(1.0, 1.0, max_speed)
    return Env(reset, step, Box(-high, high, (3,)), Box(-max_torque, max_torque, (1,)))


def draw(key: jax.Array) -> jax.Array:
    """Two random numbers in [0, 1) for an initial state."""
    return jax.random.uniform(key, (2,))


def _obs(state: State) -> jax.Array:
    sin, cos = sincos(state.theta)
    return row(cos, sin, state.theta_dot)
