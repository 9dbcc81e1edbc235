"""The parts of a page that are specific to a kind of search: its headline, findings and figures.

For one that stops trials (successive halving): how long each was trained; for populations: the schedules of
the winners; for an evolution strategy: its generations; for a search in batches (Optuna): its batches.
"""

import itertools
import math
from typing import Any

import numpy as np

from jaxrl.experiments.plot import format_steps
from jaxrl.experiments.report import figures, markup, scales, svg, trials
from jaxrl.experiments.report.compare import is_evolution, is_populations, plain, search_of, seeds_of
from jaxrl.experiments.report.figures import Dot, Line
from jaxrl.experiments.report.markup import Html, joined, percent, several, table, tag, with_interval
from jaxrl.experiments.report.scales import number, value
from jaxrl.experiments.report.schema import Source, kind_of
from jaxrl.statistics import across_tasks

MOST_LINES = 8  # coloured schedules; those of other populations are grey
MOST_TICKS = 12


def headline(source: Source) -> str:
    """The result in one sentence; empty if the general sentence of a sweep applies."""
    if is_populations(source):
        return _of_winners(source)
    if is_evolution(source) and source.confirms:
        again = source.confirms[0]
        what = ", ".join(f"{plain(axis)} {value(text)}" for axis, text in again["values"].items())
        return (
            f"Mean after {search_of(source)}: {what} – IQM {with_interval(trials.score(again))} over "
            f"{several(len(seeds_of(again)), 'fresh seed')}."
        )
    return ""


def _of_winners(source: Source) -> str:
    who = f"The winner{'s' * (len(source.trials) > 1)} of {search_of(source)}"
    scores = [one["score"] for one in source.trials if one.get("score") is not None]
    chosen = across_tasks([scores]) if scores else None
    if not source.confirms:
        return (
            f"{who}: IQM {with_interval(chosen)} by the returns that selected them, which are biased "
            "upwards; they were not evaluated again in fresh episodes."
        )
    again = trials.score(source.confirms[0])
    episodes = source.confirms[0].get("episodes")
    where = f"in {several(episodes, 'fresh episode')}" if episodes else "in fresh episodes"
    where += " each" * (len(source.trials) > 1)
    before = f"by training returns of {number(chosen.value)}" if chosen else "without any return"
    return f"{who}: IQM {with_interval(again)} {where}; chosen {before}."


def findings(source: Source) -> list[str]:
    """Further facts that matter when using the result of a search."""
    spent = source.about.get("spent")
    count, best = len(source.trials), source.trials[0]
    sentences = []
    if is_populations(source):
        sentences.append(
            "The winners were trained with a schedule: training with only the last values may be worse."
        )
    if is_evolution(source):
        sentences.append(
            f"Best single candidate: trial {trials.name_of(best)}, of generation {best['generation'] + 1}, "
            f"with {number(best.get('score'))}; as the best of {count} its score is biased upwards."
        )
    if kind_of(source).batches:
        batches = max(one["batch"] for one in source.trials)
        sentences.append(f"The best trial comes from batch {best['batch']} of {batches}.")
    took = f"the search took {spent:,} steps in total" if spent else ""
    if kind_of(source).stops_trials:
        full = source.about["steps"] * source.about["seeds"] * count
        took += f", {percent(spent / full)} of training every trial to the end" if spent and full else ""
        ended = sum(one["steps"] >= source.about["steps"] for one in source.trials)
        return [*sentences, f"{ended} of {count} trials were trained to the end{'; ' * bool(took)}{took}."]
    return [*sentences, f"{took.capitalize()}."] if took else sentences


def section(source: Source, metric: str) -> Html:
    """Headings and figures of a search; empty for other sweeps."""
    if is_populations(source):
        return joined(
            tag("h3", "Populations"),
            _populations(source),
            *_curves_of_populations(source, metric),
            tag("h3", "Schedules"),
            _schedules(source),
        )
    if kind_of(source).stops_trials:
        return joined(tag("h3", "Training length of each trial"), _halving(source))
    if is_evolution(source):
        return joined(tag("h3", "Generation by generation"), _generations(source))
    if kind_of(source).batches:
        return joined(tag("h3", "Batch by batch"), _batches(source))
    return Html("")


# --- population based training ----------------------------------------------------------------------


def _populations(source: Source) -> Html:
    """A row for each population: its winner's returns, and its last hyperparameters."""
    axes = source.about["axes"]
    fresh = seeds_of(source.confirms[0]) if source.confirms else {}
    rows = []
    for one in source.trials:
        line = one["ancestry"]
        changes = sum(before != after for before, after in itertools.pairwise(line))
        returns = [number(one.get("score")), number(fresh.get(one["first_seed"]))]
        settings = [value(one["values"].get(axis, "–")) for axis in axes]
        rows.append([str(one["first_seed"]), *returns, *settings, f"{changes} of {len(line) - 1}"])
    caption = (
        "The winner of each population, best first: the return that selected it, its return in fresh "
        "episodes, its last values, and the number of decisions at which it became a copy of another member."
    )
    head = ["population (seed)", "chosen as", "fresh episodes", *map(plain, axes), "changed member"]
    return joined(table(head, rows), tag("p", caption, style="note"))


def _schedules(source: Source) -> Html:
    """Each hyperparameter over training, one line for each population's winner."""
    drawn = []
    for axis in source.about["axes"]:
        made = [_schedule(one, axis, index) for index, one in enumerate(source.trials) if axis in one["path"]]
        if made:
            log = _logarithmic(source, axis, [level for line in made for level in line.y])
            shown, rest = made[:MOST_LINES], made[MOST_LINES:]
            labels = ("environment steps", plain(axis))
            described = f"schedules of the {plain(axis)}"
            drawn.append(figures.lines(shown, *labels, format_steps, described, rest, log))
    labels = [
        (f"population {one['first_seed']}", svg.style_of(index))
        for index, one in enumerate(source.trials[:MOST_LINES])
    ]
    others = len(source.trials) > MOST_LINES
    caption = (
        "The values with which the winner of each population was trained: its own, before that those of the "
        "member from which it was copied, and so on back to the first step."
        + " The best populations have colours, the others are grey."
        * others
    )
    legend = svg.legend(labels + [("other populations", "trials")] * others)
    return markup.figure("".join(drawn), caption, legend)


def _curves_of_populations(source: Source, metric: str) -> list[Html]:
    """The training returns of each winner and of the members that it was copied from."""
    drawn = []
    for one in source.trials[:MOST_LINES]:
        name, curve = f"population {one['first_seed']}", one.get("curve")
        if curve:
            drawn.append(Line(name, svg.style_of(len(drawn)), curve["timesteps"], curve["iqm"]))
    if not drawn:
        return []
    shown = figures.lines(drawn, "environment steps", metric, format_steps, "learning curves")
    legend = svg.legend([(line.label, line.style) for line in drawn])
    caption = "A line is the winner of a population, before that the member that it was copied from."
    return [tag("h3", "Learning curves"), markup.figure(shown, caption, legend)]


def _schedule(one: dict[str, Any], axis: str, index: int) -> Line:
    """The values along the ancestry of a winner; decisions are equally spaced."""
    values = one["path"][axis]
    edges = np.linspace(0, one["steps"], len(values) + 1)
    style = svg.style_of(index) if index < MOST_LINES else "trials"
    x, y = np.repeat(edges, 2)[1:-1].tolist(), np.repeat(values, 2).tolist()
    return Line(f"population {one['first_seed']}", style, x, y)


def _logarithmic(source: Source, axis: str, levels: list[float]) -> bool:
    searched_so = axis in (source.about.get("log_axes") or ())
    return min(levels) > 0 and (searched_so or scales.spans_decades(levels))


# --- the others -------------------------------------------------------------------------------------


def _halving(source: Source) -> Html:
    """The step at which each trial ended with its score there, and the steps by axis value."""
    axes = source.about["axes"]
    dots = trials.dots(source, axes, source.trials)
    ends = sorted({one["steps"] for one in source.trials})
    if all(one.score is None for one in dots):
        return tag("p", "No trial has a score.", style="note")
    places = [ends.index(one["steps"]) for one in source.trials]
    ticks = [(place, f"{steps:,}") for place, steps in enumerate(ends)]
    shown = figures.course(places, dots, ticks, ("steps trained", "IQM where it ended"))
    far = [dot._replace(score=float(one["steps"])) for dot, one in zip(dots, source.trials)]
    drawn = [
        figures.slice_plot(plain(axis), far, index, [], "steps trained", format_steps)
        for index, axis in enumerate(axes)
        if len({one.values[index] for one in far}) > 1
    ]
    caption = (
        "Each dot is a trial at the step where it ended; the best one is orange. Only scores of trials with "
        "the same number of steps are comparable. The plots below show the number of steps by value."
    )
    return markup.figure(joined(Html(shown), tag("div", Html("".join(drawn)), style="slices")), caption)


def _generations(source: Source) -> Html:
    """Scores of the candidates of each generation, and their values on each axis."""
    axes, tried = source.about["axes"], source.trials
    dots = trials.dots(source, axes, tried)
    turns = [one["generation"] + 1 for one in tried]
    ticks = _ticks(turns)
    if len(dots) > len(tried):  # the mean after the last generation
        turns.append(max(turns) + 1)
        ticks.append((turns[-1], "mean"))
    drawn = []
    for index, name in enumerate(["IQM", *map(plain, axes)]):
        here, log = dots, False
        if index:
            levels = scales.as_numbers([one.values[index - 1] for one in dots])
            if not levels:
                continue
            here = [one._replace(score=level) for one, level in zip(dots, levels)]
            log = _logarithmic(source, axes[index - 1], levels)
        line = _median(turns, here[: len(tried)])
        drawn.append(figures.course(turns, here, ticks, ("generation", name), line, log))
    caption = (
        "Each dot is a candidate, and the line is the median of each generation; orange is the mean after "
        "the last generation, trained with fresh seeds."
    )
    return markup.figure("".join(drawn), caption)


def _median(turns: list[int], dots: list[Dot]) -> Line:
    """The median of each turn's known scores."""
    levels: dict[int, list[float]] = {}
    for turn, one in sorted(zip(turns, dots), key=lambda pair: pair[0]):
        if one.score is not None:
            levels.setdefault(turn, []).append(one.score)
    return Line("median", "c5", list(levels), [float(np.median(values)) for values in levels.values()])


def _batches(source: Source) -> Html:
    """Scores in the order in which the trials were proposed, and the best so far."""
    tried = sorted(source.trials, key=lambda one: (one["batch"], one["trial"]))
    dots = trials.dots(source, source.about["axes"], tried)
    firsts = [i for i, one in enumerate(tried) if not i or one["batch"] != tried[i - 1]["batch"]]
    scores = [-math.inf if one.score is None else one.score for one in dots]
    best = np.maximum.accumulate(scores).repeat(2)[:-1].tolist()
    line = Line("best so far", "c0", np.arange(len(dots)).repeat(2)[1:].tolist(), best)
    places, rules = list(range(len(dots))), [first - 0.5 for first in firsts[1:]]
    drawn = figures.course(places, dots, _ticks(firsts), ("trial", "IQM"), line, rules=rules)
    caption = (
        "Each dot is a trial, the best one in orange; the line is the best score so far. Vertical lines "
        "separate the batches: the first is spread evenly, later ones are proposed from all earlier ones."
    )
    return markup.figure(drawn, caption)


def _ticks(turns: list[int]) -> list[tuple[float, str]]:
    """Some of the turns, evenly."""
    every = sorted(set(turns))
    return [(turn, str(turn)) for turn in every[:: -(-len(every) // MOST_TICKS)]]
