"""The verdict of a study, and its printers: for the screen, as Markdown and as a web page."""

import textwrap
from typing import NamedTuple

from jaxrl.experiments import errors
from jaxrl.experiments.report.markup import table, tag

WIDTH = 110  # of paragraphs on the screen


class Table(NamedTuple):
    """A part of a verdict.

    Attributes:
      title: a line above.
      head: names of the columns.
      rows: of cells, the first of which names the row; without any, only title and notes are shown.
      notes: lines below.
      labelled: the cells contain what they are, as `IQM 0.5`, so that the screen shows no names of columns.
    """

    title: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    labelled: bool = False


class Verdict(NamedTuple):
    """The result of a study: tables and paragraphs of text."""

    title: str
    parts: tuple[Table | str, ...]


def screen(verdict: Verdict) -> str:
    """The parts, separated by empty lines; text of files with escape sequences is escaped."""
    return errors.printable(
        "\n\n".join(
            textwrap.fill(part, width=WIDTH) if isinstance(part, str) else "\n".join(_lines(part))
            for part in verdict.parts
        )
    )


def _lines(part: Table) -> list[str]:
    rows = [*([part.head] if part.rows and not part.labelled else []), *part.rows]
    widths = [max(map(len, column)) for column in zip(*rows)]

    def line(row: tuple[str, ...]) -> str:
        others = filter(None, row[1:]) if part.labelled else map(str.rjust, row[1:], widths[1:])
        return f"  {'  '.join([row[0].ljust(widths[0]), *others]).rstrip()}"

    return [part.title, *map(line, rows), *(f"  {note}" for note in part.notes)]


def markdown(verdict: Verdict) -> str:
    """A document with a heading for the verdict and one for each table."""
    parts = [f"# {verdict.title}"]
    for part in verdict.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        parts.append(f"## {part.title}")
        if part.rows:
            rows = [part.head, ("---",) * len(part.head), *_full(part)]
            parts.append(
                "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
            )
        if part.notes:
            parts.append("\n".join(f"- {note}" for note in part.notes))
    return "\n\n".join(parts) + "\n"


def html(verdict: Verdict) -> str:
    """A self-contained web page."""
    from jaxrl.experiments.report.page import document

    parts = []
    for part in verdict.parts:
        if isinstance(part, str):
            parts.append(tag("section", tag("p", part, style="note")))
            continue
        shown = [table(part.head, _full(part))] if part.rows else []
        notes = [tag("ul", *(tag("li", note) for note in part.notes), style="findings")] if part.notes else []
        parts.append(tag("section", tag("h2", part.title), *shown, *notes))
    top = tag("header", tag("p", "jaxrl report", style="kind"), tag("h1", verdict.title))
    return document(verdict.title, tag("main", top, *parts))


def _full(part: Table) -> list[tuple[str, ...]]:
    """The rows with as many cells as there are columns."""
    return [(*row, *[""] * (len(part.head) - len(row))) for row in part.rows]
