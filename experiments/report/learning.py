"""The hyperparameters of a run, and the losses and other metrics of its updates."""

import math
from typing import Any

import numpy as np

from jaxrl.experiments import labels
from jaxrl.experiments.plot import format_steps
from jaxrl.experiments.report import figures, markup
from jaxrl.experiments.report.markup import Html, joined, table, tag
from jaxrl.experiments.report.schema import Source
from jaxrl.statistics import iqm

GROUPS = ("loss/", "policy/", "value/", "grad/")
POINTS = 40


def record(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The metrics of updates in some of the rows: for each its IQM over the agents, and their range."""
    known = sorted(rows[-1]) if rows else []
    names = [name for group in GROUPS for name in known if name.startswith(group)]
    if not names:
        return None
    kept = np.unique(np.linspace(0, len(rows) - 1, POINTS).round().astype(int))
    rows = [rows[index] for index in kept]
    return {
        "timesteps": [row["timesteps"] for row in rows],
        "metrics": {name: [_summary(row.get(name)) for row in rows] for name in names},
    }


def _summary(values: list[float | None] | None) -> list[float] | None:
    """IQM, smallest and largest of the finite values; None if there is none."""
    known = [x for x in values or [] if x is not None and math.isfinite(x)]
    return [float(f"{x:.4g}") for x in (iqm(known), min(known), max(known))] if known else None


def section(source: Source) -> Html:
    """Tables of the settings of a run, and a figure for each metric; empty without them."""
    parts = []
    if settings := source.about.get("settings"):
        rows = [[name, labels.shown(value)] for name, value in settings.items()]
        half = -(-len(rows) // 2)
        halves = [table(["setting", "value"], some) for some in (rows[:half], rows[half:]) if some]
        parts += [tag("h3", "Hyperparameters"), tag("div", *halves, style="slices")]
    if learning := source.about.get("learning"):
        drawn = [_figure(name, learning) for name in learning["metrics"]]
        caption = "The IQM over the seeds in each interval; the band reaches from the least to the largest."
        figure = markup.figure(tag("div", Html("".join(drawn)), style="slices"), caption)
        parts += [tag("h3", "Losses and other metrics of learning"), figure] if any(drawn) else []
    return joined(*parts)


def _figure(name: str, learning: dict[str, Any]) -> str:
    known = [(x, y) for x, y in zip(learning["timesteps"], learning["metrics"][name]) if y]
    if not known:
        return ""
    columns = [list(column) for column in zip(*(y for _, y in known))]
    line = figures.Line(name, "c0", [x for x, _ in known], *columns)
    return figures.lines([line], "environment steps", name, format_steps, f"{name} over training", small=True)
