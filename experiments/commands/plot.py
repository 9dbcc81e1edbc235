"""`jaxrl plot RUN...`."""

import dataclasses
from pathlib import Path
from typing import Annotated

from jaxrl.experiments import folders, options, runs
from jaxrl.experiments.plot import Curves
from jaxrl.experiments.studies import sweep as sweeps


def command(argv: list[str]) -> int:
    """Draws learning curves and prints the path of the file. Returns the exit status."""

    @dataclasses.dataclass
    class Plot:
        """Learning curves of one or more runs; of a sweep, those of its best trials."""

        runs: Annotated[tuple[Path, ...], options.positional()]  # folders of runs
        out: Path | None = None  # PNG file; otherwise curves.png in the run; of several, here

    chosen = options.parse(Plot, argv, "jaxrl plot")
    if not chosen.runs:
        raise options.UsageError("plot needs a run: jaxrl plot RUN")
    out = chosen.out or folders.default_output(chosen.runs, "curves.png")
    curves = [curve for path in chosen.runs for curve in curves_of(path)]
    print(runs.plot_curves(curves, out))
    return 0


def curves_of(path: Path) -> Curves:
    return sweeps.curves_of(path) if sweeps.is_sweep(path) else runs.curves_of(path)
