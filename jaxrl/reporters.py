"""The progress of a run: a live panel on a terminal, a line per interval elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxrl.logger import scalars
from jaxrl.statistics import iqm

# The metrics of a row that are shown, with their labels; a line has the first two.
RETURNS = {"return": "episode/return", "evaluation": "evaluation/return", "episode length": "episode/length"}

# What Ctrl-C does while a run trains that is saved (see `loop.interruptible`).
SAVES = "Ctrl-C saves and stops; a second Ctrl-C stops at once"


class Reporter(NamedTuple):
    """Callbacks, in the order in which they are called; `close` is always called."""

    status: Callable  # (text): a stage before training starts
    progress: Callable  # (num_updates, elapsed seconds, updates done before this session)
    row: Callable  # (row): an interval has ended
    close: Callable  # ()
    look: Callable = lambda at: None  # (position): before `row`, while the state of the agents is available


def count(number: float) -> str:
    """A number in a short format: 512, 20.5k, 1.25M."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{suffix}"
    return f"{number:.0f}"


def size(num_bytes: float) -> str:
    """A size with its unit: 1.5 MB."""
    for limit, suffix in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= limit:
            return f"{num_bytes / limit:.1f} {suffix}"
    return f"{num_bytes:.0f} B"


def compiled(seconds: float, num_bytes: float | None) -> str:
    """A line on the compilation of a run, and on the memory that it will use, if that is known."""
    memory = "" if num_bytes is None else f", {size(num_bytes)} while training"
    return f"compiled in {seconds:.1f} s{memory}"


def duration(seconds: float) -> str:
    """Seconds as 0:42 or 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def spread(values: Sequence[float | None] | None) -> str:
    """Interquartile mean (IQM) over seeds and their range; a dash if no seed has a value."""
    known = [v for v in values or [] if v is not None and np.isfinite(v)]
    if not known:
        return "–"
    if len(values or []) == 1:
        return f"{known[0]:.4g}"
    return f"IQM {iqm(known):.4g} ({min(known):.4g} … {max(known):.4g})"


def diverged_lanes(row: dict[str, Any]) -> list[int]:
    """The lanes of a row's agents that have diverged."""
    return [lane for lane, step in enumerate(row.get("agent/died_at", ())) if step is not None]


def rate(done: int, before: int, elapsed: float, steps_per_update: int, seeds: int) -> float:
    """Environment steps per second of all seeds together, in this session; updates, if they take no steps."""
    return (done - before) * (steps_per_update or 1) * seeds / max(elapsed, 1e-9)


def _unit(steps_per_update: int) -> str:
    """What is counted: an algorithm that learns from data alone takes no steps."""
    return "steps" if steps_per_update else "updates"


def lines(
    num_updates: int,
    steps_per_update: int,
    seeds: int,
    write: Callable = print,
    shown: dict[str, str] = RETURNS,
) -> Reporter:
    """A line per interval, for a log file."""
    at, unit = {"now": (0, 0.0, 0)}, _unit(steps_per_update)

    def progress(done, elapsed, before):
        at["now"] = (done, elapsed, before)

    def row(row):
        done, elapsed, before = at["now"]
        speed = rate(done, before, elapsed, steps_per_update, seeds)
        parts = [f"{100 * row['num_updates'] / num_updates:3.0f}%", f"{unit} {count(row['timesteps'])}"]
        first, second = list(shown.items())[:2]
        labelled = [first] + [second] * (second[1] in row)
        parts += [f"{label} {spread(row.get(name))}" for label, name in labelled]
        parts.append(f"{count(speed)} {unit}/s")
        parts += [f"{len(lost)} diverged"] if (lost := diverged_lanes(row)) else []
        write("  ".join(parts))

    return Reporter(write, progress, row, lambda: None)


def panel(
    title: str,
    num_updates: int,
    steps_per_update: int,
    seeds: int,
    console: Any = None,
    shown: dict[str, str] = RETURNS,
    warmup_steps: int = 0,
    interrupt: str = SAVES,
) -> Reporter:
    """A live panel: progress, speed, time left, returns over seeds, losses; `interrupt` is its last line."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    unit = _unit(steps_per_update)
    now: dict[str, Any] = {"status": "", "row": {}, "progress": None, "since": time.perf_counter()}

    def made():
        waited = f"  {time.perf_counter() - now['since']:.1f} s" if now["status"].endswith("...") else ""
        parts: list[Any] = [Text(now["status"] + waited, style="yellow")]
        if now["progress"] is not None:
            done, elapsed, before = now["progress"]
            left = elapsed / max(done - before, 1) * (num_updates - done)
            speed = rate(done, before, elapsed, steps_per_update, seeds)
            steps, all_steps = (
                count((warmup_steps + updates * steps_per_update) if steps_per_update else updates)
                for updates in (done, num_updates)
            )
            facts = (
                f"{steps} of {all_steps} {unit}" + (" per seed" if seeds > 1 else ""),
                f"{count(speed)} {unit}/s" + (" in all" if seeds > 1 else ""),
                f"{duration(elapsed)} elapsed",
                f"{duration(left)} left",
            )
            parts += [
                progress_bar(done / num_updates),
                Columns([Text(fact) for fact in facts], padding=(0, 3)),
            ]
        if now["row"]:
            parts.append(_table(now["row"], shown))
        if now["progress"] is not None and interrupt:
            parts.append(Text(interrupt, style="dim"))
        over = f"IQM (and range) of {seeds} seeds" if seeds > 1 and now["row"] else None
        return Panel(Group(*parts), title=title, title_align="left", subtitle=over, subtitle_align="left")

    live = live_display(made, console)

    def status(text):
        now.update(status=text, since=time.perf_counter())

    def progress(done, elapsed, before):
        now["progress"] = (done, elapsed, before)

    return Reporter(status, progress, lambda row: now.update(row=row), live.stop)


def progress_bar(share: float) -> Any:
    """A bar over the width of a panel, with its percentage."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    bar = Table.grid(padding=(0, 2), expand=True)  # a bar has no line break at its end
    bar.add_row(ProgressBar(total=1.0, completed=share), f"{100 * share:.0f}%")
    return bar


def live_display(made: Callable[[], Any], console: Any = None, transient: bool = False) -> Any:
    """A started `rich.live.Live` that shows what `made` returns, until its `stop` is called.

    Args:
      transient: `stop` erases it.
    """
    import rich
    from rich.live import Live

    console = console or rich.get_console()
    last: list[tuple[int, int]] = []  # width and height of the panel on the terminal

    def draw():
        if last and console.size.width < last[0][0]:
            _erase_wrapped(console, *last[0])
        return _Measured(made(), last)

    live = Live(get_renderable=draw, console=console, refresh_per_second=8, transient=transient)
    live.start()
    return live


class _Measured(NamedTuple):
    """A panel that records its width and height whenever it is drawn."""

    panel: Any
    last: list[tuple[int, int]]

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.segment import Segment

        lines = console.render_lines(self.panel, options, pad=False)
        self.last[:] = [(options.max_width, min(len(lines), console.size.height))]
        for line in lines:
            yield from line
            yield Segment.line()


def _erase_wrapped(console: Any, width: int, height: int) -> None:
    """Erases the lines by which a panel became higher in a terminal that became narrower.

    Terminals wrap lines that are longer than their new width. The panel erases as many lines as it drew
    before it is drawn again, so that its upper part would remain.
    """
    from rich.control import Control
    from rich.segment import ControlType

    wrapped = height * -(-width // console.size.width)
    erase = [(ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)]
    console.control(Control(*erase * (min(wrapped, console.size.height) - height)))


def _table(row, shown):
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for label, name in shown.items():
        if name in row:
            table.add_row(label, spread(row[name]))
    if lost := diverged_lanes(row):
        table.add_row("diverged", str(len(lost)))
    values = scalars(row)
    groups = ("loss/", "policy/", "value/", "grad/")
    # In columns, so that no line breaks between a name and its number.
    if learning := [Text(f"{name} {values[name]:.3g}") for name in values if name.startswith(groups)]:
        table.add_row("learning", Columns(learning, padding=(0, 3)))
    return table


def choose(
    title: str,
    num_updates: int,
    steps_per_update: int,
    seeds: int,
    shown: dict[str, str] = RETURNS,
    warmup_steps: int = 0,
    interrupt: str = SAVES,
) -> Reporter:
    """The panel on a terminal, lines elsewhere.

    Args:
      warmup_steps: environment steps before the first update, counted among all steps.
      interrupt: what Ctrl-C does, for the panel.
    """
    if sys.stdout.isatty():
        sizes = (num_updates, steps_per_update, seeds)
        return panel(title, *sizes, shown=shown, warmup_steps=warmup_steps, interrupt=interrupt)
    write = partial(print, flush=True)
    return lines(num_updates, steps_per_update, seeds, write, shown)
