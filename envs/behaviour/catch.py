"""Catch: a paddle at the bottom of the board moves under a falling ball.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/catch.py, without differences.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.behaviour.common import below
from jaxrl.envs.require import require_count
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """Column and row of the ball, column of the paddle."""

    ball_x: jax.Array
    ball_y: jax.Array
    paddle_x: jax.Array


def make(*, rows: int = 10, columns: int = 5) -> Env:
    """One ball to catch, which starts in a random column of the top row.

    Observes the board `[rows, columns]`, 1 where the ball or the paddle is. Actions: left, stay, right. The
    episode terminates when the ball reaches the bottom row, after `rows - 1` steps: reward 1 if the
    paddle is under it, otherwise -1.

    Raises:
      ValueError: `rows` below 2 or `columns` below 1.
    """
    require_count("rows", rows, 2)
    require_count("columns", columns, 1)
    cells = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)

    def show(state):
        ball = state.ball_y * columns + state.ball_x
        paddle = (rows - 1) * columns + state.paddle_x
        return ((cells == ball) | (cells == paddle)).astype(jnp.float32)

    def reset(key):
        ball_x = below(jax.random.uniform(key), columns)
        state = State(ball_x, jnp.zeros((), jnp.int32), jnp.full((), columns // 2, jnp.int32))
        return state, restart(show(state))

    def step(key, state, action):
        state = State(
            ball_x=state.ball_x,
            ball_y=state.ball_y + 1,
            paddle_x=jnp.clip(state.paddle_x + action - 1, 0, columns - 1),
        )
        over = state.ball_y == rows - 1
        reward = jnp.where(state.paddle_x == state.ball_x, 1.0, -1.0)
        return state, transition(show(state), jnp.where(over, reward, 0.0), over)

    return Env(reset, step, Box(0.0, 1.0, (rows, columns)), Discrete(3))
