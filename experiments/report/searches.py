"""What a page tells of a search only: its own sentence, findings and figures.

Of successive halving ("asha") who went how far; of population based training ("pbt") the schedules of the
winners; of an evolution strategy ("cmaes", "openes") its generations; of "optuna" its batches.
"""

import itertools
import math
from typing import Any

import numpy as np

from jaxrl.experiments.plot import format_steps
from jaxrl.experiments.report import figures, markup, trials
from jaxrl.experiments.report.compare import is_evolution, is_populations, plain, search_of, seeds_of
from jaxrl.experiments.report.data import Source
from jaxrl.experiments.report.figures import Dot, Line, number, value
from jaxrl.experiments.report.markup import Html, joined, percent, several, table, tag, told
from jaxrl.experiments.statistics import across_tasks

MOST_LINES = 8  # schedules in colours; those of other populations are grey
MOST_TICKS = 12


def headline(source: Source) -> str:
    """What came of it, in one sentence; empty where the sentence of any other sweep says it."""
    if is_populations(source):
        return _of_winners(source)
    if is_evolution(source) and source.confirms:
        again = source.confirms[0]
        what = ", ".join(f"{plain(axis)} {value(text)}" for axis, text in again["values"].items())
        return (
            f"The mean that {search_of(source)} came to: {what} – IQM {told(trials.score(again))} over "
            f"{several(len(seeds_of(again)), 'fresh seed')}."
        )
    return ""


def _of_winners(source: Source) -> str:
    who = f"The winner{'s' * (len(source.trials) > 1)} of {search_of(source)}"
    scores = [one["score"] for one in source.trials if one.get("score") is not None]
    chosen = across_tasks([scores]) if scores else None
    if not source.confirms:
        return (
            f"{who}: IQM {told(chosen)} by the returns of the choice itself, which look better than "
            "they are; they were not judged again in fresh episodes."
        )
    again = trials.score(source.confirms[0])
    episodes = source.confirms[0].get("episodes")
    where = f"in {several(episodes, 'fresh episode')}" if episodes else "in fresh episodes"
    where += " each" * (len(source.trials) > 1)
    before = f"by training returns of {number(chosen.value)}" if chosen else "without any return"
    return f"{who}: IQM {told(again)} {where}; chosen {before}."


def findings(source: Source) -> list[str]:
    """What else a person should know of a search before using its result."""
    kind, spent = source.about.get("search"), source.about.get("spent")
    count, best = len(source.trials), source.trials[0]
    found = []
    if is_populations(source):
        found.append(
            "What won was trained by a schedule: the last values alone, from the first step on, may do worse."
        )
    if is_evolution(source):
        found.append(
            f"Best single candidate: trial {trials.name_of(best)}, of generation {best['generation'] + 1}, "
            f"with {number(best.get('score'))}; as the best of {count} it looks better than it is."
        )
    if kind == "optuna":
        batches = max(one["batch"] for one in source.trials)
        found.append(f"The best trial comes from batch {best['batch']} of {batches}.")
    took = f"the search took {spent:,} steps in all" if spent else ""
    if kind == "asha":
        full = source.about["steps"] * source.about["seeds"] * count
        took += f", {percent(spent / full)} of training every trial to its end" if spent and full else ""
        ended = sum(one["steps"] >= source.about["steps"] for one in source.trials)
        return [*found, f"{ended} of {count} trials came to the end{'; ' * bool(took)}{took}."]
    return [*found, f"{took.capitalize()}."] if took else found


def section(source: Source, metric: str) -> Html:
    """Headings and figures of a search; nothing of a sweep that is none."""
    kind = source.about.get("search")
    if is_populations(source):
        return joined(
            tag("h3", "Populations"), _populations(source), tag("h3", "Schedules"), _schedules(source)
        )
    if kind == "asha":
        return joined(tag("h3", "Who went how far"), _halving(source))
    if is_evolution(source):
        return joined(tag("h3", "Generation by generation"), _generations(source))
    if kind == "optuna":
        return joined(tag("h3", "Batch by batch"), _batches(source))
    return Html("")


# --- population based training ----------------------------------------------------------------------


def _populations(source: Source) -> Html:
    """A row for each population: its winner's returns, and what it was trained with at the end."""
    axes = source.about["axes"]
    fresh = seeds_of(source.confirms[0]) if source.confirms else {}
    rows = []
    for one in source.trials:
        line = one["ancestry"]
        changes = sum(before != after for before, after in itertools.pairwise(line))
        returns = [number(one.get("score")), number(fresh.get(one["first_seed"]))]
        settings = [value(str(one["values"].get(axis, "–"))) for axis in axes]
        rows.append([str(one["first_seed"]), *returns, *settings, f"{changes} of {len(line) - 1}"])
    caption = (
        "Best first, a row for each population’s winner: its return that chose it, that in fresh episodes, "
        "its last values, and after how many of the decisions it went on as a copy of another member."
    )
    head = ["population (seed)", "chosen as", "fresh episodes", *map(plain, axes), "changed member"]
    return joined(table(head, rows), tag("p", caption, style="note"))


def _schedules(source: Source) -> Html:
    """Each hyperparameter over the steps, a line of steps for each population's winner."""
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
        (f"population {one['first_seed']}", figures.style_of(index))
        for index, one in enumerate(source.trials[:MOST_LINES])
    ]
    others = len(source.trials) > MOST_LINES
    caption = (
        "What the winner of each population was trained with: its own values, before them those of the "
        "member whose copy it was, and so on back to the first step."
        + " The best populations have colours, the others are grey."
        * others
    )
    legend = figures.legend(labels + [("other populations", "trials")] * others)
    return markup.figure("".join(drawn), caption, legend)


def _schedule(one: dict[str, Any], axis: str, index: int) -> Line:
    """The values of a winner's line; decisions lie equally far apart."""
    values = one["path"][axis]
    edges = np.linspace(0, one["steps"], len(values) + 1)
    style = figures.style_of(index) if index < MOST_LINES else "trials"
    x, y = np.repeat(edges, 2)[1:-1].tolist(), np.repeat(values, 2).tolist()
    return Line(f"population {one['first_seed']}", style, x, y)


def _logarithmic(source: Source, axis: str, levels: list[float]) -> bool:
    searched_so = axis in (source.about.get("log_axes") or ())
    return min(levels) > 0 and (searched_so or figures.spans_decades(levels))


# --- the others -------------------------------------------------------------------------------------


def _halving(source: Source) -> Html:
    """Where each trial ended and what it was worth there, and which values came how far."""
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
        "A dot is a trial where it was stopped or came to the end, orange the best one. Scores compare "
        "between trials of one length only; below, how far each value came."
    )
    return markup.figure(joined(Html(shown), tag("div", Html("".join(drawn)), style="slices")), caption)


def _generations(source: Source) -> Html:
    """Scores of the candidates of each generation, and where these lie on each axis."""
    axes, found = source.about["axes"], source.trials
    dots = trials.dots(source, axes, found)
    turns = [one["generation"] + 1 for one in found]
    ticks = _ticks(turns)
    if len(dots) > len(found):  # the mean, which is what the last generation led to
        turns.append(max(turns) + 1)
        ticks.append((turns[-1], "mean"))
    drawn = []
    for index, name in enumerate(["IQM", *map(plain, axes)]):
        here, log = dots, False
        if index:
            levels = figures.as_numbers([one.values[index - 1] for one in dots])
            if not levels:
                continue
            here = [one._replace(score=level) for one, level in zip(dots, levels)]
            log = _logarithmic(source, axes[index - 1], levels)
        line = _median(turns, here[: len(found)])
        drawn.append(figures.course(turns, here, ticks, ("generation", name), line, log))
    caption = (
        "A dot is a candidate, the line the median of its generation; orange is the mean that the last "
        "generation led to, trained with fresh seeds."
    )
    return markup.figure("".join(drawn), caption)


def _median(turns: list[int], dots: list[Dot]) -> Line:
    """The median of each turn's known scores."""
    levels: dict[int, list[float]] = {}
    for turn, one in sorted(zip(turns, dots), key=lambda pair: pair[0]):
        if one.score is not None:
            levels.setdefault(turn, []).append(one.score)
    return Line("median", "c5", list(levels), [float(np.median(own)) for own in levels.values()])


def _batches(source: Source) -> Html:
    """Scores in the order in which Optuna asked for the trials, and the best so far."""
    found = sorted(source.trials, key=lambda one: (one["batch"], one["trial"]))
    dots = trials.dots(source, source.about["axes"], found)
    firsts = [i for i, one in enumerate(found) if not i or one["batch"] != found[i - 1]["batch"]]
    scores = [-math.inf if one.score is None else one.score for one in dots]
    best = np.maximum.accumulate(scores).repeat(2)[:-1].tolist()
    line = Line("best so far", "c0", np.arange(len(dots)).repeat(2)[1:].tolist(), best)
    places, rules = list(range(len(dots))), [first - 0.5 for first in firsts[1:]]
    drawn = figures.course(places, dots, _ticks(firsts), ("trial", "IQM"), line, rules=rules)
    caption = (
        "A dot is a trial, orange the best one; the line is the best so far, by the seeds that chose it. "
        "Upright lines part the batches: the first is spread evenly, each other follows from all before it."
    )
    return markup.figure(drawn, caption)


def _ticks(turns: list[int]) -> list[tuple[float, str]]:
    """Some of the turns, evenly."""
    every = sorted(set(turns))
    return [(turn, str(turn)) for turn in every[:: -(-len(every) // MOST_TICKS)]]
