"""The operations in a trace of JAX's profiler, and the time of each.

    time of an operation = calls * (interquartile mean of its events - recording)

Operations that run concurrently share the time. Recording an operation takes about as long as running a small
one, so each event is shortened by the duration of the shortest one, which is almost only the recording.
"""

import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import jax

from jaxrl.experiments.profile import hlo
from jaxrl.statistics import iqm


class Event(NamedTuple):
    """One run of an operation, in nanoseconds: at `end` its thread is free, at `done` its result is ready."""

    start: float
    end: float
    done: float
    name: str


class Cost(NamedTuple):
    """The cost of an operation per update: nanoseconds and calls."""

    nanoseconds: float
    calls: float


def record(folder: Path, advance, updates: int) -> tuple[Path, float]:
    """Runs updates under the profiler. Returns the trace file and the seconds per update."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    options.enable_hlo_proto = False
    with jax.profiler.trace(folder, profiler_options=options):
        begun = time.perf_counter()
        advance(updates)
        seconds = (time.perf_counter() - begun) / updates
    return max(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime), seconds


def read_events(path: Path, program: hlo.Program) -> tuple[list[Event], bool]:
    """The operations of a program in a trace that contain no other operations.

    Returns:
      The events, and whether they are from an accelerator; then those of the host are left out.
    """
    planes = list(jax.profiler.ProfileData.from_file(str(path)).planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    loops = {
        i.name
        for instructions in program.computations.values()
        for i in instructions
        if i.opcode in hlo.LOOPS
    }
    for chosen, on_device in ((devices, True), (planes, False)):
        lines = [list(line.events) for plane in chosen for line in _operation_lines(plane)]
        marks = {mark: event.end_ns for events in lines for event in events if (mark := _mark(event))}
        kept = [e for events in lines for e in innermost(_operations(events, marks, program.name))]
        kept = [e for e in kept if e.name not in loops]  # also loops whose body ran on another thread
        if kept:
            return kept, on_device
    raise ValueError(f"the profiler recorded no operation: the backend {jax.default_backend()} reports none")


def _operation_lines(plane) -> list:
    """All lines, or the one that summarizes the others."""
    lines = list(plane.lines)
    return [line for line in lines if line.name == "XLA Ops"] or lines


def _mark(event):
    """On a host, the key by which the event "end: add.1" (the result is ready) refers to that of add.1."""
    return dict(event.stats).get("_c") if event.name.startswith("end: ") else None


def _operations(events, marks: dict, module: str) -> list[Event]:
    operations = []
    for event in events:
        stats = {} if event.name.startswith("end: ") else dict(event.stats)
        if "hlo_op" in stats and stats.get("hlo_module", module) == module:
            done = max(event.end_ns, marks.get(stats.get("_p"), 0.0))
            operations.append(Event(event.start_ns, event.end_ns, done, stats["hlo_op"]))
    return operations


def innermost(events: list[Event]) -> list[Event]:
    """The events of one thread that contain no other events.

    The time of a loop outside its operations is ignored: it is mostly that of their recording.
    """
    events = sorted(events, key=lambda event: (event.start, -event.end))
    ends = [event.end for event in events]
    follows = [*(event.start for event in events[1:]), float("inf")]
    return [event for event, end, follow in zip(events, ends, follows) if follow >= end]


def shared_times(events: list[Event]) -> list[float]:
    """The time of each event, such that their sum is the time in which any operation ran.

    At any moment the time is shared by all operations that run, on any thread or stream; if none runs, by
    those that have left their thread but are not done: other threads of the pool then work for them.
    """
    points = []
    for at, event in enumerate(events):
        points += [(event.start, 1, at), (event.end, 2, at)]
        if event.done > event.end:
            points.append((event.done, 3, at))
    times, before = [0.0] * len(events), 0.0
    running, pending = set(), set()
    for now, kind, at in sorted(points):
        if now > before and (active := running or pending):
            for index in active:
                times[index] += (now - before) / len(active)
        before = now
        if kind == 1:
            running.add(at)
        elif kind == 2:
            running.discard(at)
            if events[at].done > now:
                pending.add(at)
        else:
            pending.discard(at)
    return times


def costs(events: list[Event], updates: int, on_device: bool) -> tuple[dict[str, Cost], float]:
    """The cost of each operation per update, without the time of the recording.

    Returns:
      Costs by operation, and the nanoseconds of recording that were subtracted from each event.
    """
    times = defaultdict(list)
    for event, shared in zip(events, shared_times(events)):
        times[event.name].append(shared)
    # A device measures its kernels itself. On a host, the shortest of many events is almost only recording.
    recording = 0.0 if on_device else min(event.end - event.start for event in events)
    by_name = {}
    for name, values in times.items():
        calls = len(values) / updates
        by_name[name] = Cost(calls * max(0.0, float(iqm(values)) - recording), calls)
    return by_name, recording
