"""Breakout of MinAtar: a paddle bounces a ball that breaks three rows of bricks; it must not be missed.

Young and Tian 2019, https://arxiv.org/abs/1903.03176; package MinAtar 1.0.15. The rules are exactly those of
the original, with two differences in the representation: the thirty bricks are bits of one number, so that a
step is arithmetic on scalars; and the ball's direction is two signs. In the original the last action is kept
by a reset (a repetition may extend into the next episode); here it is cleared.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.cpu.once import once
from jaxrl.envs.min_atar import common
from jaxrl.types import Env

MINIMAL_ACTIONS = "nlr"
CHANNELS = ("paddle", "ball", "trail", "brick")

_CELL = np.arange(100, dtype=np.int32).reshape(10, 10)
_BRICK = np.zeros((10, 10), np.int32)  # the bit of each cell of rows 1 to 3; 0 elsewhere
_BRICK[1:4] = 1 << np.arange(30).reshape(3, 10)
_WALL = int(_BRICK.sum())


@struct.dataclass
class State:
    """Rows count from the top, columns from the left; all integers are int32."""

    ball_x: jax.Array
    ball_y: jax.Array
    speed_x: jax.Array  # -1 or 1
    speed_y: jax.Array
    last_x: jax.Array  # the ball's previous position
    last_y: jax.Array
    paddle: jax.Array  # its column, in row 9
    bricks: jax.Array  # thirty bits: 10 * (row - 1) + column, rows 1 to 3
    strike: jax.Array  # bool: the ball touched a brick in the step before, so it passes through the next
    last_action: jax.Array


def make(*, sticky_action_prob=0.1, minimal_actions: bool = True) -> Env:
    """Reward 1 for every brick; ends when the ball is missed. After the last brick the wall is restored.

    Args:
      sticky_action_prob: probability that the last action is executed instead of the chosen one.
      minimal_actions: nothing, left, right; otherwise all six actions of MinAtar, of which the
        others do nothing here.

    Raises:
      ValueError: for a probability outside [0, 1].
    """
    return common.game(
        start,
        draw,
        advance,
        observe,
        channels=len(CHANNELS),
        actions=common.action_set(MINIMAL_ACTIONS, minimal_actions),
        sticky_action_prob=sticky_action_prob,
    )


def start(key) -> State:
    """The ball starts below the wall at the left or the right side, and comes down inwards."""
    right = once(jax.random.bernoulli(key))
    x = jnp.where(right, 9, 0).astype(jnp.int32)
    y = jnp.int32(3)
    return State(
        ball_x=x,
        ball_y=y,
        speed_x=jnp.where(right, -1, 1).astype(jnp.int32),
        speed_y=jnp.int32(1),
        last_x=x,
        last_y=y,
        paddle=jnp.int32(4),
        bricks=jnp.int32(_WALL),
        strike=jnp.zeros((), bool),
        last_action=jnp.int32(0),
    )


def draw(key):
    """The random number of a step: a uniform one for the sticky action."""
    return (jax.random.uniform(key),)


def advance(state: State, action, draws, *, actions: str, sticky_action_prob):
    """One step.

    Returns:
      The new state, the reward and whether the episode ended.
    """
    action = common.stick(draws[0], sticky_action_prob, state.last_action, action)
    move = common.pressed(actions, action, "r").astype(jnp.int32) - common.pressed(actions, action, "l")
    paddle = jnp.clip(state.paddle + move, 0, 9)

    ahead_x = state.ball_x + state.speed_x
    x = jnp.clip(ahead_x, 0, 9)
    speed_x = jnp.where(x == ahead_x, state.speed_x, -state.speed_x)
    y = state.ball_y + state.speed_y

    ceiling = y < 0
    in_wall = (y >= 1) & (y <= 3)
    brick = jnp.where(in_wall, jnp.left_shift(1, 10 * (y - 1) + x), 0)
    on_brick = state.bricks & brick != 0
    breaks = on_brick & ~state.strike
    bricks = jnp.where(breaks, state.bricks & ~brick, state.bricks)

    bottom = y == 9
    bricks = jnp.where(bottom & (bricks == 0), _WALL, bricks)
    on_top = bottom & (state.ball_x == paddle)
    on_edge = bottom & ~on_top & (x == paddle)
    caught = on_top | on_edge

    speed_x = jnp.where(on_edge, -speed_x, speed_x)
    speed_y = jnp.where(ceiling | breaks | caught, -state.speed_y, state.speed_y)
    y = jnp.where(breaks | caught, state.ball_y, jnp.maximum(y, 0))
    state = State(
        ball_x=x,
        ball_y=y,
        speed_x=speed_x,
        speed_y=speed_y,
        last_x=state.ball_x,
        last_y=state.ball_y,
        paddle=paddle,
        bricks=bricks,
        strike=on_brick,
        last_action=action,
    )
    return state, breaks.astype(jnp.float32), bottom & ~caught


def observe(state: State):
    """`[10, 10, 4]` bool: a plane for each of `CHANNELS`."""
    planes = [
        90 + state.paddle == _CELL,
        10 * state.ball_y + state.ball_x == _CELL,
        10 * state.last_y + state.last_x == _CELL,
        state.bricks & _BRICK != 0,
    ]
    return jnp.stack(planes, axis=-1)
