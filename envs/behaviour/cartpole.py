"""Cart-pole of the behaviour suite: balance a pole on a cart for ten seconds.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/cartpole.py. Differences from Gymnasium's: three actions, steps of 0.01 s, sine and cosine
of the angle and the time in the observation, and termination after `max_time`. The observation is `[6]`
where the original has `[1, 6]`; masses and other constants of the original are parameters here.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.behaviour.common import require_positive
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

_TURN = np.float32(2 * np.pi)


@struct.dataclass
class State:
    """Position [m] and velocity of the cart, angle from upright [rad] and its velocity, steps taken."""

    x: jax.Array
    x_dot: jax.Array
    theta: jax.Array
    theta_dot: jax.Array
    time: jax.Array


def make(
    *,
    height_threshold=0.8,
    x_threshold=3.0,
    timescale: float = 0.01,
    max_time: float = 10.0,
    init_range=0.05,
    gravity=9.8,
    masscart=1.0,
    masspole=0.1,
    length=0.5,
    force_mag=10.0,
) -> Env:
    """Reward 1 while the pole is up and the cart is near the middle; otherwise the episode ends.

    Observes `[x / x_threshold, x_dot / x_threshold, sin(theta), cos(theta), theta_dot, time / max_time]`.
    Actions: left, none, right. Terminates where the reward is 0, and when the time exceeds `max_time`,
    which is no truncation because the time is observed. The best return is 1001: the sum of a thousand
    times 0.01 is slightly below 10 in double precision, so the original takes one more step.

    Args:
      height_threshold: the pole is up while `cos(theta)` is above this.
      x_threshold: the cart is near the middle within this distance, in m.
      timescale, max_time: durations of a step and of an episode, in s.
      init_range: initial position, angle and velocities are uniform within this distance of 0.
      length: half the length of the pole, in m.

    Raises:
      ValueError: a length of time that is not positive or not known in Python.
    """
    last_step = steps_until(timescale, max_time)

    def show(state):
        return jnp.stack(observe(state, x_threshold, timescale, max_time))

    def reset(key):
        state = start(key, init_range)
        return state, restart(show(state))

    def step(key, state, action):
        state = advance(state, action, timescale, gravity, masscart, masspole, length, force_mag)
        good = (jnp.cos(state.theta) > height_threshold) & (jnp.abs(state.x) < x_threshold)
        over = (state.time >= last_step) | ~good
        return state, transition(show(state), good, over)

    inf = np.inf
    low = np.array([-inf, -inf, -1, -1, -inf, 0], np.float32)
    high = np.array([inf, inf, 1, 1, inf, inf], np.float32)
    return Env(reset, step, Box(low, high, (6,)), Discrete(3))


def advance(state: State, action, timescale, gravity, masscart, masspole, length, force_mag) -> State:
    """One step of Euler's method: positions change by the old velocities."""
    force = (action - 1) * force_mag
    cos, sin = jnp.cos(state.theta), jnp.sin(state.theta)
    total = masscart + masspole
    pole = masspole * length
    push = (force + pole * state.theta_dot**2 * sin) / total
    theta_acc = (gravity * sin - cos * push) / (length * (4 / 3 - masspole * cos**2 / total))
    x_acc = push - pole * theta_acc * cos / total
    theta = state.theta + timescale * state.theta_dot
    return State(
        x=state.x + timescale * state.x_dot,
        x_dot=state.x_dot + timescale * x_acc,
        theta=theta - _TURN * jnp.floor(theta / _TURN),
        theta_dot=state.theta_dot + timescale * theta_acc,
        time=state.time + 1,
    )


def start(key, init_range, theta: float = 0.0) -> State:
    """Four uniform draws within `init_range` of 0; the angle within `init_range` of `theta`."""
    draws = jax.random.uniform(key, (4,), minval=-1.0, maxval=1.0) * init_range
    return State(draws[0], draws[1], theta + draws[2], draws[3], jnp.zeros((), jnp.int32))


def observe(state: State, x_threshold, timescale, max_time) -> list:
    """The six numbers that both tasks observe."""
    elapsed = (state.time * np.float32(timescale / max_time)).astype(jnp.float32)
    sin, cos = jnp.sin(state.theta), jnp.cos(state.theta)
    return [state.x / x_threshold, state.x_dot / x_threshold, sin, cos, state.theta_dot, elapsed]


def steps_until(timescale: float, max_time: float) -> int:
    """The first step after which the elapsed time, summed in double precision, is above `max_time`.

    Raises:
      ValueError: a length of time that is not positive or not known in Python.
    """
    for name, value in dict(timescale=timescale, max_time=max_time).items():
        if isinstance(value, jax.core.Tracer):
            raise ValueError(f"{name} determines the number of steps of an episode and cannot be traced")
    require_positive(timescale=timescale, max_time=max_time)
    elapsed = np.cumsum(np.full(math.ceil(max_time / timescale) + 2, timescale))
    return int(np.argmax(elapsed > max_time)) + 1
