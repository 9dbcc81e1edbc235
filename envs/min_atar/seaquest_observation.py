"""The observation of `seaquest`: ten planes of the board."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.min_atar.seaquest_cells import ROW, behind, bit, fish_in, fold, subs_in
from jaxrl.envs.min_atar.seaquest_state import MAX_OXYGEN, State

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


def observe(state: State):
    """`[10, 10, 10]` bool: a plane for each of `CHANNELS`, "guage" as the original spells it.

    Ten bits for every row and plane are put together first; then each cell is one shift.
    """
    fish = fold(fish_in(state.enemies) | fish_in(state.slow_enemies), 3)
    subs = fold(subs_in(state.enemies) | subs_in(state.slow_enemies), 3)
    divers, wakes = _diver_cells(state)
    water = [
        *_player_cells(state, ROW),
        fold(state.bullets, 2),
        behind(fish | subs, state.right) | wakes,
        fold(state.enemy_bullets, 2),
        fish,
        subs,
        jnp.zeros_like(fish),
        jnp.zeros_like(fish),
        divers,
    ]
    front, back = _player_cells(state, 0)
    none = jnp.uint32(0)
    surface = [front, back, fold(state.surface_bullets, 2), *[none] * 7]
    oxygen = bit(jnp.maximum(state.oxygen, 0) // (MAX_OXYGEN // 10)) - 1
    aboard = jnp.maximum(state.diver_count, 0)
    bottom = [*[none] * 7, oxygen, (bit(aboard) - 1) << (9 - aboard).astype(jnp.uint32), none]
    rows = jnp.concatenate(
        [jnp.stack(surface)[None], jnp.stack(water, axis=-1), jnp.stack(bottom)[None]]
    )  # `[10, 10]`: row, plane
    return rows.astype(jnp.uint16)[:, None] & _COLUMN != 0


def _player_cells(state, row):
    """The front and the back of the player in `row`, as bits."""
    there = state.sub_y == row
    back = state.sub_x + jnp.where(state.sub_right, -1, 1)
    return jnp.where(there, bit(state.sub_x), 0), jnp.where(there, bit(back), 0)


def _diver_cells(state):
    """Where divers are, and where they came from, `[8]`."""
    divers: Any = 0
    wakes: Any = 0
    for x, y, right in (
        (state.diver_x, state.diver_y, state.diver_right),
        (state.older_x, state.older_y, state.older_right),
    ):
        cell = jnp.where(y == ROW, bit(x), 0)
        divers |= cell
        wakes |= behind(cell, right)
    return divers, wakes


_COLUMN = (1 << np.arange(10, dtype=np.uint16))[:, None]
