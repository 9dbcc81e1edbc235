"""Axes of figures: scales, ticks, and the values of an axis as numbers and as text."""

import math
from collections.abc import Sequence
from typing import NamedTuple


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
        if not math.isfinite(self.high - self.low):  # values near the largest float
            return []
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


Value = float | str  # of an axis; data by earlier versions has numbers as text


def as_numbers(values: Sequence[Value]) -> list[float] | None:
    """An axis's values as numbers, or None if one of them is not a number."""
    try:
        numbers = [float(value) for value in values]
    except (ValueError, TypeError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def value(one: Value) -> str:
    """A value of an axis for display: numbers are shortened, words unchanged."""
    numbers = as_numbers([one])
    return number(numbers[0]) if numbers else str(one)


def _overlap(numbers: list[float], start: float, end: float) -> bool:
    """Whether the numbers would overlap as labels of a horizontal axis, in equal steps."""
    labels = [number(one) for one in set(numbers)]
    return end > start and sum(CHARACTER * (len(label) + 1) for label in labels) > end - start


CHARACTER = 6  # width in a label
MOST_STEPS = 8  # an axis with at most this many values is drawn in equal steps


def positions(
    values: Sequence[Value], start: float, end: float
) -> tuple[list[float], list[tuple[float, str]]]:
    """Positions of the values of an axis, and ticks: few values or words in equal steps, others to scale."""
    numbers = as_numbers(values)
    if numbers and (len(set(numbers)) > MOST_STEPS or _overlap(numbers, start, end)):
        scale = padded(numbers, start, end, spans_decades(numbers))
        return [scale(value) for value in numbers], [(scale(t), number(t)) for t in scale.ticks(4)]
    order = sorted(set(values), key=float) if numbers else sorted(set(values), key=str)
    step = (end - start) / len(order)
    places = {value: round(start + step * (index + 0.5), 1) for index, value in enumerate(order)}
    named = [(place, number(float(value)) if numbers else str(value)) for value, place in places.items()]
    return [places[value] for value in values], named
