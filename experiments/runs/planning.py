"""The cost of a run: memory as reported by the compiler, time as measured; the number of agents at a time."""

import contextlib
import dataclasses
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxrl import envs, loop, memory, records, sources, train
from jaxrl.experiments import plot, runs
from jaxrl.programs import Compiled, Programs, compile_programs, shapes
from jaxrl.reporters import duration, size

PROBE_SECONDS = 1.0
CHUNKS = (4, 16, 32)  # tried in addition to the default, if a run is long enough
LONG = 120.0  # seconds of training that are long enough
SLOW = 30_000  # steps per second that every environment reaches with many agents
GAIN = 1.05  # smaller measured gains are noise


class Plan(NamedTuple):
    """The cost of a run in bytes and seconds.

    Attributes:
      state: of all agents, during the whole run.
      working: needed by the compiled update in addition; data of the algorithm is a part of it.
      peak: of the whole process, or of the device if it has its own memory.
      training, evaluating: of the whole run; for a search, an upper bound.
      around: for the start, with programs that are already compiled, and for saving and drawing.
    """

    state: int
    working: int
    peak: int
    training: float
    evaluating: float
    around: float

    def as_text(self, spec: runs.Spec) -> str:
        """Two lines of text."""
        whole = self.training + self.evaluating + self.around
        return (
            f"memory: {size(self.peak)} at most; agents {size(self.state)} ({size(self.state / spec.lanes)} "
            f"each), their update {size(self.working)} more\n"
            f"time: {duration(whole + 0.5)} (training {self.training:.1f} s, "
            f"evaluating {self.evaluating:.1f} s, starting and saving {self.around:.1f} s)"
        )


def in_a_process(spec: runs.Spec, compile_cache: bool) -> str:
    """The cost of a run, measured in a separate process, like that of the run."""
    with tempfile.TemporaryDirectory() as folder:
        return _in_a_process(spec, compile_cache, Path(folder))


def _in_a_process(spec: runs.Spec, compile_cache: bool, folder: Path) -> str:
    given = {"spec": spec.to_json(), "compile_cache": compile_cache, "folder": str(folder)}
    given = json.dumps(given | {"sources": sources.keep(folder, given["spec"])})
    # -P: modules in the current folder must not replace those that this process imports.
    command = [sys.executable, "-P", "-m", "jaxrl.experiments.runs.planning"]
    answer = subprocess.run(command, input=given, capture_output=True, text=True)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["it was killed: out of memory?"])[-1]
        raise ValueError(f"a trial of the run failed: {last.removeprefix('ValueError: ')}")
    return answer.stdout.strip()


def plan(spec: runs.Spec) -> Plan:
    """Performs all stages of a run for a second, and extrapolates.

    Raises:
      memory.NotEnough: the run needs more memory than is available.
    """
    begun = time.perf_counter()
    programs = runs.build(spec)
    compiled = compile_programs(programs)
    state = memory.num_bytes(shapes(programs))
    working = max(0, (compiled.memory or 0) - state)
    at = loop.start(programs, compiled)
    around = time.perf_counter() - begun
    update, at = probe(programs, compiled, at)
    rows = len(programs.ends)
    evaluating = rows * _evaluation(spec, programs, compiled, at)
    training = update * programs.num_updates
    saving, drawing = _afterwards(spec, programs, at, rows)
    around += drawing + saving * (1 + min(rows, (training + evaluating) / 10.0))
    return Plan(state, working, _peak(), training, evaluating, around)


def _afterwards(spec, programs, at, rows: int) -> tuple[float, float]:
    """Seconds for a checkpoint, and for drawing the curves at the end."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        loop.save(programs, Path(folder), at)
        saved = time.perf_counter()
        row = records.make_row(programs.algo, at.num_updates, 0, at.totals, None, spec.agents)
        points = [{**row, "timesteps": i + 1} for i in range(rows)]
        with contextlib.suppress(ValueError):  # no episode has ended yet
            plot.curves([("", points)], Path(folder) / "curves.png")
        return saved - begun, time.perf_counter() - saved


def probe(programs: Programs, compiled: Compiled, at: loop.Position):
    """Seconds per update, and the position after the measured updates."""
    length, spent = 1, 0.0
    while True:
        begun = time.perf_counter()
        state, totals = compiled.advance(at.state, at.totals, programs.hp, np.int32(length), *programs.data)
        jax.block_until_ready(totals)
        spent = time.perf_counter() - begun
        at = loop.Position(state, totals, at.num_updates + length)
        if spent >= PROBE_SECONDS / 2:
            return spent / length, at
        length = min(length * 16, max(length + 1, math.ceil(length * PROBE_SECONDS / max(spent, 1e-4))))


def _evaluation(spec, programs, compiled, at) -> float:
    """Seconds of an evaluation whose episodes last until the time limit, as good ones often do."""
    if not spec.eval_episodes:
        return 0.0
    run, keys = compiled.evaluate.result(), runs.evaluation_keys(spec, at.num_updates)
    jax.block_until_ready(run(at.state, keys))
    begun = time.perf_counter()
    lengths = np.asarray(jax.block_until_ready(run(at.state, keys)).lengths)
    spent = time.perf_counter() - begun
    entry = envs.REGISTRY[spec.environment]
    limit = spec.env.get("max_steps", entry.max_steps)
    return spent * (limit / lengths.max(axis=1).mean() if limit else 1.0)


def choose_chunk(spec: runs.Spec) -> int:
    """Agents at a time: the default, unless it needs more memory than is available, or the run is long and
    another number is measured to be faster.

    Returns:
      A number for `Spec.chunk`, 0 for the default. It affects the results of a run through rounding, so it is
      chosen once, before the run starts.

    """
    share = spec.lanes // train.mesh(spec.lanes).size
    if share < 2 or spec.lanes * spec.steps < LONG * SLOW:
        return 0
    usual = _seconds(spec, 0)
    if usual is None:
        halves = (share // 2**i for i in range(1, share.bit_length()))
        return next((chunk for chunk in halves if _seconds(spec, chunk) is not None), 0)
    if jax.default_backend() != "cpu" or usual * runs.build(spec).num_updates < LONG:
        return 0
    measured = {chunk: _seconds(spec, chunk) or math.inf for chunk in CHUNKS if chunk <= share}
    best = min(measured, key=measured.__getitem__, default=0)
    return best if measured.get(best, math.inf) * GAIN < usual else 0


def _seconds(spec: runs.Spec, chunk: int) -> float | None:
    """Seconds per update with `chunk` agents at a time; None if the memory is not sufficient."""
    spec = dataclasses.replace(spec, chunk=chunk, eval_episodes=0)
    try:
        programs = runs.build(spec)
        compiled = compile_programs(programs)
    except memory.NotEnough:
        return None
    return probe(programs, compiled, loop.start(programs, compiled))[0]


def _peak() -> int:
    """Peak memory of this process in bytes; of the device, if it reports that."""
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"] * jax.local_device_count()
    with contextlib.suppress(OSError, KeyError):  # Linux, where getrusage includes the parent's peak
        return _kilobytes("/proc/self/status", "VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _kilobytes(path: str, name: str) -> int:
    """A field of a file in /proc, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return int(fields[name].split()[0]) * 1024


def main() -> None:
    """Reads a Spec from standard input and prints the cost of its run."""
    given = json.load(sys.stdin)
    train.use_cores()
    sources.remember(Path(given["folder"]), given["sources"])
    spec = runs.from_json(given["spec"])
    if given["compile_cache"]:
        runs.enable_compile_cache()
    print(plan(spec).as_text(spec))


if __name__ == "__main__":
    main()
