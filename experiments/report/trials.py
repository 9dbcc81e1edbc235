"""Statistics of the trials of a sweep: importance of axes, significant differences, and selection bias."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxrl.experiments.report.compare import best_of, is_evolution, plain, seeds_of
from jaxrl.experiments.report.figures import Dot
from jaxrl.experiments.report.markup import with_interval
from jaxrl.experiments.report.scales import Value, as_numbers, value
from jaxrl.experiments.report.schema import Source
from jaxrl.statistics import (
    Estimate,
    across_tasks,
    bins_of,
    difference,
    main_effect,
    rank_correlation,
)


class Importance(NamedTuple):
    """The fraction of the score's variance that an axis explains alone, and its rank correlation."""

    axis: str
    share: Estimate
    correlation: Estimate


def comparable(source: Source) -> list[dict[str, Any]]:
    """The trials that were trained longest; others were stopped early and are not comparable."""
    longest = max(one["steps"] for one in source.trials)
    return [one for one in source.trials if one["steps"] == longest]


def filled_scores(trials: list[dict[str, Any]]) -> np.ndarray:
    """Scores; a trial without one gets the worst observed score."""
    known = [one["score"] for one in trials if one.get("score") is not None]
    worst = min(known, default=math.nan)
    return np.array([worst if one.get("score") is None else one["score"] for one in trials])


def axis_values(trials: list[dict[str, Any]], axis: str) -> list[Value]:
    return [one["values"].get(axis, "") for one in trials]


def importance(source: Source) -> list[Importance]:
    """Every axis that varies, the most important first; empty if the importance is unknown.

    It is unknown for an evolution strategy, which draws candidates around its mean along all axes together.
    """
    if is_evolution(source):
        return []
    trials = comparable(source)
    scores = filled_scores(trials)
    if np.isnan(scores).any():
        return []
    importances = []
    for axis in source.about["axes"]:
        values = axis_values(trials, axis)
        numbers = as_numbers(values)
        share = main_effect(numbers or values, scores)
        unknown = Estimate(math.nan, math.nan, math.nan)
        if not math.isnan(share.value):
            importances.append(
                Importance(axis, share, rank_correlation(numbers, scores) if numbers else unknown)
            )
    return sorted(importances, key=lambda one: -one.share.value)


def noise_share(source: Source) -> float:
    """The approximate fraction of the score's variance due to seeds: the mean variance of a trial's mean.

    The variance of an interquartile mean is close to that of the mean; nan if trials have single seeds.
    """
    trials = [one for one in comparable(source) if one.get("score") is not None]
    scores = filled_scores(comparable(source))
    spreads = [list(seeds_of(one).values()) for one in trials]
    spreads = [np.var(values, ddof=1) / len(values) for values in spreads if len(values) > 1]
    if not spreads or not scores.size or not scores.var() > 0:
        return math.nan
    return float(min(1.0, np.mean(spreads) / scores.var()))


def bin_means(values: list[Value], trials: list[dict[str, Any]]) -> list[tuple[list[int], float]]:
    """For each bin of an axis, as in `importance`, its trials and the mean of their scores."""
    scores = filled_scores(trials)
    if np.isnan(scores).any():
        return []
    members = bins_of(as_numbers(values) or values)
    return [(np.flatnonzero(column).tolist(), float(scores[column > 0].mean())) for column in members.T]


def behind(source: Source) -> list[Estimate | None]:
    """The difference between the first trial and each trial, over shared seeds; None if there are none.

    Also None if a trial was stopped early, and for an evolution strategy, whose generations have different
    seeds.
    """
    best, alike = source.trials[0], not is_evolution(source)
    first = seeds_of(best)
    differences: list[Estimate | None] = [None]
    for one in source.trials[1:]:
        its_seeds = seeds_of(one)
        shared = sorted(first.keys() & its_seeds.keys()) if alike and one["steps"] == best["steps"] else []
        if one.get("score") is None or len(shared) < 2:
            differences.append(None)
            continue
        x, y = ([side[seed] for seed in shared] for side in (first, its_seeds))
        differences.append(difference([x], [y], paired=True))
    return differences


def winners_curse(source: Source) -> Estimate | None:
    """The best trial's score with the seeds that selected it minus that with fresh seeds; None without any.

    The seeds differ, so both sides are resampled independently; the selection bias affects the estimate
    itself, not its interval.
    """
    # A mean is not a trial, and members were selected by another measure than in their evaluation.
    if not source.confirms or source.confirms[0]["confirms"] in (None, "members"):
        return None
    again = source.confirms[0]
    chosen = next((one for one in source.trials if one.get("trial") == again["confirms"]), source.trials[0])
    before, after = (list(seeds_of(one).values()) for one in (chosen, again))
    if not before or not after:
        return None
    return difference([before], [after], paired=False)


def score(trial: dict[str, Any]) -> Estimate:
    """The IQM over a trial's seeds, including diverged ones; nan if it has no score."""
    values = list(seeds_of(trial).values())
    if trial.get("score") is None or not values:
        return Estimate(math.nan, math.nan, math.nan)
    return across_tasks([values])


def name_of(trial: dict[str, Any]) -> str:
    """A trial's number; for a confirmation with fresh seeds, that of the original trial."""
    if "confirms" not in trial:
        return str(trial.get("trial", "–"))
    return f"{'mean' if trial['confirms'] is None else trial['confirms']}, fresh"


def dots(source: Source, axes: list[str], shown: list[dict[str, Any]]) -> list[Dot]:
    """Trials as dots, the best one marked; for an evolution strategy that is its mean, which comes last."""
    best = best_of(source)[0]
    number_of_best = best.get("confirms", best.get("trial"))
    made = []
    for one in shown + [best] * (number_of_best is None and "confirms" in best):
        settings = ", ".join(f"{plain(axis)} {value(one['values'].get(axis, ''))}" for axis in axes)
        words = f"trial {name_of(one)}: {with_interval(score(one))}; {settings}"
        style = "best" if one is best or one.get("trial", math.nan) == number_of_best else ""
        values = tuple(one["values"].get(axis, "") for axis in axes)
        made.append(Dot(values, one.get("score"), words, style))
    return made
