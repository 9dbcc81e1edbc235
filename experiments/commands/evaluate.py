"""`jaxrl evaluate RUN`."""

import dataclasses
from pathlib import Path
from typing import Annotated

from jaxrl.experiments import options, studies
from jaxrl.experiments.runs.evaluation import evaluation


def command(argv: list[str]) -> int:
    """Prints the returns of a run. Returns the exit status."""

    @dataclasses.dataclass
    class Evaluate:
        """Returns of a run's policies over new episodes, with keys that training has not used."""

        run: Annotated[Path, options.positional()]  # folder of the run, or of a sweep for its winner
        episodes: int = 128  # per seed
        best: bool = False  # the best saved checkpoint instead of the last
        json: bool = False  # print one JSON object

    chosen = options.parse(Evaluate, argv, "jaxrl evaluate")
    who = studies.agents_of(chosen.run)
    print(evaluation(who.folder, chosen.episodes, chosen.best, chosen.json, who.lanes, who.label))
    return 0
