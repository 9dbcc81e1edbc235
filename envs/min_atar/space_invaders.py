"""Space Invaders of MinAtar: shoot the aliens before they come down or hit the cannon.

Young and Tian 2019, https://arxiv.org/abs/1903.03176; package MinAtar 1.0.15. The rules are exactly those of
the original, but a row of a board is ten bits of one number, so that a step processes rows instead of cells.
In the original the last action is kept by a reset; here it is cleared.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.min_atar import common
from jaxrl.types import Env

MINIMAL_ACTIONS = "nlrf"
CHANNELS = ("cannon", "alien", "alien_left", "alien_right", "friendly_bullet", "enemy_bullet")

_SHOT_INTERVAL = 5
_ALIEN_SHOT_INTERVAL = 10
_SLOWEST, _FASTEST = 12, 6  # steps between two moves of the aliens

_ROW = np.arange(10, dtype=np.int32)
_BIT = 1 << _ROW  # of a column
_WAVE = np.where(_ROW < 4, 0b0011111100, 0).astype(np.int32)  # rows 0 to 3, columns 2 to 7


@struct.dataclass
class State:
    """Boards are `[10]`, a number for each row from the top, with bit i for column i; all are int32."""

    cannon: jax.Array  # its column, in row 9
    aliens: jax.Array
    friendly_bullets: jax.Array
    enemy_bullets: jax.Array
    direction: jax.Array  # of the aliens, -1 (left) or 1
    move_interval: jax.Array  # of the aliens, as long as there are more of them than that
    move_timer: jax.Array  # steps until the aliens move
    alien_shot_timer: jax.Array
    shot_timer: jax.Array
    last_action: jax.Array


def make(*, sticky_action_prob=0.1, ramping: bool = True, minimal_actions: bool = True) -> Env:
    """Reward 1 for every alien; ends when an alien or its bullet meets the cannon or aliens land.

    Args:
      sticky_action_prob: probability that the last action is executed instead of the chosen one.
      ramping: every new wave moves faster.
      minimal_actions: nothing, left, right, fire; otherwise all six actions of MinAtar, of which
        the others do nothing here.

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
        ramping=ramping,
    )


def start(key) -> State:
    """The initial state, which is not random."""
    del key
    return State(
        cannon=jnp.int32(5),
        aliens=jnp.asarray(_WAVE),
        friendly_bullets=jnp.zeros(10, jnp.int32),
        enemy_bullets=jnp.zeros(10, jnp.int32),
        direction=jnp.int32(-1),
        move_interval=jnp.int32(_SLOWEST),
        move_timer=jnp.int32(_SLOWEST),
        alien_shot_timer=jnp.int32(_ALIEN_SHOT_INTERVAL),
        shot_timer=jnp.int32(0),
        last_action=jnp.int32(0),
    )


def draw(key):
    """The random number of a step: a uniform one for the sticky action."""
    return (jax.random.uniform(key),)


def advance(state: State, action, draws, *, actions: str, sticky_action_prob, ramping):
    """One step.

    Returns:
      The new state, the reward and whether the episode ended.
    """
    action = common.stick(draws[0], sticky_action_prob, state.last_action, action)
    fires = common.pressed(actions, action, "f") & (state.shot_timer == 0)
    move = common.pressed(actions, action, "r").astype(jnp.int32) - common.pressed(actions, action, "l")
    cannon = jnp.clip(state.cannon + move, 0, 9)
    here = jnp.left_shift(1, cannon)

    # A new bullet starts in row 9 and moves in the same step, like all others.
    friendly = state.friendly_bullets | jnp.where(fires & (_ROW == 9), here, 0)
    friendly = jnp.concatenate([friendly[1:], jnp.zeros(1, jnp.int32)])
    enemy = jnp.concatenate([jnp.zeros(1, jnp.int32), state.enemy_bullets[:-1]])
    bottom = state.aliens[9]
    terminated = (enemy[9] | bottom) & here != 0

    moves = state.move_timer == 0
    columns = jax.lax.reduce_or(state.aliens, (0,))
    left = state.direction < 0
    turns = moves & (columns & jnp.where(left, _BIT[0], _BIT[9]) != 0)
    marches = moves & ~turns
    aliens = _march(state.aliens, marches, left)
    aliens = jnp.where(turns, jnp.concatenate([aliens[9:], aliens[:9]]), aliens)
    direction = jnp.where(turns, -state.direction, state.direction)
    terminated |= (turns & (bottom != 0)) | (moves & (aliens[9] & here != 0))
    count = jnp.sum(jax.lax.population_count(state.aliens))
    move_timer = jnp.where(moves, jnp.minimum(count, state.move_interval), state.move_timer)

    shoots = state.alien_shot_timer == 0
    column = _nearest(_march(columns, marches, left), cannon)
    aims = jnp.left_shift(1, column)
    lowest = jnp.max(jnp.where(aliens & aims != 0, _ROW, -1))
    enemy = enemy | jnp.where(shoots & (lowest == _ROW), aims, 0)
    alien_shot_timer = jnp.where(shoots, _ALIEN_SHOT_INTERVAL, state.alien_shot_timer)

    killed = aliens & friendly
    reward = jnp.sum(jax.lax.population_count(killed)).astype(jnp.float32)
    aliens = aliens & ~killed
    cleared = jnp.all(aliens == 0)
    faster = cleared & (state.move_interval > _FASTEST) & ramping
    state = State(
        cannon=cannon,
        aliens=jnp.where(cleared, _WAVE, aliens),
        friendly_bullets=friendly & ~killed,
        enemy_bullets=enemy,
        direction=direction,
        move_interval=jnp.where(faster, state.move_interval - 1, state.move_interval),
        move_timer=move_timer - 1,
        alien_shot_timer=alien_shot_timer - 1,
        shot_timer=jnp.where(fires, _SHOT_INTERVAL - 1, jnp.maximum(state.shot_timer - 1, 0)),
        last_action=action,
    )
    return state, reward, terminated


def observe(state: State):
    """`[10, 10, 6]` bool: a plane for each of `CHANNELS`."""
    left = state.direction < 0
    boards = [
        jnp.where(_ROW == 9, jnp.left_shift(1, state.cannon), 0),
        state.aliens,
        jnp.where(left, state.aliens, 0),
        jnp.where(left, 0, state.aliens),
        state.friendly_bullets,
        state.enemy_bullets,
    ]
    return jnp.stack([board[:, None] & _BIT != 0 for board in boards], axis=-1)


def _march(board, marches, left):
    """The board, moved by one column; boards that move are not at that edge."""
    return jnp.where(marches, jnp.where(left, board >> 1, board << 1), board)


def _nearest(columns, cannon):
    """The occupied column nearest to the cannon, the left one of two equally near; `columns` are bits."""
    distance = jnp.abs(_ROW - cannon)
    rank = jnp.where(columns & _BIT != 0, 2 * distance + (cannon < _ROW), 99)
    best = jnp.min(rank)
    return cannon + jnp.where(best & 1, 1, -1) * (best >> 1)
