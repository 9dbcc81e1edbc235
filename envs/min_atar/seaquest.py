"""Seaquest of MinAtar: shoot fish and submarines, rescue divers, and surface before the oxygen runs out.

Young and Tian 2019, https://arxiv.org/abs/1903.03176; package MinAtar 1.0.15. The rules are exactly those of
the original, including its errors: surfacing with six divers leaves -1 of them, which lets the player
surface again, and a submarine still shoots in the step in which it is hit. In the original the last action is
kept by a reset (a repetition may extend into the next episode); here it is cleared.

The original uses lists. Here every row of water is a few numbers whose bits are cells, so nothing can
overflow, and the cost of a step does not depend on the number of objects. This is equivalent:

* A bullet is its cell and direction. Enemy bullets pass through everything but the player, so it does not
  matter how many share a cell. Of the player's own, no two ever share one: they leave five steps apart,
  move a cell a step, and the player, no faster, cannot get ahead of one.
* The enemies of a row move the same way (others do not appear while one is there), after the same rule and
  in the order of their appearance. Difficulty rises for the sixth time, the last that changes their pace,
  when they still appear at least 15 steps apart; each change lets one come at most a step closer to
  the next, so then two are never in one cell. Later, at one pace, two that appeared at different steps
  never have the same cell and timer, and no timer is above 2. So there is at most one enemy per row, cell
  and timer, and the list's order within a cell is that of the timers.
* A submarine shoots every eleven steps from its tenth on: what matters is when it appeared, modulo eleven.
* Divers appear every 30 steps and are gone after 59, so there are two at most; they move every six
  steps, which divides 30, so all of them move at once.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.min_atar import common
from jaxrl.types import Env

MINIMAL_ACTIONS = common.ALL_ACTIONS
CHANNELS = (
    "sub_front",
    "sub_back",
    "friendly_bullet",
    "trail",
    "enemy_bullet",
    "enemy_fish",
    "enemy_sub",
    "oxygen_guage",
    "diver_guage",
    "diver",
)

_MAX_OXYGEN = 200
_DIVER_INTERVAL = 30
_SHOT_COOL_DOWN = 5
_CELLS = np.uint32(0x3FF)  # ten bits: the columns of a row
_FISH = 12


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


def make(*, ramping: bool = True, sticky_action_prob=0.1, minimal_actions: bool = True) -> Env:
    """Reward 1 for every enemy shot, and up to 10 for surfacing with six divers, by the oxygen left.

    Ends when the player is hit, is out of oxygen or surfaces without a diver.

    Args:
      ramping: whether enemies appear more often and move faster each time the player surfaces.
      sticky_action_prob: probability that the last action is executed instead of the chosen one.
      minimal_actions: all six actions do something here, so this changes nothing.

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
    """The player at the surface, the water empty; nothing is random."""
    yes, no, empty = jnp.ones((), bool), jnp.zeros((), bool), jnp.zeros(8, jnp.uint32)
    return State(
        oxygen=jnp.int32(_MAX_OXYGEN),
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
        diver_timer=jnp.int32(_DIVER_INTERVAL),
        shot_timer=jnp.int32(0),
        ramp_index=jnp.int32(0),
        last_action=jnp.int32(0),
    )


def draw(key):
    """The random numbers of a step, from two random words.

    Returns:
      A uniform number for the sticky action; of an enemy that may appear whether it starts at the left,
      whether it is a submarine, and its row, 1 to 8; of a diver whether it starts at the left, and its row.
    """
    sticky, spawn = jax.random.bits(key, (2,))
    # 48 = 3 * 2 * 8 from the upper 26 bits; the lower ones are still free.
    enemy = (spawn >> 6) * 48 >> 26
    return (
        (sticky >> 8).astype(jnp.float32) * 2.0**-24,
        enemy & 8 == 8,
        enemy >> 4 == 0,
        1 + (enemy & 7).astype(jnp.int32),
        spawn & 8 == 8,
        1 + (spawn & 7).astype(jnp.int32),
    )


def advance(state: State, action, draws, *, actions: str, sticky_action_prob, ramping: bool):
    """One step.

    Returns:
      The new state, the reward and whether the episode ended.
    """
    sticky, enemy_from_left, is_sub, enemy_y, diver_from_left, diver_y = draws
    action = common.stick(sticky, sticky_action_prob, state.last_action, action)

    spawns = state.spawn_timer == 0
    enemies, slow_enemies, right = _spawn_enemy(state, spawns, enemy_from_left, is_sub, enemy_y)

    def pressed(letter):
        return common.pressed(actions, action, letter)

    def difference(more, less):
        return pressed(more).astype(jnp.int32) - pressed(less).astype(jnp.int32)

    x = jnp.clip(state.sub_x + difference("r", "l"), 0, 9)
    y = jnp.clip(state.sub_y + difference("d", "u"), 0, 8)
    sub_right = pressed("r") | state.sub_right & ~pressed("l")
    here = jnp.where(y == _ROW, _bit(x), 0)  # the player `[8]`

    fires = pressed("f") & (state.shot_timer == 0)
    shot = jnp.where(fires, _bit(x + jnp.where(sub_right, 0, 10)), 0)
    bullets = _fly(state.bullets | jnp.where(y == _ROW, shot, 0))
    surface_bullets = _fly(state.surface_bullets | jnp.where(y == 0, shot, 0))
    enemies, slow_enemies, shot_down = _shoot(enemies, slow_enemies, _fold(bullets, 2))
    bullets &= ~_times(shot_down, 2)

    latest, older = _spawn_diver(state, diver_from_left, diver_y)
    swims = state.diver_timer % 6 == 1
    latest, diver_count = _swim(latest, x, y, swims, state.diver_count)
    older, diver_count = _swim(older, x, y, swims, diver_count)

    clock = jnp.where(state.clock == 11, 1, state.clock + 1)
    near = _occupied(enemies, slow_enemies)
    enemies, slow_enemies, arrived = _move(enemies, slow_enemies, right, state.move_speed)
    # Other enemies in the cell of a bullet were hit before, so only those that just arrived can be hit.
    ran_into = arrived & _fold(bullets, 2) & ~here
    bullets &= ~_times(ran_into, 2)
    # Those that were just hit as well.
    firing = _fold(_with_code(enemies, clock) | _with_code(slow_enemies, clock), 3)
    enemies &= ~_times(ran_into, 3)
    slow_enemies &= ~_times(ran_into, 3)
    contact = (near | arrived) & here

    enemy_bullets = state.enemy_bullets | jnp.where(right, firing, firing << 10)
    contact |= _fold(enemy_bullets, 2) & here
    enemy_bullets = _fly(enemy_bullets)
    contact |= _fold(enemy_bullets, 2) & here

    under_water = y > 0
    arrives = ~under_water & ~state.surface
    stranded = arrives & (diver_count == 0)
    surfaces = arrives & ~stranded
    full = surfaces & (diver_count == 6)
    reward = jnp.where(full, state.oxygen // (_MAX_OXYGEN // 10), 0)
    reward += jnp.sum(jax.lax.population_count(shot_down | ran_into << 10)).astype(jnp.int32)
    terminated = jnp.any((contact != 0) | (state.oxygen <= 0) | stranded)

    harder = ramping & surfaces & ((state.spawn_speed > 1) | (state.move_speed > 2))
    odd = state.ramp_index % 2 == 1
    state = State(
        oxygen=jnp.where(surfaces, _MAX_OXYGEN, state.oxygen - under_water),
        diver_count=jnp.where(full, -1, diver_count - surfaces),
        sub_x=x,
        sub_y=y,
        sub_right=sub_right,
        surface=~under_water & (state.surface | surfaces),
        bullets=bullets,
        surface_bullets=surface_bullets,
        enemy_bullets=enemy_bullets,
        enemies=enemies,
        slow_enemies=slow_enemies,
        right=right & (_occupied(enemies, slow_enemies) != 0),
        clock=clock,
        diver_x=latest[0],
        diver_y=latest[1],
        diver_right=latest[2],
        older_x=older[0],
        older_y=older[1],
        older_right=older[2],
        spawn_timer=_count_down(jnp.where(spawns, state.spawn_speed, state.spawn_timer)),
        spawn_speed=state.spawn_speed - (harder & (state.spawn_speed > 1)),
        move_speed=state.move_speed - (harder & odd & (state.move_speed > 2)),
        diver_timer=_count_down(jnp.where(state.diver_timer == 0, _DIVER_INTERVAL, state.diver_timer)),
        shot_timer=_count_down(jnp.where(fires, _SHOT_COOL_DOWN, state.shot_timer)),
        ramp_index=state.ramp_index + harder,
        last_action=action,
    )
    return state, reward.astype(jnp.float32), terminated


def _spawn_enemy(state, spawns, from_left, is_sub, y):
    """Places an enemy at the end of a row, unless the enemies in that row move in the other direction.

    Returns:
      `enemies`, `slow_enemies` and `right`.
    """
    meets = (_occupied(state.enemies, state.slow_enemies) != 0) & (state.right != from_left)
    chosen = spawns & (y == _ROW) & ~meets
    # A submarine shoots when the clock has the value that it had in the previous step.
    code = jnp.where(is_sub, state.clock, _FISH)
    slow = state.move_speed > 2
    place = 10 * jnp.where(slow, state.move_speed - 3, 2) + jnp.where(from_left, 0, 9)
    new = jnp.where(chosen & ((code >> _CODE_BIT) & 1 == 1), _bit(place), 0)
    return (
        state.enemies | jnp.where(slow, 0, new),
        state.slow_enemies | jnp.where(slow, new, 0),
        jnp.where(chosen, from_left, state.right),
    )


def _spawn_diver(state, from_left, y):
    """The two divers; the latest becomes the older one when another appears, which is gone by then."""
    spawns = state.diver_timer == 0
    new = jnp.where(from_left, 0, 9), y, from_left
    latest = state.diver_x, state.diver_y, state.diver_right
    older = state.older_x, state.older_y, state.older_right

    def first_if_spawning(a, b):
        return [jnp.where(spawns, i, j) for i, j in zip(a, b)]

    return first_if_spawning(new, latest), first_if_spawning(latest, older)


def _swim(diver, player_x, player_y, swims, count):
    """A diver is picked up where it is, or otherwise may move and be picked up in its new cell.

    Returns:
      The diver `(x, y, right)`, and how many are on board.
    """
    x, y, right = diver
    there = y > 0
    room = there & (y == player_y) & (count < 6)
    picked = room & (x == player_x)
    x = jnp.where(swims & ~picked, x + jnp.where(right, 1, -1), x)
    picked |= room & (x == player_x)
    stays = there & ~picked & (x >= 0) & (x <= 9)
    return (jnp.where(stays, x, 0), jnp.where(stays, y, 0), right & stays), count + picked


def _shoot(enemies, slow_enemies, cells):
    """Removes an enemy from each of `cells` `[8]`: fish before submarines, the first to move before others.

    An enemy with a timer of 3 or more is alone in its cell.

    Returns:
      `enemies`, `slow_enemies` and the cells `[8]` where one was hit.
    """
    hit = cells & _occupied(enemies, slow_enemies)
    fish = _fish(enemies)
    subs = _all(enemies) & ~fish & ~_times(_fold(fish, 3), 3)
    fish &= ~(fish << 10 | fish << 20)
    subs &= ~(subs << 10 | subs << 20)
    aim = _times(hit, 3)
    return enemies & ~(aim & (fish | subs)), slow_enemies & ~aim, hit


def _move(enemies, slow_enemies, right, move_speed):
    """Every timer counts down; an enemy with timer 0 moves by a cell, and its timer is set to `move_speed`.

    Returns:
      `enemies`, `slow_enemies` and the cells `[8]` to which some of them moved.
    """
    moving = enemies & _CELLS
    moving = jnp.where(right, moving << 1 & _CELLS, moving >> 1)
    slow = move_speed > 2
    again = moving << (10 * jnp.where(slow, move_speed - 3, 2)).astype(jnp.uint32)
    enemies = enemies >> 10 | (slow_enemies & _CELLS) << 20 | jnp.where(slow, 0, again)
    slow_enemies = slow_enemies >> 10 | jnp.where(slow, again, 0)
    return enemies, slow_enemies, _all(moving)


def observe(state: State):
    """`[10, 10, 10]` bool: a plane for each of `CHANNELS`, "guage" as the original spells it.

    Ten bits for every row and plane are put together first; then each cell is one shift.
    """
    fish = _fold(_fish(state.enemies) | _fish(state.slow_enemies), 3)
    subs = _fold(_subs(state.enemies) | _subs(state.slow_enemies), 3)
    divers, wakes = _diver_cells(state)
    water = [
        *_player_cells(state, _ROW),
        _fold(state.bullets, 2),
        _behind(fish | subs, state.right) | wakes,
        _fold(state.enemy_bullets, 2),
        fish,
        subs,
        jnp.zeros_like(fish),
        jnp.zeros_like(fish),
        divers,
    ]
    front, back = _player_cells(state, 0)
    none = jnp.uint32(0)
    surface = [front, back, _fold(state.surface_bullets, 2), *[none] * 7]
    oxygen = _bit(jnp.maximum(state.oxygen, 0) // (_MAX_OXYGEN // 10)) - 1
    aboard = jnp.maximum(state.diver_count, 0)
    bottom = [*[none] * 7, oxygen, (_bit(aboard) - 1) << (9 - aboard).astype(jnp.uint32), none]
    rows = jnp.concatenate(
        [jnp.stack(surface)[None], jnp.stack(water, axis=-1), jnp.stack(bottom)[None]]
    )  # `[10, 10]`: row, plane
    return rows.astype(jnp.uint16)[:, None] & _COLUMN != 0


def _player_cells(state, row):
    """The front and the back of the player in `row`, as bits."""
    there = state.sub_y == row
    back = state.sub_x + jnp.where(state.sub_right, -1, 1)
    return jnp.where(there, _bit(state.sub_x), 0), jnp.where(there, _bit(back), 0)


def _diver_cells(state):
    """Where divers are, and where they came from, `[8]`."""
    divers: Any = 0
    wakes: Any = 0
    for x, y, right in (
        (state.diver_x, state.diver_y, state.diver_right),
        (state.older_x, state.older_y, state.older_right),
    ):
        cell = jnp.where(y == _ROW, _bit(x), 0)
        divers |= cell
        wakes |= _behind(cell, right)
    return divers, wakes


def _behind(cells, right):
    """The previous cells of objects in `cells`."""
    return jnp.where(right, cells >> 1, cells << 1 & _CELLS)


def _fly(bullets):
    """Moves bullets by a cell; those that leave the board are removed."""
    return (bullets & _CELLS) << 1 & _CELLS | bullets >> 1 & (_CELLS << 10)


def _count_down(timer):
    return jnp.maximum(timer - 1, 0)


def _bit(place):
    return jnp.uint32(1) << place.astype(jnp.uint32)


def _fold(bits, times: int):
    """The ten cells, whichever group of ten bits they are in."""
    cells = bits
    for i in range(1, times):
        cells |= bits >> (10 * i)
    return cells & _CELLS


def _times(cells, times: int):
    """The ten cells in every group of ten bits."""
    return cells * np.uint32(sum(1 << (10 * i) for i in range(times)))


def _occupied(enemies, slow_enemies):
    """The cells `[8]` that contain an enemy."""
    return _fold(_all(enemies | slow_enemies), 3)


def _all(enemies):
    """Where any of the four bits is set."""
    # XLA on a CPU computes a reduction once, but repeats other operations wherever they are used.
    return jax.lax.reduce_or(enemies, axes=(0,))


def _fish(enemies):
    return enemies[3] & enemies[2]


def _subs(enemies):
    return _all(enemies) & ~_fish(enemies)


def _with_code(enemies, code):
    """Where the four bits are those of `code`, which must not be 0."""
    zeros = jnp.where((code >> _CODE_BIT) & 1 == 1, 0, np.uint32(0xFFFFFFFF))
    return jax.lax.reduce_and(enemies ^ zeros, axes=(0,))


_ROW = np.arange(1, 9, dtype=np.int32)
_CODE_BIT = np.arange(4, dtype=np.int32).reshape(4, 1)
_COLUMN = (1 << np.arange(10, dtype=np.uint16))[:, None]
