"""Learning curves of a run, or of the trials of a sweep."""

from typing import Any

import numpy as np

from jaxrl.experiments import diverged, labels
from jaxrl.experiments.plot import format_steps, summary
from jaxrl.experiments.report import figures, markup, svg
from jaxrl.experiments.report.compare import best_of
from jaxrl.experiments.report.markup import Html
from jaxrl.experiments.report.schema import Source
from jaxrl.statistics import iqm

MOST_FADED = 300  # lines of other trials in a figure of curves


def curve_line(trial: dict[str, Any], label: str, style: str, thin: bool = False) -> figures.Line | None:
    """The IQM over a trial's seeds with its band; None if there is no curve."""
    curve = trial.get("curve")
    if not curve or not curve["timesteps"]:
        return None
    returns = diverged.curve(trial)
    returns = returns[np.isfinite(returns).any(axis=1)]
    if not len(returns):
        return None
    steps = np.array(curve["timesteps"], np.float64)
    centre, low, high = summary(steps, returns, iqm, 0.95)
    seeds = returns.tolist() if thin and len(returns) > 1 else []
    return figures.Line(label, style, steps.tolist(), centre.tolist(), low.tolist(), high.tolist(), seeds)


def curves(source: Source, label: str) -> Html:
    """Learning curves of a run, or of a sweep's best trial in front of the others."""
    best, chosen = best_of(source)
    if len(source.trials) == 1 and not source.confirms:
        line = curve_line(source.trials[0], "IQM over seeds", "c0", thin=True)
        caption = (
            "Each thin line is a seed; the thick line is their IQM, the band its 95 % bootstrap interval."
        )
        return _curve_figure([line], caption, label, named=False)
    first = next((one for one in source.trials if one.get("trial") == best.get("confirms")), source.trials[0])
    who = f"trial {first.get('trial')} ({labels.label(first['values'])})"
    shown = [curve_line(first, f"{who}, the seeds that selected it", "c0")]
    if not chosen and best.get("confirms") != "members":
        shown.append(curve_line(best, f"trial {best['confirms']} with fresh seeds", "c1"))
    if not shown[0]:  # trials of a search inside the program share lanes and have no curves
        again = [] if chosen else [curve_line(best, "", "c1", thin=True)]
        return _curve_figure(again, CURVES_OF_A_SEARCH, label, named=False)
    others = [one for one in source.trials if one is not first and one.get("curve")][:MOST_FADED]
    if others:
        made = [faded_line(one, f"trial {one.get('trial')}: {labels.label(one['values'])}") for one in others]
        faded = [line for line in made if line]
        shown = [figures.Line("other trials", "trials", shown[0].x, (), (), ()), *shown]
        return _curve_figure(shown, CURVES_OF_A_SWEEP, label, behind=faded)
    return _curve_figure(shown, CURVES_OF_A_SWEEP, label)


def faded_line(trial: dict[str, Any], label: str) -> figures.Line | None:
    """The IQM over a trial's seeds as a thin grey line with a tooltip; None if there is no curve."""
    curve = trial.get("curve")
    return figures.Line(label, "trials", curve["timesteps"], _iqm_curve(trial)) if curve else None


def _iqm_curve(trial: dict[str, Any]) -> list[float | None]:
    columns = [column[np.isfinite(column)] for column in diverged.curve(trial).T]
    return [float(iqm(column)) if column.size else None for column in columns]


CURVES_OF_A_SWEEP = (
    "IQM over seeds; grey lines are the other trials. The bands are 95 % bootstrap intervals. If the curve "
    "of the fresh seeds is lower, the score that selected the trial was partly due to chance."
)
CURVES_OF_A_SEARCH = (
    "The selected hyperparameters, trained again with fresh seeds. Each thin line is a seed; the thick line "
    "is their IQM, the band its 95 % bootstrap interval."
)


def _curve_figure(shown, caption: str, label: str, named: bool = True, behind=()) -> Html:
    shown = [line for line in shown if line]
    if not shown:
        return Html("")
    drawn = figures.lines(shown, "environment steps", label, format_steps, "learning curves", behind)
    legend = svg.legend([(line.label, line.style) for line in shown]) if named else ""
    return markup.figure(drawn, caption, legend)
