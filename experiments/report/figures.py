"""Figures of a report: curves, the course of a search, slices, parallel coordinates, intervals."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxrl.experiments.report.scales import MOST_STEPS, Scale, Value, number, padded, positions
from jaxrl.experiments.report.svg import clipped, cross, dot, frame, polyline, segment, svg, text
from jaxrl.statistics import Estimate

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

    values: tuple[Value, ...]
    score: float | None
    tooltip: str
    style: str = ""  # "best"


def lines(
    drawn: list[Line],
    x_label: str,
    y_label: str,
    x_text: Callable,
    described: str,
    behind: Sequence[Line] = (),
    log: bool = False,
    small: bool = False,
) -> str:
    """Lines with bands over a common axis, such as learning curves; those of `behind` are thin.

    Args:
      log: the vertical axis is logarithmic.
      small: for several figures side by side.
    """
    width, height = (330, 200) if small else (680, 300)
    every = [*behind, *drawn]
    reach = [value for line in every for part in (line.y, line.low, line.high, *line.thin) for value in part]
    x = padded([value for line in every for value in line.x], 56, width - 16, pad=0.0)
    y = padded(reach, height - 44, 26, log)
    ticks = [(x(tick), x_text(tick)) for tick in x.ticks(4 if small else 6)]
    parts = frame(56, width - 16, y, ticks, (x_label, y_label))
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
    return svg(width, height, parts, "small" if small else "wide", described)


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
    parts += frame(56, width - 16, y, [(x(place), words) for place, words in x_ticks], labels)
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
    parts = frame(52, width - 14, y, ticks, (axis, label), y_text)
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
            marks.append(text(x - 7, place + 4, clipped(words), "end", "halo"))
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
