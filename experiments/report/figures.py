"""Figures of a report as inline SVG with text, coloured by the page's style sheet.

Elements have classes and no colours, so that the style sheet can define light, dark and print colours.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from jaxrl.statistics import Estimate

NUM_COLOURS = 6  # classes c0 to c5
NUM_SHADES = 8  # classes q0 (worst) to q7 (best)


class Line(NamedTuple):
    """A line of a figure: its class, points `[T]`, an optional band, and additional thin lines `[S, T]`."""

    label: str
    style: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    thin: Sequence[Sequence[float]] = ()


class Dot(NamedTuple):
    """A trial in a figure: its values by axis, its score, its tooltip, and its class."""

    values: tuple[str, ...]
    score: float | None
    tooltip: str
    style: str = ""  # "best"


class Scale(NamedTuple):
    """Maps values to positions on the page: `low` to `start`, `high` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        share = (value - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> list[float]:
        """About `most` round values within the scale, or fewer."""
        if self.log and self.high / self.low >= 10:
            return self._powers(most)
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        step *= next((m for m in (1, 2, 2.5, 5, 10) if (self.high - self.low) / (step * m) <= most), 10)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [float(f"{step * index:.12g}") for index in range(first, last + 1)]

    def _powers(self, most: int) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first < 2:
            fine = [m * 10.0**power for power in range(first - 1, last + 1) for m in (1, 2, 5)]
            return [x for x in fine if self.low <= x * (1 + 1e-9) and x <= self.high * (1 + 1e-9)]
        stride = -(-(last - first + 1) // most)
        return [10.0**power for power in range(first, last + 1, stride)]


def padded(values: Sequence[float], start: float, end: float, log: bool = False, pad: float = 0.04) -> Scale:
    """A scale that contains all values, with some padding."""
    known = [x for x in values if x is not None and math.isfinite(x)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if log:
        grow = (high / low) ** pad if high > low else 2.0
        return Scale(low / grow, high * grow, start, end, True)
    grow = pad * (high - low) if high > low else max(0.5, abs(high) / 20)
    return Scale(low - grow, high + grow, start, end)


def spans_decades(values: Sequence[float]) -> bool:
    """Whether values are better shown on a logarithmic axis."""
    return min(values) > 0 and max(values) / min(values) >= 20


def number(value: float | None, digits: int = 4) -> str:
    """A number for display: four digits, a typographic minus, a dash for None."""
    if value is None or not math.isfinite(value):
        return "–"
    if 10**digits <= abs(value) < 1e7:
        return f"{value:,.0f}".replace("-", "−")
    text = f"{value:.{digits}g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.{digits - 1}e}"
    if "e" in text:
        front, power = text.split("e")
        front = front.rstrip("0").rstrip(".") if "." in front else front
        text = f"{front}e{int(power)}"
    return text.replace("-", "−")


# --- elements -------------------------------------------------------------------------------------


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


def _frame(
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


# --- figures --------------------------------------------------------------------------------------


def lines(
    drawn: list[Line],
    x_label: str,
    y_label: str,
    x_text: Callable,
    described: str,
    behind: Sequence[Line] = (),
    log: bool = False,
) -> str:
    """Lines with bands over a common axis, such as learning curves; those of `behind` are thin.

    Args:
      log: the vertical axis is logarithmic.
    """
    width, height = 680, 300
    every = [*behind, *drawn]
    reach = [value for line in every for part in (line.y, line.low, line.high, *line.thin) for value in part]
    x = padded([value for line in every for value in line.x], 56, width - 16, pad=0.0)
    y = padded(reach, height - 44, 26, log)
    ticks = [(x(tick), x_text(tick)) for tick in x.ticks(6)]
    parts = _frame(56, width - 16, y, ticks, (x_label, y_label))
    parts += [polyline(_points(line.x, line.y, x, y), f"thin {line.style}", line.label) for line in behind]
    for line in drawn:
        parts += [polyline(_points(line.x, thin, x, y), f"thin {line.style}") for thin in line.thin]
    for line in drawn:
        known = [i for i, low in enumerate(line.low) if math.isfinite(low)]
        if known:
            edge = [(x(line.x[i]), y(line.high[i])) for i in known]
            edge += [(x(line.x[i]), y(line.low[i])) for i in reversed(known)]
            joined = " ".join(f"{a:g},{b:g}" for a, b in edge)
            parts.append(f'<polygon class="band {line.style}" points="{joined}"/>')
    for line in drawn:
        points = _points(line.x, line.y, x, y)
        if len(points) == 1:
            parts.append(dot(*points[0], f"dot {line.style}", line.label))
        parts.append(polyline(points, f"line {line.style}", line.label))
    return svg(width, height, parts, "wide", described)


def course(
    places: Sequence[float],
    dots: list[Dot],
    x_ticks: list[tuple[float, str]],
    labels: tuple[str, str],
    line: Line | None = None,
    log: bool = False,
    rules: Sequence[float] = (),
) -> str:
    """The course of a search: a dot for each trial, in order, optionally with a line.

    Args:
      places: position of each dot on the axis; dots at the same position are spread slightly.
      rules: positions of vertical lines.
    """
    width, height = 680, 300
    x = padded([*places, *(place for place, _ in x_ticks)], 56, width - 16)
    y = padded([*(one.score for one in dots), *(line.y if line else ())], height - 44, 26, log)
    parts = [segment(x(place), y.start, x(place), y.end, "grid") for place in rules]
    parts += _frame(56, width - 16, y, [(x(place), words) for place, words in x_ticks], labels)
    spread = 5.0 if len(set(places)) < len(places) else 0.0
    if line:
        parts.append(polyline(_points(line.x, line.y, x, y), f"line {line.style}", line.label))
    for i in sorted(range(len(dots)), key=lambda i: dots[i].style):  # marked dots on top
        parts.append(_trial(dots[i], x(places[i]) + _aside(i, spread) * (not dots[i].style), y))
    return svg(width, height, parts, "wide", f"{labels[1]} over {labels[0]}")


def _trial(one: Dot, x: float, y: Scale) -> str:
    """A trial's dot, or a cross at the bottom if it has no score."""
    if one.score is None:
        return cross(x, y.start - 5, one.tooltip)
    return dot(x, y(one.score), f"dot {one.style}".strip(), one.tooltip, 4.5 if one.style else 3)


def _aside(number_of_dot: int, spread: float) -> float:
    return spread * ((number_of_dot * 7) % 5 - 2)


def _points(xs, ys, x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [(x(a), y(b)) for a, b in zip(xs, ys) if b is not None and math.isfinite(b)]


def as_numbers(values: Sequence[str]) -> list[float] | None:
    """An axis's values as numbers, or None if one of them is not a number."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def value(text: str) -> str:
    """A value of an axis for display: numbers are shortened, words unchanged."""
    numbers = as_numbers([text])
    return number(numbers[0]) if numbers else text


MOST_STEPS = 8  # an axis with at most this many values is drawn in equal steps


def positions(values: Sequence[str], start: float, end: float) -> tuple[list[float], list[tuple[float, str]]]:
    """Positions of the values of an axis, and ticks: few values or words in equal steps, others to scale."""
    numbers = as_numbers(values)
    if numbers and len(set(numbers)) > MOST_STEPS:
        scale = padded(numbers, start, end, spans_decades(numbers))
        return [scale(value) for value in numbers], [(scale(t), number(t)) for t in scale.ticks(4)]
    order = sorted(set(values), key=float) if numbers else sorted(set(values))
    step = (end - start) / len(order)
    places = {value: round(start + step * (index + 0.5), 1) for index, value in enumerate(order)}
    named = [(place, number(float(value)) if numbers else value) for value, place in places.items()]
    return [places[value] for value in values], named


def slice_plot(
    axis: str,
    dots: list[Dot],
    index: int,
    means: list[tuple[list[int], float]],
    label: str,
    y_text: Callable = number,
) -> str:
    """The score against one axis: a dot for each trial, and the mean of each bin of `means` as a step.

    Args:
      means: for each bin the indices of its dots, and the mean of their scores.
    """
    width, height = 330, 230
    places, ticks = positions([one.values[index] for one in dots], 52, width - 14)
    scores = [one.score for one in dots if one.score is not None]
    y = padded(scores, height - 44, 26, pad=0.06)
    parts = _frame(52, width - 14, y, ticks, (axis, label), y_text)
    spread = 5.0 if len(set(places)) <= MOST_STEPS and len(dots) > len(set(places)) else 0.0
    for members, mean in means:
        left, right = min(places[i] for i in members), max(places[i] for i in members)
        reach = 16 if right - left < 8 else 0
        parts.append(segment(left - reach, y(mean), right + reach, y(mean), "mean"))
    drawn = sorted(range(len(dots)), key=lambda i: dots[i].style)  # marked dots on top
    for i in drawn:
        parts.append(_trial(dots[i], places[i] + _aside(i, spread), y))
    return svg(width, height, parts, "small", f"{label} against {axis}")


def parallel(axes: list[str], dots: list[Dot], label: str) -> str:
    """Parallel coordinates with the score on the right; a line for each trial, stronger for better ones."""
    from scipy import stats

    width, height = max(680, 120 * (len(axes) + 1)), 300
    top, bottom = 44, height - 18
    columns = np.linspace(64, width - 64, len(axes) + 1)
    scores = [-math.inf if one.score is None else one.score for one in dots]
    shade = np.ceil(stats.rankdata(scores, "max") / len(dots) * NUM_SHADES).astype(int) - 1
    known = padded([one.score for one in dots], bottom, top)
    heights, parts = [], []
    for index in range(len(axes)):
        places, ticks = positions([one.values[index] for one in dots], bottom, top)
        heights.append(places)
        parts.append(ticks)
    heights.append([bottom + 8 if one.score is None else known(one.score) for one in dots])
    parts.append([(known(tick), number(tick)) for tick in known.ticks(5)])
    drawn = []
    for i in np.argsort(scores, kind="stable"):
        style = "lost" if dots[i].score is None else dots[i].style or f"q{shade[i]}"
        points = [(round(float(x), 1), heights_at[i]) for x, heights_at in zip(columns, heights)]
        drawn.append((bool(dots[i].style), polyline(points, f"path {style}", dots[i].tooltip)))
    drawn.sort(key=lambda item: item[0])
    marks = []
    for x, ticks, name in zip(columns, parts, [*axes, label]):
        marks.append(segment(x, top, x, bottom, "axis"))
        marks.append(text(x, 20, name, "middle", "label"))
        for place, words in ticks:
            marks.append(segment(x - 4, place, x, place, "axis"))
            marks.append(
                text(x - 7, place + 4, words if len(words) < 12 else words[:11] + "…", "end", "halo")
            )
    return svg(width, height, [path for _, path in drawn] + marks, "wide", f"trials by {', '.join(axes)}")


def interval(
    estimate: Estimate, low: float, high: float, style: str = "c0", mark: float | None = None
) -> str:
    """An interval as a line with a dot at its estimate, for a table cell; `mark` is a vertical line."""
    width, height = 150, 18
    scale = Scale(low, high, 5, width - 5) if high > low else Scale(low - 1, high + 1, 5, width - 5)
    parts = [segment(5, 9, width - 5, 9, "grid")]
    if mark is not None and low <= mark <= high:
        parts.append(segment(scale(mark), 1, scale(mark), 17, "axis"))
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        left, right = (scale(min(max(end, low), high)) for end in (estimate.low, estimate.high))
        parts.append(segment(left, 9, right, 9, f"reach {style}"))
    tooltip = f"{number(estimate.value)} ({number(estimate.low)} to {number(estimate.high)})"
    if math.isfinite(estimate.value):
        parts.append(dot(scale(min(max(estimate.value, low), high)), 9, f"dot {style}", tooltip, 4))
    return svg(width, height, parts, "cell", tooltip)
