"""Drawings of toy text: frozen lake, cliff walking, taxi, blackjack."""

import numpy as np

from jaxrl.envs.render.boards import disc, enlarge
from jaxrl.envs.render.paper import (
    BLUE,
    GREEN,
    INK,
    LINE,
    ORANGE,
    PAPER,
    PURPLE,
    VERMILLION,
    WHITE,
    YELLOW,
    Paper,
    integers,
)

START, ICE, HOLE, ROCK, CLIFF = (170, 205, 226), (214, 232, 243), (38, 70, 104), (222, 226, 230), (92, 58, 40)
PLACES = ((238, 190, 150), (168, 216, 198), (247, 240, 170), (158, 200, 226))  # R, G, Y, B, as tints


def frozen_lake(name):
    """The map with this name, or that of the parameters; the agent is a disc, the goal is yellow."""

    def draw(state, obs, *, map_name=name, desc=None, **_):
        from jaxrl.envs.toy_text.frozen_lake import MAPS

        lake = np.array([list(row) for row in (MAPS[map_name] if desc is None else desc)])
        (position,) = integers(state.position)
        if not 0 <= position < lake.size:
            raise ValueError(
                f"position {position} is not on the {lake.shape[0]}x{lake.shape[1]} map: "
                "pass the parameters of the environment"
            )
        tiles = {"S": START, "F": ICE, "H": HOLE, "G": YELLOW}
        ground = np.array([[tiles[tile] for tile in row] for row in lake.tolist()], np.uint8)
        row, column = divmod(position, lake.shape[1])
        return disc(enlarge(ground, line=LINE), row, column, len(lake), VERMILLION)

    return draw


def cliff_walking(state, obs, **_):
    """The start in the lower left, the goal in the lower right, the cliff between them."""
    ground = np.full((4, 12, 3), ROCK, np.uint8)
    ground[3, 1:11] = CLIFF
    ground[3, 0], ground[3, 11] = START, YELLOW
    row, column = divmod(integers(state.position)[0], 12)
    return disc(enlarge(ground, 396, LINE), row, column, 4, VERMILLION)


def taxi(state, obs, **_):
    """The town with its walls and four places; the passenger is a purple disc, in the taxi or at a place.

    The destination has a purple frame.
    """
    from jaxrl.envs.toy_text.taxi import _PLACES, STREETS

    row, column, passenger, destination = integers(
        state.row, state.column, state.passenger, state.destination
    )
    paper = Paper(330, 330, scale=62, origin=(10, 320))

    def at(cell, right=0.0, up=0.0):
        return np.array((cell % 5 + 0.5 + right, 4.5 - cell // 5 + up))

    places = [at(place) for place in _PLACES]
    for spot, tint in zip(places, PLACES):
        paper.box(spot, (1, 1), tint)
    for step in range(1, 5):
        for line in ([(step, 0), (step, 5)], [(0, step), (5, step)]):
            paper.line(line, 0.012, LINE)
    paper.box(places[destination], (0.9, 0.9), PURPLE)
    paper.box(places[destination], (0.78, 0.78), PLACES[destination])
    for place, letter in zip(_PLACES, "RGYB"):
        paper.write(at(place, 0.27, 0.25), letter, 0.26)
    for wall in ([(0, 0), (5, 0)], [(0, 5), (5, 5)], [(0, 0), (0, 5)], [(5, 0), (5, 5)]):
        paper.line(wall, 0.06, INK)
    for street, line in enumerate(STREETS):
        for east, mark in enumerate(line[1::2], start=1):
            if mark == "|":
                paper.line([(east, 5 - street), (east, 4 - street)], 0.1, INK)

    cab = row * 5 + column
    for wheel in (-0.22, 0.22):
        paper.circle(at(cab, wheel, -0.22), 0.1, INK)
    paper.box(at(cab, 0, -0.09), (0.8, 0.24), ORANGE)
    paper.box(at(cab, 0, 0.12), (0.46, 0.26), ORANGE)
    paper.box(at(cab, 0, 0.11), (0.38, 0.18), PAPER)
    rider = at(cab, 0, 0.1) if passenger == 4 else at(_PLACES[passenger], -0.26, 0.26)
    paper.circle(rider, 0.1, PURPLE)
    return paper.pixels()


def blackjack(state, obs, **_):
    """The dealer's cards, the second one face down, and the value of the player's hand."""
    total, ace, shown = integers(state.total, state.ace, state.shown)
    usable = bool(ace) and total <= 11
    value = total + 10 * usable
    paper = Paper(320, 240, scale=40, origin=(0, 240))
    paper.box((4, 3), (8, 6), (0, 98, 78))
    paper.write((1.5, 4.4), "dealer", 0.45, WHITE)
    paper.write((1.5, 1.6), "you", 0.45, WHITE)
    for x, fill in ((4.0, PAPER), (6.2, BLUE)):
        paper.box((x, 4.4), (1.6, 2.2), INK)
        paper.box((x, 4.4), (1.52, 2.12), fill)
    paper.write((4.0, 4.4), "A" if shown == 1 else str(shown), 1.0)
    paper.box((5.1, 1.6), (3.8, 2.2), INK)
    paper.box((5.1, 1.6), (3.72, 2.12), VERMILLION if value > 21 else PAPER)
    paper.write((5.1, 1.75), str(value), 1.0, GREEN if value == 21 else INK)
    note = "bust" if value > 21 else "an ace counts 11" if usable else ""
    paper.write((5.1, 0.9), note, 0.38)
    return paper.pixels()
