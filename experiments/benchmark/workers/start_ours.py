"""One start of `jaxrl train ppo CartPole-v1`, watched: how long until its first update is known.

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
    # All that the command imports on its way; what is missing in another version imports itself later.
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
    """Adds up what JAX reports of tracing and compiling. Returns a function that tells."""
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
    """Has `seen` called with each row of metrics: the first is there when the first update is."""
    from jaxrl.logger import Sink

    original = runs.open_sinks
    runs.open_sinks = lambda *args: [*original(*args), Sink(seen, lambda: None)]


if __name__ == "__main__":
    main()
