"""The section of a page that compares methods."""

import math

import numpy as np

from jaxrl.experiments.diverged import unknown
from jaxrl.experiments.plot import format_steps
from jaxrl.experiments.report import compare, figures, markup, svg
from jaxrl.experiments.report.compare import Entry, Pair
from jaxrl.experiments.report.curves import MOST_FADED, curve_line, faded_line
from jaxrl.experiments.report.markup import (
    Html,
    ends,
    joined,
    listed,
    long_table,
    several,
    table,
    tag,
    with_interval,
)
from jaxrl.experiments.report.scales import number
from jaxrl.statistics import performance_profile

NUM_THRESHOLDS = 101
MOST_NAMES = 4  # of methods in a sentence
MOST_LINES = 12  # methods with a colour in a figure, the best ones; of the others curves are grey


def scale_of(entries: list[Entry], given: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Ranges by environment; returns of a single environment without a given range are not normalized."""
    scale, places = compare.ranges(entries, given), compare.environments(entries)
    return scale if len(places) > 1 or given else dict.fromkeys(places, (0.0, 1.0))


def decision(entries: list[Entry], scale, pairs: list[Pair]) -> str:
    """The best method, and which differences to it are significant, in one sentence."""
    ranked = compare.aggregates(entries, scale)
    places = compare.shared_environments(entries, scale)
    methods = list(dict.fromkeys(one.method for one in entries))
    if not entries:
        return "No run has a score: no episode ended, or all agents diverged."
    if unknown([one.trial for one in entries]):
        return "No method has a score: at least half of the agents of each diverged (listed below)."
    if len(methods) == 1:
        return f"{methods[0]} in {several(len(entries), 'environment')}: see the returns below."
    if not ranked and (without := _without(entries, scale)):
        return (
            f"There are no reference returns for {listed(without)}, so methods cannot be ranked overall: "
            f"give --range '{without[0]}=LOW:HIGH'."
        )
    if not ranked:
        return "No environment was used with all methods, so methods cannot be ranked overall."
    first, (iqm, _) = next(iter(ranked.items()))
    where, what = f"{len(places)} environments", "normalised IQM"
    if len(places) == 1:
        several_places = len(compare.environments(entries)) > 1
        where, what = places[0] + ", the only environment shared by all methods" * several_places, "IQM"
        iqm = compare.aggregates(entries, dict.fromkeys(scale, (0.0, 1.0)))[first][0]
    with_first = [pair for pair in pairs if first in (pair.first, pair.second)]
    beaten = [
        _other(pair, first) for pair in with_first if pair.significant and pair.probability.value != 0.5
    ]
    alike = [_other(pair, first) for pair in with_first if _other(pair, first) not in beaten]
    verdict = [f"better than {_some(beaten)}"] if beaten else []
    verdict += [f"not significantly different from {_some(alike)} with these seeds"] if alike else []
    if others := len(methods) - 1 - len(with_first):
        verdict.append(f"not compared with the {several(others, 'method')} below these")
    lost = sum(one.lost for one in entries if one.method == first)
    if lost:
        verdict.append(f"{several(lost, 'agent')} diverged or without a return, counted as the worst")
    return f"Best in {where}: {first} – {what} {with_interval(iqm)}; {', '.join(verdict)}."


def _some(names: list[str]) -> str:
    """The first names, and how many others there are."""
    if len(names) <= MOST_NAMES:
        return listed(names)
    return listed([*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} others"])


def _without(entries: list[Entry], scale) -> list[str]:
    """Environments without a range."""
    return [place for place in compare.environments(entries) if place not in scale]


def _raw(scale) -> bool:
    return set(scale.values()) == {(0.0, 1.0)}


def _other(pair: Pair, name: str) -> str:
    return pair.second if pair.first == name else pair.first


def section(entries: list[Entry], scale, pairs: list[Pair]) -> Html:
    """Returns by method and environment, curves, profiles, and pairs of methods."""
    methods = list(compare.aggregates(entries, scale)) or list(dict.fromkeys(one.method for one in entries))
    styles = {name: svg.style_of(index) for index, name in enumerate(methods)}
    parts = [tag("h2", "Side by side"), _returns(entries, styles), _notes(entries, scale)]
    if len(methods) > 1:
        parts += [_aggregates(entries, scale, styles), _pairs(pairs, scale)]
    for place in compare.environments(entries):
        parts.append(_curves(entries, place, styles))
    if len(methods) > 1:
        parts.append(_profiles(entries, scale, styles))
    return tag("section", *parts)


def _returns(entries: list[Entry], styles: dict[str, str]) -> Html:
    """A row for each method and environment, on the scale of the environment."""
    rows = []
    order, several_places = list(styles), len(compare.environments(entries)) > 1
    for place in dict.fromkeys(one.environment for one in entries):
        here = [one for one in entries if one.environment == place]
        here.sort(key=lambda one: order.index(one.method))
        estimates = [compare.estimate([list(one.returns.values())]) for one in here]
        known = [x for estimate in estimates for x in estimate if math.isfinite(x)]
        for one, estimate in zip(here, estimates):
            plotted = Html(figures.interval(estimate, min(known), max(known), styles[one.method]))
            lost = f" ({one.lost} as the worst)" if one.lost else ""
            seeds, steps = f"{len(one.returns)}{'*' * one.chosen}{lost}", f"{one.trial['steps']:,}"
            cells = [one.method, seeds, steps, number(estimate.value), ends(estimate), plotted]
            rows.append([place, *cells] if several_places else cells)
    caption = (
        "IQM of the final returns over seeds; the line is its 95 % bootstrap interval, with a separate scale "
        "for each environment."
    )
    if any(one.lost for one in entries):
        caption += " Seeds that diverged, or have no return, count as the worst that any seed here reached."
    if any(one.chosen for one in entries):
        caption += " * These seeds selected the best of several trials, so its score is biased upwards."
    head = ["environment"] * several_places + ["method", "seeds", "steps", "IQM", "95 %", ""]
    return joined(long_table(head, rows, words=1 + several_places), tag("p", caption, style="note"))


def _notes(entries: list[Entry], scale) -> Html:
    """Notes on limits of comparability, and on the normalization."""
    notes = []
    for place in compare.environments(entries):
        here = [one for one in entries if one.environment == place]
        if len({one.metric for one in here}) > 1:
            notes.append(
                f"{place}: evaluation and training returns are mixed, which are not directly comparable."
            )
        if len({one.trial["steps"] for one in here}) > 1:
            notes.append(f"{place}: the methods were trained for different numbers of steps.")
        if len({one.trial["steps"] for one in here}) == 1 < len({len(one.returns) for one in here}):
            notes.append(f"{place}: the methods have different numbers of seeds.")
    if scale and not _raw(scale):
        spans = "; ".join(f"{place} {number(low)} to {number(high)}" for place, (low, high) in scale.items())
        notes.append(
            f"Normalised returns are 0 and 1 at the ends of these ranges: {spans}. Unless given by --range "
            "they are the returns of a random policy and of PPO with its preset, for all comparisons."
        )
    if without := _without(entries, scale):
        notes.append(
            f"Without reference returns, and therefore excluded from aggregates: {listed(without)}. Give "
            "--range ENV=LOW:HIGH to include them."
        )
    return tag("ul", *(tag("li", one) for one in notes), style="findings") if notes else Html("")


def _curves(entries: list[Entry], place: str, styles: dict[str, str]) -> Html:
    here = [one for one in entries if one.environment == place]
    here.sort(key=lambda one: list(styles).index(one.method))
    first, rest = here[:MOST_LINES], here[MOST_LINES : MOST_LINES + MOST_FADED]
    made = [curve_line(one.trial, one.method, styles[one.method], thin=len(here) == 1) for one in first]
    drawn = [line for line in made if line]
    if not drawn:
        return Html("")
    caption = "IQM over seeds; the bands are pointwise 95 % bootstrap intervals."
    behind = [line for one in rest if (line := faded_line(one.trial, one.method))]
    if behind:
        caption += f" The best {len(first)} have colours; grey lines are {len(behind)} others."
    legend = svg.legend([(line.label, line.style) for line in drawn]) if len(styles) > 1 else ""
    label = f"{here[0].metric or 'final'} return"
    described = f"learning curves in {place}"
    shown = figures.lines(drawn, "environment steps", label, format_steps, described, behind)
    return joined(tag("h3", f"Learning curves: {place}"), markup.figure(shown, caption, legend))


def _aggregates(entries: list[Entry], scale, styles: dict[str, str]) -> Html:
    """IQM and median over environments; empty for a single environment, which is already shown."""
    ranked = compare.aggregates(entries, scale)
    places = compare.shared_environments(entries, scale)
    if len(places) < 2:
        return Html("")
    known = [x for both in ranked.values() for estimate in both for x in estimate if math.isfinite(x)]
    rows = []
    for name, (iqm, median) in ranked.items():
        plotted = Html(figures.interval(iqm, min(known), max(known), styles[name]))
        rows.append([name, number(iqm.value), ends(iqm), plotted, number(median.value), ends(median)])
    span = tag("div", tag("span", number(min(known))), tag("span", number(max(known))), style="range")
    caption = (
        f"Normalised returns of all seeds over {listed(places)}, environments weighted equally; the "
        "intervals resample seeds within each environment (stratified bootstrap)."
    )
    head = ["method", "IQM", "95 %", span, "median", "95 %"]
    shown = joined(table(head, rows), tag("p", caption, style="note"))
    return joined(tag("h3", "Over all environments"), shown)


def _profiles(entries: list[Entry], scale, styles: dict[str, str]) -> Html:
    """The share of runs above each return."""
    places = compare.shared_environments(entries, scale)
    tasks = {
        name: [
            compare.normalised(one, scale)
            for one in entries
            if one.method == name and one.environment in places
        ]
        for name in list(styles)[:MOST_LINES]
    }
    if not places or any(len(values) < 2 for some in tasks.values() for values in some):
        return Html("")
    every = np.concatenate([values for some in tasks.values() for values in some])
    if np.ptp(every) == 0:
        return Html("")
    thresholds = np.linspace(every.min(), every.max(), NUM_THRESHOLDS)
    drawn = []
    for name, some in tasks.items():
        profile = performance_profile(some, thresholds)
        parts = [np.asarray(part).tolist() for part in (thresholds, *profile)]
        drawn.append(figures.Line(name, styles[name], *parts))
    label = "final return" if _raw(scale) else "normalised final return"
    shown = figures.lines(drawn, label, "share of seeds above", number, "performance profiles")
    caption = (
        "The share of seeds that end above each return: a method whose line is higher everywhere is better "
        "everywhere; where lines cross, neither is. Bands are pointwise 95 % intervals."
    )
    legend = svg.legend([(line.label, line.style) for line in drawn])
    return joined(tag("h3", "Performance profiles"), markup.figure(shown, caption, legend))


def _pairs(pairs: list[Pair], scale) -> Html:
    """Pairwise comparisons: probability of improvement, difference, and significance."""
    if not pairs:
        return Html("")
    rows = []
    for pair in pairs:
        plotted = Html(figures.interval(pair.probability, 0.0, 1.0, mark=0.5))
        by = f"{number(pair.difference.value)} ({ends(pair.difference)})"
        verdict = "significant" if pair.significant else "not significant"
        many = f"{len(pair.environments)} × " if len(pair.environments) > 1 else ""
        seeds = f"{many}{pair.seeds}, {'paired' if pair.paired else 'not paired'}"
        methods = f"{pair.first} over {pair.second}"
        won = f"{pair.probability.value:.2f}"
        rows.append([methods, seeds, won, plotted, by, _p(pair.p), verdict])
    span = tag("div", tag("span", "0"), tag("span", "1"), style="range")
    head = ["first over second", "seeds", "P(first better)", span]
    head += ["IQM, difference" if _raw(scale) else "normalised IQM, difference", "p (Holm)", ""]
    caption = (
        "The probability that a seed of the first beats one of the second, with its 95 % interval; the line "
        "in the middle is 0.5. Methods with the same seeds are compared in pairs (paired bootstrap, "
        "Wilcoxon’s signed-rank test), others as independent samples (not paired, permutation test). "
        f"Significant means that p, corrected by Holm for {several(len(pairs), 'comparison')}, is below "
        f"{compare.ALPHA}."
    )
    blind = [pair for pair in pairs if pair.least_p >= compare.ALPHA]
    if blind:
        caption += (
            f" With so few seeds p can be no less than {_p(max(pair.least_p for pair in blind))}, whatever "
            "the returns are: train more seeds."
        )
    shown = joined(long_table(head, rows), tag("p", caption, style="note"))
    return joined(tag("h3", "Which is better"), shown)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
