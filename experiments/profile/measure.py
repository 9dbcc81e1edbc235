"""Measures an update: its time without a trace, the times of its parts in a trace, the peak of the machine.

A traced update may be several times as slow as an untraced one: the times in the trace are scaled down
together if their sum exceeds the time of an untraced update. If it is less, the rest is "dispatch and idle".
Floating-point operations are those of matrix products and convolutions, counted in the compiled program
with the trip counts of its loops.
"""

import contextlib
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import train
from jaxrl.experiments import runs
from jaxrl.experiments.profile import hlo
from jaxrl.experiments.profile.parts import IDLE, ORDER, OTHER, attribute, flops
from jaxrl.experiments.profile.trace import Cost, Event, costs, read_events, record
from jaxrl.programs import memory_of, require_update, shapes

MAX_BLOCKS = 10  # blocks of updates that are timed together; the median is the time of an update
MAX_SECONDS = 20.0  # of timing; tracing has half of it
MAX_EVENTS = 400_000  # in a trace, unless one update has more: reading a million takes some seconds
TOO_MANY_EVENTS = 4_000_000  # for one update: a trace of one gigabyte


class Subject(NamedTuple):
    """What is profiled: a compiled program, and `advance(n)`, which runs `n` updates of it."""

    compiled: Any
    advance: Any
    steps_per_update: int


@contextlib.contextmanager
def names_in_cache():
    """Prevents the compilation cache from returning a program with the names of older source code."""
    before = jax.config.jax_compilation_cache_include_metadata_in_key
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
    try:
        yield
    finally:
        jax.config.update("jax_compilation_cache_include_metadata_in_key", before)


def prepare(spec: runs.Spec) -> Subject:
    """Compiles the program that `jaxrl train` runs."""
    programs = runs.build(spec)
    state, totals = shapes(programs)
    advance_by = train.program(programs.algo.update)
    lowered = advance_by.lower(state, totals, programs.hp, np.int32(1), *programs.data)
    with names_in_cache():
        compiled = lowered.compile()
    require_update(programs, compiled)
    zeros = jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), totals)
    held = [programs.init(spec.keys, *programs.data)]

    def advance(length):
        held[0], _ = compiled(held[0], zeros, programs.hp, np.int32(length), *programs.data)
        jax.block_until_ready(held[0])

    return Subject(compiled, advance, programs.algo.steps_per_update * spec.seeds)


class Measured(NamedTuple):
    """Seconds per update, in blocks of untraced updates and in the trace, and the events of the trace."""

    blocks: list[float]
    traced: float
    num_traced: int
    events: list[Event]
    on_device: bool


def measure(subject: Subject, program: hlo.Program, updates: int, folder: Path) -> Measured:
    """Times updates before and after a trace; raises ValueError if an update is too long to be traced."""
    operations = hlo.num_operations(program)
    if operations > TOO_MANY_EVENTS:
        raise ValueError(f"an update of {operations} operations is too long to be traced: take fewer steps")
    blocks = time_updates(subject.advance, (updates + 1) // 2)
    fitting = min(MAX_EVENTS // operations, int(0.5 * MAX_SECONDS / np.median(blocks)))
    num_traced = max(1, min(updates, fitting))
    path, traced = record(folder, subject.advance, num_traced)
    blocks += time_updates(subject.advance, updates // 2)
    return Measured(blocks, traced, num_traced, *read_events(path, program))


def time_updates(advance, updates: int) -> list[float]:
    """Seconds per update in blocks of updates: fewer updates if they take more than half of MAX_SECONDS."""
    advance(1)  # the first run allocates memory
    begun = time.perf_counter()
    advance(1)
    blocks = min(MAX_BLOCKS // 2, updates)
    fitting = 0.5 * MAX_SECONDS / max(1, blocks) / (time.perf_counter() - begun)
    length = max(1, min(updates // max(1, blocks), int(fitting)))
    seconds = []
    for _ in range(blocks):
        begun = time.perf_counter()
        advance(length)
        seconds.append((time.perf_counter() - begun) / length)
        if sum(seconds) * length > 0.5 * MAX_SECONDS:
            break
    return seconds


def measure_peak(side: int | None = None) -> tuple[float, int]:
    """Floating-point operations per second of a large float32 matrix product, the best of several."""
    side = side or (2048 if jax.default_backend() == "cpu" else 8192)
    a = jax.random.normal(jax.random.key(0), (side, side), jnp.float32)
    product = jax.jit(jnp.matmul)
    seconds = []
    for _ in range(6):
        begun = time.perf_counter()
        product(a, a).block_until_ready()
        seconds.append(time.perf_counter() - begun)
    return 2 * side**3 / min(seconds[1:]), side


def profile(spec: runs.Spec, updates: int, folder: Path, side: int | None = None) -> dict[str, Any]:
    """Measures an update of a Spec, as a tree of numbers; times are per update.

    Args:
      updates: maximum number of timed updates.
      folder: for the raw trace.
      side: of the matrices whose product measures the peak.

    Raises:
      ValueError: an invalid Spec, as in training; a program that is too large to be traced.
    """
    if updates < 1:
        raise ValueError(f"updates = {updates} must be at least 1")
    subject = prepare(spec)
    folder.mkdir(parents=True, exist_ok=True)
    program = hlo.parse(subject.compiled.as_text())
    measured = measure(subject, program, updates, folder)
    operation_costs, recording = costs(measured.events, measured.num_traced, measured.on_device)
    places = attribute(program)
    flop, second = flops(program, places), float(np.median(measured.blocks))
    scale = min(1.0, second * 1e9 / max(1e-9, sum(cost.nanoseconds for cost in operation_costs.values())))
    peak, side = measure_peak(side)
    # The loop in the entry computation is that of the updates, whose body must count once.
    updating = {i.name for i in program.computations[program.entry]}
    return {
        "spec": spec.to_json(),
        **runs.provenance(),
        "microseconds": second * 1e6,
        "microseconds_of_blocks": [seconds * 1e6 for seconds in measured.blocks],
        "steps_per_second": subject.steps_per_update / second,
        "flop": flop.total(),
        "flop_per_second": flop.total() / second,
        "peak_flop_per_second": peak,
        "peak_side": side,
        "share_of_peak": flop.total() / second / peak,
        "memory_bytes": memory_of(subject.compiled),
        "loops_of_unknown_length": len(set(program.unknown_loops) - updating),
        "trace": {
            "updates": measured.num_traced,
            "microseconds": measured.traced * 1e6,
            "on_device": measured.on_device,
            "recording_nanoseconds": recording,
            "scale": scale,
        },
        "parts": parts(operation_costs, places, flop, scale, second * 1e6),
        "operations": operations_of(program, operation_costs, places, scale),
    }


def parts(
    operation_costs: dict[str, Cost], places, flop: Counter, scale: float, total: float
) -> list[dict[str, Any]]:
    """A row for each part of an update, in order; the sum of their microseconds is `total`."""
    rows = {part: [0.0, 0.0, 0.0] for part in flop if flop[part]}
    for name, cost in operation_costs.items():
        part, random = places.get(name, OTHER)
        row, microseconds = rows.setdefault(part, [0.0, 0.0, 0.0]), cost.nanoseconds * scale / 1e3
        row[0] += microseconds
        row[1] += microseconds * random
        row[2] += cost.calls
    rank = {part: at for at, part in enumerate(ORDER)}
    order = sorted(rows, key=lambda part: (part == OTHER[0], rank.get(part, len(rank)), part))
    rows[IDLE] = [max(0.0, total - sum(row[0] for row in rows.values())), 0.0, 0.0]
    return [
        {
            "part": part,
            "microseconds": rows[part][0],
            "share": rows[part][0] / total,
            "random_microseconds": rows[part][1],
            "calls": rows[part][2],
            "flop": flop[part],
        }
        for part in (*order, IDLE)
    ]


def operations_of(
    program: hlo.Program, operation_costs: dict[str, Cost], places, scale: float
) -> list[dict[str, Any]]:
    """The single operations, the most expensive first."""
    op_names = {i.name: i.op_name for instructions in program.computations.values() for i in instructions}
    return [
        {
            "operation": name,
            "part": places.get(name, OTHER)[0],
            "microseconds": operation_costs[name].nanoseconds * scale / 1e3,
            "calls": operation_costs[name].calls,
            "op_name": op_names.get(name, ""),
        }
        for name in sorted(operation_costs, key=lambda name: -operation_costs[name].nanoseconds)
    ]
