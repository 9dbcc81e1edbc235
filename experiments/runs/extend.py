"""`jaxrl resume RUN --steps N`: continues a run beyond its original number of steps.

The Spec of the run gets the new length; `extended` in `run.json` lists the earlier lengths, with which its
checkpoints are also accepted. Schedules end with the new length: the run continues as a run of N steps would
from this point, so the learning rate of a finished run, 0 by default, rises again. The result differs from
that of a run that had N steps from the start.
"""

import dataclasses
from pathlib import Path
from typing import Any

from jaxrl import checkpoint, decode, hosts
from jaxrl.experiments import folders, runs
from jaxrl.experiments.runs import config


def extend(path: Path, steps: int) -> None:
    """Sets the total number of steps per seed of a run, including those already taken.

    Raises:
      ValueError: it is not a run of `jaxrl train`, or already has this many steps.
    """
    if study := _study(path):
        raise ValueError(f"--steps extends a run of `jaxrl train`, and {study}: train its best again instead")
    info = runs.read_info(path)
    spec = runs.from_json(info["spec"])
    if steps <= spec.steps:
        raise ValueError(
            f"--steps {steps} does not extend {path}, which has {spec.steps}: steps count from the start of "
            "the run, so give more"
        )
    longer = dataclasses.replace(spec, steps=steps)
    updates = runs.build(longer).agent_updates
    longer = dataclasses.replace(longer, hparams=spec.hparams.replace(total_updates=float(updates)))

    def write():
        with folders.claim(path):
            earlier = [*info.get("extended", []), {"from": spec.steps, "to": steps}]
            runs.write_info(path, info | {"spec": longer.to_json(), "extended": earlier})
            config.update(path, spec, longer, info.get("sources", {}))

    hosts.by_leader(write)
    print(f"extended from {spec.steps} to {steps} steps per seed; what is annealed ends there", flush=True)


def _study(path: Path) -> str:
    """The kind of study that a folder is, or is a part of, if it is not a separate run; "" for a run."""
    for mark in folders.marks()[1:]:
        if (path / mark).is_file():
            return f"{path} is a {mark.removesuffix('.json')}"
    for parent in path.resolve().parents:
        if any((parent / mark).is_file() for mark in folders.marks()):
            return f"{path} is part of {parent}"
    return ""


@dataclasses.dataclass(frozen=True)
class _Length:
    steps: int
    hparams: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Saved:
    """The part of a checkpoint's metadata about the length of the run."""

    spec: _Length


def as_saved(identity: dict[str, Any], path: Path, step: int | None = None) -> dict[str, Any]:
    """The identity of a run with the length it had when a checkpoint was saved, before it was extended.

    Args:
      identity: the Spec as JSON.
      step: of the checkpoint; None: the latest.

    Raises:
      CheckpointError: there is no such checkpoint.
    """
    expected = dict(identity)
    if not (path / "run.json").is_file() or not (extended := runs.read_info(path).get("extended")):
        return expected
    metadata = checkpoint.read_metadata(path / "checkpoints", step)
    saved = decode.decode(metadata, _Saved, path / "checkpoints", nan=True).spec
    if saved.steps in [one.get("from") for one in extended]:
        length = {name: saved.hparams[name] for name in ("total_updates",) if name in saved.hparams}
        expected |= {"steps": saved.steps, "hparams": expected["hparams"] | length}
    return expected
