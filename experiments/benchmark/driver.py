"""Contenders in separate processes, timed in turn, so that only one is busy at any moment."""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

PAUSE = 0.3  # seconds between two contenders, after which spinning threads are asleep


class Failed(Exception):
    """A contender failed; the message is the reason in a few words."""


class Entrant(NamedTuple):
    """One contender in one case: how its process is started."""

    name: str
    python: Path
    script: Path
    settings: dict[str, Any]
    environment: Mapping[str, str] = {}  # additional environment variables
    source: Path | None = None  # folder that must contain the measured package


@dataclasses.dataclass
class Outcome:
    """The outcome of an entrant. `repeats` has None for a missing measurement."""

    ready: dict[str, Any] = dataclasses.field(default_factory=dict)
    repeats: list[dict[str, float] | None] = dataclasses.field(default_factory=list)
    returns: list[float] | None = None
    finish: dict[str, Any] = dataclasses.field(default_factory=dict)
    failed: str | None = None

    @property
    def speeds(self) -> list[float | None]:
        """Steps per second of every repeat."""
        return [r and r["steps"] / r["seconds"] for r in self.repeats]


class Worker:
    """A contender's process, which receives one request per line."""

    def __init__(self, entrant: Entrant):
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (`close` closes it)
        # The worker reports the time of its compilation, so nothing may come from a cache.
        environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        self._process = subprocess.Popen(
            [str(entrant.python), str(entrant.script), json.dumps(entrant.settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**environment, **entrant.environment},
            start_new_session=True,
        )
        self._answers: queue.Queue = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def answer(self, limit: float) -> dict[str, Any]:
        """The next answer. Raises Failed if the worker exits, or sends nothing for `limit` seconds."""
        until = time.monotonic() + limit
        while True:
            try:
                line = self._answers.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise Failed(f"no answer within {limit:g} s") from None
            if line is None:
                raise Failed(self._last_words())
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict):
                    return answer

    def ask(self, line: str, limit: float) -> dict[str, Any]:
        with contextlib.suppress(OSError):  # if the worker has exited, `answer` reports why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        return self.answer(limit)

    def _last_words(self) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "closed its output"
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        # JAX adds notes at the end of its tracebacks.
        reasons = [line for line in lines if "Error" in line.split(":")[0]] or lines[-1:]
        return reasons[-1][:200] if reasons else f"exit status {status}"

    def close(self) -> None:
        """Ends the process and all processes that it started."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()


def compete(
    entrants: list[Entrant],
    repeats: int,
    limit: float,
    learn_steps: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Outcome]:
    """Starts all entrants, times them in turn, trains agents with each, and ends them.

    In every round each entrant has one repeat; the order rotates. An entrant that fails is left out of later
    rounds, the others continue.

    Args:
      limit: seconds without output after which a worker counts as hung.
      learn_steps: environment steps of the new agents whose returns are reported; 0: none.
      say: takes one line with the current status.
    """
    outcomes = {entrant.name: Outcome() for entrant in entrants}
    workers: dict[str, Worker] = {}

    def attempt(name, action):
        try:
            action(outcomes[name])
        except Failed as failure:
            outcomes[name].failed = str(failure)
            workers.pop(name).close()

    try:
        for entrant in entrants:
            say(f"{entrant.name}: setting up and compiling")
            workers[entrant.name] = Worker(entrant)
            attempt(entrant.name, lambda o, e=entrant: _get_ready(workers[e.name], e, o, limit))
        for repeat in range(repeats):
            for name in _rotated(list(outcomes), repeat):
                if name not in workers:
                    outcomes[name].repeats.append(None)
                    continue
                say(f"{name}: repeat {repeat + 1} of {repeats}")
                time.sleep(PAUSE)
                attempt(name, lambda o, n=name: o.repeats.append(workers[n].ask("run", limit)))
                if name not in workers:
                    outcomes[name].repeats.append(None)
        for name in list(workers):
            if learn_steps:
                say(f"{name}: learning for {learn_steps} steps")
                attempt(name, lambda o, n=name: _learn(workers[n], learn_steps, o, limit))
            if name in workers:
                attempt(name, lambda o, n=name: o.finish.update(workers[n].ask("finish", limit)))
    finally:
        for worker in workers.values():
            worker.close()
    return outcomes


def _get_ready(worker: Worker, entrant: Entrant, outcome: Outcome, limit: float) -> None:
    outcome.ready.update(worker.answer(limit))
    source = outcome.ready.get("source")
    if entrant.source and not Path(source or "/").resolve().is_relative_to(entrant.source.resolve()):
        raise Failed(f"measured {source} instead of {entrant.source}")


def _learn(worker: Worker, steps: int, outcome: Outcome, limit: float) -> None:
    """Requests the returns; the time limit is four times that expected from the speed so far."""
    speeds = sorted(s for s in outcome.speeds if s)
    expected = 8 * steps / speeds[0] if speeds else 0.0
    outcome.returns = worker.ask(f"learn {steps}", limit + 4 * expected)["returns"]


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names) or 1
    return names[by:] + names[:by]
