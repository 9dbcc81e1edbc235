"""The protocol of workers. Standard library only, because workers run in other environments.

A worker is started with its settings as JSON in the first argument. It answers in JSON lines:

    (once ready)   {"ready": true, "import_seconds": s, "compile_seconds": s, "versions": {}, "device": {}}
    run            {"steps": n, "seconds": s}          one timed repeat; also "gradient_steps" if counted
    learn N        {"returns": [one per seed]}         new agents, trained for N steps each
    finish         {"return": r or null, "trained_steps": n, "peak_bytes": n,
                    "agent_bytes": n or null}          and ends
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple


def _nothing(*_) -> None:
    return None


class Contestant(NamedTuple):
    """The timed program. A unit is the smallest piece of work, such as one update."""

    run: Callable  # (units) -> None, returns when the work is done
    steps_per_unit: int  # environment steps, over all agents
    gradient_steps_per_unit: int = 0  # over all agents; 0: not counted
    learn: Callable = _nothing  # (steps) -> mean return of each seed
    settle: Callable = _nothing  # (units) -> None: prepares for calls of `run` with this number
    last_return: Callable = _nothing  # () -> mean return of the last training episodes, if known
    device: Callable = dict  # () -> description of the device
    agent_bytes: Callable = _nothing  # () -> bytes of the arrays in the state of one agent, if counted
    source: str = ""  # file of the package that is measured
    notes: str = ""  # what a reader of the numbers should know


def serve(load: Callable, make: Callable) -> None:
    """Executes the protocol, until `finish` or the end of the input.

    Args:
      load: `() -> None`, imports large packages.
      make: `(settings) -> Contestant`.
    """
    settings = json.loads(sys.argv[1])
    answer = channel()
    begun = time.perf_counter()
    load()
    imported = time.perf_counter()
    contestant = make(settings)
    contestant.run(1)
    compiled = time.perf_counter()
    units = settings.get("units") or calibrate(contestant.run, settings["seconds"])
    contestant.settle(units)
    if not settings.get("units"):
        contestant.run(units)
    answer(
        ready=True,
        import_seconds=imported - begun,
        compile_seconds=compiled - imported,
        versions=versions(settings.get("packages", [])),
        device=contestant.device(),
        source=contestant.source,
        notes=contestant.notes,
    )
    trained = 0
    for line in sys.stdin:
        command, *arguments = line.split() or [""]
        if command == "run":
            seconds = timed(contestant.run, units)
            trained += units * contestant.steps_per_unit
            gradient_steps = units * contestant.gradient_steps_per_unit
            counted = {"gradient_steps": gradient_steps} if gradient_steps else {}
            answer(steps=units * contestant.steps_per_unit, seconds=seconds, **counted)
        elif command == "learn":
            returns = contestant.learn(int(arguments[0]))
            answer(returns=None if returns is None else [float(r) for r in returns])
        elif command == "finish":
            memory = {"peak_bytes": peak_bytes(), "agent_bytes": contestant.agent_bytes()}
            answer(**{"return": contestant.last_return()}, trained_steps=trained, **memory)
            return


def channel() -> Callable:
    """A function that writes one JSON line; all other output is redirected to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr

    def answer(**fields: Any) -> None:
        out.write(json.dumps(fields) + "\n")
        out.flush()

    return answer


def timed(run: Callable, units: int) -> float:
    begun = time.perf_counter()
    run(units)
    return time.perf_counter() - begun


def calibrate(run: Callable, seconds: float) -> int:
    """The number of units that take about `seconds`."""
    units, enough = 1, min(0.3, seconds)
    while (took := timed(run, units)) < enough:
        units *= 2
    return max(1, round(units * seconds / took))


def versions(packages: list[str]) -> dict[str, str]:
    """The version of each installed package."""
    known = {"python": sys.version.split()[0]}
    for name in packages:
        try:
            known[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return known


def jax_device() -> dict[str, Any]:
    import jax

    device = jax.devices()[0]
    return {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()}


def peak_bytes() -> int | None:
    """Peak memory: of the accelerator if there is one, otherwise of the process."""
    jax = sys.modules.get("jax")
    if jax and jax.default_backend() != "cpu":
        stats = jax.devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use")
    try:
        import resource
    except ImportError:  # not on Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
