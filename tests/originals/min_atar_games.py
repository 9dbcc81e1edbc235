"""How the states of Breakout, Freeway and Space Invaders are written into MinAtar's and read from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.min_atar import breakout


class Game(NamedTuple):
    """One game of ours and its translation; `minatar` below is the original's inner `Env`.

    The module has `draw(key)`, whose first element is the uniform number of the sticky action,
    `start(key) -> state`, `advance(state, action, draws, **options) -> (state, reward, terminated)`,
    `observe(state)` and `make`. `state` and `draws` of one transition come as NumPy arrays and
    Python scalars, the state as a dict of its fields.
    """

    name: str  # the original's
    module: Any
    actions: str  # the action set, in letters
    options: dict  # of `advance`
    original: dict  # options of `minatar.Environment` that say the same
    write: Callable  # (minatar, state): everything but last_action and terminal
    read: Callable  # (minatar) -> {field: value} of our state, but for last_action
    random: Callable  # (draws) -> what stands in for `minatar.random`
    policy: Callable  # (key, state) -> action: plays so that rare things happen
    vary: Callable  # (key, state) -> state: another start, so that rare things happen


class Nothing:
    """A game that draws nothing: any call of it fails."""


# --- Breakout ------------------------------------------------------------------------------------


_BREAKOUT_DIRECTIONS = [(-1, -1), (1, -1), (1, 1), (-1, 1)]


def _write_breakout(minatar, state):
    minatar.ball_x, minatar.ball_y = state["ball_x"], state["ball_y"]
    minatar.last_x, minatar.last_y = state["last_x"], state["last_y"]
    minatar.ball_dir = _BREAKOUT_DIRECTIONS.index((state["speed_x"], state["speed_y"]))
    minatar.pos, minatar.strike = state["paddle"], state["strike"]
    minatar.brick_map = np.zeros((10, 10))
    minatar.brick_map[1:4] = (state["bricks"] >> np.arange(30).reshape(3, 10)) & 1


def _read_breakout(minatar):
    speed_x, speed_y = _BREAKOUT_DIRECTIONS[minatar.ball_dir]
    rows = minatar.brick_map[1:4].ravel()
    assert minatar.brick_map.sum() == rows.sum()
    return dict(
        ball_x=minatar.ball_x,
        ball_y=minatar.ball_y,
        speed_x=speed_x,
        speed_y=speed_y,
        last_x=minatar.last_x,
        last_y=minatar.last_y,
        paddle=minatar.pos,
        bricks=int(rows @ (1 << np.arange(30))),
        strike=minatar.strike,
    )


def _play_breakout(key, state):
    """Mostly goes where the ball will be; random actions now and then."""
    luck_key, action_key = jax.random.split(key)
    towards = jnp.sign(state.ball_x + state.speed_x - state.paddle)
    follow = jnp.array([1, 0, 2])[towards + 1]
    return jnp.where(jax.random.bernoulli(luck_key, 0.85), follow, jax.random.randint(action_key, (), 0, 3))


def _vary_breakout(key, state):
    """Often only a few bricks or none are left."""
    brick_key, share_key = jax.random.split(key)
    share = jnp.maximum(jax.random.uniform(share_key, minval=-0.5), 0.0)
    left = jax.random.bernoulli(brick_key, share, (30,))
    return state.replace(bricks=jnp.sum(left << jnp.arange(30), dtype=jnp.int32))


# --- all -----------------------------------------------------------------------------------------

GAMES = [
    Game(
        name="breakout",
        module=breakout,
        actions=breakout.MINIMAL_ACTIONS,
        options={},
        original={},
        write=_write_breakout,
        read=_read_breakout,
        random=lambda draws: Nothing(),
        policy=_play_breakout,
        vary=_vary_breakout,
    )
]
