"""`jaxrl benchmark gpu`: everything that is worth knowing about an accelerator, in a few minutes.

Results are written as they come, most important first, so that a run that is cut off leaves its data.
"""

import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrl import files
from jaxrl.experiments.benchmark import gpu_pack, gpu_plan, peers, results
from jaxrl.experiments.benchmark.gpu_table import table

LEAST_SECONDS = 10.0  # a group for which less time is left is not started


@dataclasses.dataclass
class Gpu:
    """An accelerator: correctness, speeds and the effect of settings, in order of importance."""

    minutes: float = 9.0  # after which nothing more is measured
    out: Path | None = None  # folder of the results; otherwise one in benchmarks/
    rehearse: bool = False  # the same items in small sizes, on any machine
    only: tuple[str, ...] = ()  # items whose names begin with one of these; default: all
    pack: Path | None = None  # instead, download what such a machine may lack to this folder, as wheels
    python: str = "3.12"  # version of Python for which --pack downloads


def run(options: Gpu, argv: list[str]) -> int:
    """Measures all items. Returns the exit status: 1 if an item failed."""
    if options.minutes <= 0:
        raise ValueError(f"minutes = {options.minutes} must be positive")
    if options.pack:
        return gpu_pack.pack(options.pack, options.python)
    out = results.make_folder(options.out, "gpu").absolute()
    with tempfile.TemporaryDirectory(prefix="jaxrl-gpu-") as scratch:
        groups = _chosen(gpu_plan.plan(Path(scratch), out, options.rehearse), options.only)
        until = time.monotonic() + 60 * options.minutes
        rows = list(_measure(groups, until, out / "results.jsonl"))
    facts = results.provenance("gpu", ["gpu", *argv], {}, None)
    files.replace(
        out / "result.json", json.dumps({**facts, "rehearsal": options.rehearse, "rows": rows}, indent=1)
    )
    text = table(rows)
    files.replace(out / "table.md", text)
    print(text)
    print(f"results in {out}")
    return int(any("failed" in row for row in rows))


def _chosen(groups, only):
    if not only:
        return groups
    kept = [group._replace(items=[i for i in group.items if i.name.startswith(only)]) for group in groups]
    kept = [group for group in kept if group.items]
    if not kept:
        names = ", ".join(item.name for group in groups for item in group.items)
        raise ValueError(f"no item begins with {' or '.join(only)}: choose among {names}")
    return kept


def _measure(groups: list[gpu_plan.Group], until: float, path: Path) -> Iterator[dict[str, Any]]:
    """A row for each item, also written to `path` at once."""
    with path.open("a") as file:
        for group in groups:
            for row in _group(group, until):
                row = {"group": group.name, **row}
                file.write(json.dumps(row) + "\n")
                file.flush()
                print(_line(row), file=sys.stderr, flush=True)
                yield row


def _line(row: dict[str, Any]) -> str:
    result = row.get("result", {})
    text = row.get("failed") or row.get("skipped") or ""
    if "steps_per_second" in result:
        text = f"{result['steps_per_second']:.3g} steps/s, compiled in {result['compile_seconds']:.1f} s"
    return f"{row['item']}: {row.get('seconds', 0.0):.1f} s  {text}"


def _group(group: gpu_plan.Group, until: float) -> Iterator[dict[str, Any]]:
    """Results of a group; after a crash it goes on with the next item in a new process."""
    items = list(group.items)
    while items:
        left = until - time.monotonic()
        if left < LEAST_SECONDS:
            yield from ({"item": item.name, "skipped": "no time left"} for item in items)
            return
        for row in _process(list(items), group.environment, until):
            yield row
            if row["item"] != "start":
                items.pop(0)


def _process(items, environment, until) -> Iterator[dict[str, Any]]:
    """Rows of one process, until it ends or crashes: then the row of the item that failed is the last."""
    script = peers.WORKERS / "gpu_worker.py"
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), json.dumps([item._asdict() for item in items])],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **environment},
        )
        answers: queue.Queue = queue.Queue()
        threading.Thread(target=_listen, args=(process, answers), daemon=True).start()
        count = -1  # the first answer is that of the start
        try:
            while count < len(items):
                answer = answers.get(timeout=max(0.1, until - time.monotonic()))
                if answer is None:
                    errors.seek(0)
                    last = [line for line in errors.read().splitlines() if line.strip()][-3:]
                    reason = " | ".join(last)[-500:] or f"exit status {process.wait()}"
                    yield {"item": items[max(count, 0)].name, "failed": reason}
                    return
                count += 1
                yield answer
        except queue.Empty:
            yield {"item": items[max(count, 0)].name, "failed": "no time left"}
        finally:
            process.kill()
            process.wait()


def _listen(process, answers):
    for line in process.stdout:
        answers.put(json.loads(line))
    answers.put(None)
