"""The stages of a sweep, from the state of its folder: its groups, the confirmation, the table."""

import itertools
from pathlib import Path

from jaxrl import hosts
from jaxrl.experiments import runs
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies.sweep.folder import read
from jaxrl.experiments.studies.sweep.outcomes import confirmation, next_batch, write_results
from jaxrl.experiments.studies.sweep.text import table


def carry_on(path: Path) -> int:
    """Continues a sweep from the state of its folder: its groups, the confirmation, the table."""
    info, groups = read(path)
    options = {name: value for name, value in info["options"].items() if name in runs.OPTIONS}

    def done(folder: Path, spec) -> int:
        made = hosts.by_leader((folder / "run.json").exists)
        return training.carry_on(folder, spec, options, None if made else info["command"], whole=path)

    for number in itertools.count(1):
        group = groups[number - 1] if number <= len(groups) else next_batch(path)
        if group is None:
            break
        if status := done(path / f"group-{number}", group.spec):
            return status
    again = hosts.by_leader(lambda: (best := confirmation(path)) and best.to_json())
    if again and (status := done(path / "confirm", runs.from_json(again))):
        return status
    write_results(path)
    if hosts.leads():
        print(table(path))
    return 0
