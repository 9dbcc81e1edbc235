"""The results of `jaxrl benchmark gpu` as Markdown."""

from typing import Any


def table(rows: list[dict[str, Any]]) -> str:
    """One line for each item, with what was measured; then what equal bits and differences say."""
    lines = ["| item | steps/s | s/update | return | compile s | planned MB | peak MB | kernels | s |"]
    lines.append("| --- | " + "---: | " * 7 + "---: |")
    others = []
    for row in rows:
        result = row.get("result", {})
        if "steps_per_second" not in result:
            if row["item"] != "start":
                others.append(f"* {row['item']}: {_text(row)}")
            continue
        cells = (
            row["item"],
            f"{result['steps_per_second']:.3g}",
            f"{result['seconds_per_update']:.3g}",
            f"{result['return_median']:.4g}",
            f"{result['compile_seconds']:.1f}",
            _megabytes(result["planned_bytes"]),
            _megabytes(result["peak_bytes"]),
            str(sum(result["kernels"].values())),
            f"{row['seconds']:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *others, "", *_bits(rows)]) + "\n"


def _text(row) -> str:
    if "failed" in row or "skipped" in row:
        return row.get("failed") or row["skipped"]
    return ", ".join(f"{name} {value}" for name, value in row["result"].items())


def _megabytes(size) -> str:
    return "" if size is None else f"{size / 1e6:.0f}"


def _bits(rows) -> list[str]:
    """Whether processes agree: `whole` in two of them, `rest` in a third."""
    ends: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["item"].startswith("bits/") and "result" in row:
            ends.setdefault(row["item"].split("/")[1], {})[row["group"]] = row["result"]["end"]
    verdicts = []
    for name, by_group in ends.items():
        equal = len(set(by_group.values())) == 1
        verdict = "the same bits" if equal else "different bits: " + str(by_group)
        verdicts.append(f"{name}: {len(by_group)} processes ({', '.join(by_group)}) ended with {verdict}.")
    return verdicts
