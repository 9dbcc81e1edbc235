"""The enemies and divers of `seaquest`: how they appear, move and are removed."""

import jax.numpy as jnp

from jaxrl.envs.min_atar.seaquest_cells import (
    CELLS,
    CODE_BIT,
    ROW,
    any_bit,
    bit,
    fish_in,
    fold,
    occupied,
    repeated,
)

FISH = 12


def spawn_enemy(state, spawns, from_left, is_sub, y):
    """Places an enemy at the end of a row, unless the enemies in that row move in the other direction.

    Returns:
      `enemies`, `slow_enemies` and `right`.
    """
    meets = (occupied(state.enemies, state.slow_enemies) != 0) & (state.right != from_left)
    chosen = spawns & (y == ROW) & ~meets
    # A submarine shoots when the clock has the value that it had in the previous step.
    code = jnp.where(is_sub, state.clock, FISH)
    slow = state.move_speed > 2
    place = 10 * jnp.where(slow, state.move_speed - 3, 2) + jnp.where(from_left, 0, 9)
    new = jnp.where(chosen & ((code >> CODE_BIT) & 1 == 1), bit(place), 0)
    return (
        state.enemies | jnp.where(slow, 0, new),
        state.slow_enemies | jnp.where(slow, new, 0),
        jnp.where(chosen, from_left, state.right),
    )


def spawn_diver(state, from_left, y):
    """The two divers; the latest becomes the older one when another appears, which is gone by then."""
    spawns = state.diver_timer == 0
    new = jnp.where(from_left, 0, 9), y, from_left
    latest = state.diver_x, state.diver_y, state.diver_right
    older = state.older_x, state.older_y, state.older_right

    def first_if_spawning(a, b):
        return [jnp.where(spawns, i, j) for i, j in zip(a, b)]

    return first_if_spawning(new, latest), first_if_spawning(latest, older)


def swim(diver, player_x, player_y, swims, count):
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


def shoot(enemies, slow_enemies, cells):
    """Removes an enemy from each of `cells` `[8]`: fish before submarines, the first to move before others.

    An enemy with a timer of 3 or more is alone in its cell.

    Returns:
      `enemies`, `slow_enemies` and the cells `[8]` where one was hit.
    """
    hit = cells & occupied(enemies, slow_enemies)
    fish = fish_in(enemies)
    subs = any_bit(enemies) & ~fish & ~repeated(fold(fish, 3), 3)
    fish &= ~(fish << 10 | fish << 20)
    subs &= ~(subs << 10 | subs << 20)
    aim = repeated(hit, 3)
    return enemies & ~(aim & (fish | subs)), slow_enemies & ~aim, hit


def move(enemies, slow_enemies, right, move_speed):
    """Every timer counts down; an enemy with timer 0 moves by a cell, and its timer is set to `move_speed`.

    Returns:
      `enemies`, `slow_enemies` and the cells `[8]` to which some of them moved.
    """
    moving = enemies & CELLS
    moving = jnp.where(right, moving << 1 & CELLS, moving >> 1)
    slow = move_speed > 2
    again = moving << (10 * jnp.where(slow, move_speed - 3, 2)).astype(jnp.uint32)
    enemies = enemies >> 10 | (slow_enemies & CELLS) << 20 | jnp.where(slow, 0, again)
    slow_enemies = slow_enemies >> 10 | jnp.where(slow, again, 0)
    return enemies, slow_enemies, any_bit(moving)
