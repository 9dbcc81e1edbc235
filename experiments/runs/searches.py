"""The results of a search on the device, in `search.json` in the folder of its run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxrl import decode, files, hosts, train
from jaxrl.experiments import search
from jaxrl.experiments.runs.spec import Spec
from jaxrl.programs import Programs


def keep_search(path: Path, spec: Spec, programs: Programs, state) -> None:
    """Writes the results of a search on the device into the folder of its run; nothing for other runs."""
    if not spec.search:
        return
    strategy = search.on_host(state.strategy)
    algo = programs.algo
    record = search.outcome(spec.search, train.updates_for(algo, spec.steps), strategy)
    for one in record["trials"]:
        updates = one.pop("updates")
        one["steps"] = train.steps_after(algo, updates) if updates else 0  # 0: no rung was reached
    populations = search.on_device(spec.search["kind"]).populations
    begun = spec.agents if populations else len(record["trials"]) * spec.seeds
    updated = int(state.num_updates) * (algo.steps_per_update or 1) * spec.agents
    record["steps"] = updated + begun * train.steps_after(algo, 0)
    hosts.by_leader(lambda: files.replace(path / "search.json", json.dumps(record, allow_nan=False) + "\n"))


@dataclasses.dataclass
class TrialRecord:
    """A trial in `search.json`, with what the kinds of searches add. Earlier versions had values as text."""

    trial: int
    values: dict[str, float | str]
    per_seed: list[float | None]
    steps: int
    rung: int | None = None
    generation: int | None = None
    member: int | None = None
    ancestry: list[int] | None = None
    path: dict[str, list[float]] | None = None

    def __post_init__(self) -> None:
        self.values = {flag: search.as_number(flag, value) for flag, value in self.values.items()}


@dataclasses.dataclass
class SearchRecord:
    """The content of `search.json`: the trials, all steps taken, and the mean that a strategy recommends."""

    trials: list[TrialRecord]
    steps: int
    recommended: dict[str, float] | None


def read_search(path: Path) -> dict[str, Any]:
    """The results of a search in the folder of its run.

    Raises:
      ValueError: it is not complete, or the file is damaged: one line that names the file and the field.
    """
    file = path / "search.json"
    try:
        record: SearchRecord = decode.read_json(file, SearchRecord)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
    trials = [
        {name: value for name, value in vars(one).items() if value is not None} for one in record.trials
    ]
    return {"trials": trials, "steps": record.steps, "recommended": record.recommended}


def searched_outcome(path: Path) -> list[dict[str, Any]]:
    """The trials of a search on the device, in the form of `results`. Raises as `read_search` does."""
    return [one | {"died": {}} for one in read_search(path)["trials"]]
