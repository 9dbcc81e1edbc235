"""Studies: folders of runs with a plan, stages, records and a verdict.

A kind of study is one line here and one module, whose `STUDY` says how commands use its folders; `study` has
what the kinds share. The command that creates it is in `commands`; a module there can also contain both, and
then its usage is here. A folder is recognized by its files, so that only the necessary module is imported.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import decode, files, formats


class Kind(NamedTuple):
    """How the folder of a kind of study is recognized, and where it is implemented."""

    mark: str  # the file that identifies it
    module: str  # below `jaxrl.experiments`; its `STUDY` is a `Study`
    field: str = ""  # if it is a single run: a field of the Spec in run.json that other runs do not have
    usage: str = ""  # if the module has its command as well, named like the study: see `commands.Command`


# By the names that messages use.
STUDIES = {
    "sweep": Kind("sweep.json", "studies.sweep.study"),
    "comparison": Kind("comparison.json", "studies.compare.study"),
    "discovery": Kind("run.json", "studies.discover.study", field="worlds"),
    "talk": Kind("talk.json", "studies.talk.study"),
    "meta": Kind("meta.json", "studies.meta.study"),
}


class Agents(NamedTuple):
    """The agents that represent a folder: those of a run, or of some of its lanes, one for each seed.

    Attributes:
      label: what they are, for messages; "" for a run.
    """

    folder: Path
    lanes: tuple[int, ...] | None = None
    label: str = ""


class Study(NamedTuple):
    """What commands do with the folder of a study. Functions raise ValueError with a remedy.

    Attributes:
      carry_on: `(path) -> exit status`: goes on from the state of the folder and prints the verdict.
      verdict: `(path) -> verdict.Verdict` of a complete study, for `report`; None: it has a page of trials.
      curves: `(path) -> [(label, rows)]`, for `plot`; None: there are none.
      policy: `(path) -> Path`, the run that `evaluate`, `render` and `export` use; None: there is none.
      agents: `(path) -> Agents`, for `evaluate` and `render`; None: those of the run `policy`.
      parts: `(path) -> [parts.Part]` in the order of training, for `watch`; the last one is complete when the
        study is. None: it cannot be watched.
      several_processes: whether it can be resumed in several processes.
    """

    carry_on: Callable[[Path], int]
    verdict: Callable[[Path], Any] | None = None
    curves: Callable[[Path], list[tuple[str, list[dict[str, Any]]]]] | None = None
    policy: Callable[[Path], Path] | None = None
    agents: Callable[[Path], Agents] | None = None
    parts: Callable[[Path], list[Any]] | None = None
    several_processes: bool = False


def name_of(path: Path) -> str:
    """The name in `STUDIES` of the study in a folder, "" if there is none."""
    for name, kind in STUDIES.items():
        file = path / kind.mark
        if file.is_file() and (not kind.field or kind.field in _spec(file)):
            return name
    return ""


def of(path: Path) -> Study | None:
    """The study in a folder, None if there is none; only its module is imported.

    Raises:
      ValueError: it is one of a version with another format.
    """
    if not (name := name_of(path)):
        return None
    file = path / STUDIES[name].mark
    formats.require(_content(file), file)
    return load(name)


def load(name: str) -> Study:
    return importlib.import_module(f"jaxrl.experiments.{STUDIES[name].module}").STUDY


def run_of(path: Path) -> Path:
    """The run whose policy represents a folder: the folder itself, unless it is a study.

    Raises:
      ValueError: it is a study without such a run.
    """
    study = of(path)
    if study and not study.policy:
        raise without(path, "policy")
    return study.policy(path) if study and study.policy else path


def agents_of(path: Path) -> Agents:
    """The agents that represent a folder. Raises ValueError as `run_of` does."""
    study = of(path)
    return study.agents(path) if study and study.agents else Agents(run_of(path))


def without(path: Path, what: str) -> ValueError:
    """The error about a study that does not have what a command needs."""
    report = f"`jaxrl report {files.quoted(path)}`"
    return ValueError(f"{path} is a {name_of(path)} study, which has no {what}; its result: {report}")


def _spec(file: Path) -> dict[str, Any]:
    spec = _content(file).get("spec")
    return spec if isinstance(spec, dict) else {}


def _content(file: Path) -> dict[str, Any]:
    """The content of a file; nothing if it is damaged, which is reported where it is needed."""
    try:
        return decode.read_json(file, dict)
    except (OSError, ValueError):
        return {}
