"""Algorithms and objectives by name or file, and objectives as text of a command line."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl import objective_file, objectives, sources
from jaxrl.algos import ALGORITHMS
from jaxrl.experiments import user_files
from jaxrl.names import lookup
from jaxrl.types import Objective


def algorithm(name: str):
    """The module of an algorithm, given by name or file. Raises ValueError with the nearest names."""
    if user_files.is_source(name):
        return user_files.algorithm(name)
    return lookup("algorithm", ALGORITHMS, name)


def objective(name: str):
    """An objective with its published parameters; `ppo+dpo` is the mixture of both, with equal weights.

    A name may also be a file. Raises ValueError with the nearest names.
    """
    if is_mixture(name):
        return objectives.mixture(*map(objective, name.split("+")))
    if user_files.is_source(name):
        return user_files.objective(name)[1]
    if is_file(name):
        return user_files.load_objective(Path(name))[1]
    return objective_file.named(name)


def is_mixture(name: str) -> bool:
    """Whether it names several objectives: a + can also be part of a file's path."""
    path = Path(name.rpartition(":")[0]) if sources.is_file(name) and ":" in name else Path(name)
    return "+" in name and not ((is_file(name) or sources.is_file(name)) and path.is_file())


def is_file(name: str) -> bool:
    """Whether an objective is given as a file of weights, not by its name or as a Python file."""
    return not sources.is_file(name) and (name.endswith(".json") or os.sep in name)


def with_objective(text: str, hparams: Any) -> tuple[str, Any]:
    """The name of the objective in `--objective`, and hyperparameters with its weights, if any."""
    if not text:  # the algorithm has a fixed objective
        return text, hparams
    name, given = objective_given(text)
    return name, hparams if is_typed(given.params) else hparams.replace(objective=given.params)


def typed_params(text: str) -> Any:
    """The parameters of an objective that a command line can contain: `with_objective` restores weights."""
    if any(name in objectives.LEARNED for name in text.split("+")):
        return objectives.Nothing()  # with weights from a run, or to be refused by `with_objective`
    params = objective_given(text)[1].params
    return params if is_typed(params) else objectives.Nothing()


def is_typed(params: Any) -> bool:
    """Whether the parameters of an objective are numbers that a command line can contain, not weights."""
    return all(np.ndim(leaf) == 0 for leaf in jax.tree.leaves(params))


def objective_given(text: str) -> tuple[str, Objective]:
    """The objective in `--objective`: a name, or a file with a learned one.

    Raises:
      ValueError: there is no such objective or file, or it is the name of a learned one without weights.
    """
    return together(text.split("+") if is_mixture(text) else [text])


def together(names: list[str]) -> tuple[str, Objective]:
    """The name of an objective and the objective; for several, their mixture. Each is a name or a file.

    A run stores the name and the parameters and then needs no file, so its folder can be moved.
    """
    given = [_one_given(name) for name in names]
    if len(given) == 1:
        return given[0]
    return "+".join(name for name, _ in given), objectives.mixture(*(one for _, one in given))


def _one_given(text: str) -> tuple[str, Objective]:
    if user_files.is_source(text):
        return user_files.objective(text)
    if is_file(text):
        return user_files.load_objective(Path(text))
    if text in objectives.LEARNED:
        raise ValueError(f"{text} is nothing without its weights: give the file that holds them")
    return text, objective(text)


def objective_name(module, name: str = "") -> str:
    """The name of an algorithm's objective, "ppo" if none is chosen; "" if there is no choice.

    Raises:
      ValueError: one is chosen for an algorithm that has no objective, or a fixed one.
    """
    if "objective" in module.Hparams.__dataclass_fields__:
        return name or "ppo"
    if name:
        short = sources.shown(module.__name__.rpartition(".")[2])
        raise ValueError(f"{short} has no objective to choose: leave --objective {name} out, or take ppo")
    return ""
