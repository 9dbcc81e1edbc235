"""The rows of a run, one per interval: how they are computed, stored in `metrics.jsonl`, and read.

A row has the metrics of the algorithm with a value for every agent: means over the updates of the interval;
totals if the name ends in `/count`. In addition it has

    num_updates               updates done when the row was made
    timesteps                 environment steps of each agent until then, including those of `init`;
                              updates, if the algorithm learns from data alone (`steps_per_update` 0)
    episode/return, /length   means over the episodes that ended in the interval; None if none did
    episode/count             number of these episodes
    evaluation/return, /length   means over the episodes of the evaluation after the interval
    agent/died_at             the step at which each agent diverged; None for the others
    elapsed_seconds           time since training began, without compilation; continued by a resumed run
    steps_per_second          environment steps of all agents per second of training, without evaluation and
                              saving, since the run was started or resumed
    current_steps_per_second  the same over this interval alone

Results are computed from the last row, and text files may be damaged: by editors, disks, or copying. So every
checkpoint contains the part of the preceding row that the results need, protected by its checksums.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl import checkpoint, diverged, files, logger, train
from jaxrl.evaluate import Evaluation
from jaxrl.reporters import diverged_lanes
from jaxrl.statistics import iqm
from jaxrl.types import Algorithm, PyTree

RETURNS = ("evaluation/return", "episode/return")
DIVERGED = "agent/died_at"
NEEDED = ("timesteps",)  # by everything that reads the rows of a run
OUTCOME = (*RETURNS, DIVERGED)  # what results and curves of returns are made of


@dataclasses.dataclass(frozen=True)
class Saved:
    """What the metadata of a checkpoint says about the progress of a run.

    Attributes:
      elapsed_seconds: None if an earlier version saved it.
    """

    num_updates: int
    elapsed_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.num_updates < 0:
            raise ValueError("num_updates of the checkpoint is negative")


def make_row(
    algo: Algorithm, done: int, since: int, totals: PyTree, evaluation: Evaluation | None, seeds: int
) -> dict[str, Any]:
    """The row of an interval, from the totals of the updates `since .. done`, with a value for every seed.

    It contains `agent/died_at` if an agent has diverged: the step at which its parameters, losses or
    gradients stopped being finite.
    """
    # Divided on the host: on a device the last bit would depend on the number of agents.
    totals = jax.tree.map(lambda x: np.asarray(x, np.float64)[:seeds], totals)
    metrics: dict[str, Any] = train.summarize(totals, done - since)
    counts = metrics.pop("episode/count", None)
    diverged = metrics.pop("agent/dead/count", np.zeros(seeds)).astype(int)  # updates since, 0: not diverged
    row: dict[str, Any] = {"num_updates": done, "timesteps": train.steps_after(algo, done)}
    for name, values in metrics.items():
        if name.startswith("episode/") and name.endswith("_sum"):
            with np.errstate(invalid="ignore", divide="ignore"):
                row[name.removesuffix("_sum")] = (values / counts).tolist()
        else:
            row[name] = values.tolist()
    if counts is not None:
        row["episode/count"] = counts.tolist()
    if diverged.any():
        first = [done - count + 1 if count else None for count in diverged.tolist()]
        row["agent/died_at"] = [None if n is None else train.steps_after(algo, n) for n in first]
    if evaluation is not None:
        row["evaluation/return"] = np.asarray(evaluation.returns, np.float64)[:seeds].mean(-1).tolist()
        row["evaluation/length"] = np.asarray(evaluation.lengths, np.float64)[:seeds].mean(-1).tolist()
    return row


def score_of(row: dict[str, Any]) -> float:
    """The score of a checkpoint: the IQM of the agents' returns, those of the evaluation if there was one.

    Agents that diverged count as the worst of the others; nan if at least half diverged.
    """
    values = row.get("evaluation/return", row.get("episode/return", []))
    agents = {"per_seed": values, "died": diverged_lanes(row)}
    if not values or diverged.unknown([agents]):
        return float("nan")
    return float(iqm(diverged.counted(agents, diverged.worst([agents]))))


def rows(path: Path, only: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows of a run, in the order of their updates; `[]` if it has none yet.

    If a checkpoint and a row disagree, the values of the checkpoint are used; it also replaces a lost row.

    Args:
      only: if given, rows have these values alone: see `logger.read_rows`.
    """
    found = {row["num_updates"]: row for row in logger.read_jsonl(path / "metrics.jsonl", NEEDED, only)}
    if last := kept(path):
        found[last["num_updates"]] = found.get(last["num_updates"], {}) | last
    return [found[done] for done in sorted(found)]


def outcome(path: Path, found: list[dict[str, Any]] | None = None) -> tuple[dict[str, Any], dict[int, int]]:
    """The last row of a run, and by lane the step at which each diverged agent diverged.

    Args:
      found: the rows of the run, if they have been read already.

    Raises:
      ValueError: there are no rows, or those that the result depends on are damaged.
    """
    found = rows(path) if found is None else found
    if not found:
        raise ValueError(f"{path} has no rows of metrics: continue with `jaxrl resume {files.quoted(path)}`")
    # Without a checkpoint: saved by an earlier version, or the checkpoints were deleted.
    file = path / "metrics.jsonl"
    is_damaged = kept(path) is None and logger.num_lines(file) > len(found)
    if is_damaged and (damage := logger.read_rows(file, NEEDED)[1]):
        raise ValueError(f"{damage[0]}; the result of the run depends on it: repair the file or train again")
    return found[-1], first_diverged(found)


def first_diverged(found: list[dict[str, Any]]) -> dict[int, int]:
    """The steps at which the agents that have diverged by the last of these rows did so, by lane."""
    steps: dict[int, int] = {}
    for row in found:
        keep_first(steps, row)
    return steps


def keep_first(found: dict[int, int], row: dict[str, Any]) -> None:
    """Replaces the steps in a row by those at which agents first diverged; `found` has those of earlier rows.

    An agent that is not marked as diverged in this row has recovered, if it had diverged before.
    """
    steps = row.get(DIVERGED, ())
    for lane in [lane for lane in found if lane >= len(steps) or steps[lane] is None]:
        del found[lane]
    for lane, step in enumerate(steps):
        if step is not None:
            steps[lane] = found.setdefault(lane, step)


def kept(path: Path) -> dict[str, Any] | None:
    """The row in the newest checkpoint of a run; None if there is none that can be read."""
    with contextlib.suppress(checkpoint.CheckpointError):
        last = checkpoint.read_metadata(path / "checkpoints").get("last")
        return None if last is None or logger.wrong_with(last, NEEDED) else last
    return None


def to_keep(row: dict[str, Any], diverged: dict[int, int]) -> dict[str, Any]:
    """The part of a row that a checkpoint stores: steps, returns, diverged agents (`diverged`, by lane)."""
    names = [name for name in ("num_updates", "timesteps", *RETURNS) if name in row]
    last = {name: logger.finite(row[name]) for name in names}
    if diverged:
        agents = max(len(row.get(name, ())) for name in (*RETURNS, DIVERGED))
        last[DIVERGED] = [diverged.get(lane) for lane in range(agents)]
    return last
