"""Conversion of the states of Breakout, Freeway and Space Invaders to and from MinAtar's."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.min_atar import breakout, common, freeway, space_invaders


class Game(NamedTuple):
    """A ported game and its conversion; `minatar` below is the inner `Env` of the original.

    The module has `draw(key)`, whose first element is the uniform number of the sticky action,
    `start(key) -> state`, `advance(state, action, draws, **options) -> (state, reward, terminated)`,
    `observe(state)` and `make`. `state` and `draws` of one transition come as NumPy arrays and
    Python scalars, the state as a dict of its fields.
    """

    name: str  # the original's
    module: Any
    actions: str  # the action set, in letters
    options: dict  # of `advance`
    original: dict  # the corresponding options of `minatar.Environment`
    write: Callable  # (minatar, state): everything but last_action and terminal
    read: Callable  # (minatar) -> {field: value} of our state, but for last_action
    random: Callable  # (draws) -> replacement of `minatar.random`
    policy: Callable  # (key, state) -> action: plays so that rare events occur
    vary: Callable  # (key, state) -> state: another start, so that rare events occur


class Nothing:
    """Random numbers of a game that draws none: any call fails."""


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
    """Mostly moves to where the ball will be; random actions now and then."""
    luck_key, action_key = jax.random.split(key)
    towards = jnp.sign(state.ball_x + state.speed_x - state.paddle)
    follow = jnp.array([1, 0, 2])[towards + 1]
    return jnp.where(jax.random.bernoulli(luck_key, 0.85), follow, jax.random.randint(action_key, (), 0, 3))


def _vary_breakout(key, state):
    """The ball is anywhere, with any speed; often only a few bricks or none are left."""
    brick_key, share_key, ball_key, speed_key, strike_key = jax.random.split(key, 5)
    share = jnp.maximum(jax.random.uniform(share_key, minval=-0.5), 0.0)
    left = jax.random.bernoulli(brick_key, share, (30,))
    x, y = jax.random.randint(ball_key, (2,), 0, jnp.array([10, 9]))
    speed_x, speed_y = jax.random.rademacher(speed_key, (2,), jnp.int32)
    return state.replace(
        bricks=jnp.sum(left << jnp.arange(30), dtype=jnp.int32),
        ball_x=x,
        ball_y=y,
        speed_x=speed_x,
        speed_y=speed_y,
        strike=jax.random.bernoulli(strike_key),
    )


# --- Freeway -------------------------------------------------------------------------------------


class _FreewayRandom:
    """The original draws eight magnitudes, then eight numbers whose half is the direction."""

    def __init__(self, draws):
        number = np.floor(10 * draws[1]).astype(int)
        self.speeds = np.array([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])[number]

    def randint(self, low, high, size):
        assert (low, high, size) == (1, 6, 8)
        return np.abs(self.speeds)

    def rand(self, size):
        assert size == 8
        return np.where(self.speeds > 0, 0.75, 0.25)


def _write_freeway(minatar, state):
    minatar.pos, minatar.move_timer = state["player"], state["move_timer"]
    minatar.terminate_timer = state["time_left"]
    columns = [state[name].tolist() for name in ("car_x", "car_timer", "car_speed")]
    minatar.cars = [[x, row, timer, speed] for row, x, timer, speed in zip(range(1, 9), *columns)]


def _read_freeway(minatar):
    x, _, timer, speed = zip(*minatar.cars)
    return dict(
        player=minatar.pos,
        move_timer=minatar.move_timer,
        time_left=minatar.terminate_timer,
        car_x=x,
        car_timer=timer,
        car_speed=speed,
    )


def _play_freeway(key, state):
    return jax.random.choice(key, 3, p=jnp.array([0.1, 0.8, 0.1]))


def _vary_freeway(key, state):
    """Cars are spread, some players nearly across and some games nearly over."""
    place_key, player_key, time_key, late_key = jax.random.split(key, 4)
    time_left = jax.random.randint(time_key, (), 0, 2501)
    return state.replace(
        car_x=jax.random.randint(place_key, (8,), 0, 10),
        player=jax.random.randint(player_key, (), 1, 4),
        time_left=jnp.where(jax.random.bernoulli(late_key, 0.7), time_left % 16, time_left),
    )


# --- Space Invaders ------------------------------------------------------------------------------

_BITS = 1 << np.arange(10)


def _cells(rows):
    return (rows[:, None] & _BITS != 0).astype(float)


def _write_space_invaders(minatar, state):
    minatar.pos, minatar.alien_dir = state["cannon"], state["direction"]
    minatar.alien_map = _cells(state["aliens"])
    minatar.f_bullet_map = _cells(state["friendly_bullets"])
    minatar.e_bullet_map = _cells(state["enemy_bullets"])
    minatar.enemy_move_interval = state["move_interval"]
    minatar.alien_move_timer = state["move_timer"]
    minatar.alien_shot_timer = state["alien_shot_timer"]
    minatar.shot_timer = state["shot_timer"]


def _read_space_invaders(minatar):
    return dict(
        cannon=minatar.pos,
        aliens=minatar.alien_map @ _BITS,
        friendly_bullets=minatar.f_bullet_map @ _BITS,
        enemy_bullets=minatar.e_bullet_map @ _BITS,
        direction=minatar.alien_dir,
        move_interval=minatar.enemy_move_interval,
        move_timer=minatar.alien_move_timer,
        alien_shot_timer=minatar.alien_shot_timer,
        shot_timer=minatar.shot_timer,
    )


def _play_space_invaders(actions):
    def policy(key, state):
        return jax.random.choice(
            key, len(actions), p=jnp.array([0.4 if a == "f" else 0.6 / (len(actions) - 1) for a in actions])
        )

    return policy


def _vary_space_invaders(key, state):
    """Few aliens anywhere, of any speed, and bullets in flight."""
    keys = jax.random.split(key, 8)

    def board(key, share):
        return jnp.sum(jax.random.bernoulli(key, share, (10, 10)) * _BITS, axis=1, dtype=jnp.int32)

    aliens = board(keys[0], jnp.array([0.02, 0.05, 0.2])[jax.random.randint(keys[1], (), 0, 3)])
    none = jnp.all(aliens == 0)
    aliens = aliens.at[jax.random.randint(keys[2], (), 0, 10)].add(jnp.where(none, 8, 0))
    bullets = board(keys[3], 0.1)
    interval, timer = jax.random.randint(keys[4], (2,), 0, 7)
    return state.replace(
        cannon=jax.random.randint(keys[5], (), 0, 10),
        aliens=aliens,
        friendly_bullets=bullets.at[9].set(0) & ~aliens,
        enemy_bullets=board(keys[6], 0.05),
        direction=jax.random.rademacher(keys[7], (), jnp.int32),
        move_interval=6 + interval,
        move_timer=timer,
        alien_shot_timer=timer,
    )


def _space_invaders(actions, ramping):
    return Game(
        name="space_invaders",
        module=space_invaders,
        actions=actions,
        options={"ramping": ramping},
        original={"difficulty_ramping": ramping},
        write=_write_space_invaders,
        read=_read_space_invaders,
        random=lambda draws: Nothing(),
        policy=_play_space_invaders(actions),
        vary=_vary_space_invaders,
    )


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
    ),
    Game(
        name="freeway",
        module=freeway,
        actions=freeway.MINIMAL_ACTIONS,
        options={},
        original={},
        write=_write_freeway,
        read=_read_freeway,
        random=_FreewayRandom,
        policy=_play_freeway,
        vary=_vary_freeway,
    ),
    _space_invaders(space_invaders.MINIMAL_ACTIONS, True),
    _space_invaders(common.ALL_ACTIONS, False),
]
