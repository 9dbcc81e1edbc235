"""Learning curves from the rows of `metrics.jsonl`, drawn without a display."""

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl import files
from jaxrl.statistics import bootstrap_interval, iqm

# Okabe and Ito's palette, distinguishable with every kind of colour vision.
# https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#333842")
DASHES = ("-", "--", ":", "-.")  # for more runs than colours
STATISTICS = {"IQM": iqm, "median": np.median}

EVALUATION, TRAINING = "evaluation/return", "episode/return"
MIN_SEEDS_FOR_BAND = 3
LONG_LABEL = 24  # characters of a label above which the legend is below the curves


# Labels, and rows of metrics.
Curves = list[tuple[str, list[dict[str, Any]]]]


class Nothing(ValueError):
    """No run has a return yet."""


class Curve(NamedTuple):
    """A run's returns: `steps` `[T]`, ascending, and `returns` `[S, T]`, nan if there is none."""

    steps: np.ndarray
    returns: np.ndarray


def curves(
    rows_per_run: Mapping[str, list[dict]] | Iterable[tuple[str, list[dict]]],
    path,
    *,
    title: str | None = None,
    statistic: str = "IQM",
    confidence: float = 0.95,
    log_steps: bool = False,
    size: tuple[float, float] = (6.4, 4.0),
    dpi: int = 150,
) -> None:
    """Draws the learning curves of runs to the file `path`; its extension determines the format.

    A thick line is the statistic over a run's seeds, its band a bootstrap interval (for at least 3 seeds),
    and each thin line is a seed. Evaluation returns are drawn if every run with returns has them, and
    training returns otherwise, because the two are not comparable. Returns of a seed are interpolated
    linearly between its points, and not extrapolated.

    Args:
      rows_per_run: for each run its label and its rows, one per interval: `timesteps` is a number,
        `episode/return` and `evaluation/return` contain a number or None per seed, or are missing.
        Of rows with equal `timesteps` the last one is used.
      statistic: "IQM" (interquartile mean) or "median".
      log_steps: a logarithmic axis of steps.
      size: width and height in inches.

    Raises:
      ValueError: no run has a finite return, or `statistic` is unknown.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, not {statistic!r}")
    runs = list(rows_per_run.items() if isinstance(rows_per_run, Mapping) else rows_per_run)
    metric, drawn = _choose([rows for _, rows in runs], int(log_steps))
    if not any(curve.steps.size for curve in drawn):
        raise Nothing(
            f"there is nothing to plot: none of {len(runs)} runs has a finite {EVALUATION} or {TRAINING}"
        )

    figure = new_figure(size, dpi)
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = figure.add_subplot()
    counts = [len(curve.returns) for curve in drawn]
    seeds = {count for count in counts if count}
    handles, labels = [], []
    for index, ((label, _), curve) in enumerate(zip(runs, drawn)):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        }
        handles.append(_draw(axes, curve, style, STATISTICS[statistic], confidence))
        # A dollar sign would start a formula.
        labels.append(str(label).replace("$", r"\$") + _remark(counts[index], seeds))

    axes.set_ylabel("evaluation return" if metric == EVALUATION else "training return")
    axes.set_xlabel("environment steps" + (" per seed" if seeds != {1} else ""))
    axes.set_title(_note(seeds, statistic, confidence), loc="left", fontsize=8, color="#767E8C")
    if log_steps:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(lambda steps, _: format_steps(steps))
    axes.grid(color="#E4E7EB", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color("#B0B6C0")
    axes.tick_params(color="#B0B6C0")
    if title:
        figure.suptitle(title.replace("$", r"\$"), x=0.01, ha="left", fontsize=11)
    if len(runs) > 1 and max(map(len, labels)) > LONG_LABEL:  # beside the curves it would leave no room
        figure.set_size_inches(size[0], size[1] + 0.18 * len(runs))
        figure.legend(handles, labels, loc="outside lower left", frameon=False, fontsize=8)
    elif len(runs) > 6:
        figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    elif len(runs) > 1:
        axes.legend(handles, labels, frameon=False, fontsize=9)
    save(figure, path)


def new_figure(size: tuple[float, float], dpi: int = 150):
    """An empty matplotlib figure, which is drawn without a display.

    matplotlib refuses to be imported if MPLBACKEND names a backend that is not installed, such as that of a
    notebook from whose terminal `jaxrl` is started. Files need none of them.
    """
    try:
        import matplotlib
    except ValueError:
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib  # noqa: F401
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure, path) -> None:
    """Writes a matplotlib figure atomically; the extension of the file determines the format.

    Raises:
      ValueError: the format is unknown.
      OSError: the file cannot be written.
    """
    path, picture = Path(path), io.BytesIO()
    figure.savefig(picture, format=path.suffix.removeprefix(".") or "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, picture.getvalue())


def read_curve(rows: Iterable[dict[str, Any]], metric: str, first_step: int = 0) -> Curve:
    """The finite values of `metric` in `rows` from `first_step` on; seeds without any are omitted."""
    points = {}
    for row in rows:
        steps, values = row.get("timesteps"), row.get(metric)
        if steps is None or values is None or steps < first_step:
            continue
        values = np.asarray(values, np.float64).reshape(-1)  # None becomes nan
        points[int(steps)] = np.where(np.isfinite(values), values, np.nan)
    steps = sorted(step for step, values in points.items() if np.isfinite(values).any())
    returns = np.full((max((points[s].size for s in steps), default=0), len(steps)), np.nan)
    for column, step in enumerate(steps):
        returns[: points[step].size, column] = points[step]
    return Curve(np.array(steps), returns[np.isfinite(returns).any(axis=1)])


def _choose(rows_per_run, first_step):
    """The evaluation metric if all runs to be drawn have it, otherwise the training metric."""
    evaluation = [read_curve(rows, EVALUATION, first_step) for rows in rows_per_run]
    training = [read_curve(rows, TRAINING, first_step) for rows in rows_per_run]
    has_evaluation = [bool(curve.steps.size) for curve in evaluation]
    has_training = [bool(curve.steps.size) for curve in training]
    if any(has_evaluation) and all(e or not t for e, t in zip(has_evaluation, has_training)):
        return EVALUATION, evaluation
    return TRAINING, training


def _draw(axes, curve, style, statistic, confidence):
    """Draws one run and returns its handle for the legend."""
    steps, returns = curve
    (line,) = axes.plot([], [], linewidth=2, zorder=3, **style)
    if not steps.size:
        return line
    if len(returns) > 1:
        alpha = max(0.05, 0.8 / np.sqrt(len(returns)))
        for seed in returns:
            known = np.isfinite(seed)
            marker = "." if known.sum() == 1 else None
            axes.plot(steps[known], seed[known], **style, linewidth=0.7, alpha=alpha, marker=marker)
    centre, low, high = summary(steps, returns, statistic, confidence)
    if steps.size == 1:
        line.set_marker("o")  # a line through a single point is not visible
        if np.isfinite(low[0]):
            error = np.abs(np.array([low, high]) - centre)
            axes.errorbar(steps, centre, error, color=style["color"], capsize=4)
    line.set_data(steps, centre)
    if np.isfinite(low).any():
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
    axes.update_datalim(np.stack([steps, centre], axis=-1))
    axes.autoscale_view()
    return line


def summary(steps, returns, statistic, confidence):
    """The statistic over seeds and its interval at every step, each `[T]`, of returns `[S, T]`.

    A seed is included between its first and its last return, of which it needs at least one.
    """
    filled = np.stack(
        [
            np.interp(steps, steps[known], seed[known], left=np.nan, right=np.nan)
            for seed, known in zip(returns, np.isfinite(returns))
        ]
    )
    centre, low, high = np.full((3, steps.size), np.nan)
    # Steps at which the same seeds have returns are computed together.
    patterns, membership = np.unique(np.isfinite(filled), axis=1, return_inverse=True)
    membership = membership.reshape(-1)
    for index, known in enumerate(patterns.T):
        columns = membership == index
        values = filled[known][:, columns]
        centre[columns] = statistic(values, axis=0)
        if known.sum() >= MIN_SEEDS_FOR_BAND:
            low[columns], high[columns] = bootstrap_interval(values, statistic, confidence=confidence)
    return centre, low, high


def _note(seeds, statistic, confidence):
    """A text that describes what is drawn, given the numbers of seeds that occur."""
    if seeds == {1}:
        return "one seed"
    note = f"{statistic} over {min(seeds)} seeds" if len(seeds) == 1 else f"{statistic} over seeds"
    if max(seeds) >= MIN_SEEDS_FOR_BAND:
        note += f", band: {100 * confidence:g} % bootstrap interval"
    return note


def _remark(count, seeds):
    """The number of seeds, for a run's label in the legend, if it differs between runs."""
    if not count:
        return " (no returns)"
    return "" if len(seeds) == 1 else f" ({count} seed{'s' * (count > 1)})"


def format_steps(steps: float) -> str:
    """A number of steps in a short format: 0, 500, 100k, 1.5M, 2B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(steps) >= size:
            return f"{steps / size:g}{unit}"
    return f"{steps:g}"
