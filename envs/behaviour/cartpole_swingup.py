"""Cart-pole swing-up of the behaviour suite: the pole starts hanging; moving has a cost.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/experiments/cartpole_swingup/cartpole_swingup.py. The observation is `[8]` where the original has
`[1, 8]`; masses and other constants of the original are parameters here.
"""

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.behaviour.cartpole import advance, observe, start, steps_until
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


def make(
    *,
    height_threshold=0.5,
    theta_dot_threshold=1.0,
    x_reward_threshold=1.0,
    move_cost=0.1,
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
    """Reward 1 in every step after which the pole is up and slow and the cart is near the middle.

    Observes the numbers of `CartPole-bsuite` and two that are 1 or -1: whether the cart is near the middle,
    and whether the pole is slow. Actions: left, none, right; left and right cost `move_cost`. Terminates
    when the cart is beyond `x_threshold` and when the time exceeds `max_time`, which is no truncation
    because the time is observed.

    Args:
      height_threshold: the pole is up while `cos(theta)` is above this.
      theta_dot_threshold: the pole is slow below this, in rad/s.
      x_reward_threshold: the cart is near the middle within this distance, in m.
      timescale, max_time: durations of a step and of an episode, in s.
      init_range: initial position, angle and velocities are uniform within this distance of hanging at rest.
      length: half the length of the pole, in m.

    Raises:
      ValueError: a length of time that is not positive or not known in Python.
    """
    last_step = steps_until(timescale, max_time)

    def middle(state):
        return jnp.abs(state.x) < x_reward_threshold

    def slow(state):
        return jnp.abs(state.theta_dot) < theta_dot_threshold

    def show(state):
        signs = [jnp.where(middle(state), 1.0, -1.0), jnp.where(slow(state), 1.0, -1.0)]
        return jnp.stack(observe(state, x_threshold, timescale, max_time) + signs)

    def reset(key):
        state = start(key, init_range, theta=np.pi)
        return state, restart(show(state))

    def step(key, state, action):
        state = advance(state, action, timescale, gravity, masscart, masspole, length, force_mag)
        up = jnp.cos(state.theta) > height_threshold
        reward = (up & middle(state) & slow(state)) - jnp.abs(action - 1) * move_cost
        over = (state.time >= last_step) | (jnp.abs(state.x) > x_threshold)
        return state, transition(show(state), reward, over)

    inf = np.inf
    low = np.array([-inf, -inf, -1, -1, -inf, 0, -1, -1], np.float32)
    high = np.array([inf, inf, 1, 1, inf, inf, 1, 1], np.float32)
    return Env(reset, step, Box(low, high, (8,)), Discrete(3))
