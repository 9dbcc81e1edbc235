"""The page: the result first, then all details, in one self-contained file."""

from html import escape

from jaxrl.experiments.report import compare, headline, sections, versus
from jaxrl.experiments.report.compare import environment, is_evolution, is_populations, is_sweep, method
from jaxrl.experiments.report.markup import Html, several, tag
from jaxrl.experiments.report.schema import Source, kind_of
from jaxrl.experiments.report.script import SCRIPT
from jaxrl.experiments.report.style import STYLE
from jaxrl.statistics import RESAMPLES


def build(sources: list[Source], ranges: dict[str, tuple[float, float]]) -> tuple[str, str]:
    """The page of the sources as HTML, and the sentence at its top.

    Args:
      ranges: for each environment the returns that are normalized to 0 and 1 for aggregates, instead of the
        references.

    Raises:
      ValueError: a range is given for an environment that does not occur.
    """
    sources = list(map(compare.scored, sources))
    entries = compare.entries(sources)
    scale = versus.scale_of(entries, ranges)
    alone = len(sources) == 1
    if alone:
        (source,) = sources
        heading, sentence, also = headline.title(source), headline.decision(source), headline.findings(source)
        parts = []
    else:
        pairs = compare.pairs(entries, scale)
        heading, sentence, also = _heading(sources), versus.decision(entries, scale, pairs), []
        parts = [versus.section(entries, scale, pairs)] * bool(entries) + [sections.runs(sources)]
    top = [tag("p", "jaxrl report", style="kind"), tag("h1", heading), tag("p", sentence, style="decision")]
    if also:
        top.append(tag("ul", *(tag("li", one) for one in also), style="findings"))
    for source in sources:
        if alone or is_sweep(source):
            name = "What was run" if alone else f"{source.about['name']}: {headline.title(source)}"
            parts.append(sections.section(source, name, alone))
    body = tag("main", tag("header", *top), *parts, _methods(sources))
    return document(heading, body), sentence


def _heading(sources: list[Source]) -> str:
    methods, places = set(map(method, sources)), {environment(source) for source in sources}
    where = f"in {several(len(places), 'environment')}" if len(places) > 1 else f"on {next(iter(places))}"
    what = next(iter(methods)) if len(methods) == 1 else several(len(methods), "method")
    return f"{what} {where}"


def _methods(sources: list[Source]) -> Html:
    """Explanations of the statistics."""
    notes = {
        "IQM": "the interquartile mean: the mean without the lowest and the highest quarter of the seeds "
        "(Agarwal et al. 2021).",
        "Intervals": f"percentile bootstrap, 95 %, {RESAMPLES:,} resamples of whole seeds, within each "
        "environment. With few seeds they tend to be too narrow, because they only contain values that "
        "were observed.",
        "Final return": "each seed’s last evaluation, or its last training return if there is none.",
        "Agents that diverged": "(their parameters, losses or gradients are no longer finite numbers) count "
        "as the worst final return that any agent shown reached, and so do agents without a return; "
        "excluding them would reward a method for its failures. If at least half of the agents of everything "
        "shown diverged, there is no score.",
    }
    chosen = [source for source in sources if len(source.trials) > 1 and not is_populations(source)]
    if chosen:
        notes["Fresh seeds"] = (
            "the score of the best of many trials is biased upwards, because it was also selected by "
            "chance. Only seeds that were not used for the selection give an unbiased estimate."
        )
    if any(map(is_populations, sources)):
        notes["Fresh episodes"] = (
            "the return of the winner of a population is biased upwards, because it was also selected by "
            "chance, so it is evaluated again in episodes that were not used for the selection. Each "
            "population is a separate search with a separate seed; the intervals are over populations."
        )
    if any(kind_of(source).device for source in sources):
        notes["Searches on the device"] = (
            "select by training returns, the mean of the episodes since the last decision. If the selected "
            "agents are then evaluated, their evaluation returns differ from these for that reason, too."
        )
    if not all(map(is_evolution, chosen)):
        notes["Share of variance"] = (
            "the first-order Sobol index of an axis (functional ANOVA, Hutter et al. 2014): the variance "
            "between bins of trials along the axis, minus what is expected by chance, divided by the total "
            "variance. Its interval is a bootstrap over trials. It assumes that the axes were varied "
            "independently."
        )
    if len(sources) > 1:
        notes["P(first better)"] = (
            "how often a seed of one method beats a seed of the other in the same environment, ties as half, "
            "averaged over environments (Mann and Whitney’s U; Agarwal et al. 2021)."
        )
    items = [tag("p", tag("strong", f"{name}: "), what, style="note") for name, what in notes.items()]
    return tag("section", tag("h2", "How the numbers are made"), *items)


def document(title: str, body: Html) -> str:
    """A page without any other file."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
