"""The settings, versions and command of a run or a sweep."""

import datetime
import shlex
from typing import Any

from jaxrl.experiments.report.compare import environment, is_sweep, search_of
from jaxrl.experiments.report.markup import Html, joined, tag
from jaxrl.experiments.report.schema import Source


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
        ("device", device_name(device)),
        ("trained for", _duration(about.get("wall_seconds"))),
        ("started", date(about.get("started"))),
        ("commit", (about.get("git_commit") or "")[:12]),
        ("versions", ", ".join(f"{name} {versions[name]}" for name in ("jaxrl", "jax") if name in versions)),
    ]
    terms = [tag("div", tag("dt", name), tag("dd", str(what))) for name, what in pairs if what]
    parts = [tag("dl", *terms), tag("pre", command_block(about["command"]))]
    if about.get("winner"):
        parts += [tag("p", "The winner again, with the seeds of the search:", style="note")]
        parts.append(tag("pre", command_block(about["winner"])))
    return joined(*parts)


def command_block(words: list[str]) -> Html:
    """A command that wraps between options, not within them."""
    parts: list[list[str]] = [[]]
    for word in map(str, words):
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    return tag("code", Html(" ".join(tag("span", shlex.join(part)) for part in parts)))


def device_name(device: dict[str, Any]) -> str:
    kind, count = device.get("kind"), device.get("count")
    return f"{count} × {kind}" if kind and isinstance(count, int) and count > 1 else str(kind or "")


def _duration(seconds: float | None) -> str:
    if not seconds:
        return ""
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s" if seconds < 120 else f"{minutes // 60} h {minutes % 60} min".removeprefix("0 h ")
    )


def date(text: str | None) -> str:
    try:
        return datetime.datetime.fromisoformat(text or "").strftime("%Y-%m-%d %H:%M UTC")
    except ValueError:
        return ""
