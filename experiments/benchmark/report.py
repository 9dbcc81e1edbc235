"""Results of a benchmark as numbers, table, figure and file."""

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxrl.experiments import plot
from jaxrl.experiments.benchmark.driver import Outcome

# From Okabe and Ito's palette; all other contenders are grey.
OURS, OURS_BEFORE, PEER = "#0072B2", "#56B4E9", "#9AA5B1"
LOG_SPAN = 20  # ratio of longest to shortest from which on a linear axis would not show the shortest


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum over repeats; ratios are computed within rounds, then summarized."""

    median: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Row:
    """A contender's numbers in one case; missing ones are None."""

    case: str
    name: str
    value: Spread | None  # steps/s, or seconds
    gradients: Spread | None  # gradient steps/s, if counted
    ratio: Spread | None  # how many times as fast ours is
    compile_seconds: float | None
    returns: tuple[float, ...]
    peak_bytes: int | None
    agent_bytes: int | None
    remark: str


def spread(values: Iterable[float | None]) -> Spread | None:
    """The Spread of the values that are not None; None if there is none."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


def ratios(ours: list[float | None], other: list[float | None], seconds: bool) -> Spread | None:
    """How many times as fast ours is, by round: other load on the machine slows both."""
    pairs = [(a, b) for a, b in zip(ours, other) if a and b]
    return spread(b / a if seconds else a / b for a, b in pairs)


def values(outcome: Outcome, seconds: bool) -> list[float | None]:
    """The repeats of an outcome as steps/s, or as seconds."""
    return [r and r["seconds"] for r in outcome.repeats] if seconds else outcome.speeds


def gradients(repeat: dict[str, float]) -> float | None:
    """Gradient steps per second in a repeat."""
    steps = repeat.get("gradient_steps")
    return steps and steps / repeat["seconds"]


def rows(results: dict[str, dict[str, Outcome]], seconds: bool = False) -> list[Row]:
    """One row for each contender of each case."""
    table_rows = []
    for case, outcomes in results.items():
        ours = values(outcomes["ours"], seconds) if "ours" in outcomes else []
        for name, outcome in outcomes.items():
            mine = values(outcome, seconds)
            table_rows.append(
                Row(
                    case=case,
                    name=name,
                    value=spread(mine),
                    gradients=spread(r and gradients(r) for r in outcome.repeats),
                    ratio=None if name == "ours" else ratios(ours, mine, seconds),
                    compile_seconds=outcome.ready.get("compile_seconds"),
                    returns=tuple(outcome.returns or ()),
                    peak_bytes=outcome.finish.get("peak_bytes"),
                    agent_bytes=outcome.finish.get("agent_bytes"),
                    remark=outcome.failed or outcome.ready.get("notes", ""),
                )
            )
    return table_rows


# --- table -------------------------------------------------------------------------------------


HEADER = (
    "contender",
    "steps/s",
    "gradient steps/s",
    "ours is x times as fast",
    "s per 1M steps",
    "set-up, s",
)
HEADER += ("return", "MiB", "MiB per agent")


def table(shown: list[Row], seconds: bool) -> list[list[str]]:
    """Rows as text under a header; medians, with minimum and maximum in brackets."""
    header = list(HEADER)
    if seconds:
        header[1] = "seconds"
    lines = [header, *(_cells(row, seconds) for row in shown)]
    used = [i for i in range(len(header)) if i < 2 or any(line[i] != "-" for line in lines[1:])]
    return [[line[i] for i in used] for line in lines]


def _cells(row: Row, seconds: bool) -> list[str]:
    # All agents share the machine, so a million steps cost the same, whether of one agent or of all.
    cost = Spread(1e6 / row.value.median, 0, 0) if row.value and not seconds else None
    returns = spread(row.returns)
    return [
        row.name,
        _with_range(row.value, number) if row.value else row.remark.partition(":")[0] or "-",
        _with_range(row.gradients, number),
        _with_range(row.ratio, "{:.2f}".format),
        number(cost.median) if cost else "-",
        "-" if row.compile_seconds is None else f"{row.compile_seconds:.1f}",
        _with_range(returns, number) if len(row.returns) != 1 else number(row.returns[0]),
        "-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.0f}",
        "-" if row.agent_bytes is None else f"{row.agent_bytes / 2**20:,.2f}",
    ]


def _with_range(spread: Spread | None, text: Callable) -> str:
    return f"{text(spread.median)} ({text(spread.low)} to {text(spread.high)})" if spread else "-"


def number(value: float) -> str:
    """Three significant digits: 0.0123, 4.57, 173k, 1.20M."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    power = _power(value * 1.0005)
    return _three(value / 10**power) + UNITS[power]


UNITS = {0: "", 3: "k", 6: "M", 9: "B"}


def _power(value: float) -> int:
    """The power of ten of the unit of a number."""
    return max(power for power in UNITS if power == 0 or abs(value) >= 10**power)


def _three(value: float) -> str:
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value) * 1.0005)))}f}"


def remarks(shown: list[Row]) -> list[str]:
    """Notes on the contenders, without duplicates."""
    return list(dict.fromkeys(f"{row.name}: {row.remark}" for row in shown if row.remark))


def stages(results: dict[str, dict[str, Outcome]]) -> list[str]:
    """The stages of a start in seconds, as medians; times reported by JAX are sums over threads."""
    lines = []
    for case, outcomes in results.items():
        for name, outcome in outcomes.items():
            parts = [repeat["stages"] for repeat in outcome.repeats if repeat and repeat.get("stages")]
            if parts:
                middle = {stage: statistics.median(p[stage] for p in parts) for stage in parts[0]}
                stages_text = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in middle.items())
                lines.append(f"{name}, {case}: {stages_text}")
    return lines


def _by_case(shown: list[Row]) -> dict[str, list[Row]]:
    return {case: [row for row in shown if row.case == case] for case in dict.fromkeys(r.case for r in shown)}


def markdown(shown: list[Row], seconds: bool, notes: list[str]) -> str:
    """The table as a document, followed by `notes`."""
    lines = table(shown, seconds)
    lines[0].insert(0, "case")
    for row, line in zip(shown, lines[1:]):
        line.insert(0, row.case)
    lines.insert(1, ["---"] * len(lines[0]))
    text = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
    return text + "".join(f"\n* {note}" for note in [*notes, *remarks(shown)]) + "\n"


def show(shown: list[Row], seconds: bool, title: str, notes: list[str]) -> None:
    """Prints the table, one part for each case."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:  # a file has no maximum width
        console.width = 140
    header, *lines = table(shown, seconds)
    drawn = Table(title=title, title_justify="left")
    for name in header:
        drawn.add_column(name, justify="left" if name == "contender" else "right", no_wrap=False)
    cases = _by_case(shown)
    for case, inside in cases.items():
        if len(cases) > 1:
            drawn.add_row(f"[bold]{case}")
        for line in lines[: len(inside)]:
            drawn.add_row(*line)
        lines = lines[len(inside) :]
        drawn.add_section()
    console.print(drawn, soft_wrap=False)
    for note in [*notes, *remarks(shown)]:
        console.print(note, markup=False, highlight=False)


# --- figure ------------------------------------------------------------------------------------


def figure(shown: list[Row], seconds: bool, title: str, path: Path) -> None:
    """Draws medians with their ranges, one panel for each case.

    If the ratio of longest to shortest is large, the axis is logarithmic; the length of a bar would then be
    meaningless, so points are drawn.
    """
    drawn = [row for row in shown if row.value]
    if not drawn:
        return
    cases = list(dict.fromkeys(row.case for row in drawn))
    counts = [sum(row.case == case for row in drawn) for case in cases]
    height = 1.0 + 0.55 * len(cases) + 0.34 * len(drawn)
    canvas = plot.new_figure((7.5, height))
    panels = canvas.subplots(len(cases), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    least, most = min(row.value.median for row in drawn), max(row.value.median for row in drawn)
    logarithmic = most > LOG_SPAN * least
    for panel, case in zip(panels, cases):
        _panel(panel, [row for row in drawn if row.case == case], seconds, logarithmic)
        panel.set_title(case, loc="left", fontsize=9)
    if logarithmic:
        panels[-1].set_xscale("log")
        panels[-1].set_xlim(least / 2, most * 4)
    else:
        panels[-1].set_xlim(0, max(row.value.high for row in drawn) * 1.2)
    unit = "seconds, less is better" if seconds else "environment steps per second, more is better"
    panels[-1].set_xlabel(unit + (" (logarithmic)" if logarithmic else ""), fontsize=9)
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10)
    plot.save(canvas, path)


def _panel(panel, shown: list[Row], seconds: bool, logarithmic: bool) -> None:
    for at, row in enumerate(shown):
        colour = OURS if row.name == "ours" else OURS_BEFORE if row.name.startswith("ours") else PEER
        middle, low, high = row.value.median, row.value.low, row.value.high
        if not logarithmic:
            panel.barh(at, middle, height=0.62, color=colour)
        style = {"fmt": "o" if logarithmic else "none", "ecolor": "#333842", "color": colour}
        panel.errorbar(middle, at, xerr=[[middle - low], [high - middle]], capsize=3, **style)
        text = number(middle)
        panel.annotate(text, (high, at), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_yticks(range(len(shown)), [row.name for row in shown], fontsize=9)
    panel.set_ylim(len(shown) - 0.4, -0.6)
    panel.grid(axis="x", color="#E4E7EB", linewidth=0.8)
    panel.set_axisbelow(True)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value / 10 ** _power(value):g}{UNITS[_power(value)]}")
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["bottom", "left"]].set_color("#B0B6C0")
    panel.tick_params(color="#B0B6C0", labelsize=8)


# --- file --------------------------------------------------------------------------------------


def as_json(results: dict[str, dict[str, Outcome]], facts: dict[str, Any], settings: dict[str, Any]) -> str:
    """All measurements by repeat, and everything that they depend on, without paths of this machine."""
    seconds = facts["unit"] == "s"
    ratio = {(row.case, row.name): row.ratio for row in rows(results, seconds)}
    cases = [
        {
            "name": case,
            "settings": settings.get(case, {}),
            "contenders": {
                name: {
                    **dataclasses.asdict(outcome),
                    "ready": {key: value for key, value in outcome.ready.items() if key != "source"},
                    "values": values(outcome, seconds),
                    "times_as_fast_as_it": _plain(ratio[case, name]),
                }
                for name, outcome in outcomes.items()
            },
        }
        for case, outcomes in results.items()
    ]
    return json.dumps({**facts, "cases": cases}, indent=2) + "\n"


def _plain(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else dataclasses.asdict(spread)
