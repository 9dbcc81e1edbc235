"""Searches whose trials are all chosen in advance: a grid, uniform samples, a Sobol sequence."""

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np

from jaxrl import memory
from jaxrl.experiments.search.axis import Axis
from jaxrl.experiments.search.kind import Search

# Bytes that Python needs at least for a value as text, and for a trial: its tuple of values, its number, and
# its hyperparameters as a dict. A value adds its position; if it is from a range, also its text and number.
VALUE, TRIAL, POSITION = 75, 200, 16


def grid(axes: Sequence[Axis], trials: int, seed: int) -> np.ndarray:
    """All combinations of the values."""
    del seed
    if ranges := [one.flag for one in axes if not one.values]:
        raise ValueError(f"a grid needs values: give {ranges[0]} as A,B,C or LOW:HIGH:COUNT")
    if trials:
        raise ValueError("a grid has as many trials as combinations: leave --trials out")
    require_memory(axes, trials)
    sides = [(np.arange(len(one.values)) + 0.5) / len(one.values) for one in axes]
    return np.array(list(itertools.product(*sides)))


def uniform(axes: Sequence[Axis], trials: int, seed: int) -> np.ndarray:
    """Uniform samples."""
    require_trials(axes, trials)
    return np.random.default_rng(seed).random((trials, len(axes)))


def sobol(axes: Sequence[Axis], trials: int, seed: int) -> np.ndarray:
    """A scrambled Sobol sequence (Sobol 1967)."""
    require_trials(axes, trials)
    from scipy.stats import qmc

    with warnings.catch_warnings():  # SciPy warns unless the number is a power of two
        warnings.simplefilter("ignore", UserWarning)
        return qmc.Sobol(len(axes), seed=seed).random(trials)


def default(axes: Sequence[Axis], trials: int, seed: int) -> np.ndarray:
    """The grid if there is one and no number of trials is given, otherwise a Sobol sequence."""
    return (grid if is_grid(axes, trials) else sobol)(axes, trials, seed)


def is_grid(axes: Sequence[Axis], trials: int) -> bool:
    return all(one.values for one in axes) and not trials


def number_of_trials(axes: Sequence[Axis], trials: int) -> int:
    """The number of trials; if it is not given, that of a grid."""
    return trials or math.prod(len(one.values) for one in axes)


def require_trials(axes: Sequence[Axis], trials: int) -> None:
    """Raises ValueError without a number of trials, and `memory.NotEnough` if they do not fit into memory."""
    if trials < 1:
        raise ValueError("the number of trials is missing: give --trials, at least 1")
    require_memory(axes, trials)


def require_memory(axes: Sequence[Axis], trials: int) -> None:
    """Raises `memory.NotEnough` if not even the values of the trials fit into memory."""
    number, option = number_of_trials(axes, trials), "--trials" if trials else "the number of values"
    values = sum(POSITION if one.values else POSITION + VALUE for one in axes)
    needs = {option: number * (TRIAL + values)}
    memory.require(f"{number} trials", needs, memory.on_machine())


GRID, RANDOM, SOBOL = Search(grid), Search(uniform), Search(sobol)
