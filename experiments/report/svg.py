"""Elements of figures as inline SVG with text, coloured by the page's style sheet.

Elements have classes and no colours, so that the style sheet can define light, dark and print colours.
"""

from collections.abc import Callable
from html import escape

from jaxrl.experiments.report.scales import Scale, number

NUM_COLOURS = 6  # classes c0 to c5


def svg(width: float, height: float, parts: list[str], style: str, described: str) -> str:
    return (
        f'<svg class="{style}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(described)}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, words: str, anchor: str = "middle", style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def segment(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def dot(x: float, y: float, style: str, tooltip: str, radius: float = 3.5) -> str:
    place = f'cx="{x:g}" cy="{y:g}" r="{radius:g}"'
    return f'<circle class="{style}" {place}><title>{escape(tooltip)}</title></circle>'


def cross(x: float, y: float, tooltip: str) -> str:
    strokes = f"M{x - 3:g} {y - 3:g}l6 6m0 -6l-6 6"
    return f'<path class="dead" d="{strokes}"><title>{escape(tooltip)}</title></path>'


def polyline(points: list[tuple[float, float]], style: str, tooltip: str = "") -> str:
    joined = " ".join(f"{x:g},{y:g}" for x, y in points)
    inside = f"<title>{escape(tooltip)}</title>" if tooltip else ""
    return f'<polyline class="{style}" points="{joined}">{inside}</polyline>'


def legend(entries: list[tuple[str, str]]) -> str:
    """Samples of lines with their labels: `(label, class)`."""
    items = "".join(
        f'<li><svg class="sample" viewBox="0 0 28 10" aria-hidden="true">'
        f'<line class="line {style}" x1="1" y1="5" x2="27" y2="5"/></svg>{escape(label)}</li>'
        for label, style in entries
    )
    return f'<ul class="legend">{items}</ul>'


def style_of(index: int) -> str:
    """The classes of the line with this number: a colour, and a dash pattern when all colours are used."""
    return f"c{index % NUM_COLOURS}" + (f" d{index // NUM_COLOURS % 4}" if index >= NUM_COLOURS else "")


def frame(
    left: float,
    right: float,
    y: Scale,
    x_ticks: list[tuple[float, str]],
    labels: tuple[str, str],
    y_text: Callable = number,
) -> list[str]:
    """Grid lines, tick labels and axis labels; `y` increases upwards."""
    parts = []
    for tick in y.ticks():
        parts.append(segment(left, y(tick), right, y(tick), "grid"))
        parts.append(text(left - 7, y(tick) + 4, y_text(tick), "end"))
    for place, words in x_ticks:
        parts.append(segment(place, y.start, place, y.start + 4, "axis"))
        parts.append(text(place, y.start + 18, clipped(words)))
    parts.append(segment(left, y.start, right, y.start, "axis"))
    parts.append(text(right, y.start + 35, labels[0], "end", "label"))
    parts.append(text(2, 12, labels[1], "start", "label"))
    return parts


def clipped(words: str) -> str:
    return words if len(words) < 12 else words[:11] + "…"
