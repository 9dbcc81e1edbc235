"""`jaxrl watch RUN`: the progress of a run or a study in another process, from the rows in its folder."""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from jaxrl import decode, files, fit_record, logger, records, reporters, sources
from jaxrl.experiments import folders, options, runs, search, studies
from jaxrl.experiments.studies.parts import Part

SECONDS = 1.0  # between two looks at the folder
IDLE = 10  # looks at a folder in which no process trains, before this is reported
INTERRUPT = "Ctrl-C ends watching; the run continues"


class About(NamedTuple):
    """What does not change while a run is trained."""

    title: str
    agents: int
    num_updates: int  # of the complete run; of a search at most
    steps_per_update: int | None = None  # None: as the rows show
    is_search: bool = False  # it may be complete earlier
    is_train: bool = False  # a run of `jaxrl train` or a part of a sweep
    rows: Callable[[], list[dict[str, Any]]] | None = None  # None: those in `metrics.jsonl`


def command(argv: list[str]) -> int:
    """Shows the progress of a run until it is complete. Returns the exit status."""

    @dataclasses.dataclass
    class Watch:
        """Shows the progress of a run or a study in another process, until it is complete."""

        run: Annotated[Path, options.positional()]  # folder of the run or the study
        once: bool = False  # print the current state and exit

    chosen = options.parse(Watch, argv, "jaxrl watch")
    path = chosen.run
    study = studies.of(path)
    if study and not study.parts:
        raise studies.without(path, "progress that can be watched")
    try:
        if study and study.parts:
            _of_study(path, partial(study.parts, path), chosen.once)
            return 0
        about = describe(path)
        if chosen.once:
            print(state(path, about))
            return 0
        follow(path, about, path)
    except KeyboardInterrupt:
        return 0
    print(runs.closing(path, "complete") if about.is_train else "complete")
    return 0


def _of_study(path: Path, parts: Callable[[], list[Part]], once: bool) -> None:
    """Shows which part of a study is computed, and its rows, until the study is complete, or only once."""
    shown, followed = "", set()
    while True:
        known = parts()
        left = [] if known[-1].is_complete() else [one for one in known if not one.is_complete()]
        if not left:
            print("complete")
            return
        one = left[0]
        if one.name != shown:
            shown = one.name
            print(f"{studies.name_of(path)}: {shown} ({known.index(one) + 1} of {len(known)})", flush=True)
        has_rows = one.rows is not None or any((one.path / mark).is_file() for mark in folders.marks())
        if once:
            if has_rows:
                print(state(*_described(one)))
            return
        if has_rows and shown not in followed:
            followed.add(shown)
            follow(*_described(one), path)
        else:
            time.sleep(SECONDS)


def _described(part: Part) -> tuple[Path, About]:
    """The folder of a part that has rows, and the facts about it."""
    if not (read := part.rows):
        return part.path, describe(part.path)
    now = read()
    return part.path, About(part.name, now.agents, now.num_updates, rows=lambda: read().rows)


def describe(path: Path) -> About:
    """The facts about a run of `jaxrl train`, of `jaxrl discover`, or of `jaxrl.fit`.

    Raises:
      ValueError: the folder holds none, or its record cannot be read.
    """
    if (path / fit_record.MARK).is_file():
        record = fit_record.read(path)
        if record.updates < 1:
            raise ValueError(f"{path / fit_record.MARK}: num_updates is missing")
        return About(record.algorithm, record.run.seeds, record.updates, record.run.steps_per_update)
    data = runs.read_info(path)["spec"]
    if "worlds" in data:
        made = decode.decode(data, _Discovery, path / "run.json")
        return About(sources.shown(f"discover {made.objective}"), made.seeds, made.generations)
    spec = runs.from_json(data)
    if not 1 <= spec.hparams.total_updates < math.inf:
        raise ValueError(f"{path / 'run.json'}: spec.hparams.total_updates is missing")
    updates = int(spec.hparams.total_updates)
    updates = search.make(spec.search, updates)[0].num_updates if spec.search else updates
    title = sources.shown(f"{spec.algorithm} {spec.environment}")
    return About(title, spec.agents, updates, is_search=bool(spec.search), is_train=True)


@dataclasses.dataclass(frozen=True)
class _Discovery:
    """What is shown of the `spec` of a discovery."""

    objective: str
    seeds: int
    generations: int


def state(path: Path, about: About) -> str:
    """The last row of a run as text, and how old it is."""
    rows, lines = _rows(path, about), [f"{about.title}, {about.agents} agent{'s' * (about.agents > 1)}"]
    if not rows:
        return "\n".join([*lines, "no row of metrics yet"])
    _show(_reporter(about, rows, lines.append), rows[-1], about)
    elapsed = reporters.duration(rows[-1].get("elapsed_seconds") or 0.0)
    age = time.time() - (path / "metrics.jsonl").stat().st_mtime
    is_new = f"the last row is {reporters.duration(max(age, 0.0))} old"
    return "\n".join(
        [*lines, f"{elapsed} elapsed; {'complete' if _is_complete(path, about, rows) else is_new}"]
    )


def follow(path: Path, about: About, whole: Path, live: bool | None = None) -> None:
    """Shows the rows of a run as they are written, until it is complete.

    Args:
      whole: the folder that can be resumed: that of the run, or of its study.
      live: in a panel; None: on a terminal.
    """
    live = sys.stdout.isatty() if live is None else live
    write = None if live else partial(print, flush=True)
    reporter, shown, known, idle = None, 0, None, 0
    try:
        while True:
            file = path / "metrics.jsonl"
            now = (file.stat().st_mtime_ns, file.stat().st_size) if file.exists() else ()
            if now != known:
                rows = _rows(path, about)
                if reporter is None:
                    if rows:
                        reporter = _reporter(about, rows, write)
                    else:
                        print("waiting for the first row of metrics ...", flush=True)
                for row in rows:
                    if row["num_updates"] > shown:
                        _show(reporter, row, about)
                if _is_complete(path, about, rows):
                    return
                if live and reporter:
                    reporter.status("waiting for the next row ...")
                # Lower than before if a killed run was resumed, which writes its last rows again.
                shown, known = rows[-1]["num_updates"] if rows else 0, now
            idle = 0 if files.is_locked(path) else idle + 1
            if idle == IDLE:
                remedy = f"`jaxrl resume {files.quoted(whole)}` continues"
                _say(reporter, live, f"no process on this machine trains here: {remedy}")
            time.sleep(SECONDS)
    finally:
        if reporter:
            reporter.close()


def _say(reporter: reporters.Reporter | None, live: bool, text: str) -> None:
    if live and reporter:
        reporter.status(text)
    else:
        print(text, flush=True)


def _rows(path: Path, about: About) -> list[dict[str, Any]]:
    return about.rows() if about.rows else logger.read_jsonl(path / "metrics.jsonl", records.NEEDED)


def _show(reporter: Any, row: dict[str, Any], about: About) -> None:
    """Shows a row; the time is that of training alone, as in the process that trains."""
    elapsed, speed = row.get("elapsed_seconds") or 0.0, row.get("steps_per_second")
    if speed:
        elapsed = row.get("timesteps", 0) * about.agents / speed
    reporter.progress(row["num_updates"], elapsed, 0)
    reporter.row(row)


def _reporter(about: About, rows: list[dict[str, Any]], write: Any) -> reporters.Reporter:
    """A panel, or lines for the function `write`. The steps of an update follow from the rows."""
    first = rows[-2] if len(rows) > 1 else {"num_updates": 0, "timesteps": 0}
    steps, updates = (rows[-1].get(name, 0) - first.get(name, 0) for name in ("timesteps", "num_updates"))
    each = about.steps_per_update
    each = round(steps / max(updates, 1)) if each is None else each
    if write:
        return reporters.lines(about.num_updates, each, about.agents, write)
    before = rows[-1].get("timesteps", 0) - each * rows[-1]["num_updates"]
    sizes = (about.num_updates, each, about.agents)
    return reporters.panel(about.title, *sizes, warmup_steps=before, interrupt=INTERRUPT)


def _is_complete(path: Path, about: About, rows: list[dict[str, Any]]) -> bool:
    if about.is_search and (path / "search.json").exists():
        return True
    return bool(rows) and rows[-1]["num_updates"] >= about.num_updates
