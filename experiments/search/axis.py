"""The values of one option that a search varies."""

import dataclasses
import math
from typing import Any, NamedTuple

from jaxrl import decode

TRACED = "--hp."

Value = bool | int | float | str | None | tuple[int | float | str, ...]


class Axis(NamedTuple):
    """The values of one option: `values`, or a range from `low` to `high`, possibly logarithmic.

    Values of hyperparameters are floats, others have the type of their option, as soon as that is known.
    """

    flag: str
    values: tuple[Value, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    lanes: bool = False  # a parameter of the environment that may differ from lane to lane
    first: str = ""  # the first value or the lower end, as the command has it

    @property
    def traced(self) -> bool:
        return self.lanes or self.flag.startswith(TRACED)

    @property
    def name(self) -> str:
        """`objective.clip_eps` for `--hp.objective.clip-eps`, `env.length` for `--env.length`."""
        return self.flag.removeprefix(TRACED).removeprefix("--").replace("-", "_")

    def at(self, share: float) -> Value:
        """The value at a position in [0, 1) along the axis."""
        if self.values:
            return self.values[int(share * len(self.values))]
        if self.log:
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return float(self.low + share * (self.high - self.low))


@dataclasses.dataclass
class AxisRecord:
    """An axis in a file. Earlier versions wrote the values of hyperparameters as text."""

    flag: str
    values: tuple[Value, ...]
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    lanes: bool = False

    def __post_init__(self) -> None:
        if not self.flag.startswith("--"):
            raise ValueError(f"must have a flag that begins with --, not {self.flag!r}")
        if not self.values and not (self.low < self.high and (self.low > 0 or not self.log)):
            raise ValueError("must have values, or a range from low to high")
        if self.axis.traced:
            self.values = tuple(as_number(self.flag, value) for value in self.values)

    @property
    def axis(self) -> Axis:
        return Axis(self.flag, self.values, self.low, self.high, self.log, self.lanes)


def as_number(flag: str, value: Any) -> float:
    """A number, or the text of one. Raises ValueError for others."""
    try:
        if not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"has {value!r} as a value of {flag}, which takes numbers")


def plain(one: Axis) -> dict[str, Any]:
    """An axis as JSON values."""
    ends = {} if one.values else {"low": one.low, "high": one.high, "log": one.log}
    lanes = {"lanes": True} if one.lanes else {}
    return {"flag": one.flag, "values": list(one.values), **ends, **lanes}


def from_plain(one: dict[str, Any]) -> Axis:
    """The axis that `plain` wrote. Raises ValueError for other data."""
    return decode.decode(one, AxisRecord, "an axis").axis
