"""A profile for its readers: tables and sentences in the terminal and as a Markdown page."""

from typing import Any

from jaxrl import sources
from jaxrl.reporters import count, size

COLUMNS = ("part", "us/update", "share", "random", "calls", "MFLOP", "GFLOP/s")
OPERATIONS = ("operation", "us/update", "calls", "part", "op_name")


def part_rows(profile: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table of parts as text. `random` is the fraction of the total spent on random numbers."""
    total = profile["microseconds"]

    def row(name, microseconds, random, calls, flop):
        speed = f"{flop / microseconds / 1e3:,.1f}" if flop and microseconds else ""
        return (
            name,
            f"{microseconds:,.1f}",
            f"{100 * microseconds / total:.1f}%",
            f"{100 * random / total:.1f}%" if random else "",
            f"{calls:,.0f}" if calls else "",
            f"{flop / 1e6:,.1f}" if flop else "",
            speed,
        )

    rows = [
        [p[n] for n in ("microseconds", "random_microseconds", "calls", "flop")] for p in profile["parts"]
    ]
    named = [row(part["part"], *numbers) for part, numbers in zip(profile["parts"], rows)]
    return [*named, row("all", *map(sum, zip(*rows)))]


def operation_rows(profile: dict[str, Any], number: int) -> list[tuple[str, ...]]:
    """The most expensive operations as text; their names are relative to the update."""
    return [
        (
            o["operation"],
            f"{o['microseconds']:,.1f}",
            f"{o['calls']:,.0f}",
            o["part"],
            o["op_name"].rpartition("jit(update)/")[2],
        )
        for o in profile["operations"][:number]
    ]


def summary(profile: dict[str, Any]) -> list[str]:
    """The sentences below the table."""
    p, blocks, trace = profile, profile["microseconds_of_blocks"], profile["trace"]
    spec, device, commit = p["spec"], p["device"], (p["git_commit"] or "unknown")[:10]
    random = sum(part["random_microseconds"] for part in p["parts"]) / p["microseconds"]
    memory = "" if p["memory_bytes"] is None else f", {size(p['memory_bytes'])} of memory"
    less = "" if trace["on_device"] else f" less {trace['recording_nanoseconds']:.0f} ns each for recording,"
    lines = [
        f"{sources.shown(spec['algorithm'])} on {sources.shown(spec['environment'])}, "
        f"{spec['seeds']} seed(s), on {device['kind']} "
        f"({device['platform']}), jax {p['versions']['jax']}, commit {commit}.",
        f"{p['microseconds']:,.0f} us per update, the median of {len(blocks)} blocks ({min(blocks):,.0f} to "
        f"{max(blocks):,.0f}): {count(p['steps_per_second'])} steps/s{memory}.",
        f"Random numbers and keys: {100 * random:.1f}% of it.",
        f"{p['flop'] / 1e6:,.2f} MFLOP per update in matrix products and convolutions: "
        f"{p['flop_per_second'] / 1e9:,.2f} GFLOP/s, {100 * p['share_of_peak']:.2g}% of the peak of "
        f"{p['peak_flop_per_second'] / 1e9:,.0f} GFLOP/s (float32, {p['peak_side']} x {p['peak_side']}).",
        f"Shares are those of {trace['updates']} traced update(s) of {trace['microseconds']:,.0f} us:{less} "
        f"times {trace['scale']:.2f} to fit the untraced time.",
    ]
    if trace["microseconds"] < p["microseconds"] or max(blocks) > 1.25 * min(blocks):
        lines.append("The times differ more than they should: the machine was busy. Measure again.")
    if p["loops_of_unknown_length"]:
        lines.append(f"{p['loops_of_unknown_length']} loop(s) of unknown length count once in the MFLOP.")
    return lines


def markdown(profile: dict[str, Any], operations: int) -> str:
    """The profile as a Markdown page."""

    def table(columns, rows, left):
        yield "| " + " | ".join(columns) + " |"
        yield "| " + " | ".join("---" if name in left else "---:" for name in columns) + " |"
        for row in rows:
            yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"

    lines = [*table(COLUMNS, part_rows(profile), COLUMNS[:1]), ""]
    lines += [f"* {line}" for line in summary(profile)]
    if operations:
        rows = [
            (f"`{o}`", *numbers, f"`{name}`" if name else "")
            for o, *numbers, name in operation_rows(profile, operations)
        ]
        lines += ["", *table(OPERATIONS, rows, ("operation", "part", "op_name"))]
    return "\n".join(lines) + "\n"


def show(profile: dict[str, Any], operations: int) -> None:
    """Prints the profile."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    def table(columns, rows, left):
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in columns:
            side = "left" if name in left else "right"
            shown.add_column(name, justify=side, overflow="fold", no_wrap=name != "op_name")
        for row in rows:
            shown.add_row(*row)
        return shown

    console = Console(markup=False, highlight=False)
    console.print(table(COLUMNS, part_rows(profile), COLUMNS[:1]))
    for line in summary(profile):
        console.print(line)
    if operations:
        rows = operation_rows(profile, operations)
        console.print(table(OPERATIONS, rows, ("operation", "part", "op_name")))
