"""The time from the start of `jaxrl train ppo CartPole-v1` until the metrics of its first update.

Runs the command itself, for one update, in this process. Prints one JSON line.
"""

import json
import os
import sys
import tempfile
import time

from protocol import channel, versions

TRACED = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
COMPILED = "/jax/core/compile/backend_compile_duration"


def main():
    settings = json.loads(sys.argv[1])
    answer = channel()
    begun = time.time()
    import jaxrl

    library = time.time()
    # Modules that the command imports; others, in other versions, are imported later.
    from jaxrl.algos import ppo  # noqa: F401
    from jaxrl.experiments import cli, runs

    imported = time.time()
    spent = watch_jax()
    rows = []
    watch_rows(runs, lambda row: rows.append(time.time()))
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "run")
        flags = ["--steps", "512", "--config.num-envs", "4", "--config.num-steps", "128", "--intervals", "1"]
        status = cli.main(["train", "ppo", settings["env"], *flags, "--out", out, "--eval-episodes", "0"])
    if status or not rows:
        sys.exit(f"jaxrl train ended with status {status} and {len(rows)} rows")
    answer(
        seconds=rows[0] - settings["started"],
        stages={
            "interpreter": begun - settings["started"],
            "import jaxrl": library - begun,
            "other imports": imported - library,
            **spent(),
            "all after imports": rows[0] - imported,
        },
        versions=versions(settings["packages"]),
        source=jaxrl.__file__,
    )


def watch_jax():
    """Sums the times of tracing and compiling reported by JAX. Returns a function that returns them."""
    import jax

    seconds = {"trace": 0.0, "compile or load": 0.0}

    def listen(event, duration, **_):
        if event in TRACED:
            seconds["trace"] += duration
        elif event == COMPILED:
            seconds["compile or load"] += duration

    jax.monitoring.register_event_duration_secs_listener(listen)
    return lambda: dict(seconds)


def watch_rows(runs, seen):
    """Makes every row of metrics call `seen`: the first row comes after the first update."""
    from jaxrl.logger import Sink

    original = runs.open_sinks
    runs.open_sinks = lambda *args: [*original(*args), Sink(seen, lambda: None)]


if __name__ == "__main__":
    main()
