"""Boards of cells: the games of MinAtar, Pong, rooms, mazes, and observations that are images."""

from collections.abc import Sequence

import numpy as np

from jaxrl.envs.render.paper import (
    BLUE,
    GREEN,
    GREY,
    GRID,
    NIGHT,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WHITE,
    YELLOW,
    integers,
)

CHANNELS = (SKY, ORANGE, GREEN, YELLOW, VERMILLION, PURPLE, BLUE, WHITE, GREY, (135, 90, 50))
PHOTO = 48  # an observation with three channels and at least this size is a photograph, not a board


def cells(obs, colours: Sequence | None = None, ground=NIGHT):
    """Colours the cells of `[H, W]` or `[H, W, C]`; where channels overlap, the first one is on top.

    Args:
      colours: one per channel; by default those of `CHANNELS`, repeated in darker shades for more channels.
      ground: the colour of an empty cell, `[3]` or `[H, W, 3]`.
    """
    obs = np.asarray(obs)
    values = obs.astype(np.float32) / (255 if obs.dtype == np.uint8 and obs.max() > 1 else 1)
    values = np.clip(np.nan_to_num(values.reshape(*obs.shape[:2], -1)), 0, 1)
    num_channels = values.shape[2]
    if colours is None:
        rounds = range(-(-num_channels // len(CHANNELS)))
        colours = [np.array(colour) * 0.6**turn for turn in rounds for colour in CHANNELS]
        colours = [WHITE] if num_channels == 1 else colours
    picture = np.broadcast_to(np.asarray(ground, np.float32), (*obs.shape[:2], 3)).copy()
    for channel in reversed(range(num_channels)):
        value = values[..., channel, None]
        picture += value * (np.asarray(colours[channel], np.float32) - picture)
    return enlarge(np.rint(picture).astype(np.uint8))


def enlarge(pixels, longest=320, line=GRID):
    """Enlarges every pixel to a square, separated from its neighbours by a thin line if there is space."""
    size = min(64, max(1, longest // max(pixels.shape[:2])))
    picture = pixels.repeat(size, axis=0).repeat(size, axis=1)
    if size >= 12:
        picture[::size] = picture[:, ::size] = line
    return picture


def disc(picture, row, column, num_rows, colour, radius=0.36):
    """Paints a disc of `radius` cells into one cell of `picture`, a grid of `num_rows` rows."""
    size = picture.shape[0] // num_rows
    offset = np.arange(size) - (size - 1) / 2
    distance = np.hypot(offset[:, None], offset)
    cover = np.clip(radius * size - distance + 0.5, 0, 1)[..., None]
    cell = picture[row * size : (row + 1) * size, column * size : (column + 1) * size]
    cell[:] = np.rint(cell + cover * (np.asarray(colour) - cell.astype(np.float64)))
    return picture


def channels(*colours):
    """A drawing of the observation `[H, W, C]` with these colours; of stacked frames, the last."""

    def draw(state, obs, **_):
        obs = np.asarray(obs)
        if obs.ndim != 3 or obs.shape[2] == 0 or obs.shape[2] % len(colours):
            raise ValueError(
                f"the observation {obs.shape} cannot be drawn: [H, W, {len(colours)}] was expected"
            )
        return cells(obs[..., -len(colours) :], colours)

    return draw


def photo(obs):
    """`[H, W, 3]` unchanged, in bytes or in numbers from 0 to 1."""
    if obs.dtype != np.uint8:
        obs = np.rint(255 * np.clip(np.nan_to_num(obs.astype(np.float32)), 0, 1)).astype(np.uint8)
    return enlarge(obs)


def picture(name, obs, why):
    """An observation as an image; raises ValueError with the reason `why` if it is not one."""
    pixels = np.asarray(obs) if hasattr(obs, "shape") else np.empty(0)
    if pixels.ndim not in (2, 3) or not 1 < max(pixels.shape[:2]) <= 512 or 0 in pixels.shape:
        raise ValueError(f"{name} cannot be drawn: {why}")
    bytes_or_large = pixels.dtype == np.uint8 or min(pixels.shape[:2]) >= PHOTO
    return photo(pixels) if pixels.shape[2:] == (3,) and bytes_or_large else cells(pixels)


def catch(state, obs, **_):
    """The ball and the paddle, which is in the last row."""
    ball_y, ball_x, paddle_x = integers(state.ball_y, state.ball_x, state.paddle_x)
    board = np.zeros(_board(obs))
    board[-1, paddle_x] = 1
    return disc(cells(board, (SKY,)), ball_y, ball_x, len(board), ORANGE)


def _board(obs) -> tuple[int, int]:
    """Rows and columns of the observation, which must not be flattened."""
    if np.ndim(obs) != 2:
        raise ValueError(f"the observation must be the board [rows, columns], not {np.shape(obs)}")
    return np.shape(obs)


def deep_sea(state, obs, **_):
    """The diver, the treasure in the corner, and water that darkens with depth."""
    size, _ = _board(obs)
    row, column = integers(state.row, state.column)
    row, column = min(row, size - 1), min(column, size - 1)  # the final state is below the last row
    treasure = np.zeros((size, size))
    treasure[-1, -1] = 1
    depth = np.linspace(0, 1, size)[:, None, None]
    water = np.broadcast_to((1 - depth) * (46, 96, 138) + depth * NIGHT, (size, size, 3))
    return disc(cells(treasure, (YELLOW,), water), row, column, size, ORANGE)


def four_rooms(state, obs, **_):
    """The walls, the goal and the agent; positions are (row, column)."""
    from jaxrl.envs.misc.four_rooms import WALLS

    return _maze(WALLS, state.goal, state.pos)


def meta_maze(state, obs, *, maze_size=9, rf_size=3, **_):
    """Pillars in every second row and column; positions include a border of width `rf_size // 2`."""
    size, border = integers(maze_size, rf_size // 2)
    place = np.pad(np.arange(size), border, constant_values=-1)
    outside = place < 0
    walls = outside[:, None] | outside | ((place % 2 == 1)[:, None] & (place % 2 == 1))
    return _maze(walls, state.goal, state.pos)


def _maze(walls, goal, pos):
    ground = np.where(walls[..., None], GREY, NIGHT).astype(np.uint8)
    ground[tuple(np.asarray(goal, np.int64))] = YELLOW
    row, column = np.asarray(pos, np.int64)
    return disc(enlarge(ground), row, column, len(walls), SKY)


# player, enemy, trail, gold
asterix = channels(SKY, VERMILLION, (92, 58, 40), YELLOW)
# paddle, ball, trail, brick
breakout = channels(SKY, YELLOW, (104, 100, 52), VERMILLION)
# chicken, car, and the car's trail from fast (a cell in every step) to slow (in every fifth)
freeway = channels(YELLOW, VERMILLION, SKY, (66, 100, 170), (60, 84, 136), (62, 72, 104), (58, 62, 74))
# submarine's bow and stern, its bullet, trail, enemy's bullet, fish, enemy submarine, oxygen,
# divers on board, divers
seaquest = channels(SKY, BLUE, YELLOW, GREY, VERMILLION, GREEN, PURPLE, WHITE, (247, 208, 120), ORANGE)
# cannon, alien, aliens moving left, moving right, player's bullet, enemy's bullet
space_invaders = channels(SKY, GREEN, PURPLE, BLUE, YELLOW, VERMILLION)
# paddles, ball, previous position of the ball
pong = channels(SKY, YELLOW, (104, 100, 52))
