"""The record of a run by `jaxrl.fit`: the file `fit.json` in its folder, and how it is read."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrl import decode, formats

MARK = "fit.json"  # identifies the folder of a run by `fit`


@dataclasses.dataclass(frozen=True)
class Run:
    """What determines a run, as far as others read it."""

    seed: int
    seeds: int
    steps: int
    steps_per_update: int = 1
    hparams: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if min(self.seeds, self.steps) < 1 or min(self.seed, self.steps_per_update) < 0:
            raise ValueError("must have positive seeds and steps")


@dataclasses.dataclass(frozen=True)
class Record:
    """The content of `fit.json`.

    Attributes:
      environment: None if it has no name, because `envs.make` did not return it.
      num_updates: of the whole run; None if an earlier version wrote the file.
    """

    run: Run
    algorithm: str
    environment: str | None = None
    env: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_updates: int | None = None
    versions: dict[str, str] | None = None
    device: dict[str, str | int] | None = None
    started: str | None = None

    @property
    def updates(self) -> int:
        """The updates of the whole run; 0 if they are not known."""
        total = self.run.hparams.get("total_updates")
        return self.num_updates or (int(total) if isinstance(total, int | float) else 0)


@dataclasses.dataclass(frozen=True)
class _Identity:
    run: dict[str, Any]


def read(path: Path) -> Record:
    """The record in the folder of a run. Raises ValueError if it cannot be read."""
    return _read(path, Record)


def identity(path: Path) -> dict[str, Any]:
    """All that determines a run. Raises ValueError if the record cannot be read."""
    return _read(path, _Identity).run


def _read(path: Path, kind: Any) -> Any:
    try:
        info = decode.read_json(path / MARK, dict[str, Any])
    except OSError as error:
        raise ValueError(f"{path / MARK} cannot be read: {error.strerror or error}") from None
    formats.require(info, path / MARK)
    return decode.decode(info, kind, path / MARK)
