"""Lookup by name, with suggestions for unknown names."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

MOST = 20  # maximum number of names in a message
_explanations: dict[str, Callable[[str], str]] = {}  # of a kind of name


def nearest(name: str, names: Iterable[str]) -> str:
    """Suggestions for an unknown name: the nearest names, or some of all."""
    names = sorted(names)
    lowered = {n.lower(): n for n in reversed(names)}
    close = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    if close:
        return f"the nearest: {', '.join(close)}"
    shown, more = ", ".join(names[:MOST]), len(names) - MOST
    return f"there are {shown}" + (f" and {more} more" if more > 0 else "")


def explain(kind: str, explanation: Callable[[str], str]) -> None:
    """Registers remedies that `lookup` of a kind adds for names which are common in other programs.

    Args:
      explanation: `(name) -> remedy`, "" for an unknown name.
    """
    _explanations[kind] = explanation


def lookup(kind: str, table: Mapping[str, T], name: str) -> T:
    """`table[name]`. Raises ValueError with one sentence that contains the nearest names."""
    if name not in table:
        remedy = _explanations[kind](name) if kind in _explanations else ""
        raise ValueError(f"unknown {kind} {name!r}; {remedy or nearest(name, table)}")
    return table[name]
