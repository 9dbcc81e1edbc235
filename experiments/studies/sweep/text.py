"""The results of a sweep as text."""

from pathlib import Path
from typing import Any

from jaxrl.experiments import columns, labels, search
from jaxrl.experiments.runs.searches import read_search
from jaxrl.experiments.runs.spec import Spec
from jaxrl.experiments.studies.sweep.folder import read, read_results
from jaxrl.experiments.studies.sweep.outcomes import EPISODES
from jaxrl.statistics import iqm


def table(path: Path, most: int = 10) -> str:
    """The best trials, the diverged agents and the result of the confirmation, as text."""
    info, groups = read(path)
    ranked = read_results(path)
    again = ranked.pop() if "confirms" in ranked[-1] else None
    spec = groups[0].spec
    flags = [one.flag for one in info["axes"]]
    names = [flag.removeprefix("--") for flag in flags]
    head = ["trial", *names, "score", "95 % interval"]
    searched = "steps" in ranked[0]
    rows = [
        [str(one["trial"]), *(labels.shown(one["values"][flag]) for flag in flags)]
        + [_number(one["score"]), _ends(one)]
        + ([f"{one['steps']:,}"] if searched else [])
        for one in ranked[:most]
    ]
    head += ["steps"] if searched else []
    lines = columns.table(head, rows, columns.width())
    if len(ranked) > most:
        lines.append(f"... and {len(ranked) - most} more in {path / 'results.jsonl'}")
    lines.append(_meaning(path, spec, len(ranked)))
    for one in ranked:
        for agent, step in one["died"].items():
            who = f"trial {one['trial']}, seed {agent}"
            lines.append(f"{who}: diverged at step {step:,} and counts as the worst agent of all trials")
    if again:
        lines.append(_confirmation_text(ranked, again))
    return "\n".join(lines)


def _meaning(path: Path, spec: Spec, trials: int) -> str:
    """The definition of the score, and the cost of a search."""
    if not spec.search:
        return f"score: interquartile mean over {spec.seeds} seeds of the last return"
    spent = read_search(path / "group-1")["steps"]
    if search.named(spec.search["kind"]).populations:
        return (
            f"trial: the best of {spec.slots} members of each of {spec.seeds} populations, with what it had "
            f"at the end; score: its last return; {spent:,} steps in all"
        )
    full = spec.steps * spec.seeds * trials
    return (
        f"score: interquartile mean over {spec.seeds} seeds of the return where a trial ended; "
        f"{spent:,} steps in all, {100 * spent / full:.0f} % of training every trial to its end"
    )


def _confirmation_text(ranked, again) -> str:
    """The result of the winner with new seeds or episodes."""
    value, ends = _number(again["score"]), _ends(again)
    count = len(again["per_seed"])
    if again["confirms"] is None:
        return f"the mean of the last generation, trained with {count} new seeds: {value} ({ends})"
    if again["confirms"] == "members":
        known = [one["score"] for one in ranked if one["score"] is not None]
        chosen = _number(float(iqm(known)) if known else None)
        # No difference is shown: members are selected by their returns with exploration.
        winners = f"the winners in {EPISODES} fresh episodes each: {value} ({ends})"
        return f"{winners}; chosen by training returns of {chosen}"
    lost = ranked[0]["score"] - again["score"] if again["score"] is not None else None
    line = f"trial {again['confirms']} again with {count} new seeds: {value} ({ends})"
    if lost is None:
        return line
    than = f"{_number(abs(lost))} {'less' if lost > 0 else 'more'} than" if lost else "the same as"
    return f"{line}, {than} as best of {len(ranked)}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _ends(one: dict[str, Any]) -> str:
    return "–" if one["interval"] is None else " to ".join(map(_number, one["interval"]))
