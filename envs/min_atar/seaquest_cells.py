"""Rows of cells as bits, and the enemies in them: the arithmetic of `seaquest`.

Bits 0 to 9 of a number are the columns of a row; see `seaquest_state.State` for the groups of ten bits above.
"""

import jax
import jax.numpy as jnp
import numpy as np

CELLS = np.uint32(0x3FF)  # ten bits: the columns of a row


def behind(cells, right):
    """The previous cells of objects in `cells`."""
    return jnp.where(right, cells >> 1, cells << 1 & CELLS)


def fly(bullets):
    """Moves bullets by a cell; those that leave the board are removed."""
    return (bullets & CELLS) << 1 & CELLS | bullets >> 1 & (CELLS << 10)


def bit(place):
    return jnp.uint32(1) << place.astype(jnp.uint32)


def fold(bits, times: int):
    """The ten cells, whichever group of ten bits they are in."""
    cells = bits
    for i in range(1, times):
        cells |= bits >> (10 * i)
    return cells & CELLS


def repeated(cells, times: int):
    """The ten cells in every group of ten bits."""
    return cells * np.uint32(sum(1 << (10 * i) for i in range(times)))


def occupied(enemies, slow_enemies):
    """The cells `[8]` that contain an enemy."""
    return fold(any_bit(enemies | slow_enemies), 3)


def any_bit(enemies):
    """Where any of the four bits is set."""
    # XLA on a CPU computes a reduction once, but repeats other operations wherever they are used.
    return jax.lax.reduce_or(enemies, axes=(0,))


def fish_in(enemies):
    return enemies[3] & enemies[2]


def subs_in(enemies):
    return any_bit(enemies) & ~fish_in(enemies)


def with_code(enemies, code):
    """Where the four bits are those of `code`, which must not be 0."""
    zeros = jnp.where((code >> CODE_BIT) & 1 == 1, 0, np.uint32(0xFFFFFFFF))
    return jax.lax.reduce_and(enemies ^ zeros, axes=(0,))


ROW = np.arange(1, 9, dtype=np.int32)
CODE_BIT = np.arange(4, dtype=np.int32).reshape(4, 1)
