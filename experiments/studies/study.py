"""What all studies share: creating and reading their folders, stages that are computed once, runs as parts.

The file that identifies the folder of a study contains its plan. It is written once, before the first stage.
Every stage is a run, or a file that is written at once and complete. So a study that was killed goes on from
the state of its folder, with the same results.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from jaxrl import decode, files, formats, hosts, sources
from jaxrl.experiments import folders, runs
from jaxrl.experiments.runs import training
from jaxrl.sources import Kept

Plan = TypeVar("Plan")


@contextlib.contextmanager
def new(path: Path, mark: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Creates the folder of a study. Yields a function that writes its plan, with versions and device.

    Copies of the Python files that the plan, a dict, names are kept in the folder.

    Raises:
      ValueError: the folder is in use, or cannot be written.
    """

    def write(plan: dict[str, Any]) -> None:
        kept = sources.keep(path, plan)
        info = {"format": formats.FORMAT, **plan, **({"sources": kept} if kept else {}), **runs.provenance()}
        files.create(path / mark, json.dumps(info, indent=1, allow_nan=False) + "\n")

    with folders.new(path, mark):
        yield write


@dataclasses.dataclass(frozen=True)
class About:
    """What the file of every study contains besides its plan."""

    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    device: dict[str, Any] = dataclasses.field(default_factory=dict)
    started: str = ""
    git_commit: str | None = None
    sources: dict[str, Kept] = dataclasses.field(default_factory=dict)


def read(path: Path, mark: str, kind: type[Plan]) -> tuple[Plan, dict[str, Any]]:
    """The plan in the folder of a study, and the whole content of its file.

    Args:
      kind: a dataclass, see `jaxrl.decode`.

    Raises:
      ValueError: the file cannot be read, was edited, or has another format; names the version of jaxrl that
        wrote it if that is another one.
    """
    info = decode.read_json(path / mark, dict)
    formats.require(info, path / mark)
    try:
        decode.decode(info, About, mark)
        plan = decode.decode(info, kind, mark)
    except ValueError as error:
        raise ValueError(f"{formats.another_version(info, path / mark)} ({error})") from None
    sources.remember(path, info.get("sources", {}))
    return plan, info


def once(file: Path, kind: Any, compute: Callable[[], dict[str, Any]]) -> Any:
    """The record of a stage: that in the file, otherwise computed, and written before it is used.

    Args:
      kind: a dataclass or another type, see `jaxrl.decode`.

    Raises:
      ValueError: the file cannot be read, or is not of this kind.
    """
    if not file.exists():
        files.replace(file, json.dumps(compute(), indent=1, allow_nan=False) + "\n")
    return decode.read_json(file, kind)


def train(
    whole: Path,
    folder: Path,
    spec: runs.Spec,
    options: dict[str, Any],
    command: list[str],
    kind: training.Kind | None = None,
) -> int:
    """Trains a run that is a part of a study, or continues it. Returns the exit status.

    Args:
      whole: the folder of the study, which is to be resumed.
      command: of the study, for a run that does not exist yet.
      kind: of the run; by default a training run.
    """
    begun = hosts.by_leader((folder / "run.json").exists)
    return training.carry_on(folder, spec, options, None if begun else command, whole, kind)


def result(path: Path, record: str, kind: type[Plan]) -> Plan:
    """The results of a complete study, from its file `record`.

    Raises:
      ValueError: it is not complete, or the file is not of this kind.
    """
    if not (path / record).is_file():
        raise unfinished(path)
    return decode.read_json(path / record, kind)


def unfinished(path: Path) -> ValueError:
    """The error about a study without results."""
    return ValueError(f"{path} has nothing finished yet: continue with `jaxrl resume {files.quoted(path)}`")
