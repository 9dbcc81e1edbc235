"""CartPole-v1: push a cart left or right so that the pole on it stays upright.

https://github.com/Farama-Foundation/Gymnasium/blob/v1.3.0/gymnasium/envs/classic_control/cartpole.py,
after Barto, Sutton and Anderson 1983, https://ieeexplore.ieee.org/document/6313077.
What differs: numbers are float32, and a step taken after the end pays like any other (there it pays 0).

Below are the few functions that all of classic control shares.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """Position [m] and angle from upright [rad], leaning right where positive, with their speeds."""

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
    """Shows x, x_dot, theta, theta_dot; action 1 pushes right, 0 left; every step pays 1.

    The observation space reaches twice as far as the thresholds, which is enough unless a pole is so
    short that it turns by more than a threshold in one step.

    Args:
      gravity, masscart, masspole: [m/s^2], [kg], [kg].
      length: from the axle to the pole's middle, half of the pole [m].
      force_mag: of a push [N].
      tau: seconds per step.
      theta_threshold_radians, x_threshold: the episode terminates beyond them.
      kinematics_integrator: "euler" moves with the old speeds, "semi-implicit" with the new ones.
      sutton_barto_reward: pays 0 for a step and -1 for one that terminates.

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
    """Four numbers in [0, 1): what a start depends on."""
    return jax.random.uniform(key, (4,))


def _obs(state: State) -> jax.Array:
    return row(state.x, state.x_dot, state.theta, state.theta_dot)


# --- shared by classic control ------------------------------------------------------------------


@jax.custom_jvp
def sincos(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sine and cosine of angles [rad], to 1e-7 where |x| < 50,000; derivatives are exact.

    On a CPU, XLA calls the C library once per number for `jnp.sin`; this is plain arithmetic, which it
    vectorizes: three to ten times as fast. x is brought to within pi/4 of a multiple of pi/2, whose
    product with pi/2 is taken off in three parts, the first two so short that they are exact (Cody and
    Waite 1980); there polynomials are within 2e-9, fitted by reweighted least squares.
    """
    quarter = jnp.round(x * np.float32(2 / np.pi))
    r = x - quarter * np.float32(1.5703125)
    r = r - quarter * np.float32(4.837512969970703e-4)
    r = r - quarter * np.float32(7.549789954891882e-8)
    z = r * r
    sin = r + r * z * (-0.166666507 + z * (0.00833197814 + z * -0.000194955699))
    cos = 1.0 - 0.5 * z + z * z * (0.0416666469 + z * (-0.00138873669 + z * 2.44383806e-5))
    turns = quarter.astype(jnp.int32)
    odd = (turns & 1) == 1
    first, second = jnp.where(odd, cos, sin), jnp.where(odd, sin, cos)
    return (
        jnp.where((turns & 2) == 2, -first, first),
        jnp.where(((turns + 1) & 2) == 2, -second, second),
    )


@sincos.defjvp
def _(primals, tangents):
    sin, cos = sincos(*primals)
    return (sin, cos), (cos * tangents[0], -sin * tangents[0])


def wrap(x: jax.Array) -> jax.Array:
    """The angle on [-pi, pi] that is as `x` [rad], without the original's loop.

    Within rounding of the seam (2e-6 after a few turns) it may be pi where the original has -pi, which is
    the same angle.
    """
    turns = jnp.round(x * np.float32(0.5 / np.pi))
    # 2 pi in two parts, the first so short that its product is exact.
    return x - turns * np.float32(6.28125) - turns * np.float32(1.9353071795864769e-3)


def row(*values: jax.Array) -> jax.Array:
    """The numbers as an observation `[D]`, as `jnp.stack` gives it.

    Chosen by index, for a choice is vectorized together with what made the numbers and a concatenation on a
    CPU is not: Pendulum with its resets is three times as fast, Acrobot twice.
    """
    index = jnp.arange(len(values))
    chosen = values[-1]
    for i, value in enumerate(values[:-1]):
        chosen = jnp.where(index == i, value, chosen)
    return chosen


def vector(*values) -> np.ndarray | jax.Array:
    """Bounds of a Box, float32; NumPy's unless one is traced."""
    if any(isinstance(value, jax.core.Tracer) for value in values):
        return jnp.stack([jnp.asarray(value, jnp.float32) for value in values])
    return np.asarray(values, np.float32)


def require_numbers(**values) -> None:
    """Raises ValueError for a parameter that is not one number; a traced one may have any value."""
    for name, value in values.items():
        try:
            good = jnp.shape(value) == () and jnp.isdtype(
                jnp.result_type(value), ("real floating", "integral", "bool")
            )
        except TypeError:
            good = False
        if good and not isinstance(value, jax.core.Tracer):
            good = not math.isnan(value)
        if not good:
            raise ValueError(f"{name} must be one number, not {value!r}")


def require_positive(*, or_zero: bool = False, **values) -> None:
    """Raises ValueError for a parameter that is no number above 0 (or, `or_zero`, 0)."""
    require_numbers(**values)
    for name, value in values.items():
        if isinstance(value, jax.core.Tracer) or value > 0 or (or_zero and value == 0):
            continue
        raise ValueError(f"{name} must be {'at least' if or_zero else 'above'} 0, not {value!r}")
