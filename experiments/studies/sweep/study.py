"""How commands use the folder of a sweep."""

from pathlib import Path

from jaxrl import files
from jaxrl.experiments.studies import Study
from jaxrl.experiments.studies.parts import Part
from jaxrl.experiments.studies.sweep import progress
from jaxrl.experiments.studies.sweep.folder import read
from jaxrl.experiments.studies.sweep.shown import curves_of, winner_of
from jaxrl.experiments.studies.sweep.stages import carry_on


def policy(path: Path) -> Path:
    """Raises ValueError: a sweep has several policies."""
    raise ValueError(f"{path} is a sweep: give one of its runs, for example {files.run_of_sweep(path)}")


def parts(path: Path) -> list[Part]:
    """Its programs, the confirmation, and the table."""
    stages = progress.whole(path, *read(path)).stages
    return [*(Part(one.name, path / one.name) for one in stages), Part("results", path / "results.jsonl")]


STUDY = Study(
    carry_on, curves=curves_of, policy=policy, agents=winner_of, parts=parts, several_processes=True
)
