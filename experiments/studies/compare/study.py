"""The stages of a comparison, from the state of its folder: its programs, the tables."""

from pathlib import Path

from jaxrl import hosts
from jaxrl.experiments.runs import training
from jaxrl.experiments.studies.compare import folder, table


def carry_on(path: Path) -> int:
    """Continues a comparison from the state of its folder, and prints its tables."""
    if hosts.several():
        raise ValueError("a comparison is for one process: leave --coordinator out")
    plan, info = folder.read(path)
    for at, program in folder.remaining(path, plan):
        begun = (at / "run.json").exists()
        spec = folder.spec_of(at, program)
        if status := training.carry_on(at, spec, plan.extra, None if begun else info["command"], whole=path):
            return status
    print(table.text(folder.write_results(path)))
    print(f"records in {path / 'results.jsonl'}")
    return 0
