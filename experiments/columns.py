"""Tables of text that fit the terminal."""

import shutil
import textwrap
from collections.abc import Sequence

LEAST = 6  # characters of a name in the head of a column, the ellipsis included
GAP = "  "


def width() -> int:
    """The columns of the terminal (or of `COLUMNS`); without a terminal, more than any line has."""
    return shutil.get_terminal_size((100_000, 24)).columns


def clipped(text: str, most: int) -> str:
    """At most this many characters; an ellipsis replaces the rest."""
    return text if len(text) <= most else text[: max(most - 1, 0)] + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[str]:
    """The lines of a table with right-aligned columns, none longer than `most` characters.

    Names in the head are clipped, the longest first. If the values alone are too wide, a row becomes several
    lines: its first cells, then `name value` pairs.
    """
    if sum(least_widths(head, rows)) + len(GAP) * (len(head) - 1) > most:
        return [line for row in rows for line in _stacked(head, row, most)]
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    least = least_widths(head, rows)
    while sum(widths) + len(GAP) * (len(head) - 1) > most:
        at = max((i for i in range(len(head)) if widths[i] > least[i]), key=lambda i: widths[i])
        widths[at] -= 1
    lines = [[clipped(cell, wide) for cell, wide in zip(row, widths)] for row in (head, *rows)]
    return [GAP.join(cell.rjust(wide) for cell, wide in zip(row, widths)).rstrip() for row in lines]


def least_widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of columns whose names are clipped as far as possible; values are not clipped."""
    return [max(min(len(name), LEAST), *(len(row[i]) for row in rows), 0) for i, name in enumerate(head)]


def _stacked(head: Sequence[str], row: Sequence[str], most: int) -> list[str]:
    pairs = [f"{name} {cell}".replace(" ", "\xa0") for name, cell in zip(head, row)]
    lines = textwrap.wrap(", ".join(pairs), max(most, 1), subsequent_indent="  ", break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]
