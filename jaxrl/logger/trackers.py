"""Sinks for experiment trackers: TensorBoard, Weights & Biases."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl.logger.rows import Row
from jaxrl.logger.sinks import Sink
from jaxrl.statistics import iqm


class Series(NamedTuple):
    """One run in TensorBoard or Weights & Biases: an agent, or a statistic of several.

    Attributes:
      name: of that run, unique in a folder.
      kind: `agent` or `iqm`.
      lanes: the values of a row that are shown: those of one agent, or the IQM and the range over several.
      settings: hyperparameters and other identifying values, numbers and strings by name.
      label: what distinguishes it from the others, in addition to its name: the values of a trial.
    """

    name: str
    kind: str
    lanes: tuple[int, ...]
    settings: dict[str, Any]
    label: str = ""


def scalars(row: Row, lanes: Sequence[int] | None = None) -> dict[str, float]:
    """A row as scalars: the interquartile mean (IQM) over agents; metrics without any value are omitted.

    Args:
      lanes: the agents; None: all. With several, the range is included: `NAME_min` and `NAME_max`.
    """
    result = {}
    for name, value in row.items():
        several = isinstance(value, list)
        values = value if several else [value]
        if several and lanes is not None:
            values = [value[lane] for lane in lanes if lane < len(value)]
        values = [v for v in values if v is not None and math.isfinite(v)]
        if not values:
            continue
        result[name] = float(iqm(values))
        if several and lanes is not None and len(lanes) > 1:
            result |= {f"{name}_min": float(min(values)), f"{name}_max": float(max(values))}
    return result


SHOWN = ("evaluation/return", "episode/return")  # shown with the hyperparameters in TensorBoard's table


def tensorboard(directory: str | Path, series: Sequence[Series], after: int = 0) -> Sink:
    """TensorBoard event files, by tensorboardX: a folder for each of `series`, with its hyperparameters.

    Args:
      after: for a resumed run, the `timesteps` of its last row; TensorBoard discards later data.
    """
    try:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams
    except ImportError:
        raise ValueError("TensorBoard files need the extra: pip install 'jaxrl[tensorboard]'") from None
    purge = {"purge_step": after + 1} if after else {}
    writers = [SummaryWriter(str(Path(directory) / one.name), **purge) for one in series]
    for one, writer in zip(series, writers):
        if not after:
            for summary in hparams(one.settings, dict.fromkeys(SHOWN))[:2]:  # the third marks the end
                writer.file_writer.add_summary(summary)

    def write(row):
        for one, writer in zip(series, writers):
            for name, value in scalars(row, one.lanes).items():
                writer.add_scalar(name, value, row["timesteps"])
            writer.flush()

    def close():
        for writer in writers:
            writer.close()

    return Sink(write, close)


def wandb(directory: str | Path, series: Sequence[Series], label: str, unique: str, **init: Any) -> Sink:
    """A run of Weights & Biases for each of `series`; `WANDB_MODE=offline` needs no account.

    A resumed run continues them.

    Args:
      label: prefix of the names of the runs.
      unique: prefix of their ids: the same after a resume, and different from that of any other run.
      init: for `wandb.init`: project, group, ...
    """
    try:
        import wandb as client
    except ImportError:
        raise ValueError("Weights & Biases needs the extra: pip install 'jaxrl[wandb]'") from None
    init = {"dir": str(directory), "resume": "allow", "reinit": "create_new", **init}
    runs = [
        client.init(
            name=f"{label}-{one.name}" + f" ({one.label})" * bool(one.label),
            id=f"{unique}-{one.name}",
            job_type=one.kind,
            config=one.settings,
            **init,
        )
        for one in series
    ]

    def write(row):
        for one, run in zip(series, runs):
            run.log(scalars(row, one.lanes), step=row["timesteps"])

    def close():
        for run in runs:
            run.finish()

    return Sink(write, close)
