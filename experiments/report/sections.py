"""The section of a page about one run or one sweep, and that about the settings of all."""

from typing import Any

from jaxrl.experiments.report import learning, searches, trials
from jaxrl.experiments.report.compare import environment, is_populations, is_sweep
from jaxrl.experiments.report.curves import curves
from jaxrl.experiments.report.headline import decision, findings, is_unfinished
from jaxrl.experiments.report.markup import FIRST_ROWS, Html, joined, listed, long_table, table, tag
from jaxrl.experiments.report.scales import number
from jaxrl.experiments.report.schema import Source
from jaxrl.experiments.report.settings import command_block, date, device_name, facts
from jaxrl.experiments.report.trial_tables import importance_table, parallel, slices, trial_table
from jaxrl.statistics import MIN_TRIALS


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
    else:
        parts.append(learning.section(source))
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
        origin = [device_name(device), (about.get("git_commit") or "–")[:12], versions.get("jax", "–")]
        rows.append([about["name"], *settings, *origin, date(about.get("started")) or "–"])
        commands.append(command_block(about["command"]))
        if not is_sweep(source):
            marks = [number(x) + "†" * (str(seed) in one["died"]) for seed, x in _numbered(one)]
            returns.append([about["name"], str(one["first_seed"]), ", ".join(marks)])
            lost += [[about["name"], *row[1:]] for row in diverged_rows(source)]
    head = ["name", "environment", "seeds", "steps", "device", "commit", "jax", "started"]
    parts = [tag("h2", "What was run"), long_table(head, rows, words=2)]
    block = tag("pre", joined(*dict.fromkeys(commands)))
    if len(commands) > FIRST_ROWS:
        block = tag("details", tag("summary", f"the commands of all {len(commands):,}"), block)
    parts.append(block)
    unfinished = [source.about["name"] for source in sources if is_unfinished(source)]
    if unfinished:
        more = f" and {len(unfinished) - FIRST_ROWS} others" * (len(unfinished) > FIRST_ROWS)
        parts.append(tag("p", f"Not finished: {listed(unfinished[:FIRST_ROWS])}{more}.", style="note"))
    if returns:
        parts += [tag("h3", "Seed by seed"), long_table(["name", "from seed", "final returns"], returns)]
    if lost:
        parts += [tag("h3", "Diverged agents"), _diverged(["name", "seeds"], lost)]
    return tag("section", *parts)
