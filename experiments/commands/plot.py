"""`jaxrl plot RUN...`."""

import dataclasses
from pathlib import Path
from typing import Annotated

from jaxrl.experiments import folders, options, runs


def command(argv: list[str]) -> int:
    """Draws learning curves and prints the path of the file. Returns the exit status."""

    @dataclasses.dataclass
    class Plot:
        """Learning curves of one or more runs."""

        runs: Annotated[tuple[Path, ...], options.positional()]  # folders of runs
        out: Path | None = None  # PNG file; otherwise curves.png in the run; of several, here

    chosen = options.parse(Plot, argv, "jaxrl plot")
    if not chosen.runs:
        raise options.UsageError("plot needs a run: jaxrl plot RUN")
    out = chosen.out or folders.default_output(chosen.runs, "curves.png")
    print(runs.plot_curves(list(chosen.runs), out))
    return 0
