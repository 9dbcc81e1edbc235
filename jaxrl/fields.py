"""Fields of nested dataclasses by dotted names: `network.hidden_sizes`, `objective.clip_eps`.

Inside tuples of parts and arrays the name is a number: `objective.parts.1.alpha`, `objective.weights.0`.
A tuple of plain values, such as `hidden_sizes`, is one value.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.names import lookup, nearest
from jaxrl.types import PyTree

# --- what values a hyperparameter may have ----------------------------------------------------------


def positive(default: float) -> Any:
    """A field above 0, on a logarithmic scale."""
    return struct.field(default=default, metadata={"bounds": "positive"})


def not_negative(default: float) -> Any:
    """A field of 0 or more, on a logarithmic scale."""
    return struct.field(default=default, metadata={"bounds": "not_negative"})


def share(default: float) -> Any:
    """A field between 0 and 1, ends included; its scale is that of log-odds."""
    return struct.field(default=default, metadata={"bounds": "share"})


def log_scale(default: float) -> Any:
    """A field of either sign whose useful values range over orders of magnitude."""
    return struct.field(default=default, metadata={"bounds": "log_scale"})


def bounds(tree: PyTree) -> dict[str, str]:
    """The kind of each field that has one (`positive`, `share`, ...), by dotted name."""
    if isinstance(tree, tuple):
        parts = [(str(i), part, "") for i, part in enumerate(tree)]
    elif dataclasses.is_dataclass(tree):
        parts = [
            (f.name, getattr(tree, f.name), f.metadata.get("bounds", "")) for f in dataclasses.fields(tree)
        ]
    else:
        return {}
    found = {name: kind for name, _, kind in parts if kind}
    for name, part, _ in parts:
        found |= {f"{name}.{inner}": kind for inner, kind in bounds(part).items()}
    return found


# --- unknown arguments -------------------------------------------------------------------------------

Class = TypeVar("Class", bound=type)


def explains_unknown(cls: Class) -> Class:
    """A decorator for `Config` and `Hparams`: an unknown argument is reported with a remedy."""
    init: Callable[..., None] = vars(cls)["__init__"]

    @functools.wraps(init)
    def __init__(self, *args, **kwargs):
        try:
            init(self, *args, **kwargs)
        except TypeError:
            unknown = [name for name in kwargs if name not in _names(cls)]
            if not unknown:
                raise
            text = f"{cls.__name__} has no {unknown[0]!r}{_remedy(cls, unknown[0])}"
            raise TypeError(text) from None

    setattr(cls, "__init__", __init__)  # noqa: B010 (the type checker refuses the assignment)
    return cls


def _remedy(cls: type, name: str) -> str:
    """The class to which an argument belongs instead, a part or the sibling class, or its correct name."""
    for field in dataclasses.fields(cls):
        part = type(field.default)
        if dataclasses.is_dataclass(part) and name in _names(part):
            return f": it is part of {field.name}, give {field.name}={part.__name__}({name}=...)"
    module = sys.modules.get(cls.__module__)
    for other, how in (("Hparams", "algo.hparams.replace({}=...)"), ("Config", "make(env, Config({}=...))")):
        sibling = getattr(module, other, None)
        if sibling and sibling is not cls and name in flatten(sibling()):
            return f": it belongs to {other}, give {how.format(name)}"
    return f"; {nearest(name, _names(cls))}"


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


# --- dotted names ------------------------------------------------------------------------------------


def flatten(tree: PyTree) -> dict[str, Any]:
    """Every value of a dataclass by its dotted name; `{"": tree}` if `tree` is a single value."""
    if dataclasses.is_dataclass(tree):
        parts: Iterable = ((field.name, getattr(tree, field.name)) for field in dataclasses.fields(tree))
    elif isinstance(tree, tuple) and any(map(dataclasses.is_dataclass, tree)):
        parts = enumerate(tree)
    elif np.ndim(tree) == 1 and not isinstance(tree, tuple):
        parts = enumerate(tree if isinstance(tree, jax.core.Tracer) else np.asarray(tree).tolist())
    else:
        return {"": tree}
    return {
        f"{name}.{inner}" if inner else str(name): value
        for name, part in parts
        for inner, value in flatten(part).items()
    }


def numbers(tree: PyTree) -> dict[str, float]:
    """The values that are Python numbers, by their dotted names."""
    return {name: value for name, value in flatten(tree).items() if isinstance(value, int | float)}


def replace(tree: PyTree, values: dict[str, Any]) -> PyTree:
    """The tree with some values replaced, traced or not, each given by its dotted name."""
    for name, value in values.items():
        tree = _replace(tree, name.split("."), value)
    return tree


def _replace(tree, path, value):
    if not path:
        return value
    head, *rest = path
    if isinstance(tree, tuple):
        at = int(head)
        return (*tree[:at], _replace(tree[at], rest, value), *tree[at + 1 :])
    if np.ndim(tree):
        if isinstance(value, jax.Array):
            return jnp.asarray(tree).at[int(head)].set(value)
        changed = np.array(tree)  # on the host, so that nothing is compiled
        changed[int(head)] = value
        return changed
    return dataclasses.replace(tree, **{head: _replace(getattr(tree, head), rest, value)})


def matching(names: Iterable[str], name: str) -> list[str]:
    """The dotted `names` that `name` can refer to: itself, or all that end with it."""
    names = list(names)
    return [name] if name in names else [full for full in names if full.endswith(f".{name}")]


def resolve(tree: PyTree, values: dict[str, Any], what: str = "field") -> dict[str, Any]:
    """The same values under full dotted names: `hidden_sizes` can be short for `network.hidden_sizes`.

    Raises:
      ValueError: an unknown name, with the nearest ones, or an ambiguous one.
    """
    known = flatten(tree)
    resolved = {}
    for name, value in values.items():
        full = matching(known, name)
        if len(full) > 1:
            raise ValueError(f"{what} {name} is ambiguous: take {' or '.join(full)}")
        if not full:
            lookup(what, {short: None for one in known for short in (one, one.rpartition(".")[2])}, name)
        resolved[full[0]] = value
    return resolved


def configured(config: Any, values: dict[str, Any]) -> Any:
    """A Config with some fields replaced, given by dotted or unique short names.

    Raises:
      ValueError: as `resolve`.
    """
    return replace(config, resolve(config, values, "option"))
