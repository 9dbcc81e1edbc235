"""The state of `seaquest`, and how a game starts."""

import jax
import jax.numpy as jnp
from flax import struct

MAX_OXYGEN = 200
DIVER_INTERVAL = 30


@struct.dataclass
class State:
    """Integers are int32, except those whose bits are cells, which are uint32. `[8]` is for rows 1 to 8.

    `enemies` and `slow_enemies` `[4, 8]` contain a four-bit code for every row, cell and timer: 0 for none,
    12 for a fish, 1 to 11 for a submarine that shoots when `clock` has this value. The first axis is the
    bit of the code. Bit `10 * t + x` is for column `x` and timer `t` in `enemies`, for timer `3 + t`
    in `slow_enemies`. The timer counts the steps until the enemy moves.

    Bullets: bits 0 to 9 are those that fly to the right, bits 10 to 19 those to the left.
    """

    oxygen: jax.Array
    diver_count: jax.Array  # on board, at most 6; negative after surfacing with 6
    sub_x: jax.Array
    sub_y: jax.Array  # 0, the surface, to 8
    sub_right: jax.Array  # bool: where the player looks
    surface: jax.Array  # bool: the player has surfaced and not dived since
    bullets: jax.Array  # the player's `[8]`
    surface_bullets: jax.Array  # the player's in row 0, which has no other objects
    enemy_bullets: jax.Array  # `[8]`
    enemies: jax.Array
    slow_enemies: jax.Array
    right: jax.Array  # bool `[8]`: there are enemies in the row and they move to the right
    clock: jax.Array  # 1 to 11, in a circle
    diver_x: jax.Array  # the latest diver; all three are 0 if there is none
    diver_y: jax.Array
    diver_right: jax.Array  # bool: it swims to the right
    older_x: jax.Array  # the diver before that
    older_y: jax.Array
    older_right: jax.Array
    spawn_timer: jax.Array  # steps until an enemy appears
    spawn_speed: jax.Array  # from 20 down to 1
    move_speed: jax.Array  # of enemies, from 5 down to 2: a move takes one step more than this
    diver_timer: jax.Array  # steps until a diver appears
    shot_timer: jax.Array  # steps until the player may shoot
    ramp_index: jax.Array  # how often it got harder
    last_action: jax.Array


def start(key) -> State:
    """The player at the surface, the water empty; nothing is random."""
    yes, no, empty = jnp.ones((), bool), jnp.zeros((), bool), jnp.zeros(8, jnp.uint32)
    return State(
        oxygen=jnp.int32(MAX_OXYGEN),
        diver_count=jnp.int32(0),
        sub_x=jnp.int32(5),
        sub_y=jnp.int32(0),
        sub_right=no,
        surface=yes,
        bullets=empty,
        surface_bullets=jnp.uint32(0),
        enemy_bullets=empty,
        enemies=jnp.zeros((4, 8), jnp.uint32),
        slow_enemies=jnp.zeros((4, 8), jnp.uint32),
        right=jnp.zeros(8, bool),
        clock=jnp.int32(1),
        diver_x=jnp.int32(0),
        diver_y=jnp.int32(0),
        diver_right=no,
        older_x=jnp.int32(0),
        older_y=jnp.int32(0),
        older_right=no,
        spawn_timer=jnp.int32(20),
        spawn_speed=jnp.int32(20),
        move_speed=jnp.int32(5),
        diver_timer=jnp.int32(DIVER_INTERVAL),
        shot_timer=jnp.int32(0),
        ramp_index=jnp.int32(0),
        last_action=jnp.int32(0),
    )
