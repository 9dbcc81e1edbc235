"""The values of one option that a search varies."""

import math
from typing import Any, NamedTuple

TRACED = "--hp."


class Axis(NamedTuple):
    """The values of one option: `values`, or a range from `low` to `high`, possibly logarithmic."""

    flag: str
    values: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    lanes: bool = False  # a parameter of the environment that may differ from lane to lane

    @property
    def traced(self) -> bool:
        return self.lanes or self.flag.startswith(TRACED)

    @property
    def name(self) -> str:
        """`objective.clip_eps` for `--hp.objective.clip-eps`, `env.length` for `--env.length`."""
        return self.flag.removeprefix(TRACED).removeprefix("--").replace("-", "_")

    def at(self, share: float) -> str:
        """The value at a position in [0, 1) along the axis."""
        if self.values:
            return self.values[int(share * len(self.values))]
        if self.log:
            return repr(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return repr(float(self.low + share * (self.high - self.low)))


def plain(one: Axis) -> dict[str, Any]:
    """An axis as JSON values."""
    ends = {} if one.values else {"low": one.low, "high": one.high, "log": one.log}
    lanes = {"lanes": True} if one.lanes else {}
    return {"flag": one.flag, "values": list(one.values), **ends, **lanes}


def from_plain(one: dict[str, Any]) -> Axis:
    """The axis that `plain` wrote."""
    return Axis(**{**one, "values": tuple(one["values"])})
