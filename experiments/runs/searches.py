"""The results of a search on the device, in `search.json` in the folder of its run."""

import json
from pathlib import Path
from typing import Any

from jaxrl import files, hosts, train
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
    begun = len(record["trials"]) * spec.seeds if spec.search["kind"] != "pbt" else spec.agents
    updated = int(state.num_updates) * (algo.steps_per_update or 1) * spec.agents
    record["steps"] = updated + begun * train.steps_after(algo, 0)
    hosts.by_leader(lambda: files.replace(path / "search.json", json.dumps(record, allow_nan=False) + "\n"))


def searched_outcome(path: Path) -> list[dict[str, Any]]:
    """The trials of a search on the device, in the form of `results`. ValueError if it is not complete."""
    try:
        trials = json.loads((path / "search.json").read_text())["trials"]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path / 'search.json'} cannot be read: {error}") from None
    for one in trials:
        one["died"] = {}
    return trials
