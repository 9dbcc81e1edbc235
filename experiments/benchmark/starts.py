"""The `compile` suite: seconds from the start of a process to its first update, cold and warm."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxrl.experiments.benchmark.driver import Entrant, Failed, Outcome, Worker

COLD, WARM, IMPORT = "first update, cold", "first update, warm", "import"
LIBRARY = ("jaxrl", "jaxrl.train", "jaxrl.envs", "jaxrl.algos")  # typical imports of a script


def measure(
    entrants: list[Entrant], repeats: int, limit: float, say: Callable[[str], None] = lambda text: None
) -> dict[str, dict[str, Outcome]]:
    """Starts every entrant, in turn and in new processes: with an empty cache, then with the filled cache.

    The imports of jaxrl and of JAX are also measured separately.

    Returns:
      For each case the outcomes by entrant; repeats contain `seconds` and `stages`.
    """
    cases: dict[str, dict[str, Outcome]] = {case: {} for case in (COLD, WARM, IMPORT)}
    for repeat in range(repeats):
        for entrant in entrants:
            say(f"{entrant.name}: start {repeat + 1} of {repeats}")
            with tempfile.TemporaryDirectory() as cache:
                for case in (COLD, WARM):
                    _record(cases[case], _cached(entrant, cache), limit)
            if entrant.name.startswith("ours"):
                _record(cases[IMPORT], _importing(entrant, entrant.name, *LIBRARY), limit)
        if entrants and entrants[0].name.startswith("ours"):
            alone = entrants[0]._replace(source=None, environment={})
            _record(cases[IMPORT], _importing(alone, "jax alone", "jax"), limit)
    return cases


def _cached(entrant: Entrant, folder: str) -> Entrant:
    kept = {"JAXRL_CACHE": folder, "XDG_CACHE_HOME": folder}
    if not entrant.name.startswith("ours"):  # does not set up a cache, so JAX's is enabled for it
        kept["JAX_COMPILATION_CACHE_DIR"] = folder
    return entrant._replace(environment={**entrant.environment, **kept})


def _importing(entrant: Entrant, name: str, *modules: str) -> Entrant:
    script = entrant.script.with_name("import_module.py")
    return entrant._replace(name=name, script=script, settings={**entrant.settings, "modules": modules})


def _record(outcomes: dict[str, Outcome], entrant: Entrant, limit: float) -> None:
    """Records one start. An entrant that fails is not started again."""
    outcome = outcomes.setdefault(entrant.name, Outcome())
    if outcome.failed:
        outcome.repeats.append(None)
        return
    try:
        answer = start(entrant, limit)
    except Failed as failure:
        outcome.failed = str(failure)
        outcome.repeats.append(None)
        return
    outcome.ready = {"versions": answer.pop("versions", {}), "source": answer.pop("source", None)}
    outcome.repeats.append(answer)


def start(entrant: Entrant, limit: float) -> dict[str, Any]:
    """The answer of a worker that prints a single line. Raises Failed."""
    worker = Worker(entrant._replace(settings={**entrant.settings, "started": time.time()}))
    try:
        reply = worker.answer(limit)
    finally:
        worker.close()
    source = Path(reply.get("source") or "/").resolve()
    if entrant.source and not source.is_relative_to(entrant.source.resolve()):
        raise Failed(f"measured {source} instead of {entrant.source}")
    return reply
