"""Looking things up by name, with help for a slip of the finger."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")

MOST = 20  # names that a sentence can bear
_meant: dict[str, Callable[[str], str]] = {}  # of a kind of name


def nearest(name: str, names: Iterable[str]) -> str:
    """What to offer for an unknown name: the nearest ones, or some of all."""
    names = sorted(names)
    lowered = {n.lower(): n for n in reversed(names)}
    close = [lowered[n] for n in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    if close:
        return f"the nearest: {', '.join(close)}"
    shown, more = ", ".join(names[:MOST]), len(names) - MOST
    return f"there are {shown}" + (f" and {more} more" if more > 0 else "")


def explain(kind: str, meant: Callable[[str], str]) -> None:
    """Has `lookup` of a kind say what is meant by names that are known from elsewhere.

    Args:
      meant: `(name) -> remedy`, "" for a name that it does not know.
    """
    _meant[kind] = meant


def lookup(kind: str, table: Mapping[str, T], name: str) -> T:
    """`table[name]`. Raises ValueError in one sentence, with the nearest names."""
    if name not in table:
        remedy = _meant[kind](name) if kind in _meant else ""
        raise ValueError(f"unknown {kind} {name!r}; {remedy or nearest(name, table)}")
    return table[name]
