"""The progress of a whole sweep while its programs train: the share that is done, and the best trial so far.

On a terminal this is a live panel for each program, elsewhere lines: the first and the last of each program,
and one per `SECONDS` in between.
"""

import dataclasses
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import reporters, sources, train
from jaxrl.experiments import diverged, labels, runs, search
from jaxrl.experiments.runs.searches import searched_outcome
from jaxrl.experiments.studies.sweep.groups import Group
from jaxrl.experiments.studies.sweep.outcomes import agents_of_row, outcome
from jaxrl.programs import Programs
from jaxrl.reporters import Reporter, count, duration
from jaxrl.statistics import iqm

SECONDS = 10.0  # at least, between two lines


class Stage(NamedTuple):
    """A program of a sweep, and about how many steps its agents take together.

    At most, if the search may stop trials.
    """

    name: str
    steps: float


@dataclasses.dataclass
class Whole:
    """What the programs of a sweep share while this process trains them.

    Attributes:
      finished: trials of the groups that are complete, by the number of the group.
      begun: when this process started.
      compiled, trained: seconds for each program compiled, and in training, with evaluation and saving.
      steps: environment steps trained by this process, all agents of complete stages together.
    """

    path: Path
    info: dict[str, Any]
    groups: list[Group]
    stages: list[Stage]
    finished: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    begun: float = dataclasses.field(default_factory=time.perf_counter)
    compiled: list[float] = dataclasses.field(default_factory=list)
    trained: float = 0.0
    steps: float = 0.0


class Now(NamedTuple):
    """What is shown: `left` is None as long as it is unknown, `best` as long as no trial has a score."""

    stage: str
    share: float
    steps: str
    speed: str
    elapsed: str
    left: str | None
    best: dict[str, Any] | None


def whole(path: Path, info: dict[str, Any], groups: list[Group]) -> Whole:
    """A sweep before its first stage; batches that are not known yet and the confirmation are stages, too."""
    batches = max(len(groups), info["options"]["batches"])
    specs = [(groups[number] if number < len(groups) else groups[0]).spec for number in range(batches)]
    stages = [Stage(f"group-{number}", _steps(spec)) for number, spec in enumerate(specs, 1)]
    seeds = info["options"]["confirm_seeds"]
    if seeds and not search.named(info["search"]).populations:
        stages.append(Stage("confirm", float(specs[0].steps * seeds)))
    return Whole(path, info, groups, stages)


def _steps(spec: runs.Spec) -> float:
    times = search.on_device(spec.search["kind"]).rounds(spec.search) if spec.search else 1
    return float(spec.steps * spec.agents * times)


def reporter(sweep: Whole, index: int, group: Group | None, spec: runs.Spec, programs: Programs) -> Reporter:
    """The reporter of the stage with this index; `group` is None for the confirmation."""
    before = _finished_before(sweep, index)
    stage, others = sweep.stages[index], sum(one.steps for one in sweep.stages[:index])
    each = stage.steps / programs.num_updates  # steps of an update
    at_most = search.named((spec.search or {}).get("kind")).stops_trials
    if spec.search:
        strategy, space = search.make(spec.search, train.updates_for(programs.algo, spec.steps))
    length, best = programs.num_updates, ranked(before)
    done, first, started = 0, 0, time.perf_counter()
    compiled: float | None = None

    def spent() -> tuple[float, float]:
        """Steps and seconds of training by this process."""
        mine = (done - first) * each
        return sweep.steps + mine, sweep.trained + (time.perf_counter() - compiled if compiled else 0.0)

    def now() -> Now:
        (steps, seconds), mine = spent(), done * each
        total = sum(one.steps for one in sweep.stages)
        left = None
        if steps:
            compiling = sum(sweep.compiled) / max(len(sweep.compiled), 1)
            rest = seconds / steps * (total - others - mine) + compiling * (len(sweep.stages) - index - 1)
            left = f"{'at most ' * at_most}{duration(rest)} left"
        return Now(
            f"{stage.name} ({index + 1} of {len(sweep.stages)})",
            (others + mine) / total,
            f"{count(others + mine)} of {count(total)} steps",
            f"{count(steps / max(seconds, 1e-9))} steps/s",
            f"{duration(time.perf_counter() - sweep.begun)} elapsed",
            left,
            best,
        )

    show = _panel(spec, now) if sys.stdout.isatty() else _lines(now)

    def status(text: str) -> None:
        nonlocal compiled
        if not text.endswith("..."):
            compiled = time.perf_counter()
            sweep.compiled.append(compiled - started)
        show.status(text)

    def progress(updates_done: int, elapsed: float, updates_before: int) -> None:
        nonlocal done, first
        done, first = updates_done, updates_before
        show.progress()

    def look(at: Any) -> None:
        nonlocal length, best
        if not spec.search:
            return
        length = search.updates_at_most(spec.search, strategy, at.state)
        sweep.stages[index] = stage._replace(steps=length * each)
        if found := ranked(search.scored_trials(spec.search, strategy, at.state)):
            best = found | {"values": search.values_at(spec.search, space, found["x"])}

    def row(values: dict[str, Any]) -> None:
        nonlocal best
        if group and not spec.search:
            best = ranked([*described(agents_of_row(values, {}, spec), sweep.info, group), *before])
        show.row(values["num_updates"] >= length)

    def close() -> None:
        sweep.steps, sweep.trained = spent()
        show.close()

    return Reporter(status, progress, row, close, look)


def _finished_before(sweep: Whole, index: int) -> list[dict[str, Any]]:
    """The trials of all groups before a stage; each group is read once."""
    for number, group in enumerate(sweep.groups[:index], 1):
        if number not in sweep.finished:
            sweep.finished[number] = trained(sweep.path / f"group-{number}", sweep.info, group)
    return [one for its in sweep.finished.values() for one in its]


def trained(path: Path, info: dict[str, Any], group: Group) -> list[dict[str, Any]]:
    """The trials of a complete group, as `ranked` takes them."""
    if group.spec.search:
        return [{**one, "updates": one["steps"]} for one in searched_outcome(path)]
    return described(outcome(path, group.spec), info, group)


def described(outcomes: list[dict[str, Any]], info: dict[str, Any], group: Group) -> list[dict[str, Any]]:
    """The trials of a group in the order of its lanes, with their numbers and their values by flag."""
    trials = []
    for lane, (number, one) in enumerate(zip(group.trials, outcomes)):
        varied = group.spec.trials[lane] if group.spec.trials else {}
        fixed = info["trials"][number] if number < len(info["trials"]) else [None] * len(info["axes"])
        values = {axis.flag: varied.get(axis.name, value) for axis, value in zip(info["axes"], fixed)}
        trials.append({"trial": number, "values": values, **one})
    return trials


def ranked(trials: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The best of some trials with its `score`, by the rule of the results; None if none has a score."""
    if not trials or diverged.unknown(trials):
        return None
    least = diverged.worst(trials)
    scored = [one | {"score": float(iqm(x))} for one in trials if (x := diverged.counted(one, least))]
    return max(scored, key=lambda one: (one.get("updates", 0), one["score"], -one["trial"]), default=None)


# --- how it is shown --------------------------------------------------------------------------------


class _Show(NamedTuple):
    status: Callable
    progress: Callable
    row: Callable  # (whether it is the last one)
    close: Callable


def _lines(now: Callable[[], Now]) -> _Show:
    write, last = partial(print, flush=True), -SECONDS

    def row(is_last: bool) -> None:
        nonlocal last
        if is_last or time.perf_counter() - last >= SECONDS:
            last = time.perf_counter()
            write(line(now()))

    return _Show(write, lambda: None, row, lambda: None)


def line(at: Now) -> str:
    """The progress of a sweep as a line of a log."""
    parts = [f"{100 * at.share:3.0f}% of the sweep", at.steps, at.speed, at.left or "", at.stage]
    if at.best:
        values = labels.label(at.best["values"])
        parts.append(f"best so far: {at.best['score']:.4g}, trial {at.best['trial']} ({values})")
    return "  ".join(filter(None, parts))


def _panel(spec: runs.Spec, now: Callable[[], Now]) -> _Show:
    """A live panel; it is erased at the end, when a line with the result is printed."""
    from rich.columns import Columns
    from rich.console import Group as Parts
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    title = sources.shown(f"sweep of {spec.algorithm} {spec.environment}")
    text, since = "", time.perf_counter()

    def made() -> Panel:
        at = now()
        waited = f"  {time.perf_counter() - since:.1f} s" if text.endswith("...") else ""
        facts = [Text(fact) for fact in (at.steps, at.speed, at.elapsed, at.left) if fact]
        table = Table.grid(padding=(0, 2))
        table.add_row("program", at.stage)
        if at.best:
            table.add_row("best so far", f"{at.best['score']:.4g}, trial {at.best['trial']}")
            names = labels.short_names(at.best["values"])
            for flag, value in at.best["values"].items():
                table.add_row("", f"{names[flag]} {labels.shown(value)}")
        parts = [Text(f"{text}{waited}", style="yellow"), reporters.progress_bar(at.share)]
        parts += [Columns(facts, padding=(0, 3)), table, Text(reporters.SAVES, style="dim")]
        return Panel(Parts(*parts), title=title, title_align="left")

    live = reporters.live_display(made, transient=True)

    def status(new: str) -> None:
        nonlocal text, since
        text, since = new, time.perf_counter()

    return _Show(status, lambda: None, lambda is_last: None, live.stop)
