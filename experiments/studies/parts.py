"""The parts of a study: what is trained or computed in succession, and the progress that is printed."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl import records
from jaxrl.experiments import runs
from jaxrl.fit_record import MARK
from jaxrl.fit_record import read as read_fit
from jaxrl.reporters import duration


class Rows(NamedTuple):
    """The rows of a part that is no run: its agents, its updates in all, and the rows so far."""

    agents: int
    num_updates: int
    rows: list[dict[str, Any]]


class Part(NamedTuple):
    """A part of a study, for `watch`.

    Attributes:
      path: of a run, or of a file that is written when the part is complete.
      rows: of a part that is neither: its rows, read now.
    """

    name: str
    path: Path
    rows: Callable[[], Rows] | None = None

    def is_complete(self) -> bool:
        if self.rows:
            rows = self.rows()
            return bool(rows.rows) and rows.rows[-1]["num_updates"] >= rows.num_updates
        return self.path.is_file() or is_complete(self.path)


def is_complete(path: Path) -> bool:
    """Whether a run in a folder has trained to its end, by its newest checkpoint."""
    if not (last := records.kept(path)):
        return False
    if (path / "search.json").is_file():
        return True
    if (path / MARK).is_file():
        return last["num_updates"] >= read_fit(path).updates
    spec = runs.read_info(path)["spec"]
    return last["num_updates"] >= spec.get("hparams", spec).get("total_updates", spec.get("generations", 0))


def print_at_once(text: str) -> None:
    print(text, flush=True)  # also into a pipe


def announced(
    what: str, sizes: Mapping[str, float], write: Callable[[str], Any] = print_at_once
) -> Iterator[str]:
    """The names of parts, with a line before each: which it is, and about the time left, if that is known.

    Args:
      what: is done with the parts.
      sizes: by name, in any unit, to which times are proportional; 0: complete already.
    """
    begun, done, total = time.perf_counter(), 0.0, sum(sizes.values())
    for number, (name, size) in enumerate(sizes.items(), 1):
        seconds = time.perf_counter() - begun
        left = f", about {duration(seconds / done * (total - done))} left" if done else ""
        write(f"{what}: {name} ({number} of {len(sizes)}{left}) ...")
        yield name
        done += size
