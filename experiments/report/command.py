"""`jaxrl report PATH...`: reads runs, sweeps and data files, and writes the page."""

import dataclasses
import math
from pathlib import Path
from typing import Annotated

from jaxrl.experiments import errors, studies
from jaxrl.experiments.studies import Study


def command(argv: list[str]) -> int:
    """Writes a report and prints its path. Raises ValueError for invalid paths or options."""
    import tyro

    from jaxrl.experiments import folders, verdict
    from jaxrl.experiments.options import UsageError, parse
    from jaxrl.experiments.report import csv_data, data, page

    @dataclasses.dataclass
    class Report:
        """Writes statistics and figures of runs and sweeps as one self-contained HTML page, or the result of
        one other study."""

        paths: Annotated[tuple[Path, ...], tyro.conf.Positional]  # runs, sweeps, .jsonl files; or a study
        out: Path | None = None  # .html, or .md of a study; by default report.html in the folder, or here
        data: Path | None = None  # also write the records: .jsonl recreates the same page, .csv is a table
        range: tuple[str, ...] = ()  # ENV=LOW:HIGH, returns that are normalized to 0 and 1

    chosen = parse(Report, argv, "jaxrl report")
    if not chosen.paths:
        raise UsageError("report needs a run or a sweep: jaxrl report RUN")
    out = chosen.out or _default(chosen.paths)
    study = _study(chosen.paths)
    if out.suffix != ".html" and not (study and out.suffix == ".md"):
        raise UsageError(f"--out {out} must end in .html{' or .md' * bool(study)}")
    if chosen.data and chosen.data.suffix not in (".jsonl", ".csv"):
        raise UsageError(f"--data {chosen.data} must end in .jsonl or .csv")
    for file in filter(None, (out, chosen.data)):
        folders.require_output(file, *chosen.paths)
    if study:
        if chosen.data or chosen.range:
            raise UsageError(f"--data and --range are for runs and sweeps, and {chosen.paths[0]} is neither")
        result = study.verdict(chosen.paths[0])
        print_it = verdict.html if out.suffix == ".html" else verdict.markdown
        folders.write_output(out, print_it(result), *chosen.paths)
        print(f"{verdict.screen(result)}\n{out}")
        return 0
    sources = data.read(list(chosen.paths))
    text, sentence = page.build(sources, dict(map(_range, chosen.range)))
    folders.write_output(out, text, *chosen.paths)
    if chosen.data and chosen.data.suffix == ".csv":
        folders.write_output(chosen.data, csv_data.text(sources), *chosen.paths)
    elif chosen.data:
        data.write(chosen.data, sources)
    print(errors.printable(f"{sentence}\n{out}"))
    return 0


def _study(paths: tuple[Path, ...]) -> Study | None:
    """The study with a verdict among the paths. Raises ValueError if there are other paths as well."""
    for path in paths:
        study = studies.of(path)
        if study and study.verdict:
            if len(paths) > 1:
                raise ValueError(f"{path} is a {studies.name_of(path)} study: report it alone")
            return study
    return None


def _default(paths: tuple[Path, ...]) -> Path:
    if len(paths) == 1 and paths[0].suffix == ".jsonl":
        return paths[0].with_suffix(".html")
    from jaxrl.experiments import folders

    return folders.default_output(paths, "report.html")


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """Parses `CartPole-v1=0:500` into a name and two numbers."""
    name, _, ends = text.rpartition("=")
    try:
        low, high = map(float, ends.split(":"))
    except ValueError:
        low = high = math.nan
    if not (name and -math.inf < low < high < math.inf):
        raise ValueError(f"--range {text}: write ENV=LOW:HIGH with LOW below HIGH, e.g. CartPole-v1=0:500")
    return name, (low, high)
