"""The records of a report, to which runs, sweeps and data files are converted, and their checks.

A source is a header and a record for each trial, best first; a run is a source of one trial. As JSON lines
(`data.write`, read again by `data.read`) a source is its header's line and then one line per trial:

    {"report": 1, "kind": "sweep", "name": "lr", "command": [...], "algorithm": "ppo", "environment":
     "CartPole-v1", "env": {...}, "objective": "ppo", "metric": "evaluation", "steps": 50000, "seed": 0,
     "seeds": 8, "axes": ["--hp.learning-rate"], "search": "sobol", "versions": {...}, "device": {...},
     "git_commit": "...", "started": "...", "wall_seconds": 12.3, "log_axes": ["--hp.learning-rate"],
     "slots": 12, "spent": 1474560}   of searches inside the program: trials at a time, total environment
       steps; of runs "settings", values by name, and "learning", as `learning.record` returns it; of
       sweeps "winner", the command that trains it
    {"trial": 3, "values": {"--hp.learning-rate": "0.003"}, "first_seed": 0, "per_seed": [...],
     "score": 497.0, "interval": [481.0, 500.0], "died": {"2": 4096}, "steps": 50176,
     "curve": {"timesteps": [...], "iqm": [...], "per_seed": [[...], ...]}}
    {"confirms": 3, ...}                 the same for the best trial, trained again with fresh seeds

A search adds the fields in SEARCHED to its trials. `confirms` is None for the mean of an evolution strategy,
and "members" for the winners of populations, which are evaluated again in `episodes` episodes. A population
is a trial with a single seed.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

FORMAT = 1

# Types of the values of a line; values that can be None can also be missing.
NOTHING = type(None)
HEADER = {"report": int, "name": str, "command": list, "algorithm": str, "environment": str, "axes": list}
HEADER |= {"steps": int, "seed": int, "seeds": int, "wall_seconds": (int, float, NOTHING)}
HEADER |= dict.fromkeys(("env", "versions", "device"), (dict, NOTHING))
HEADER |= dict.fromkeys(("objective", "metric", "search", "git_commit", "started"), (str, NOTHING))
TRIAL = {"values": dict, "per_seed": list, "died": dict, "steps": int, "first_seed": int}
TRIAL |= {"score": (int, float, NOTHING), "curve": (dict, NOTHING), "confirms": (int, str, NOTHING)}
TRIAL |= {"episodes": (int, NOTHING)}
HEADER |= {"log_axes": (list, NOTHING), "slots": (int, NOTHING), "spent": (int, NOTHING)}
HEADER |= {"settings": (dict, NOTHING), "learning": (dict, NOTHING)}
HEADER |= {"winner": (list, NOTHING)}
SEARCHED = {"pbt": {"ancestry": list, "path": dict}, "optuna": {"batch": int}}
SEARCHED |= {kind: {"generation": int} for kind in ("cmaes", "openes")}


class Source(NamedTuple):
    """A run or a sweep: its header, its trials best first, and trials repeated with fresh seeds."""

    about: dict[str, Any]
    trials: list[dict[str, Any]]
    confirms: list[dict[str, Any]]


def parse_line(path: Path, number: int, line: str) -> dict[str, Any]:
    """The JSON object of a line of a file; raises ValueError if it is none."""
    try:
        one = json.loads(line)
    except ValueError:
        one = None
    if not isinstance(one, dict):
        raise ValueError(f"{path}, line {number}, is broken: it is not a JSON object")
    return one


def trial_kinds(one: dict[str, Any], search: str | None) -> dict[str, Any]:
    """The expected types of the values of a trial's line."""
    return TRIAL if "confirms" in one else TRIAL | SEARCHED.get(search, {})


def check(path: Path, number: int, one: dict, kinds: dict[str, Any]) -> None:
    """Raises ValueError if a value that the page needs is missing or of the wrong type."""
    wrong = [name for name, kind in kinds.items() if not isinstance(one.get(name), kind)]
    if not wrong and kinds is HEADER and not all(isinstance(axis, str) for axis in one["axes"]):
        wrong = ["axes"]
    if not wrong and kinds is not HEADER:
        wrong = _wrong_numbers(one)
    if not wrong and "path" in kinds:
        line, values = one["ancestry"], one["path"].values()
        whole = all(isinstance(x, list) and len(x) == len(line) and all(map(_number, x)) for x in values)
        wrong = [] if line and whole else ["path"]
    if wrong:
        raise ValueError(f"{path}, line {number}, is broken: {wrong[0]} is missing or of the wrong type")


def _wrong_numbers(one: dict[str, Any]) -> list[str]:
    """Names of the values of a trial's line that are not valid numbers."""
    diverged_at, curve = one["died"], one.get("curve") or {"timesteps": [], "iqm": [], "per_seed": []}
    steps, centre, seeds = (curve.get(name) for name in ("timesteps", "iqm", "per_seed"))
    shaped = all(isinstance(part, list) for part in (steps, centre, seeds)) and all(
        isinstance(part, list) and len(part) == len(steps) for part in (centre, *seeds)
    )
    right = {
        "per_seed": all(map(_returned, one["per_seed"])),
        "score": _returned(one.get("score")),
        "died": all(seed.isdigit() and isinstance(step, int) for seed, step in diverged_at.items()),
        "curve": shaped
        and all(isinstance(step, int) for step in steps)
        and all(_returned(x) for part in (centre, *seeds) for x in part),
    }
    return [name for name, well in right.items() if not well]


def _returned(value: Any) -> bool:
    return value is None or _number(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
