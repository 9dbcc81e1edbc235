"""Looking things up by name, with help for a slip of the finger."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

MOST = 20  # names that a sentence can bear


def nearest(name: str, names: Iterable[str]) -> str:
    """What to offer for an unknown name: the nearest ones, or some of all."""
    names = sorted(names)
    lowered = {n.lower(): n for n in reversed(names)}
    close = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    if close:
        return f"the nearest: {', '.join(close)}"
    shown, more = ", ".join(names[:MOST]), len(names) - MOST
    return f"there are {shown}" + (f" and {more} more" if more > 0 else "")


def lookup(kind: str, table: Mapping[str, T], name: str) -> T:
    """`table[name]`. Raises ValueError in one sentence, with the nearest names."""
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}; {nearest(name, table)}")
    return table[name]
