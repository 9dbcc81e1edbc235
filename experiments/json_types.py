"""Values from JSON and TOML: whether they have the annotated types of a dataclass, and arrays from lists."""

import dataclasses
import types
import typing
from typing import Any, Literal

import jax
import numpy as np


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
            if not fits(getattr(part, name), kind):
                raise ValueError(f"{name} = {getattr(part, name)!r} in {where} must be {kind_name(kind)}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value from a file has a field's annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in arguments
    if origin is types.UnionType:
        return any(fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, arguments[0]) for item in value)
    if kind is float:
        return type(value) in (int, float)
    if kind is jax.Array:
        return isinstance(value, jax.Array | np.ndarray)
    return kind is Any or type(value) is (origin or kind)


def kind_name(kind: Any) -> str:
    """A field's annotated type as text."""
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(typing.get_args(kind))}"
    return getattr(kind, "__name__", str(kind)) if typing.get_origin(kind) is None else str(kind)


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
