"""Asterix of MinAtar: collect gold and avoid enemies, which cross the board in rows with increasing speed.

Young and Tian 2019, https://arxiv.org/abs/1903.03176; package MinAtar 1.0.15. The rules are exactly those of
the original. The objects in the eight rows are stored as four numbers of eight hexadecimal digits, a digit
for each row, so that a step is arithmetic on scalars. In the original the last action is kept by a reset (a
repetition may extend into the next episode); here it is cleared.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.min_atar import common
from jaxrl.types import Env

MINIMAL_ACTIONS = "nlurd"
CHANNELS = ("player", "enemy", "trail", "gold")

_ONES = np.uint32(0x11111111)
_RAMP_INTERVAL = 100


@struct.dataclass
class State:
    """Digit `i` of the uint32 numbers is that of row `i + 1`, 0 if it is empty; other numbers are int32."""

    player_x: jax.Array
    player_y: jax.Array  # 1 to 8
    columns: jax.Array  # digits 0 to 9: column of the object in this row, if `present`
    present: jax.Array  # digits 0 or 1, as in the next two
    right: jax.Array  # it moves to the right
    gold: jax.Array  # it is gold, not an enemy
    spawn_timer: jax.Array  # steps until the next object appears
    spawn_speed: jax.Array  # from 10 down to 1
    move_timer: jax.Array  # steps until all objects move
    move_speed: jax.Array  # from 5 down to 1
    ramp_timer: jax.Array  # steps until it gets faster, down to -1
    ramp_index: jax.Array  # how often it got faster
    last_action: jax.Array


def make(*, ramping: bool = True, sticky_action_prob=0.1, minimal_actions: bool = True) -> Env:
    """Reward 1 for gold; ends when an enemy is touched.

    Args:
      ramping: whether objects appear more often and move faster during the episode.
      sticky_action_prob: probability that the last action is executed instead of the chosen one.
      minimal_actions: nothing, left, up, right, down; otherwise also fire, which does nothing here.

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
    """The player in the middle of an empty board; nothing is random."""
    return State(
        player_x=jnp.int32(5),
        player_y=jnp.int32(5),
        columns=jnp.uint32(0),
        present=jnp.uint32(0),
        right=jnp.uint32(0),
        gold=jnp.uint32(0),
        spawn_timer=jnp.int32(10),
        spawn_speed=jnp.int32(10),
        move_timer=jnp.int32(5),
        move_speed=jnp.int32(5),
        ramp_timer=jnp.int32(_RAMP_INTERVAL),
        ramp_index=jnp.int32(0),
        last_action=jnp.int32(0),
    )


def draw(key):
    """The random numbers of a step, from two random words.

    Returns:
      A uniform number for the sticky action; whether a new object starts at the left; whether it is gold;
      and an integer below 2^24 for the choice among the free rows.
    """
    sticky, spawn = jax.random.bits(key, (2,)) >> 8
    # The integer part of a uniform number times six is one of the six kinds, the fraction is uniform again.
    spawn = spawn * 6
    kind = spawn >> 24
    return sticky.astype(jnp.float32) * 2.0**-24, kind & 1 == 1, kind < 2, spawn & 0xFFFFFF


def advance(state: State, action, draws, *, actions: str, sticky_action_prob, ramping: bool):
    """One step.

    Returns:
      The new state, the reward and whether the episode ended.
    """
    sticky, from_left, is_gold, choice = draws
    action = common.stick(sticky, sticky_action_prob, state.last_action, action)

    spawns = state.spawn_timer == 0
    spawn_timer = jnp.where(spawns, state.spawn_speed, state.spawn_timer) - 1
    free = ~state.present & _ONES
    chosen = (choice * jax.lax.population_count(free)) >> 24
    # The product's digits count the free rows up to each one.
    new = jnp.where(spawns, free & _equal(free * _ONES, chosen + 1), 0)
    present = state.present | new
    right = jnp.where(from_left, state.right | new, state.right & ~new)
    gold = jnp.where(is_gold, state.gold | new, state.gold & ~new)
    columns = state.columns & ~(new * 15) | jnp.where(from_left, 0, new * 9)

    def move(letter):
        return common.pressed(actions, action, letter).astype(jnp.int32)

    player_x = jnp.clip(state.player_x + move("r") - move("l"), 0, 9)
    player_y = jnp.clip(state.player_y + move("d") - move("u"), 1, 8)
    row = jnp.uint32(1) << (4 * (player_y - 1)).astype(jnp.uint32)

    touched = present & row & _equal(columns, player_x)
    taken = touched & gold
    present &= ~taken

    moves = state.move_timer == 0
    move_timer = jnp.where(moves, state.move_speed, state.move_timer) - 1
    moving = jnp.where(moves, present, 0)
    leaving = moving & (right & _equal(columns, 9) | ~right & _equal(columns, 0))
    present &= ~leaving
    moving &= ~leaving
    columns = columns + (moving & right) - (moving & ~right)

    touched_then = present & row & _equal(columns, player_x)
    taken_then = touched_then & gold
    present &= ~taken_then

    active = ramping & ((state.spawn_speed > 1) | (state.move_speed > 1))
    faster = active & (state.ramp_timer < 0)
    odd = state.ramp_index % 2 == 1
    state = State(
        player_x=player_x,
        player_y=player_y,
        columns=columns & present * 15,
        present=present,
        right=right & present,
        gold=gold & present,
        spawn_timer=spawn_timer,
        spawn_speed=state.spawn_speed - (faster & (state.spawn_speed > 1)),
        move_timer=move_timer,
        move_speed=state.move_speed - (faster & odd & (state.move_speed > 1)),
        ramp_timer=jnp.where(faster, _RAMP_INTERVAL, state.ramp_timer - active),
        ramp_index=state.ramp_index + faster,
        last_action=action,
    )
    # There is at most one object in the player's row.
    reward = (taken | taken_then) != 0
    # XLA on a CPU computes a reduction once, but repeats other operations wherever a reset may follow.
    hit = jnp.any(jnp.stack([touched, touched_then]) & ~gold != 0, axis=0)
    return state, reward.astype(jnp.float32), hit


def observe(state: State):
    """`[10, 10, 4]` bool: a plane for each of `CHANNELS`.

    At most three elements of a row are true, so each is compared with these. The forty elements of a row are
    along one axis, so that the comparisons are vectorized.
    """

    def digits(number):
        return (number >> _DIGIT).astype(jnp.int32) & 15

    column, there = digits(state.columns), digits(state.present) & _WITH_THINGS == 1
    thing = jnp.where(there, 4 * column + 1 + 2 * digits(state.gold), -1)
    trail = jnp.where(there, 4 * (column + 1 - 2 * digits(state.right)) + 2, -1)
    player = jnp.where(state.player_y == _ROW, 4 * state.player_x, -1)
    thing, trail, player = (place.astype(jnp.int8) for place in (thing, trail, player))
    return ((thing == _PLACE) | (trail == _PLACE) | (player == _PLACE)).reshape(10, 10, 4)


def _equal(digits, value):
    """A number whose digits are 1 where those of `digits` are `value` and 0 elsewhere."""
    difference = digits ^ _ONES * jnp.asarray(value, jnp.uint32)
    difference |= difference >> 1
    return ~(difference | difference >> 2) & _ONES


_PLACE = np.arange(40, dtype=np.int8)
_ROW = np.arange(10, dtype=np.int32)[:, None]
_WITH_THINGS = ((_ROW > 0) & (_ROW < 9)).astype(np.int32)
_DIGIT = (4 * np.clip(_ROW - 1, 0, 7)).astype(np.uint32)
