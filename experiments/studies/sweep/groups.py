"""The programs of a sweep: groups of trials that differ only in what one program can vary."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxrl.experiments import runs, search
from jaxrl.experiments.runs import planning
from jaxrl.experiments.search import TRACED, Axis, Value, as_number


class Group(NamedTuple):
    """The trials in one program: its Spec, and the numbers of its trials, in the order of the lanes."""

    spec: runs.Spec
    trials: tuple[int, ...]


def grouped(
    axes: list[Axis],
    trials: list[tuple[Value, ...]],
    spec_of: Callable[[dict[str, Value]], runs.Spec],
) -> list[Group]:
    """Groups of trials with the same static values, in the order of their first trials.

    Args:
      spec_of: `(values by flag) -> Spec`: the Spec of the command with these values, which are not traced.
    """
    members: dict[tuple[Value, ...], list[int]] = {}
    for number, values in enumerate(trials):
        static = tuple(value for one, value in zip(axes, values) if not one.traced)
        members.setdefault(static, []).append(number)
    groups = []
    for numbers in members.values():
        first = zip(axes, trials[numbers[0]])
        spec = spec_of({one.flag: value for one, value in first if not one.traced})
        traced = [
            {one.name: as_number(one.flag, value) for one, value in zip(axes, trials[number]) if one.traced}
            for number in numbers
        ]
        groups.append(Group(dataclasses.replace(spec, trials=tuple(traced)), tuple(numbers)))
    return groups


def options_of(kind: str, given: dict[str, int | None]) -> dict[str, int | None]:
    """The options of a search: those that were given, otherwise the defaults.

    Raises:
      ValueError: an option that this search does not have.
    """
    known = search.SEARCHES[kind].options
    for name, value in given.items():
        if value is not None and name not in known:
            users = [other for other, its in search.SEARCHES.items() if name in its.options]
            raise ValueError(f"--{name} is for --search {' or '.join(users)}, not for {kind}: leave it out")
    return {
        name: option.default if given.get(name) is None else given[name] for name, option in known.items()
    }


def slots_of(trials: int, options: dict[str, int | None]) -> int:
    """The trials that a search trains at a time: all, or, with the option `slots`, an eighth by default."""
    if "slots" not in options:
        return trials
    given = options["slots"]
    return max(1, trials // 8) if given is None else given


def require_sense(axes: list[Axis], spec: runs.Spec) -> None:
    """Raises ValueError for a value of an axis, or an end of its range, that is invalid."""
    for one in axes:
        for value in one.values or (one.at(0.0), one.at(1.0)):
            runs.check_numbers(dataclasses.replace(spec, trials=({one.name: as_number(one.flag, value)},)))


def searched(kind: str, axes: list[Axis], shares: np.ndarray, spec: runs.Spec, options) -> Group:
    """A search on the device as one group: the initial values of its slots, and its options.

    Args:
      options: of the search, as returned by `options_of`.

    Raises:
      ValueError: an axis that is not traced, or invalid numbers.
    """
    for one in axes:
        if not one.flag.startswith(TRACED):
            raise ValueError(f"--search {kind} varies {TRACED}* options only, not {one.flag}")
    chosen = {
        "kind": kind,
        "axes": [search.plain(one) for one in axes],
        "x": np.asarray(shares, np.float32).tolist(),
        "slots": slots_of(len(shares), options),
        **{name: value for name, value in options.items() if name != "slots"},
    }
    require_sense(axes, spec)
    return Group(dataclasses.replace(spec, search=chosen), tuple(range(len(shares))))


def with_chunk(group: Group) -> Group:
    """The group with the fastest number of agents at a time, if it runs long enough to measure that."""
    chunk = planning.choose_chunk(group.spec)
    return group._replace(spec=dataclasses.replace(group.spec, chunk=chunk))


def confirming(spec: runs.Spec, seeds: int) -> runs.Spec:
    """The run that trains one trial of a group again, with the hyperparameters of the group's Spec."""
    return dataclasses.replace(
        spec, trials=(), search=None, chunk=0, shard="agents", seed=spec.seed + spec.seeds, seeds=seeds
    )
