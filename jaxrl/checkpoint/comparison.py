"""Metadata as JSON values, and the first difference between that of a checkpoint and what is expected."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from jaxrl.checkpoint.errors import CheckpointError


def to_json(value: Any, path: str) -> Any:
    """The JSON value that represents `value`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): to_json(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise CheckpointError(
        f"{path} is a {type(value).__name__}, which JSON cannot hold: save its name or its numbers"
    )


def compare_metadata(folder: Path, saved: dict, expected: dict) -> None:
    """Raises CheckpointError if a key of `expected` has another value in `saved`."""
    different = difference({key: saved[key] for key in expected if key in saved}, expected)
    if different:
        raise CheckpointError(
            f"the checkpoint {folder} was made {different}: ask for what it was made with, or "
            f"start a new run in another directory"
        )


def difference(saved: Any, expected: Any, path: str = "") -> str | None:
    """`with a.b = 1, not 2` for the first difference of two JSON values, or `None`."""
    if isinstance(saved, dict) and isinstance(expected, dict):
        for key in {**expected, **saved}:
            name = f"{path}.{key}" if path else key
            if key not in saved:
                return f"without {name}, not with {name} = {_short(expected[key])}"
            if key not in expected:
                return f"with {name} = {_short(saved[key])}, not without it"
            if different := difference(saved[key], expected[key], name):
                return different
        return None
    if isinstance(saved, list) and isinstance(expected, list) and len(saved) == len(expected):
        items = (difference(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(saved, expected)))
        return next(filter(None, items), None)
    # Their text is compared too, because NaN is not equal to itself.
    same = saved == expected or json.dumps(saved) == json.dumps(expected)
    return None if same else f"with {path} = {_short(saved)}, not {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
