"""The data of a report: reads folders and data files, and writes data files."""

import json
from pathlib import Path

from jaxrl import files
from jaxrl.experiments import folders
from jaxrl.experiments.report.run_folders import read_fit, read_run, read_sweep
from jaxrl.experiments.report.schema import FORMAT, Header, Source, check, parse_line, trial_kind


def read(paths: list[Path]) -> list[Source]:
    """The records of runs (folders with run.json or fit.json), sweeps (sweep.json) and data files (.jsonl).

    Raises:
      ValueError: a path is none of these, is broken, or has nothing finished to show.
    """
    sources = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist: give folders of runs or sweeps, or .jsonl data files")
        if path.is_file():
            sources += _read_file(path)
        elif (path / "sweep.json").is_file():
            sources.append(read_sweep(path))
        elif (path / "run.json").is_file():
            sources.append(read_run(path, detailed=len(paths) == 1))
        elif (path / "fit.json").is_file():
            sources.append(read_fit(path))
        else:
            raise ValueError(f"{path} is neither a run nor a sweep: it has no run.json and no sweep.json")
    return sources


def write(path: Path, sources: list[Source]) -> None:
    """Writes sources as JSON lines. Raises OSError, or ValueError for a file of a run."""
    lines = [line for source in sources for line in (source.about, *source.trials, *source.confirms)]
    folders.write_output(path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))


def _read_file(path: Path) -> list[Source]:
    if path.suffix != ".jsonl":
        raise ValueError(f"{path} is not a .jsonl data file, nor a folder of a run or a sweep")
    sources: list[Source] = []
    for number, line in enumerate(files.read(path).decode(errors="replace").splitlines(), 1):
        one = parse_line(path, number, line)
        if "report" in one:
            check(path, number, one, Header)
            if one["report"] != FORMAT:
                raise ValueError(f"{path} was written by another version of jaxrl: recreate it with --data")
            sources.append(Source(one, [], []))
        elif not sources:
            raise ValueError(
                f"{path} is not a report data file: write one with `jaxrl report RUN --data FILE`"
            )
        else:
            check(path, number, one, trial_kind(one, sources[-1].about.get("search")))
            (sources[-1].confirms if "confirms" in one else sources[-1].trials).append(one)
    if not sources or not all(source.trials for source in sources):
        raise ValueError(f"{path} has nothing finished: a header without trials")
    return sources
