"""Pong: return the ball until the opponent misses it; an episode is one point.

A new game on the field of gymnax's Pong-misc, https://github.com/RobertTLange/gymnax: 30 rows, 40 columns,
and an observation of paddles, ball, and the ball's previous position. In gymnax the ball passes through the
upper border, all episodes start in the same way, and every step without a miss gives a reward of 1. Here the
ball is reflected at both borders and served from a random row in a random direction, and only points give a
reward.

All positions are whole cells. In a step first the paddles move, the opponent's towards the ball's visible
position; then the ball, which the borders reflect; then, if it reaches the front of a paddle, it is returned
or missed. A paddle's outer cells push the ball up or down by one more row per step: with its default speed,
the opponent misses only steep balls.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.cpu.once import once
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """The rows of the paddles' centres, the ball's current and previous position, and its speed."""

    paddle: jax.Array
    opponent: jax.Array
    row: jax.Array
    column: jax.Array
    last_row: jax.Array
    last_column: jax.Array
    row_speed: jax.Array
    column_speed: jax.Array


def make(
    *,
    ball_max_y_speed: int = 3,
    paddle_y_speed: int = 1,
    opponent_y_speed: int = 1,
    ball_x_speed: int = 1,
    width: int = 40,
    height: int = 30,
    paddle_half_height: int = 2,
) -> Env:
    """Actions move the left paddle: stay, up, down; reward 1 for a point won, -1 for one lost.

    The observation is `[height, width, 3]` bool: both paddles, the ball, the ball's previous position.

    Args:
      ball_max_y_speed, paddle_y_speed, opponent_y_speed, ball_x_speed: in cells per step.
      paddle_half_height: number of cells of a paddle above and below its centre.

    Raises:
      ValueError: for a value that is not an integer, or that is too small or too large for the field.
    """
    rows, columns = _whole("height", height, 3), _whole("width", width, 7)
    half = _whole("paddle_half_height", paddle_half_height, 0, (rows - 1) // 2)
    limits = dict(  # so that there is at most one reflection per step, and a returned ball is on the field
        ball_max_y_speed=(ball_max_y_speed, 1, rows - 1),
        paddle_y_speed=(paddle_y_speed, 0, rows),
        opponent_y_speed=(opponent_y_speed, 0, rows),
        ball_x_speed=(ball_x_speed, 1, columns - 3),
    )
    for name, (value, low, high) in limits.items():
        if not isinstance(value, jax.core.Tracer):
            _whole(name, value, low, high)
    field = Field(rows, columns, half)

    def reset(key):
        state = begin(field, once(draw(key)), ball_x_speed)
        return state, restart(observe(field, state))

    def step(key, state, action):
        speeds = paddle_y_speed, opponent_y_speed, ball_max_y_speed
        state, reward = once(advance(field, speeds, state, action))
        return state, transition(observe(field, state), reward, reward != 0)

    return Env(reset, step, Box(0, 1, (rows, columns, 3), jnp.dtype(jnp.bool_)), Discrete(3))


@struct.dataclass
class Field:
    """The sizes of the game, Python integers."""

    rows: int = struct.field(pytree_node=False)
    columns: int = struct.field(pytree_node=False)
    half: int = struct.field(pytree_node=False)


def draw(key) -> jax.Array:
    """The random numbers of a reset, for the ball's row and direction, `[2]` in [0, 1)."""
    return jax.random.uniform(key, (2,))


def begin(field: Field, draws, ball_x_speed) -> State:
    """The ball in the middle column, with a random row and direction; paddles in the middle."""
    row = _below(draws[0], field.rows)
    course = _below(draws[1], 6)  # level, up or down, to the left or to the right
    middle = jnp.asarray(field.rows // 2, jnp.int32)
    column = jnp.asarray(field.columns // 2, jnp.int32)
    speed = jnp.asarray(ball_x_speed, jnp.int32)
    return State(
        paddle=middle,
        opponent=middle,
        row=row,
        column=column,
        last_row=row,
        last_column=column,
        row_speed=course % 3 - 1,
        column_speed=jnp.where(course < 3, -speed, speed),
    )


def advance(field: Field, speeds, state: State, action):
    """One step; `speeds` are those of the paddle and the opponent, and the maximum of the ball's, in rows.

    Returns:
      The new state and the reward.
    """
    paddle_speed, opponent_speed, max_speed = (jnp.asarray(speed, jnp.int32) for speed in speeds)
    bottom, right = field.rows - 1, field.columns - 1
    highest, lowest = field.half, bottom - field.half

    push = (action == 2).astype(jnp.int32) - (action == 1)
    paddle = jnp.clip(state.paddle + push * paddle_speed, highest, lowest)
    chase = jnp.clip(state.row - state.opponent, -opponent_speed, opponent_speed)
    opponent = jnp.clip(state.opponent + chase, highest, lowest)

    row, column = state.row + state.row_speed, state.column + state.column_speed
    bounces = (row < 0) | (row > bottom)
    row = jnp.where(row < 0, -row, jnp.where(row > bottom, 2 * bottom - row, row))
    row_speed = jnp.where(bounces, -state.row_speed, state.row_speed)

    leftwards = state.column_speed < 0
    arrived = jnp.where(leftwards, column <= 1, column >= right - 1)
    offset = row - jnp.where(leftwards, paddle, opponent)
    hit, missed = arrived & (abs(offset) <= field.half), arrived & (abs(offset) > field.half)
    outer = field.half // 2
    spin = (offset > outer).astype(jnp.int32) - (offset < -outer)
    back = jnp.where(leftwards, 2 - column, 2 * (right - 1) - column)

    state = State(
        paddle=paddle,
        opponent=opponent,
        row=row,
        column=jnp.clip(jnp.where(hit, back, column), 0, right),
        last_row=state.row,
        last_column=state.column,
        row_speed=jnp.where(hit, jnp.clip(row_speed + spin, -max_speed, max_speed), row_speed),
        column_speed=jnp.where(hit, -state.column_speed, state.column_speed),
    )
    return state, jnp.where(missed, jnp.where(leftwards, -1.0, 1.0), 0.0)


def observe(field: Field, state: State) -> jax.Array:
    """Both paddles, the ball, the ball's previous position: `[rows, columns, 3]` bool."""
    across = np.arange(-field.half, field.half + 1, dtype=np.int32)
    cells = jnp.concatenate(
        [
            3 * field.columns * (state.paddle + across),
            3 * field.columns * (state.opponent + across) + 3 * (field.columns - 1),
            (3 * (state.row * field.columns + state.column) + 1)[None],
            (3 * (state.last_row * field.columns + state.last_column) + 2)[None],
        ]
    )
    # Sets a few elements of an empty image: comparing each of its 3600 numbers takes ten times as long.
    picture = jnp.zeros(field.rows * field.columns * 3, bool)
    picture = picture.at[cells].set(True, unique_indices=True, mode="promise_in_bounds")
    return picture.reshape(field.rows, field.columns, 3)


def _below(u, n):
    """Maps a number in [0, 1) to one of 0 .. n - 1."""
    return jnp.minimum((u * n).astype(jnp.int32), n - 1)  # a float32 below 1 times n may round up to n


def _whole(name, value, low, high=None) -> int:
    if isinstance(value, jax.core.Tracer):
        raise ValueError(f"{name} determines array shapes and cannot be traced")
    if isinstance(value, bool | str) or int(value) != value:
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {bounds}, not {value!r}")
    return int(value)
