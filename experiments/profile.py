"""`jaxrl profile ALGO ENV`: the time of the parts of an update, and its fraction of the machine's peak.

The library names its parts with `jax.named_scope`; the compiler keeps the names with every instruction
of the program, and the profiler records the time of each. The profile is the sum of these times by part:

    time of an operation = calls * (interquartile mean of its events - recording) * scale

Operations that run concurrently share the time. Recording an operation takes about as long as running a small
one, so a traced update may be several times as slow as an untraced one: each event is shortened by the
duration of the shortest one (which is almost only the recording), and all are scaled down together if their
sum still exceeds the time of an untraced update. If it is less, the rest is "dispatch and idle".
Floating-point operations are those of matrix products and convolutions, counted in the compiled program
with the trip counts of its loops.
"""

import contextlib
import dataclasses
import json
import re
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import files, sources, train
from jaxrl.experiments import hlo, runs, spec_options
from jaxrl.experiments.presets import chosen_preset
from jaxrl.programs import memory_of, shapes
from jaxrl.reporters import count, size
from jaxrl.statistics import iqm

MAX_BLOCKS = 10  # blocks of updates that are timed together; the median is the time of an update
MAX_SECONDS = 20.0  # of timing; tracing has half of it
MAX_EVENTS = 400_000  # in a trace, unless one update has more: reading a million takes some seconds
TOO_MANY_EVENTS = 4_000_000  # for one update: a trace of one gigabyte

# --- parts ---------------------------------------------------------------------------------------

# Labels of the named scopes, in the order in which an update executes them.
ROLLOUT = {
    "policy": "rollout: policy",
    "dynamics": "rollout: dynamics",
    "reset": "rollout: reset",
    "environment": "rollout: environment",
    "rollout": "rollout: rest",
}
SCOPES = ("replay", "values", "advantage", "shuffle", "minibatch", "loss", "optimizer", "metrics")
OTHER, IDLE = ("other", False), "dispatch and idle"
ORDER = (*ROLLOUT.values(), *SCOPES[:5], "loss: forward", "loss: backward", *SCOPES[6:])

# Functions of jax.random and their primitives. The sort of a permutation does not count as random numbers.
RANDOM = re.compile(
    r"threefry|2x32|rng_|random_(bits|split|fold_in|seed|wrap|unwrap|gamma|clone)"
    r"|jit\(_(uniform|randint|shuffle|normal|normal_real|truncated_normal|bernoulli|gumbel|exponential|gamma"
    r"|beta|dirichlet|laplace|logistic|cauchy|poisson|t|categorical|permutation|choice)\)"
)
SCOPE = re.compile(r"(?:\w+\()*(\w+)\)*")  # inside the names of transformations


def classify(op_name: str) -> tuple[str, bool] | None:
    """The part of an instruction by its scopes, and whether it generates random numbers or keys.

    The outermost scope counts, in a rollout the innermost; a random number belongs to the part that uses it.
    Names after the call of a random function are ignored: JAX traces it once, and other callers get
    the names of the first one.

    Returns:
      `OTHER` outside of all scopes; None if the compiler has lost the names.
    """
    segments = op_name.partition(";")[0].split("/")
    random = next((at for at, segment in enumerate(segments) if RANDOM.search(segment)), None)
    outside = [segment for segment in segments[:random] if "jit(" not in segment]
    scopes = [(SCOPE.fullmatch(segment), segment) for segment in outside]
    known = [(m[1], segment) for m, segment in scopes if m and (m[1] in ROLLOUT or m[1] in SCOPES)]
    is_random = random is not None and segments[-1] != "sort"
    if not known:
        return (OTHER[0], is_random) if segments[0].startswith("jit(") else None
    part, segment = known[0]
    if part in ROLLOUT:
        part = ROLLOUT[[name for name, _ in known if name in ROLLOUT][-1]]
    elif part == "loss":
        part = "loss: backward" if "transpose(" in segment else "loss: forward"
    return part, is_random


def attribute(program: hlo.Program) -> dict[str, tuple[str, bool]]:
    """Part and randomness of every instruction.

    A fusion belongs to the part of most of its instructions. An instruction without a name (the compiler
    removes those of matrix products) belongs to the latest part among its operands, otherwise to the earliest
    among its users, otherwise to the part that runs it, as do the copies of a loop.
    """
    places: dict[str, tuple[str, bool]] = {}

    def visit(computation, around, generator):
        instructions = program.computations[computation]
        near = _neighbourhood(program, instructions)
        for i in instructions:
            part, random = near.get(i.name, around)
            inner = generator or _is_threefry(program, i)
            place = places.setdefault(i.name, (part, random or inner))
            for called in i.called:
                visit(called, place, inner)

    visit(program.entry, OTHER, False)
    return places


def _neighbourhood(program: hlo.Program, instructions: list[hlo.Instruction]) -> dict[str, tuple[str, bool]]:
    """Parts of the instructions of a computation, if they or their neighbours have names."""
    rank = {part: at for at, part in enumerate(ORDER)}
    named = {i.name: _place(program, i) for i in instructions}
    # The results of a loop, and the inputs of the computation, do not determine the part of their users.
    closed = {i.name for i in instructions if i.opcode in ("parameter", "get-tuple-element", *hlo.LOOPS)}
    for i in instructions:
        if i.opcode in ("bitcast", "copy", "tuple", "constant") and closed.issuperset(i.operands):
            closed.add(i.name)
    places = {name: place for name, place in named.items() if place}

    def nearest(names, choose):
        known = [places[name] for name in names if name in places and name not in closed]
        known = [place for place in known if place[0] in rank]
        return choose(known, key=lambda place: rank[place[0]]) if known else None

    users = defaultdict(list)
    for i in instructions:
        for operand in i.operands:
            users[operand].append(i.name)
        if i.name not in places and i.name not in closed and (place := nearest(i.operands, max)):
            places[i.name] = place
    for i in reversed(instructions):
        if i.name not in places and i.name not in closed and (place := nearest(users[i.name], min)):
            places[i.name] = place
    return places


def _place(program: hlo.Program, i: hlo.Instruction) -> tuple[str, bool] | None:
    """The part by its own name, or by the names of the instructions in it."""
    votes = Counter(place for inner in _inside(program, i) if (place := classify(inner.op_name)))
    if i.opcode not in ("fusion", "call") or not votes:
        return classify(i.op_name)
    parts = Counter()
    for (part, _), number in votes.items():
        parts[part] += number
    part, most = parts.most_common(1)[0]
    # A loop that was compiled into one operation: the times of its parts cannot be separated.
    if i.opcode == "call" and most < 0.8 * parts.total():
        part = "rollout" if all(name.startswith("rollout") for name in parts) else "several parts"
        return f"{part}: one kernel", False
    return part, 2 * votes[part, True] > most


def _inside(program: hlo.Program, i: hlo.Instruction):
    """The instructions in a fusion, or in the computations that a loop runs."""
    for called in i.called if i.opcode in ("fusion", "call", *hlo.LOOPS) else ():
        for inner in program.computations[called]:
            yield from _inside(program, inner)
            if inner.opcode not in (*hlo.FREE, "fusion", "call", *hlo.LOOPS):
                yield inner


def _is_threefry(program: hlo.Program, i: hlo.Instruction) -> bool:
    """Whether a loop is JAX's random number generator, which has no name in a compiled program.

    Threefry is five times four rounds of rotation and xor on 32-bit words. Salmon et al. 2011.
    https://doi.org/10.1145/2063384.2063405
    """
    if i.opcode == "call":
        return any(_is_threefry(program, inner) for name in i.called for inner in program.computations[name])
    if i.opcode != "while" or i.trips != 5:
        return False
    words = Counter(inner.opcode for inner in _inside(program, i) if inner.shape.startswith("u32"))
    return min(words["xor"], words["shift-left"]) >= 4


def flops(program: hlo.Program, places: dict[str, tuple[str, bool]]) -> Counter:
    """Floating-point operations of one run in matrix products and convolutions, by part, on all devices."""
    counts = Counter()
    for name, instructions in program.computations.items():
        shapes = {i.name: i.shape for i in instructions}
        for i in instructions:
            if number := hlo.flops(i, shapes):
                counts[places.get(i.name, OTHER)[0]] += program.times[name] * number * program.partitions
    return counts


# --- the trace -----------------------------------------------------------------------------------


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


# --- measuring -----------------------------------------------------------------------------------


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


# --- output --------------------------------------------------------------------------------------

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


# --- the command ---------------------------------------------------------------------------------


def options(algorithm: str, environment: str, objective_name: str, tuned_for: str = "") -> type:
    """The options of `jaxrl profile ALGO ENV` as a dataclass: those of training that affect its program."""
    trained = spec_options.train_options(algorithm, environment, objective_name, tuned_for)
    kind = {field.name: field.type for field in dataclasses.fields(trained)}
    default = {field.name: field.default for field in dataclasses.fields(trained)}

    @dataclasses.dataclass
    class Profile:
        """The time of one update by part, and its fraction of the machine's peak."""

        updates: int = 200  # timed updates; fewer if they take more than 20 seconds
        operations: int = 0  # also list this many single operations, the most expensive first
        out: Path | None = None  # folder for profile.json, profile.md and the raw trace
        json: bool = False  # print one JSON object instead of a table
        seeds: int = 1  # agents trained at once
        seed: int = 0  # of the first agent; the others follow
        objective: kind["objective"] = default["objective"]  # policy objective, by name or as a file
        preset_of: str = tuned_for  # take the preset of this ALGO, or ALGO:ENV
        config: kind["config"] = default["config"]  # static settings
        hp: kind["hp"] = default["hp"]  # traced hyperparameters
        env: kind["env"] = default["env"]  # parameters of the environment

    return Profile


def command(argv: list[str]) -> int:
    """`jaxrl profile ALGO ENV [OPTIONS]`."""
    algorithm, environment, kind, chosen, env = spec_options.understand("profile", options, argv)
    if chosen.hp.total_updates != kind.hp.total_updates:
        raise ValueError("--hp.total-updates follows from the steps of the preset: leave it out")
    for name, least in (("updates", 1), ("operations", 0)):
        if getattr(chosen, name) < least:
            raise ValueError(f"{name} = {getattr(chosen, name)} must be at least {least}")
    objective, hparams = runs.with_objective(chosen.objective, chosen.hp)
    parts = chosen.config, chosen.hp
    usual, _ = chosen_preset(algorithm, environment, chosen.objective, chosen.preset_of, parts)
    spec = runs.Spec(
        algorithm=algorithm,
        environment=environment,
        env=env,
        objective=objective,
        config=chosen.config,
        hparams=hparams,
        steps=usual.steps,
        seed=chosen.seed,
        seeds=chosen.seeds,
        intervals=1,
        eval_episodes=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        if chosen.out:
            chosen.out.mkdir(parents=True, exist_ok=True)
        result = profile(spec, chosen.updates, chosen.out / "trace" if chosen.out else Path(folder))
    if chosen.out:
        files.replace(chosen.out / "profile.json", json.dumps(result, indent=2) + "\n")
        files.replace(chosen.out / "profile.md", markdown(result, chosen.operations or 10))
    if chosen.json:
        print(json.dumps(result))
    else:
        show(result, chosen.operations)
    return 0
