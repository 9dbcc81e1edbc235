"""Values from JSON and TOML: whether they have the annotated types of a dataclass, and arrays from lists."""

import dataclasses
import types
import typing
from typing import Any

import jax
import numpy as np

from jaxrl import decode

JSON = (bool, int, float, str, list, tuple, dict, types.NoneType)


def dotted(config: dict[str, Any]) -> dict[str, Any]:
    """The values of nested dicts by dotted names, lists as tuples; older runs have no nested values."""
    named = {}
    for name, value in config.items():
        if isinstance(value, dict):
            named |= {f"{name}.{inner}": x for inner, x in dotted(value).items()}
        else:
            named[name] = tuple(value) if isinstance(value, list) else value
    return named


def require_types(*parts: Any, where: Any = "the run.json") -> None:
    """Raises ValueError if a field of a dataclass from JSON does not have its annotated type."""
    for part in parts:
        for name, kind in typing.get_type_hints(type(part)).items():
            require_type(name, getattr(part, name), kind, where)


def require_type(name: str, value: Any, kind: Any, where: Any) -> None:
    """Raises ValueError if a value from JSON or TOML, or an object made of one, is not of a type."""
    if kind is Any:  # an object that was made of the values
        return
    if not isinstance(kind, type) or kind in JSON:
        decode.decode({name: value}, dict[str, kind], where, nan=True)
    elif not isinstance(value, jax.Array | np.ndarray if kind is jax.Array else kind):
        raise ValueError(f"{where}: {name} must be {decode.kind_name(kind)}, not {value!r}")


def restored(template: Any, data: Any) -> Any:
    """The parameters of an objective from JSON, with the types of `template`."""
    if dataclasses.is_dataclass(template):
        return type(template)(**{n: restored(getattr(template, n, None), x) for n, x in data.items()})
    if isinstance(template, tuple):
        return tuple(restored(*both) for both in zip(template, data, strict=True))
    if not np.ndim(template):
        return data
    array = np.asarray(data, np.float32)
    if array.shape != template.shape:
        raise TypeError(f"numbers of the objective have the shape {array.shape}, not {template.shape}")
    return array


def reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
