"""CartPole-v1: push a cart left or right so that the pole on it stays upright.

https://github.com/Farama-Foundation/Gymnasium/blob/v1.3.0/gymnasium/envs/classic_control/cartpole.py,
after Barto, Sutton and Anderson 1983, https://ieeexplore.ieee.org/document/6313077.
Differences: numbers are float32, and a step after termination is rewarded like any other (there with 0).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.classic.common import require_numbers, require_positive, row, sincos, vector
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """Position [m], angle from upright [rad], positive to the right, and their velocities."""

    x: jax.Array
    x_dot: jax.Array
    theta: jax.Array
    theta_dot: jax.Array


def make(
    *,
    gravity=9.8,
    masscart=1.0,
    masspole=0.1,
    length=0.5,
    force_mag=10.0,
    tau=0.02,
    theta_threshold_radians=12 * 2 * math.pi / 360,
    x_threshold=2.4,
    kinematics_integrator: str = "euler",
    sutton_barto_reward=False,
) -> Env:
    """Observes x, x_dot, theta, theta_dot; action 1 pushes right, 0 left; reward 1 in every step.

    The bounds of the observation space are twice the thresholds, which is enough unless a pole is so
    short that it turns by more than a threshold in one step.

    Args:
      gravity, masscart, masspole: [m/s^2], [kg], [kg].
      length: from the axle to the pole's middle, half of the pole [m].
      force_mag: of a push [N].
      tau: seconds per step.
      theta_threshold_radians, x_threshold: the episode terminates beyond them.
      kinematics_integrator: "euler" moves with the old velocities, "semi-implicit" with the new ones.
      sutton_barto_reward: reward 0 for a step and -1 for one that terminates.

    Raises:
      ValueError: for an unknown integrator, or a length, time, mass or threshold that is not positive.
    """
    require_numbers(gravity=gravity, force_mag=force_mag, sutton_barto_reward=sutton_barto_reward)
    require_positive(masscart=masscart, length=length, tau=tau)
    require_positive(theta_threshold_radians=theta_threshold_radians, x_threshold=x_threshold)
    require_positive(or_zero=True, masspole=masspole)
    if kinematics_integrator not in ("euler", "semi-implicit"):
        raise ValueError(
            f"kinematics_integrator must be 'euler' or 'semi-implicit', not {kinematics_integrator!r}"
        )
    total_mass = masscart + masspole
    push = force_mag / total_mass
    coupling = masspole * length / total_mass
    inertia = 4.0 / 3.0 * length
    explicit = kinematics_integrator == "euler"

    def reset(key):
        state = State(*(0.1 * draw(key) - 0.05))
        return state, restart(_obs(state))

    def step(key, state, action):
        sin, cos = sincos(state.theta)
        pushed = jnp.where(action == 1, push, -push) + coupling * state.theta_dot**2 * sin
        theta_acc = (gravity * sin - cos * pushed) / (inertia - coupling * cos**2)
        x_dot = state.x_dot + tau * (pushed - coupling * theta_acc * cos)
        theta_dot = state.theta_dot + tau * theta_acc
        x = state.x + tau * (state.x_dot if explicit else x_dot)
        theta = state.theta + tau * (state.theta_dot if explicit else theta_dot)
        state = State(x, x_dot, theta, theta_dot)
        terminated = (jnp.abs(x) > x_threshold) | (jnp.abs(theta) > theta_threshold_radians)
        reward = jnp.where(sutton_barto_reward, -terminated.astype(jnp.float32), 1.0)
        return state, transition(_obs(state), reward, terminated)

    high = vector(2.0 * x_threshold, np.inf, 2.0 * theta_threshold_radians, np.inf)
    return Env(reset, step, Box(-high, high, (4,)), Discrete(2))


def draw(key: jax.Array) -> jax.Array:
    """Four random numbers in [0, 1) for an initial state."""
    return jax.random.uniform(key, (4,))


def _obs(state: State) -> jax.Array:
    return row(state.x, state.x_dot, state.theta, state.theta_dot)
