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

import jax
import jax.numpy as jnp

from jaxrl.envs.min_atar import common
from jaxrl.envs.min_atar.seaquest_cells import ROW, bit, fly, fold, occupied, repeated, with_code
from jaxrl.envs.min_atar.seaquest_objects import move, shoot, spawn_diver, spawn_enemy, swim
from jaxrl.envs.min_atar.seaquest_observation import CHANNELS, observe
from jaxrl.envs.min_atar.seaquest_state import DIVER_INTERVAL, MAX_OXYGEN, State, start
from jaxrl.types import Env

MINIMAL_ACTIONS = common.ALL_ACTIONS
_SHOT_COOL_DOWN = 5


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
    enemies, slow_enemies, right = spawn_enemy(state, spawns, enemy_from_left, is_sub, enemy_y)

    def pressed(letter):
        return common.pressed(actions, action, letter)

    def difference(more, less):
        return pressed(more).astype(jnp.int32) - pressed(less).astype(jnp.int32)

    x = jnp.clip(state.sub_x + difference("r", "l"), 0, 9)
    y = jnp.clip(state.sub_y + difference("d", "u"), 0, 8)
    sub_right = pressed("r") | state.sub_right & ~pressed("l")
    here = jnp.where(y == ROW, bit(x), 0)  # the player `[8]`

    fires = pressed("f") & (state.shot_timer == 0)
    shot = jnp.where(fires, bit(x + jnp.where(sub_right, 0, 10)), 0)
    bullets = fly(state.bullets | jnp.where(y == ROW, shot, 0))
    surface_bullets = fly(state.surface_bullets | jnp.where(y == 0, shot, 0))
    enemies, slow_enemies, shot_down = shoot(enemies, slow_enemies, fold(bullets, 2))
    bullets &= ~repeated(shot_down, 2)

    latest, older = spawn_diver(state, diver_from_left, diver_y)
    swims = state.diver_timer % 6 == 1
    latest, diver_count = swim(latest, x, y, swims, state.diver_count)
    older, diver_count = swim(older, x, y, swims, diver_count)

    clock = jnp.where(state.clock == 11, 1, state.clock + 1)
    near = occupied(enemies, slow_enemies)
    enemies, slow_enemies, arrived = move(enemies, slow_enemies, right, state.move_speed)
    # Other enemies in the cell of a bullet were hit before, so only those that just arrived can be hit.
    ran_into = arrived & fold(bullets, 2) & ~here
    bullets &= ~repeated(ran_into, 2)
    # Those that were just hit as well.
    firing = fold(with_code(enemies, clock) | with_code(slow_enemies, clock), 3)
    enemies &= ~repeated(ran_into, 3)
    slow_enemies &= ~repeated(ran_into, 3)
    contact = (near | arrived) & here

    enemy_bullets = state.enemy_bullets | jnp.where(right, firing, firing << 10)
    contact |= fold(enemy_bullets, 2) & here
    enemy_bullets = fly(enemy_bullets)
    contact |= fold(enemy_bullets, 2) & here

    under_water = y > 0
    arrives = ~under_water & ~state.surface
    stranded = arrives & (diver_count == 0)
    surfaces = arrives & ~stranded
    full = surfaces & (diver_count == 6)
    reward = jnp.where(full, state.oxygen // (MAX_OXYGEN // 10), 0)
    reward += jnp.sum(jax.lax.population_count(shot_down | ran_into << 10)).astype(jnp.int32)
    terminated = jnp.any((contact != 0) | (state.oxygen <= 0) | stranded)

    harder = ramping & surfaces & ((state.spawn_speed > 1) | (state.move_speed > 2))
    odd = state.ramp_index % 2 == 1
    state = State(
        oxygen=jnp.where(surfaces, MAX_OXYGEN, state.oxygen - under_water),
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
        right=right & (occupied(enemies, slow_enemies) != 0),
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
        diver_timer=_count_down(jnp.where(state.diver_timer == 0, DIVER_INTERVAL, state.diver_timer)),
        shot_timer=_count_down(jnp.where(fires, _SHOT_COOL_DOWN, state.shot_timer)),
        ramp_index=state.ramp_index + harder,
        last_action=action,
    )
    return state, reward.astype(jnp.float32), terminated


def _count_down(timer):
    return jnp.maximum(timer - 1, 0)
