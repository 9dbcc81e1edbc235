"""The results of a benchmark: a folder with numbers, table and figure, and an exit status."""

import contextlib
import datetime
import os
import platform
import sys
from pathlib import Path
from typing import Any

from jaxrl import files
from jaxrl.experiments.benchmark import against, report


def make_folder(out: Path | None, suite: str) -> Path:
    """An empty folder for the results. Raises ValueError if it contains results."""
    if out is None:
        now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        out = Path("benchmarks") / f"{suite}-{now}"
    if (out / "result.json").exists():
        raise ValueError(f"{out} already contains results: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {out}: {error.strerror or error}; choose another --out") from None
    return out


def provenance(suite: str, argv: list[str], results, old) -> dict[str, Any]:
    """Everything else that the numbers depend on: machine, versions, commit, command."""
    commit, dirty = against.state()
    readies = [(n, o.ready) for outcomes in results.values() for n, o in outcomes.items() if o.ready]
    return {
        "suite": suite,
        "unit": "s" if suite == "compile" else "steps/s",
        "command": ["jaxrl", "benchmark", *argv],
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "dirty": dirty,
        "against": old and old[0],
        "machine": machine(),
        "devices": {name: ready["device"] for name, ready in readies if "device" in ready},
        "versions": {name: ready.get("versions", {}) for name, ready in readies},
    }


def machine() -> dict[str, Any]:
    model = platform.processor()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.platform()}


def save(out: Path, results, facts: dict[str, Any], settings) -> None:
    """Writes `result.json`, also while cases are left: a benchmark that is stopped keeps the others."""
    files.replace(out / "result.json", report.as_json(results, facts, settings))


def write(out: Path, suite: str, results, facts: dict[str, Any], settings, seconds: bool) -> None:
    """Writes `result.json`, `table.md` and `figure.png`, and prints the table."""
    rows = report.rows(results, seconds)
    title = f"jaxrl benchmark {suite}: {_where(facts)}"
    rounds = max((len(o.repeats) for outcomes in results.values() for o in outcomes.values()), default=0)
    notes = [f"median (least to most) of {rounds} rounds"]
    notes += report.stages(results)
    if any(row.returns for row in rows):
        notes += ["return: of fresh agents that act by draws, median (least to most) over their seeds"]
    if any(row.agent_bytes for row in rows):
        notes += [
            "MiB: the largest memory of the process; MiB per agent: the arrays of one agent, with its replay"
        ]
    if suite == "replay":
        notes += ["a draw counts as a step: seconds per 1M steps are microseconds per draw"]
    save(out, results, facts, settings)
    files.replace(out / "table.md", f"{title}\n\n{report.markdown(rows, seconds, notes)}")
    report.figure(rows, seconds, title, out / "figure.png")
    report.show(rows, seconds, title, notes)
    print(f"results in {out}")


def _where(facts: dict[str, Any]) -> str:
    """A description of the machine, with the accelerators that were used."""
    devices = {d["kind"] for d in facts["devices"].values() if d.get("platform", "cpu") != "cpu"}
    cpu = f"{facts['machine']['cpu']}, {facts['machine']['cores']} cores"
    return ", ".join([cpu, *sorted(devices)])


def status(results, fail_below: float | None, seconds: bool) -> int:
    """0, or 1 if jaxrl failed or is too slow compared with the other commit."""
    for case, outcomes in results.items():
        for row in report.rows({case: outcomes}, seconds):
            if row.name.startswith("ours") and row.value is None:
                print(f"{row.name} has no result for {case}: {row.remark}", file=sys.stderr)
                return 1
            if not fail_below or not row.name.startswith("ours@"):
                continue
            if row.ratio is None or row.ratio.median < fail_below:
                speed = f"{row.ratio.median:.3f} times as fast" if row.ratio else "no round in common"
                print(f"{case}: {speed}, below {fail_below}", file=sys.stderr)
                return 1
    return 0
