"""What the trials of a sweep say: what matters, what cannot be told apart, and what chance chose."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxrl.experiments.report.compare import best_of, is_evolution, plain, seeds_of
from jaxrl.experiments.report.data import Source
from jaxrl.experiments.report.figures import Dot, as_numbers, value
from jaxrl.experiments.report.markup import told
from jaxrl.experiments.statistics import (
    Estimate,
    across_tasks,
    bins_of,
    difference,
    main_effect,
    rank_correlation,
)


class Importance(NamedTuple):
    """What an axis explains of the score's variance by itself, and whether more of it is better."""

    axis: str
    share: Estimate
    correlation: Estimate


def comparable(source: Source) -> list[dict[str, Any]]:
    """The trials that were trained longest: the scores of others, stopped early, are of other lengths."""
    longest = max(one["steps"] for one in source.trials)
    return [one for one in source.trials if one["steps"] == longest]


def filled_scores(trials: list[dict[str, Any]]) -> np.ndarray:
    """Scores; a trial without one has the worst that was seen."""
    known = [one["score"] for one in trials if one.get("score") is not None]
    worst = min(known, default=math.nan)
    return np.array([worst if one.get("score") is None else one["score"] for one in trials])


def axis_values(trials: list[dict[str, Any]], axis: str) -> list[str]:
    return [str(one["values"].get(axis, "")) for one in trials]


def importance(source: Source) -> list[Importance]:
    """Every axis that varies, the most important first; none where nothing can be told.

    An evolution strategy draws its candidates around its mean, all axes together, so nothing can be told.
    """
    if is_evolution(source):
        return []
    trials = comparable(source)
    scores = filled_scores(trials)
    if np.isnan(scores).any():
        return []
    found = []
    for axis in source.about["axes"]:
        values = axis_values(trials, axis)
        numbers = as_numbers(values)
        share = main_effect(numbers or values, scores)
        unknown = Estimate(math.nan, math.nan, math.nan)
        if not math.isnan(share.value):
            found.append(Importance(axis, share, rank_correlation(numbers, scores) if numbers else unknown))
    return sorted(found, key=lambda one: -one.share.value)


def noise_share(source: Source) -> float:
    """About how much of the score's variance is chance between seeds: the mean variance of a trial's mean.

    The variance of an interquartile mean is near that of the mean; nan where trials have single seeds.
    """
    trials = [one for one in comparable(source) if one.get("score") is not None]
    scores = filled_scores(comparable(source))
    spreads = [list(seeds_of(one).values()) for one in trials]
    spreads = [np.var(values, ddof=1) / len(values) for values in spreads if len(values) > 1]
    if not spreads or not scores.size or not scores.var() > 0:
        return math.nan
    return float(min(1.0, np.mean(spreads) / scores.var()))


def bin_means(values: list[str], trials: list[dict[str, Any]]) -> list[tuple[list[int], float]]:
    """For each bin of an axis, those that `importance` compares, its trials and the mean of their scores."""
    scores = filled_scores(trials)
    if np.isnan(scores).any():
        return []
    members = bins_of(as_numbers(values) or values)
    return [(np.flatnonzero(column).tolist(), float(scores[column > 0].mean())) for column in members.T]


def behind(source: Source) -> list[Estimate | None]:
    """By how much each trial is behind the first, over the seeds of both; None where there are none.

    Nor is there an answer where a trial was stopped early, and of an evolution strategy, in each generation
    of which the seeds are others.
    """
    best, alike = source.trials[0], not is_evolution(source)
    first = seeds_of(best)
    found: list[Estimate | None] = [None]
    for one in source.trials[1:]:
        own = seeds_of(one)
        shared = sorted(first.keys() & own.keys()) if alike and one["steps"] == best["steps"] else []
        if one.get("score") is None or len(shared) < 2:
            found.append(None)
            continue
        x, y = ([side[seed] for seed in shared] for side in (first, own))
        found.append(difference([x], [y], paired=True))
    return found


def winners_curse(source: Source) -> Estimate | None:
    """By how much the best trial's score as chosen exceeds that with fresh seeds; None without any.

    The seeds differ, so both sides are drawn independently; that chance helped to choose the trial shows in
    the number itself, not in its interval.
    """
    # A mean was no trial, and members were chosen by another measure than they were judged by again.
    if not source.confirms or source.confirms[0]["confirms"] in (None, "members"):
        return None
    again = source.confirms[0]
    chosen = next((one for one in source.trials if one.get("trial") == again["confirms"]), source.trials[0])
    before, after = (list(seeds_of(one).values()) for one in (chosen, again))
    if not before or not after:
        return None
    return difference([before], [after], paired=False)


def score(trial: dict[str, Any]) -> Estimate:
    """The IQM over a trial's seeds, with those that diverged; nan where it has no score."""
    values = list(seeds_of(trial).values())
    if trial.get("score") is None or not values:
        return Estimate(math.nan, math.nan, math.nan)
    return across_tasks([values])


def name_of(trial: dict[str, Any]) -> str:
    """A trial's number; of one trained again with fresh seeds, which it was."""
    if "confirms" not in trial:
        return str(trial.get("trial", "–"))
    return f"{'mean' if trial['confirms'] is None else trial['confirms']}, fresh"


def dots(source: Source, axes: list[str], found: list[dict[str, Any]]) -> list[Dot]:
    """Trials as dots, the best one marked; of an evolution strategy that is its mean, which comes last."""
    best = best_of(source)[0]
    number_of_best = best.get("confirms", best.get("trial"))
    made = []
    for one in found + [best] * (number_of_best is None and "confirms" in best):
        settings = ", ".join(f"{plain(axis)} {value(str(one['values'].get(axis, '')))}" for axis in axes)
        words = f"trial {name_of(one)}: {told(score(one))}; {settings}"
        style = "best" if one is best or one.get("trial", math.nan) == number_of_best else ""
        values = tuple(str(one["values"].get(axis, "")) for axis in axes)
        made.append(Dot(values, one.get("score"), words, style))
    return made
