"""The stages of a comparison, from the state of its folder, and how commands use the folder."""

from pathlib import Path
from typing import Any

from jaxrl import files, records
from jaxrl.experiments.studies import Study, study
from jaxrl.experiments.studies.compare import folder, methods, table
from jaxrl.experiments.studies.parts import Part, announced
from jaxrl.experiments.verdict import Verdict


def carry_on(path: Path) -> int:
    """Continues a comparison from the state of its folder, and prints its tables."""
    plan, info = folder.read(path)
    sizes = {
        one.name: 0.0 if one.is_complete() else float(program.spec.steps * program.spec.agents)
        for one, program in _programs(path, plan)
    }
    for _, (at, program) in zip(announced("comparison", sizes), folder.remaining(path, plan), strict=False):
        spec = folder.spec_of(at, program)
        if status := study.train(path, at, spec, plan.extra, info["command"]):
            return status
    print(table.text(folder.write_results(path)))
    print(f"records in {path / 'results.jsonl'}")
    return 0


def _programs(path: Path, plan: folder.Plan) -> list[tuple[Part, methods.Program]]:
    """All programs in the order of training, with the names of their folders."""
    expected = [(folder.place(spec), one) for spec in plan.specs for one in folder.expected(plan, spec)]
    return [(Part(f"{place}/{one.folder}", path / place / one.folder), one) for place, one in expected]


def parts(path: Path) -> list[Part]:
    """Its programs, and the table."""
    programs = _programs(path, folder.read(path)[0])
    return [*(part for part, _ in programs), Part("results", path / "results.jsonl")]


def verdict(path: Path) -> Verdict:
    """The tables of a complete comparison."""
    if not (path / "results.jsonl").is_file():
        raise study.unfinished(path)
    return table.verdict(table.read(path / "results.jsonl"))


def curves(path: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """The returns of each method on the reported seeds; in several environments, the labels name them."""
    plan, _ = folder.read(path)
    drawn = []
    for spec in plan.specs:
        where = f" in {folder.place(spec)}" * (len(plan.specs) > 1)
        try:
            programs = folder.reporting(plan, spec, folder.best_of(plan, path, spec))
        except ValueError:  # the tuning has not ended
            continue
        for program in programs:
            rows = records.rows(path / folder.place(spec) / program.folder)
            for number, one in enumerate(program.methods):
                lanes = slice(number * spec.seeds, (number + 1) * spec.seeds)
                drawn.append((f"{one.name}{where}", [_of_lanes(row, lanes) for row in rows]))
    if not any(rows for _, rows in drawn):
        raise study.unfinished(path)
    return drawn


def _of_lanes(row: dict[str, Any], lanes: slice) -> dict[str, Any]:
    """A row with the values of some agents only."""
    return {name: value[lanes] if isinstance(value, list) else value for name, value in row.items()}


def policy(path: Path) -> Path:
    """Raises ValueError: a comparison has several policies."""
    parts = sorted(one.parent for one in path.glob("*/report*/run.json"))
    part = parts[0] if parts else path / "ENVIRONMENT" / "report"
    raise ValueError(f"{path} is a comparison: give one of its runs, for example {files.quoted(part)}")


STUDY = Study(carry_on, verdict, curves, policy, parts=parts)
