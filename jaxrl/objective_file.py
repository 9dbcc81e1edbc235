"""Objective files: written by `jaxrl discover`, used by `jaxrl train ppo ENV --objective FILE`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl import decode, files, objectives
from jaxrl.names import lookup
from jaxrl.sources import Kept
from jaxrl.types import Objective, PyTree


@dataclasses.dataclass(frozen=True)
class Record:
    """The content of a file.

    Attributes:
      objective: its name in `jaxrl.objectives`, or that of a Python file.
      sources: the copy of that file.
    """

    objective: str
    params: dict[str, Any]
    sources: dict[str, Kept] = dataclasses.field(default_factory=dict)


def save(path: Path, name: str, params: PyTree, about: dict[str, Any] | None = None) -> None:
    """Writes an objective: its name in `jaxrl.objectives`, its parameters, and where it comes from.

    The file is written atomically.

    Raises:
      ValueError: parameters that are not those of such an objective, or that are not finite.
    """
    params = to_json(params)
    from_json(name, params)
    files.replace(path, json.dumps({"objective": name, "params": params, "about": about or {}}) + "\n")


def load(path: Path) -> tuple[str, Objective]:
    """The name of the objective in a file, and the objective.

        name, objective = load("objective.json")
        algo = ppo.make(env, config, objective)

    Raises:
      ValueError: the file is missing, or does not contain an objective.
    """
    try:
        record = decode.read_json(Path(path), Record)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ValueError(f"{path} is not a file; `jaxrl discover` writes files of objectives") from None
    except ValueError as error:
        raise ValueError(
            f"{path} does not contain an objective as `jaxrl discover` writes it ({error})"
        ) from None
    try:
        return record.objective, named(record.objective)._replace(
            params=from_json(record.objective, record.params)
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def named(name: str) -> Objective:
    """An objective, including learned ones, with its default parameters.

    Raises:
      ValueError: an unknown name.
    """
    return lookup("objective", objectives.OBJECTIVES | objectives.LEARNED, name)()


def to_json(params: PyTree) -> dict[str, Any]:
    """Parameters as lists and numbers; `from_json` restores them bitwise."""
    return {
        field: np.asarray(value, np.float32).tolist() if np.ndim(value) else float(value)
        for field, value in vars(params).items()
    }


def from_json(name: str, data: dict[str, Any]) -> PyTree:
    """The parameters that `to_json` wrote: numbers, and arrays of float32.

    Raises:
      ValueError: they are not those of the objective `name`, or not finite.
    """
    default = named(name).params
    if set(data) != set(vars(default)):
        raise ValueError(f"{name} has the parameters {', '.join(vars(default))}, not {', '.join(data)}")
    found = {}
    for field, usual in vars(default).items():
        try:
            with np.errstate(over="ignore"):  # it becomes infinite, which is refused below
                array = np.asarray(data[field], np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"{field} of {name} must be numbers") from None
        if isinstance(data[field], bool | str):
            raise ValueError(f"{field} of {name} must be numbers")
        if array.ndim != np.ndim(usual) or not np.isfinite(array).all():
            raise ValueError(f"{field} of {name} must be finite numbers with {np.ndim(usual)} axes")
        found[field] = array if array.ndim else data[field]
    params = type(default)(**found)
    one = jax.ShapeDtypeStruct((1,), np.float32)
    try:
        jax.eval_shape(named(name).apply, params, one, one, 0.0)
    except (TypeError, ValueError, AssertionError):
        shapes = {field: np.shape(value) for field, value in found.items()}
        raise ValueError(f"the shapes of {name}'s weights do not fit each other: {shapes}") from None
    return params
