"""`jaxrl plot RUN...`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from jaxrl.experiments import folders, options, runs, studies


def command(argv: list[str]) -> int:
    """Draws learning curves and prints the path of the file. Returns the exit status."""

    @dataclasses.dataclass
    class Plot:
        """Learning curves of one or more runs or studies; of a sweep, those of its best trials."""

        runs: Annotated[tuple[Path, ...], options.positional()]  # folders of runs and studies
        out: Path | None = None  # PNG file; otherwise curves.png in the run; of several, here

    chosen = options.parse(Plot, argv, "jaxrl plot")
    if not chosen.runs:
        raise options.UsageError("plot needs a run: jaxrl plot RUN")
    out = chosen.out or folders.default_output(chosen.runs, "curves.png")
    folders.require_output(out)
    print(runs.plot_curves([curve for path in chosen.runs for curve in curves_of(path)], out))
    return 0


def curves_of(path: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Labels and rows of a run or a study. Raises ValueError if there are none."""
    study = studies.of(path)
    if not study:
        return runs.curves_of(path)
    if not study.curves:
        raise studies.without(path, "curves of its own")
    return study.curves(path)
