"""The title of a run or a sweep, its result in one sentence, and what else matters about it."""

from jaxrl.experiments.report import searches, trials
from jaxrl.experiments.report.compare import (
    best_of,
    environment,
    is_populations,
    is_sweep,
    plain,
    search_of,
    seeds_of,
)
from jaxrl.experiments.report.markup import ends, less, percent, several, with_interval
from jaxrl.experiments.report.scales import number, value
from jaxrl.experiments.report.schema import Source
from jaxrl.statistics import Estimate


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
    if is_unfinished(source):
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
        more = curse.value >= 0
        amount = curse if more else Estimate(-curse.value, -curse.high, -curse.low)
        reach = f" (95 % {ends(amount)})" if amount.known else ""
        sentences.append(
            f"Winner’s curse: as the best of {len(source.trials)} trials it scored {number(amount.value)}"
            f"{reach} {'more' if more else 'less'} than with fresh seeds."
        )
    matters = trials.importance(source)
    if matters:
        first = matters[0]
        sentences.append(
            f"{plain(first.axis).capitalize()} explains {percent(first.share.value)} of the variance of the "
            f"score on its own (95 % {percent(first.share.low)} to {percent(first.share.high)})."
        )
    return sentences


def is_unfinished(source: Source) -> bool:
    """Whether it is an unfinished run."""
    return len(source.trials) == 1 and source.trials[0]["steps"] < source.about["steps"]
