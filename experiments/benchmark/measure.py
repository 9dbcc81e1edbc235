"""From options to outcomes: the entrants of a case, their interpreters, and the measurements."""

import os
from collections.abc import Callable
from pathlib import Path

from jaxrl.experiments.benchmark import against, peers, starts, suites
from jaxrl.experiments.benchmark.driver import Entrant, Outcome, compete


def measure(suite, options, names, cases, old, say, tell, save) -> dict[str, dict[str, Outcome]]:
    """For each case the outcome of each contender, including those that are not available.

    Args:
      old: commit and package to compare ours with, or None.
      say, tell: take a line, a temporary one and a permanent one.
      save: takes the outcomes so far, after each case.
    """
    pythons, missing = interpreters(suite, names, tell)
    if suite == "compile":
        (case,) = cases
        results = starts.measure(enter(suite, case, pythons, old), options.repeats, options.limit, say)
        cases = [case._replace(name=name) for name in (starts.COLD, starts.WARM)]
    else:
        results = {}
        for case in cases:
            entrants = enter(suite, case, pythons, old)
            if entrants:
                tell(f"{case.name}: {', '.join(entrant.name for entrant in entrants)}")
                prefixed = _prefixed(case.name, say)
                turns = (options.repeats, options.limit, case.learn_steps, prefixed)
                results[case.name] = compete(entrants, *turns)
                save(results)
    for name, reason in missing.items():
        for case in cases:
            if takes_part(suite, name, case):
                results.setdefault(case.name, {})[name] = Outcome(failed=f"not available: {reason}")
    for outcomes in results.values():
        for outcome in outcomes.values():
            if outcome.failed and not outcome.failed.startswith("not available"):
                outcome.failed = f"failed: {outcome.failed}"
    return results


def _prefixed(name: str, say: Callable) -> Callable:
    return lambda text: say(f"{name}: {text}")


def interpreters(suite: str, names: list[str], tell: Callable) -> tuple[dict[str, Path], dict[str, str]]:
    """The interpreters of the contenders, and for those without one the reason."""
    from jaxrl.experiments import runs

    cache = None if os.environ.get("JAXRL_CACHE") == "off" else runs.cache_folder()
    folder = cache and cache / "peers"
    pythons, missing = {}, {}
    for name in names:
        try:
            pythons[name] = peers.python_for(name, peers.SUITES[suite][name], folder, tell)
        except peers.Unavailable as error:
            missing[name] = str(error)
    return pythons, missing


def takes_part(suite: str, name: str, case: suites.Case) -> bool:
    able = peers.SUITES[suite][name].takes_part(case.settings)
    return able and (name == "ours" or not case.only_ours)


def enter(suite: str, case: suites.Case, pythons: dict[str, Path], old) -> list[Entrant]:
    """The entrants of a case: available contenders that support its environment; with `old`, ours twice."""
    entrants = []
    for name, python in pythons.items():
        contender = peers.SUITES[suite][name]
        if not takes_part(suite, name, case):
            continue
        settings = {**case.settings, **contender.settings, "packages": list(contender.packages)}
        script = peers.WORKERS / contender.worker
        entrant = Entrant(name, python, script, settings)
        if name == "ours":
            entrant = entrant._replace(environment=case.environment, source=against.package())
        entrants.append(entrant)
        if name == "ours" and old:
            entrants.append(as_it_was(entrant, *old))
    return [_sharing_memory(entrant, len(entrants)) for entrant in entrants]


def as_it_was(entrant: Entrant, commit: str, package: Path) -> Entrant:
    """The same entrant with the package of another commit, which precedes the installed one."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(package.parent), *([before] if before else [])])
    environment = {**entrant.environment, "PYTHONPATH": path}
    return entrant._replace(name=f"ours@{commit[:7]}", environment=environment, source=package)


def _sharing_memory(entrant: Entrant, count: int) -> Entrant:
    """Limits each process to its share of an accelerator's memory, all of which JAX would otherwise use."""
    share = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / count:.2f}"}
    given = share.keys() & os.environ.keys()
    return entrant._replace(environment={**({} if given else share), **entrant.environment})
