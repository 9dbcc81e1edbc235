"""The section of a page about one run or one sweep."""

import datetime
import math
import shlex
from typing import Any

import numpy as np

from jaxrl.experiments import diverged
from jaxrl.experiments.plot import format_steps, summary
from jaxrl.experiments.report import figures, markup, searches, trials
from jaxrl.experiments.report.compare import (
    best_of,
    environment,
    is_evolution,
    is_populations,
    is_sweep,
    plain,
    search_of,
    seeds_of,
)
from jaxrl.experiments.report.data import Source
from jaxrl.experiments.report.figures import number, value
from jaxrl.experiments.report.markup import (
    Html,
    ends,
    joined,
    less,
    listed,
    percent,
    several,
    table,
    tag,
    with_interval,
)
from jaxrl.statistics import MIN_TRIALS, iqm

FIRST_ROWS = 10  # of a table of trials; the others can be expanded
MOST_FADED = 300  # lines of other trials in a figure of curves


def title(source: Source) -> str:
    about = source.about
    with_objective = f" ({about['objective']})" if about.get("objective") not in (None, "", "ppo") else ""
    name = f"{about['algorithm']}{with_objective} on {environment(source)}"
    return f"{name}: {search_of(source)}" if is_sweep(source) else name


def decision(source: Source) -> str:
    """The result in one sentence."""
    trial, chosen = best_of(source)
    if trial.get("score") is None:
        return "No score: no episode ended, or at least half of the agents of every trial diverged."
    if headline := searches.headline(source):
        return headline
    seeds = len(seeds_of(trial))
    score = f"IQM {with_interval(trials.score(trial))}"
    if len(source.trials) == 1 and not source.confirms:
        return f"{score} over {several(seeds, 'seed')} after {trial['steps']:,} steps."
    what = ", ".join(f"{plain(axis)} {value(text)}" for axis, text in trial["values"].items())
    if chosen:
        return (
            f"Best of {len(source.trials)}: {what} – {score} over the {several(seeds, 'seed')} that selected "
            "it. It was not trained again with fresh seeds, so this score is biased upwards."
        )
    curse = trials.winners_curse(source)
    first = next((one for one in source.trials if one.get("trial") == trial["confirms"]), source.trials[0])
    return (
        f"Best: {what} – {score} over {several(seeds, 'fresh seed')}; "
        f"selected with a score of {number(first['score'])}, "
        f"so {less(curse.value) if curse else 'nothing to compare it with'}."
    )


def findings(source: Source) -> list[str]:
    """Further facts that matter when using the result."""
    sentences = []
    if len(source.trials) > 1 and not is_populations(source):
        sentences += _about_the_sweep(source)
    sentences += searches.findings(source)
    asked = source.about["steps"]
    if short(source):
        sentences.append(f"It is not finished: {source.trials[0]['steps']:,} of {asked:,} steps.")
    lost = sum(len(one["died"]) for one in [*source.trials, *source.confirms])
    if lost:
        counts = "count as the worst agent shown"
        sentences.append(f"{several(lost, 'agent')} diverged (listed below): in the scores they {counts}.")
    return sentences


def _about_the_sweep(source: Source) -> list[str]:
    sentences = []
    alike = sum(one is not None and one.low <= 0 for one in trials.behind(source))
    if alike:
        seeds, others = source.about["seeds"], len(trials.comparable(source)) - 1
        early = others < len(source.trials) - 1
        sentences.append(
            f"{alike} of the other {others} trials{' trained to the end' * early} did not differ "
            f"significantly from the first with their {several(seeds, 'seed')}"
            + (", which are few." if seeds < 6 else ".")
        )
    if curse := trials.winners_curse(source):
        reach = f" (95 % {ends(curse)})" if curse.known else ""
        sentences.append(
            f"Winner’s curse: as the best of {len(source.trials)} trials it scored {number(curse.value)}"
            f"{reach} more than with fresh seeds."
        )
    matters = trials.importance(source)
    if matters:
        first = matters[0]
        sentences.append(
            f"{plain(first.axis).capitalize()} explains {percent(first.share.value)} of the variance of the "
            f"score on its own (95 % {percent(first.share.low)} to {percent(first.share.high)})."
        )
    return sentences


def facts(source: Source) -> Html:
    """Settings, versions, and the command that reproduces the run."""
    about = source.about
    device, versions = about.get("device") or {}, about.get("versions") or {}
    pairs = [
        ("algorithm", about["algorithm"]),
        ("environment", environment(source)),
        ("objective", about.get("objective") or None),
        ("search", about.get("search")),
        ("tried", search_of(source) if is_sweep(source) else None),
        ("seeds", f"{about['seeds']}, from {about['seed']}"),
        ("steps per seed", f"{about['steps']:,}"),
        ("total steps", f"{about['spent']:,}" if about.get("spent") else None),
        ("measured by", f"{about['metric']} return" if about.get("metric") else None),
        ("device", _device(device)),
        ("trained for", _duration(about.get("wall_seconds"))),
        ("started", _date(about.get("started"))),
        ("commit", (about.get("git_commit") or "")[:12]),
        ("versions", ", ".join(f"{name} {versions[name]}" for name in ("jaxrl", "jax") if name in versions)),
    ]
    terms = [tag("div", tag("dt", name), tag("dd", str(what))) for name, what in pairs if what]
    return joined(tag("dl", *terms), tag("pre", _command(about["command"])))


def _command(words: list[str]) -> Html:
    """A command that wraps between options, not within them."""
    parts: list[list[str]] = [[]]
    for word in map(str, words):
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    return tag("code", Html(" ".join(tag("span", shlex.join(part)) for part in parts)))


def _device(device: dict[str, Any]) -> str:
    kind, count = device.get("kind"), device.get("count")
    return f"{count} × {kind}" if kind and isinstance(count, int) and count > 1 else str(kind or "")


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s" if seconds < 120 else f"{minutes // 60} h {minutes % 60} min".removeprefix("0 h ")
    )


def _date(text: str | None) -> str:
    try:
        return datetime.datetime.fromisoformat(text or "").strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return ""


# --- curves ---------------------------------------------------------------------------------------


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
    shown = [curve_line(first, f"trial {first.get('trial')}, the seeds that selected it", "c0")]
    if not chosen:
        shown.append(curve_line(best, f"trial {best['confirms']} with fresh seeds", "c1"))
    if not shown[0]:  # trials of a search inside the program share lanes and have no curves
        again = [] if chosen else [curve_line(best, "", "c1", thin=True)]
        return _curve_figure(again, CURVES_OF_A_SEARCH, label, named=False)
    others = [one for one in source.trials if one is not first and one.get("curve")][:MOST_FADED]
    if others:
        faded = [figures.Line("", "trials", one["curve"]["timesteps"], _iqm_curve(one)) for one in others]
        shown = [figures.Line("other trials", "trials", shown[0].x, (), (), ()), *shown]
        return _curve_figure(shown, CURVES_OF_A_SWEEP, label, behind=faded)
    return _curve_figure(shown, CURVES_OF_A_SWEEP, label)


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
    legend = figures.legend([(line.label, line.style) for line in shown]) if named else ""
    return markup.figure(drawn, caption, legend)


# --- trials ---------------------------------------------------------------------------------------


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
    turn = "generation" if is_evolution(source) else "batch" * (source.about.get("search") == "optuna")
    head = ["trial", "IQM", "95 %", span, *map(plain, axes), *["steps"] * lengths, *[turn] * bool(turn)]
    head += ["behind the first"] * has_losses
    rows = []
    for one, score, loss in zip(listed, scores, losses):
        fresh = "confirms" in one
        plotted = Html(figures.interval(score, low, high, "c1" if fresh else "c0"))
        apart = "–" if loss is None else f"{number(loss.value, 3)} ({ends(loss, 3)})"
        settings = [value(str(one["values"].get(axis, "–"))) for axis in axes]
        settings += [f"{one['steps']:,}"] * lengths
        if turn:
            settings.append("–" if fresh else str(one[turn] + (turn == "generation")))
        settings += [apart] * has_losses
        rows.append([trials.name_of(one), number(score.value), ends(score), plotted, *settings])
    marked = range(len(source.confirms))
    first = FIRST_ROWS + len(source.confirms)
    shown = table(head, rows[:first], marked=marked)
    if rows[first:]:
        summary = tag("summary", f"the other {several(len(rows) - first, 'trial')}")
        shown = joined(shown, tag("details", summary, table(head, rows[first:])))
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
    if source.about.get("search") == "optuna":
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


def _numbered(trial: dict[str, Any]) -> list[tuple[int, float | None]]:
    return list(enumerate(trial["per_seed"], trial["first_seed"]))


def seed_table(trial: dict[str, Any]) -> Html:
    numbered = _numbered(trial)
    returns = [number(x) + "†" * (str(seed) in trial["died"]) for seed, x in numbered]
    return table(["seed", *(str(seed) for seed, _ in numbered)], [["return", *returns]])


def diverged_rows(source: Source) -> list[list[str]]:
    """For each trial with diverged agents: its name, and the step of each of these agents."""
    rows = []
    for one in [*source.trials, *source.confirms]:
        if one["died"]:
            rows.append(
                [
                    trials.name_of(one),
                    listed([f"{seed} (by step {step:,})" for seed, step in one["died"].items()]),
                ]
            )
    return rows


def _diverged(head: list[str], rows: list[list[str]]) -> Html:
    caption = "An agent has diverged when its parameters, losses or gradients are no longer finite numbers."
    return joined(tag("p", caption, style="note"), table(head, rows, words=2))


def short(source: Source) -> bool:
    """Whether it is an unfinished run."""
    return len(source.trials) == 1 and source.trials[0]["steps"] < source.about["steps"]


def section(source: Source, heading: str, alone: bool) -> Html:
    """Everything that a page shows of one source.

    Args:
      alone: the page has no other source, and already shows its headline at the top.
    """
    metric = f"{source.about.get('metric') or 'final'} return"
    parts = [tag("h2", heading)]
    if not alone:
        also = findings(source)
        parts.append(tag("p", decision(source)))
        parts += [tag("ul", *(tag("li", one) for one in also), style="findings")] * bool(also)
    parts.append(facts(source))
    if is_populations(source):
        return tag("section", *parts, searches.section(source, metric))
    many = len(source.trials) > 1
    if many:
        parts += [tag("h3", "Trials"), trial_table(source), searches.section(source, metric)]
    if drawn := curves(source, metric):
        parts += [tag("h3", "Learning curves"), drawn]
    if many:
        parts += [tag("h3", "What matters"), importance_table(source)]
        # With few complete trials, the figures would show the choices of the search, not effects of the axes.
        if len(trials.comparable(source)) >= min(MIN_TRIALS, len(source.trials)):
            parts += [slices(source), parallel(source)]
    for one in [*source.confirms, *(() if many else source.trials)]:
        fresh = ", with fresh seeds" if "confirms" in one else ""
        parts += [tag("h3", f"Seed by seed{fresh}"), seed_table(one)]
    if rows := diverged_rows(source):
        parts += [tag("h3", "Diverged agents"), _diverged(["trial", "seeds"], rows)]
    return tag("section", *parts)


def runs(sources: list[Source]) -> Html:
    """The settings of all sources of a page, and the returns of each seed of its runs."""
    rows, commands, returns, lost = [], [], [], []
    for source in sources:
        about, one = source.about, source.trials[0]
        device, versions = about.get("device") or {}, about.get("versions") or {}
        settings = [environment(source), str(about["seeds"]), f"{about['steps']:,}"]
        origin = [_device(device), (about.get("git_commit") or "–")[:12], versions.get("jax", "–")]
        rows.append([about["name"], *settings, *origin, _date(about.get("started")) or "–"])
        commands.append(_command(about["command"]))
        if not is_sweep(source):
            marks = [number(x) + "†" * (str(seed) in one["died"]) for seed, x in _numbered(one)]
            returns.append([about["name"], str(one["first_seed"]), ", ".join(marks)])
            lost += [[about["name"], *row[1:]] for row in diverged_rows(source)]
    head = ["name", "environment", "seeds", "steps", "device", "commit", "jax", "started"]
    parts = [tag("h2", "What was run"), table(head, rows, words=2)]
    parts.append(tag("pre", joined(*dict.fromkeys(commands))))
    unfinished = [source.about["name"] for source in sources if short(source)]
    if unfinished:
        parts.append(tag("p", f"Not finished: {listed(unfinished)}.", style="note"))
    if returns:
        parts += [tag("h3", "Seed by seed"), table(["name", "from seed", "final returns"], returns)]
    if lost:
        parts += [tag("h3", "Diverged agents"), _diverged(["name", "seeds"], lost)]
    return tag("section", *parts)
