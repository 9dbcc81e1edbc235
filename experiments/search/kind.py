"""What a search of `jaxrl sweep --search NAME` consists of: a value of `SEARCHES`, see `registry`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxrl.experiments.search.axis import Axis
from jaxrl.search import SearchState, Space, Strategy

Data = dict[str, Any]


class Option(NamedTuple):
    """A whole number that is an option of `jaxrl sweep`; `default` None: it depends on other values."""

    default: int | None
    text: str  # for `--help`


class Piece(NamedTuple):
    """The lanes of a trial, one for each of its agents, after update `first` until update `last`."""

    lanes: tuple[int, ...]
    first: int
    last: int


def lanes_of(slot: int, seeds: int) -> tuple[int, ...]:
    """The lanes of a slot, one for each seed."""
    return tuple(range(slot * seeds, (slot + 1) * seeds))


class OnDevice(NamedTuple):
    """A search that decides in the compiled program while agents are trained, by a Strategy.

    The functions take the `search` of a Spec: `kind`, `axes` (see `axis.plain`), `slots`, the options, and
    `x`, the positions from `draw` with `[T, D]` numbers. `current` is the state of the strategy on the host.

    A trial is a dict with its position `x`, `per_seed` (its scores) and `updates` (those of its agents). It
    may also have `rung`, `generation`, or `member`, `ancestry` and `path`, which the report shows.

    Attributes:
      strategy: `(search, space, agent_updates) -> Strategy`. Raises ValueError for invalid numbers.
      trials: `(search, strategy, current) -> trials` of a complete search, in the order of their numbers.
      scored: `(search, strategy, state) -> trials` that have a score so far, with their numbers as `trial`.
      pieces: `(search, strategy, seeds, trials) -> {number: [Piece]}`: where recorded trials were trained, so
        that they have learning curves; None: they have none.
      updates_at_most: `(strategy, state) -> updates` after which the search ends at the latest, if trials may
        be stopped; None: it always ends after those of the strategy.
      recommended: `(current) -> [D]`, the position that is trained again in place of the best trial; trials
        have a `generation`. None: the best trial is.
      populations: a trial is a population of one seed, with its winner's `member`, `ancestry` and `path`. The
        winners are evaluated again, as hyperparameters that change cannot be trained again.
      rounds: `(search) -> int`: how many trials a slot trains in succession, about.
      history: the option that lowers the size of the strategy's state, for messages.
    """

    strategy: Callable[[Data, Space, int], Strategy]
    trials: Callable[[Data, Strategy, Any], list[Data]]
    scored: Callable[[Data, Strategy, SearchState], list[Data]] = lambda search, strategy, state: []
    pieces: Callable[[Data, Strategy, int, list[Data]], dict[int, list[Piece]]] | None = None
    updates_at_most: Callable[[Strategy, SearchState], int] | None = None
    recommended: Callable[[Any], Any] | None = None
    populations: bool = False
    rounds: Callable[[Data], int] = lambda search: 1
    history: str = "--trials"


Tried = list[tuple[dict[str, float], float | None]]


class InBatches(NamedTuple):
    """A search that chooses batches of trials by the scores of those before; needs the option `generations`.

    Attributes:
      ask: `(axes, tried, count, seed) -> values by flag` of the trials of the next batch. `tried` are those
        before, with their scores; None for a trial without one.
      require: raises ValueError if a package is missing.
    """

    ask: Callable[[Sequence[Axis], Tried, int, int], list[dict[str, float]]]
    require: Callable[[], None] = lambda: None


class Search(NamedTuple):
    """How trials are chosen.

    Attributes:
      draw: `(axes, trials, seed) -> [T, D]` in [0, 1): the positions of the first trials along the axes;
        `trials` is 0 if no number was given. Raises ValueError if the axes or the number are invalid.
      options: by their names.
      device: None: it decides nothing while agents are trained.
      batches: None: all trials are chosen in advance.
    """

    draw: Callable[[Sequence[Axis], int, int], np.ndarray]
    options: Mapping[str, Option] = {}
    device: OnDevice | None = None
    batches: InBatches | None = None

    @property
    def populations(self) -> bool:
        """Whether its trials are populations, whose winners are evaluated again."""
        return self.device is not None and self.device.populations

    @property
    def recommends(self) -> bool:
        """Whether it recommends a position that is none of its trials."""
        return self.device is not None and self.device.recommended is not None

    @property
    def stops_trials(self) -> bool:
        """Whether it stops trials before their end."""
        return self.device is not None and self.device.updates_at_most is not None
