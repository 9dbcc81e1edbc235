"""What a run has returned: the rows of `metrics.jsonl`, and the last of them as the checkpoint holds it.

Results are made from the last row, and text files get damaged: by editors, by disks, by copying. So every
checkpoint holds what the results need of the row that was written before it, protected by its checksums.
"""

import contextlib
from pathlib import Path
from typing import Any

from jaxrl import checkpoint, logger

RETURNS = ("evaluation/return", "episode/return")
DIVERGED = "agent/died_at"


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a run, in the order of their updates; `[]` where it has none yet.

    Where a checkpoint and a row disagree, the checkpoint is right; it also stands for a row that was lost.
    """
    found = {row["num_updates"]: row for row in logger.read_jsonl(path / "metrics.jsonl")}
    if last := kept(path):
        found[last["num_updates"]] = found.get(last["num_updates"], {}) | last
    return [found[done] for done in sorted(found)]


def outcome(path: Path) -> tuple[dict[str, Any], dict[int, int]]:
    """The last row of a run, and by lane after how many steps its diverged agents diverged.

    Raises:
      ValueError: there are no rows, or those that the result depends on are damaged.
    """
    found = rows(path)
    if not found:
        raise ValueError(f"{path} has no rows of metrics: go on with `jaxrl resume {path}`")
    damage = logger.read_rows(path / "metrics.jsonl")[1]
    if damage and kept(path) is None:  # saved by an earlier version, or the checkpoints are gone
        raise ValueError(f"{damage[0]}; the result of the run depends on it: mend the file or train anew")
    return found[-1], first_diverged(found)


def first_diverged(found: list[dict[str, Any]]) -> dict[int, int]:
    """After how many steps each agent diverged that has at the end of these rows, by its lane."""
    steps: dict[int, int] = {}
    for row in found:
        keep_first(steps, row)
    return steps


def keep_first(found: dict[int, int], row: dict[str, Any]) -> None:
    """Puts into a row the steps at which agents diverged first; `found` has those of the rows before.

    An agent that has not diverged in this interval has recovered, if it had before.
    """
    steps = row.get(DIVERGED, ())
    for lane in [lane for lane in found if lane >= len(steps) or steps[lane] is None]:
        del found[lane]
    for lane, step in enumerate(steps):
        if step is not None:
            steps[lane] = found.setdefault(lane, step)


def kept(path: Path) -> dict[str, Any] | None:
    """The row that the newest checkpoint of a run holds, None where there is none that can be read."""
    with contextlib.suppress(checkpoint.CheckpointError):
        last = checkpoint.read_metadata(path / "checkpoints").get("last")
        return last if isinstance(last, dict) and type(last.get("num_updates")) is int else None
    return None


def to_keep(row: dict[str, Any], diverged: dict[int, int]) -> dict[str, Any]:
    """What a checkpoint holds of a row: steps, returns, and when agents diverged; `diverged` is by lane."""
    names = [name for name in ("num_updates", "timesteps", *RETURNS) if name in row]
    last = {name: logger.finite(row[name]) for name in names}
    if diverged:
        agents = max(len(row.get(name, ())) for name in (*RETURNS, DIVERGED))
        last[DIVERGED] = [diverged.get(lane) for lane in range(agents)]
    return last
