"""Entries of the registry of environments, and the parameters of an environment defined by a function."""

import inspect
import itertools
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from jaxrl.types import Env


class Entry(NamedTuple):
    """How an environment is made, its origin, and how it was verified."""

    make: Callable[..., Env]  # (**params) -> raw Env, without resets in `step` and without a time limit
    max_steps: int | None = None  # time limit under default parameters
    params: Callable[[], dict[str, Any]] = dict  # the scalar parameters with their defaults
    origin: str = "yours"
    limit: Callable[..., int | None] | None = None  # (**params) -> time limit, if they change it
    checked: str = ""  # what it was verified against, in a few words
    resets: str = "fresh"  # default of the initial states of new episodes, see `wrappers.auto_reset`
    wrapped: bool = False  # whether `make` returns a fully wrapped environment, which is used unchanged


def entry_for(
    make: Callable[..., Env],
    max_steps: int | None = None,
    checked: str = "",
    limit: Callable[..., int | None] | None = None,
) -> Entry:
    """The entry of an environment of jaxrl: a function with keyword parameters that returns a raw `Env`.

    Its scalar parameters and their defaults are read from its signature; `make` can also be a
    `functools.partial` with other defaults.
    """
    return Entry(make, max_steps, lambda: scalars(make), "jaxrl", limit, checked)


def scalars(make: Callable) -> dict[str, Any]:
    """The keyword parameters of a function whose defaults are numbers or strings, with these defaults."""
    found = inspect.signature(make).parameters.values()
    return {p.name: p.default for p in found if isinstance(p.default, bool | int | float | str)}


def explanations(make: Callable) -> dict[str, str]:
    """The description of each parameter in the `Args` section of a function's docstring."""
    make = make.func if isinstance(make, partial) else make
    lines = inspect.cleandoc(make.__doc__ or "").partition("\nArgs:\n")[2].split("\n")
    found: dict[str, str] = {}
    for line in itertools.takewhile(lambda line: line.startswith("  "), lines):
        if entry := re.fullmatch(r"  (\w+(?:, \w+)*): (.*)", line):
            together = entry[1].split(", ")
            found |= dict.fromkeys(together, entry[2] if len(together) == 1 else line.strip())
        elif found:
            found |= dict.fromkeys(together, f"{found[together[0]]} {line.strip()}")
    return {name: text.rstrip(".") for name, text in found.items()}


def require_known(name: str, make: Callable, params: dict[str, Any]) -> None:
    """Checks that every parameter is an argument of `make`, unless `make` takes any and checks them itself.

    Raises:
      ValueError: for an unknown parameter.
    """
    found = inspect.signature(make).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in found):
        return
    require_among(name, (p.name for p in found), params)


def require_among(name: str, known: Iterable[str], params: dict[str, Any]) -> None:
    """Raises ValueError for the first parameter of environment `name` that is not among the known ones."""
    known = sorted(set(known))
    for unknown in sorted(set(params) - set(known)):
        raise ValueError(f"{name} has no parameter {unknown!r}; it has {', '.join(known) or 'none'}")
