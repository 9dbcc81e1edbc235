"""HTML elements of a page; all text is escaped here, once."""

from collections.abc import Sequence
from html import escape

from jaxrl.experiments.report.scales import number
from jaxrl.statistics import Estimate

FIRST_ROWS = 10  # of a long table; a longer one can be sorted
LONG = 26  # characters from which a cell may wrap


class Html(str):
    """Text that is already HTML."""

    __slots__ = ()


def tag(name: str, *parts: str, style: str = "") -> Html:
    """An element; parts that are not `Html` are escaped."""
    named = f' class="{escape(style)}"' if style else ""
    return Html(f"<{name}{named}>{''.join(map(safe, parts))}</{name}>")


def safe(part: str) -> Html:
    return part if isinstance(part, Html) else Html(escape(str(part)))


def joined(*parts: str) -> Html:
    return Html("".join(map(safe, parts)))


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1, marked: Sequence[int] = ()
) -> Html:
    """A table that scrolls horizontally if it is too wide.

    Args:
      words: number of columns on the left that contain words; the others contain numbers.
      marked: indices of highlighted rows.
    """

    def cells(kind: str, row: Sequence[str]) -> str:
        styles = ["long" * (len(cell) > LONG) if i < words else "n" for i, cell in enumerate(row)]
        return "".join(tag(kind, cell, style=style) for cell, style in zip(row, styles))

    sortable = "sort" * (len(rows) > FIRST_ROWS)
    body = [tag("tr", Html(cells("td", row)), style="marked" * (i in marked)) for i, row in enumerate(rows)]
    top = tag("thead", tag("tr", Html(cells("th", head))))
    return tag("div", tag("table", top, tag("tbody", *body), style=sortable), style="scroll")


def long_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1, marked: Sequence[int] = ()
) -> Html:
    """A table of which only the first rows are shown at first; like `table`, it is sorted by a click."""
    shown = table(head, rows, words, marked)
    if len(rows) <= FIRST_ROWS + len(marked):
        return shown
    button = f'<button class="more" type="button">all {len(rows):,} rows</button>'
    return tag("div", shown, Html(button), style="cut")


def figure(drawn: str, caption: str, legend: str = "") -> Html:
    return tag("figure", Html(legend), Html(drawn), tag("figcaption", caption))


def ends(estimate: Estimate, digits: int = 4) -> str:
    """`481 to 500`, or a dash."""
    return f"{number(estimate.low, digits)} to {number(estimate.high, digits)}" if estimate.known else "–"


def with_interval(estimate: Estimate) -> str:
    """`497 (95 % 481 to 500)`."""
    return number(estimate.value) + (f" (95 % {ends(estimate)})" if estimate.known else "")


def less(lost: float) -> str:
    """`3 less`, `3 more` or `no less`."""
    return f"{number(abs(lost))} {'less' if lost > 0 else 'more'}" if abs(lost) >= 1e-9 else "no less"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def several(count: int, noun: str) -> str:
    """`1 seed`, `8 seeds`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
