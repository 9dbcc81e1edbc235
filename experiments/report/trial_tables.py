"""Tables and figures of the trials of a sweep: their scores, and which axes matter."""

import math

from jaxrl.experiments.report import figures, markup, trials
from jaxrl.experiments.report.compare import is_evolution, plain
from jaxrl.experiments.report.markup import Html, ends, joined, long_table, percent, table, tag
from jaxrl.experiments.report.scales import number, value
from jaxrl.experiments.report.schema import Source, kind_of
from jaxrl.statistics import MIN_TRIALS


def trial_table(source: Source) -> Html:
    """All trials, best first, and the confirmation of the best one with fresh seeds."""
    axes = source.about["axes"]
    listed = [*source.confirms, *source.trials]
    scores = [trials.score(one) for one in listed]
    known = [end for one in scores for end in one if math.isfinite(end)]
    if not known:
        return tag("p", "No trial has a score.", style="note")
    low, high = min(known), max(known)
    losses = [None] * len(source.confirms) + trials.behind(source)
    lengths = len({one["steps"] for one in source.trials}) > 1
    has_losses = any(loss is not None for loss in losses)
    span = tag("div", tag("span", number(low)), tag("span", number(high)), style="range")
    turn = "generation" if is_evolution(source) else "batch" * bool(kind_of(source).batches)
    head = ["trial", "IQM", "95 %", span, *map(plain, axes), *["steps"] * lengths, *[turn] * bool(turn)]
    head += ["behind the first"] * has_losses
    rows = []
    for one, score, loss in zip(listed, scores, losses):
        fresh = "confirms" in one
        plotted = Html(figures.interval(score, low, high, "c1" if fresh else "c0"))
        apart = "–" if loss is None else f"{number(loss.value, 3)} ({ends(loss, 3)})"
        settings = [value(one["values"].get(axis, "–")) for axis in axes]
        settings += [f"{one['steps']:,}"] * lengths
        if turn:
            settings.append("–" if fresh else str(one[turn] + (turn == "generation")))
        settings += [apart] * has_losses
        rows.append([trials.name_of(one), number(score.value), ends(score), plotted, *settings])
    shown = long_table(head, rows, marked=range(len(source.confirms)))
    caption = (
        "Best first. The dot is the IQM over the seeds, the line its 95 % bootstrap interval"
        + "; “behind the first” compares seed by seed: if its interval contains 0, the difference is not "
        "significant" * has_losses + "; trials that were trained for longer come first" * lengths + "."
    )
    return joined(shown, tag("p", caption, style="note"))


def importance_table(source: Source) -> Html:
    importances = trials.importance(source)
    count = len(trials.comparable(source))
    if is_evolution(source):
        why = "an evolution strategy draws its candidates around its mean, along all axes together"
        return tag("p", f"The importance of axes is unknown: {why}.", style="note")
    if not importances:
        why = f"it takes at least {MIN_TRIALS} trials of one length with different scores; there are {count}"
        return tag("p", f"The importance of axes is unknown: {why}.", style="note")
    rows = []
    for one in importances:
        share = Html(figures.interval(one.share, 0.0, 1.0))
        trend = Html(figures.interval(one.correlation, -1.0, 1.0, "c2", mark=0.0))
        spread = f"{percent(one.share.low)} to {percent(one.share.high)}"
        cells = [plain(one.axis), percent(one.share.value), spread, share]
        rows.append([*cells, number(round(one.correlation.value, 2)), trend])
    spans = [
        tag("div", tag("span", a), tag("span", b), style="range") for a, b in (("0", "100 %"), ("−1", "1"))
    ]
    head = ["axis", "share of variance", "95 %", spans[0], "rank correlation", spans[1]]
    rest = max(0.0, 1 - sum(one.share.value for one in importances))
    chance = trials.noise_share(source)
    seeds = "" if math.isnan(chance) else f" (differences between seeds: about {percent(chance)})"
    caption = (
        f"The share of the variance of the score that an axis explains on its own, over {count} trials. The "
        f"remaining {percent(rest)} is due to interactions and chance{seeds}. The rank correlation is 1 if "
        "larger values are better and −1 if they are worse; it is near 0 if the best value is in the middle."
    )
    if any(one.get("score") is None for one in trials.comparable(source)):
        caption += " Trials without a score count as the worst observed score."
    if kind_of(source).batches:
        caption += " The search chose its trials, so this applies to the region that it explored most."
    return joined(table(head, rows), tag("p", caption, style="note"))


def _best_name(source: Source) -> str:
    return "the mean with fresh seeds" if is_evolution(source) and source.confirms else "the best one"


def slices(source: Source) -> Html:
    """Plots of the score against each axis that varies."""
    comparable = trials.comparable(source)
    axes = [axis for axis in source.about["axes"] if len(set(trials.axis_values(comparable, axis))) > 1]
    dots = trials.dots(source, axes, comparable)
    if not axes or all(one.score is None for one in dots):
        return Html("")
    drawn, effects_known = [], bool(trials.importance(source))
    for index, axis in enumerate(axes):
        means = trials.bin_means(trials.axis_values(comparable, axis), comparable) if effects_known else []
        drawn.append(figures.slice_plot(plain(axis), dots, index, means, "IQM"))
    caption = (
        f"Each dot is a trial, {_best_name(source)} in orange; crosses are trials without a score."
        + " A bar is the mean of neighbouring trials; the shares of variance measure how the bars differ."
        * effects_known
    )
    return markup.figure(tag("div", Html("".join(drawn)), style="slices"), caption)


def parallel(source: Source) -> Html:
    comparable = trials.comparable(source)
    axes = [axis for axis in source.about["axes"] if len(set(trials.axis_values(comparable, axis))) > 1]
    dots = trials.dots(source, axes, comparable)
    if len(axes) < 2 or all(one.score is None for one in dots):
        return Html("")
    drawn = figures.parallel([plain(axis) for axis in axes], dots, "IQM")
    caption = (
        "Each line is a trial and crosses each axis at its value. The stronger its blue, the better its "
        f"rank; {_best_name(source)} is orange; dotted lines have no score. Where strong lines are close "
        "together, good trials have similar values."
    )
    return markup.figure(drawn, caption)
