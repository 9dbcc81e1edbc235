"""The `metadata.json` of a checkpoint, verified, and the remedy if it cannot be used."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl import decode, files
from jaxrl.checkpoint.checksums import CHECKSUMS, checksum, damage_of
from jaxrl.checkpoint.errors import CheckpointError, reason_of
from jaxrl.checkpoint.folders import by_step, find, step_of
from jaxrl.formats import Numbered

FORMAT = 1
METADATA = "metadata.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """The contents of `metadata.json`.

    Attributes:
      score: None or NaN: the checkpoint is never the best.
      metadata: as given to `save`.
      leaves: name, dtype and shape of each leaf of the state.
      orbax: the version that wrote the arrays; "" if an earlier version of jaxrl did not record it.
    """

    step: int
    score: float | None
    metadata: dict[str, Any]
    leaves: list[tuple[str, str, list[int]]]
    orbax: str = ""

    def __post_init__(self) -> None:
        if not all(
            text.isprintable() for name, dtype, _ in self.leaves for text in (name, dtype, self.orbax)
        ):
            raise ValueError("leaves and orbax must have printable names")


@dataclasses.dataclass(frozen=True)
class _Claim:
    step: int


def read_metadata(directory: str | os.PathLike, step: int | None = None) -> dict:
    """The metadata of a checkpoint (the latest if `step` is `None`), for which no target is needed.

    A configuration in it determines the algorithm, and with it the target for `restore`.

    Raises:
      CheckpointError: there is no such checkpoint, or its metadata was changed.
    """
    return read_record(find(directory, step)).metadata


def best(directory: str | os.PathLike) -> int | None:
    """The step with the largest score among the existing ones, or `None` if none has a score.

    Raises:
      CheckpointError: a score cannot be read.
    """
    return best_of({step: read_record(path).score for step, path in by_step(directory).items()})


def best_of(scores: dict[int, float | None]) -> int | None:
    """The step with the largest score, or None; of equal scores the later step."""
    ranked = [(s, step) for step, s in scores.items() if s is not None and not np.isnan(s)]
    return max(ranked)[1] if ranked else None


def remedy_for(folder: Path) -> str:
    """The remedy for a damaged checkpoint: another one."""
    folders = by_step(folder.parent)
    for step in sorted(folders, reverse=True):
        other = folders[step]
        if other != folder and damage_of(other) is None and _claimed_step(other) == step:
            return f"delete that folder, or restore step {step}, which is whole"
    return "no other checkpoint beside it is whole, so start the run again in another directory"


def _claimed_step(folder: Path) -> int | None:
    """The step in the metadata of a checkpoint whose checksums are correct."""
    try:
        return decode.read_json(folder / METADATA, _Claim, nan=True).step
    except (OSError, ValueError):
        return None


def read_record(folder: Path) -> Record:
    """The contents of `metadata.json`, verified.

    Raises:
      CheckpointError: it was changed, is of another format or of another step, or is not valid.
    """
    try:
        line = f"{checksum(folder / METADATA)}  {METADATA}".encode()
        whole = line in files.read(folder / CHECKSUMS).splitlines()
        data = decode.parse(files.read(folder / METADATA), METADATA) if whole else None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} is damaged ({reason_of(error)}): {remedy_for(folder)}"
        ) from error
    if not whole:
        raise CheckpointError(
            f"the checkpoint {folder} is damaged ({METADATA} was changed): {remedy_for(folder)}"
        )
    try:
        version = decode.decode(data, Numbered, METADATA, nan=True).format
        if version != FORMAT:
            raise CheckpointError(
                f"the checkpoint {folder} has format {version}, not {FORMAT}: use the version of jaxrl that "
                "wrote it"
            )
        found, step = decode.decode(data, _Claim, METADATA, nan=True).step, step_of(folder)
        if found != step:
            raise CheckpointError(
                f"{folder} was renamed: it is the checkpoint of step {found}, not of step {step}: "
                f"{remedy_for(folder)}"
            )
        return decode.decode(data, Record, METADATA, nan=True)
    except CheckpointError:
        raise
    except ValueError as error:  # with correct checksums: edited, or from an untrusted source
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used ({error}): {remedy_for(folder)}"
        ) from None
