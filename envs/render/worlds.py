"""Drawings of tabular environments and of the chains of the behaviour suite: strips, rings, small boards."""

import math

import numpy as np

from jaxrl.envs.render.boards import disc, enlarge
from jaxrl.envs.render.paper import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    NIGHT,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WHITE,
    YELLOW,
    Paper,
    direction,
    integers,
)

ROAD, FAINT, WATER = (222, 226, 230), (196, 186, 120), (166, 206, 230)


def strip(parameter, number, first=FAINT, last=YELLOW, ground=ROAD):
    """States in a row; the first has a small reward, the last a large one.

    Args:
      parameter, number: the parameter with the number of states, and its default.
    """

    def draw(state, obs, **params):
        (size,) = integers(params.get(parameter, number))
        (index,) = _within("state", state.index, size)
        tiles = np.full((1, size, 3), ground, np.uint8)
        tiles[0, 0], tiles[0, -1] = first, last
        return disc(enlarge(tiles, 396, LINE), 0, index, 1, VERMILLION)

    return draw


def loop(state, obs, *, length=6, **_):
    """The hub at the top, the loop clockwise; its last state, which has the large reward, is yellow."""
    (length,) = integers(length)
    (index,) = _within("state", state.index, length)
    paper = Paper(260, 260, scale=100, origin=(130, 130))
    spots = [direction(math.pi / 2 - 2 * math.pi * place / length) for place in range(length)]
    paper.line([*spots, spots[0]], 0.03, LINE)
    size = min(0.2, 2 / length)
    for place, spot in enumerate(spots):
        fill = FAINT if place == 0 else YELLOW if place == length - 1 else ROAD
        paper.circle(spot, size, INK)
        paper.circle(spot, size - 0.015, fill)
    paper.circle(spots[index], 0.6 * size, VERMILLION)
    return paper.pixels()


def garnet(state, obs, *, num_states=32, **_):
    """The states row by row; transitions are not drawn."""
    (size,) = integers(num_states)
    (index,) = _within("state", state.index, size)
    columns = math.ceil(math.sqrt(size))
    rows = -(-size // columns)
    tiles = np.full((rows * columns, 3), ROAD, np.uint8)
    tiles[size:] = GREY
    picture = enlarge(tiles.reshape(rows, columns, 3), line=LINE)
    row, column = divmod(index, columns)
    return disc(picture, row, column, rows, VERMILLION)


def grid(state, obs, *, level="small", seed=0, **_):
    """Walls, objects (green: positive reward, red: negative reward) and the agent."""
    import jax

    from jaxrl.envs.worlds.grid import sample

    found = jax.tree.map(np.asarray, sample(level, seed))
    (cell,) = _within("cell", state.cell, found.walls.size)
    size = len(found.walls)
    ground = np.where(found.walls[..., None], GREY, NIGHT).astype(np.uint8)
    there = np.asarray(state.exists)
    if there.shape != found.objects.shape:
        raise ValueError(f"level {level!r} does not have {there.size} objects: pass the parameters")
    for place, exists, reward in zip(found.objects, there, found.reward):
        if exists:
            ground[divmod(int(place), size)] = GREEN if reward > 0 else VERMILLION
    row, column = divmod(cell, size)
    return disc(enlarge(ground), row, column, size, SKY)


def t_maze(state, obs, *, length=10, **_):
    """The corridor and the junction's two arms, the prize in one of them; the sign is at the start."""
    (length,) = integers(length)
    (position,) = _within("position", state.position, length + 1)
    ground = np.full((3, length + 1, 3), GREY, np.uint8)
    ground[1] = ground[:, -1] = NIGHT
    ground[0 if np.asarray(state.north) else 2, -1] = YELLOW
    ground[0 if np.asarray(state.north) else 2, 0] = PURPLE
    return disc(enlarge(ground, 396), 1, position, 3, SKY)


def two_colours(state, obs, *, size=5, period=100_000, **_):
    """The agent and the two objects: green has the positive reward now, red the negative one."""
    size, time, period = integers(size, state.time, period)
    objects = [_within("object", place, size**2)[0] for place in np.ravel(np.asarray(state.objects))]
    (cell,) = _within("cell", state.cell, size**2)
    ground = np.full((size, size, 3), NIGHT, np.uint8)
    swapped = time // period % 2 == 1
    for place, colour in zip(objects, (VERMILLION, GREEN) if swapped else (GREEN, VERMILLION)):
        ground[divmod(place, size)] = colour
    row, column = divmod(cell, size)
    return disc(enlarge(ground), row, column, size, SKY)


def two_state(state, obs, **_):
    """Two doors, the tiger behind one of them, and a mark above the door where it was heard."""
    shown = np.ravel(np.asarray(obs))
    paper = Paper(320, 220, scale=80, origin=(160, 200))
    paper.line([(-1.9, 0), (1.9, 0)], 0.03, LINE)
    for side, x in enumerate((-0.9, 0.9)):
        paper.box((x, 0.75), (1.0, 1.5), INK)
        paper.box((x, 0.76), (0.92, 1.46), ROAD)
        paper.circle((x + 0.3, 0.75), 0.05, INK)
        if bool(np.asarray(state.left)) == (side == 0):
            for ear in (-0.14, 0.14):
                paper.circle((x + ear, 0.57), 0.09, ORANGE)
            paper.circle((x, 0.4), 0.24, ORANGE)
            for eye in (-0.09, 0.09):
                paper.circle((x + eye, 0.44), 0.03, INK)
        if shown.size == 2 and shown[side] > 0.5:
            for step in range(3):
                paper.box((x + 0.15 * (step - 1), 1.9), (0.06, 0.3 if step == 1 else 0.16), PURPLE)
    return paper.pixels()


# --- the behaviour suite's chains ---------------------------------------------------------------


def memory_chain(state, obs, *, memory_length=5, **_):
    """A column per step: the bits in the first two (white is 1), the one to recall in the last two."""
    bits = np.ravel(np.asarray(state.context)).astype(int)
    (length, query) = integers(memory_length, state.query)
    (time,) = _within("time", state.time, length + 2)
    ground = np.full((len(bits) + 1, length + 2, 3), NIGHT, np.uint8)
    ground[:-1, 0] = np.where(bits[:, None] > 0, WHITE, BLUE)
    ground[min(query, len(bits) - 1), -2:] = PURPLE
    ground[-1] = GREY
    return disc(enlarge(ground), len(bits), time, len(ground), ORANGE)


def umbrella_chain(state, obs, *, chain_length=10, **_):
    """The chain, with rain (blue) or sun (yellow) at its end; an umbrella is drawn above the agent."""
    need = state.need if hasattr(state, "need") else state.need_umbrella  # gymnax's names
    has = state.has if hasattr(state, "has") else state.has_umbrella
    (length, need, has) = integers(chain_length, need, has)
    time = min(integers(state.time)[0], length)
    ground = np.full((2, length + 1, 3), ROAD, np.uint8)
    ground[:, -1] = BLUE if need else YELLOW
    ground[1, :-1] = GREY
    if has:
        ground[0, time] = PURPLE
    return disc(enlarge(ground, 396, LINE), 1, time, 2, VERMILLION)


def discounting_chain(state, obs, **_):
    """The five chains over 100 steps, rewards as yellow dots; before the choice the agent is on the left."""
    (chain, time) = integers(state.context, state.time)
    paper = Paper(400, 180, scale=3.5, origin=(30, 20))
    for row, pays in enumerate((1, 3, 10, 30, 100)):
        paper.line([(0, -10 * row), (100, -10 * row)], 0.8, LINE)
        paper.circle((pays, -10 * row), 2.5, INK)
        paper.circle((pays, -10 * row), 2.2, YELLOW)
    place = (-4, -20) if chain < 0 else (time, -10 * chain)
    paper.circle(place, 1.6, VERMILLION)
    return paper.pixels()


def _within(what, leaf, size):
    """The leaf as an integer below `size`, in a list."""
    (number,) = integers(leaf)
    if not 0 <= number < size:
        raise ValueError(
            f"{what} {number} is not between 0 and {size - 1}: pass the environment's parameters"
        )
    return [number]


CHAIN = strip("length", 5)
RIVER = strip("num_states", 6, ground=WATER)
