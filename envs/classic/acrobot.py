"""Acrobot-v1: two links hang from a joint; a motor between them must swing the tip up.

https://github.com/Farama-Foundation/Gymnasium/blob/v1.3.0/gymnasium/envs/classic_control/acrobot.py,
after Sutton 1996, https://papers.nips.cc/paper/1995/hash/8f1d43620bc6bb580df6e80b0dc05c48-Abstract.html.
Differences: numbers are float32, and angles are wrapped to [-pi, pi] in closed form; near the boundary, due
to rounding, the result may be pi where the original has -pi.
"""

import math

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.envs.classic.common import require_numbers, require_positive, row, sincos, vector, wrap
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """Angle of the first link from hanging down, of the second relative to the first [rad]; velocities."""

    joint_angle1: jax.Array
    joint_angle2: jax.Array
    velocity_1: jax.Array
    velocity_2: jax.Array


def make(
    *,
    dt=0.2,
    gravity=9.8,
    link_length_1=1.0,
    link_length_2=1.0,
    link_mass_1=1.0,
    link_mass_2=1.0,
    link_com_pos_1=0.5,
    link_com_pos_2=0.5,
    link_moi=1.0,
    max_vel_1=4 * math.pi,
    max_vel_2=9 * math.pi,
    torque_noise_max=0.0,
    book_or_nips: str = "book",
    available_torque=(-1.0, 0.0, 1.0),
) -> Env:
    """Observes cosine and sine of both angles and both velocities; reward -1 per step, 0 on termination.

    Terminates when -cos(angle1) - cos(angle1 + angle2) > 1: with links of length 1, the tip is then
    more than 1 above the joint. Integrated by one fourth-order Runge-Kutta step; velocities are then clipped.

    Args:
      dt, gravity: seconds per step, [m/s^2].
      link_length_1, link_length_2: [m]; as in the original, the second has no effect.
      link_mass_1, link_mass_2: [kg].
      link_com_pos_1, link_com_pos_2: from each link's joint to its centre of mass [m].
      link_moi: moment of inertia of either link [kg m^2].
      max_vel_1, max_vel_2: [rad/s].
      torque_noise_max: uniform noise up to this is added to each torque [N m].
      book_or_nips: the equations of motion of Sutton and Barto's book, or those of the paper, which lack
        a term.
      available_torque: the torque of each action [N m].

    Raises:
      ValueError: for an unknown `book_or_nips`, or a number that should be positive and is not.
    """
    require_numbers(gravity=gravity, link_com_pos_1=link_com_pos_1, link_com_pos_2=link_com_pos_2)
    require_positive(dt=dt, link_length_1=link_length_1, link_length_2=link_length_2, link_moi=link_moi)
    require_positive(link_mass_1=link_mass_1, link_mass_2=link_mass_2)
    require_positive(max_vel_1=max_vel_1, max_vel_2=max_vel_2)
    require_positive(or_zero=True, torque_noise_max=torque_noise_max)
    if book_or_nips not in ("book", "nips"):
        raise ValueError(f"book_or_nips must be 'book' or 'nips', not {book_or_nips!r}")
    noisy = isinstance(torque_noise_max, jax.core.Tracer) or torque_noise_max > 0

    cross = link_mass_2 * link_length_1 * link_com_pos_2
    inertia2 = link_mass_2 * link_com_pos_2**2 + link_moi
    inertia1 = link_mass_1 * link_com_pos_1**2 + link_mass_2 * link_length_1**2 + link_moi + inertia2
    weight1 = (link_mass_1 * link_com_pos_1 + link_mass_2 * link_length_1) * gravity
    weight2 = link_mass_2 * link_com_pos_2 * gravity
    centrifugal = cross if book_or_nips == "book" else 0.0

    def derivative(state, torque):
        sin1, cos1 = sincos(state.joint_angle1)
        sin2, cos2 = sincos(state.joint_angle2)
        v1, v2 = state.velocity_1, state.velocity_2
        bend = cross * cos2
        d1, d2 = inertia1 + 2.0 * bend, inertia2 + bend
        phi2 = weight2 * (sin1 * cos2 + cos1 * sin2)
        phi1 = weight1 * sin1 + phi2 - cross * sin2 * v2 * (v2 + 2.0 * v1)
        # Numerator and denominator are multiplied by d1, which saves a division.
        acc2 = (d1 * (torque - centrifugal * sin2 * v1**2 - phi2) + d2 * phi1) / (d1 * inertia2 - d2**2)
        return State(v1, v2, -(d2 * acc2 + phi1) / d1, acc2)

    def reset(key):
        state = State(*(0.2 * draw(key) - 0.1))
        return state, restart(_show(state)[0])

    def step(key, state, action):
        torque = available_torque[0]
        for index in range(1, len(available_torque)):
            torque = jnp.where(action == index, available_torque[index], torque)
        if noisy:
            torque = torque + torque_noise_max * (2.0 * draw_noise(key) - 1.0)

        k1 = derivative(state, torque)
        k2 = derivative(_moved(state, 0.5 * dt, k1), torque)
        k3 = derivative(_moved(state, 0.5 * dt, k2), torque)
        k4 = derivative(_moved(state, dt, k3), torque)
        slope = jax.tree.map(lambda a, b, c, d: a + 2.0 * b + 2.0 * c + d, k1, k2, k3, k4)
        state = _moved(state, dt / 6.0, slope)
        state = State(
            wrap(state.joint_angle1),
            wrap(state.joint_angle2),
            jnp.clip(state.velocity_1, -max_vel_1, max_vel_1),
            jnp.clip(state.velocity_2, -max_vel_2, max_vel_2),
        )
        obs, height = _show(state)
        terminated = height > 1.0
        return state, transition(obs, jnp.where(terminated, 0.0, -1.0), terminated)

    high = vector(1.0, 1.0, 1.0, 1.0, max_vel_1, max_vel_2)
    return Env(reset, step, Box(-high, high, (6,)), Discrete(len(available_torque)))


def draw(key: jax.Array) -> jax.Array:
    """Four random numbers in [0, 1) for an initial state."""
    return jax.random.uniform(key, (4,))


def draw_noise(key: jax.Array) -> jax.Array:
    """A random number in [0, 1) for the noise of a step."""
    return jax.random.uniform(key)


def _moved(state: State, time, slope: State) -> State:
    return jax.tree.map(lambda value, rate: value + time * rate, state, slope)


def _show(state: State) -> tuple[jax.Array, jax.Array]:
    """The observation, and the height of the tip above the joint, in link lengths."""
    sin1, cos1 = sincos(state.joint_angle1)
    sin2, cos2 = sincos(state.joint_angle2)
    obs = row(cos1, sin1, cos2, sin2, state.velocity_1, state.velocity_2)
    return obs, -cos1 - (cos1 * cos2 - sin1 * sin2)
