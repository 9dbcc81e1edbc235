"""`jaxrl resume RUN`: continues a run or a study from the state of its folder."""

import dataclasses
from pathlib import Path
from typing import Annotated

from jaxrl import hosts
from jaxrl.experiments import options, processes, runs, studies
from jaxrl.experiments.runs import extend, training
from jaxrl.train import use_cores


def command(argv: list[str]) -> int:
    """Continues the run. Returns the exit status."""
    with processes.connected(argv):
        return _resume(argv)


def _resume(argv: list[str]) -> int:
    @dataclasses.dataclass
    class Resume:
        """Continues a run as if it had never stopped; with --steps also beyond its end.

        The schedules of an extended run end at its new length: the learning rate of a finished run, 0 by
        default, rises to its value at this step in a run of the new length. `run.json` lists the earlier
        lengths.
        """

        run: Annotated[Path, options.positional()]  # folder of the run
        steps: int | None = None  # total environment steps per seed, more than it has now
        coordinator: str = ""  # several processes, possibly another number than before: see `jaxrl train`
        num_processes: int | None = None  # several processes: how many
        process_id: int | None = None  # several processes: which one this is, from 0
        join_seconds: int = 60  # several processes: how long to wait for the others to connect

    chosen = options.parse(Resume, argv, "jaxrl resume")
    path = chosen.run
    use_cores(quiet=True)
    if chosen.steps is not None:
        extend.extend(path, chosen.steps)
    if study := studies.of(path):
        if hosts.several() and not study.several_processes:
            kind = studies.name_of(path)
            raise options.UsageError(f"a {kind} study is for one process: leave --coordinator out")
        return study.carry_on(path)
    info = runs.read_info(path)
    return training.carry_on(path, runs.from_json(info["spec"]), info["options"])
