"""The specification of a discovery: its settings as JSON, their checks, and the initial objective."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np

from jaxrl import decode, objective_file, objectives
from jaxrl.discovery import evolve
from jaxrl.experiments import runs, user_files
from jaxrl.types import Objective

HELD_OUT = 0x4E1D  # seed of the held-out tasks; no meta-seed may be equal to it


@dataclasses.dataclass(frozen=True)
class World:
    """Where agents are trained: the specification of a family.

    Attributes:
      environment: a name, or "tabular" for random tables.
      steps: environment steps of a training.
      config, hparams: settings of the agents that differ from the defaults of their algorithm.
      low, high: scores that are normalized to 0 and 1; those of random tables already are.
    """

    environment: str
    steps: int
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    hparams: dict[str, float] = dataclasses.field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0


@dataclasses.dataclass(frozen=True)
class Spec:
    """Everything that determines the result of a discovery; stored as JSON.

    Attributes:
      objective: what is evolved, by its name in `jaxrl.objectives`, or that of a Python file.
      width: units of a learned drift, if it is a new one.
      worlds: where every candidate trains agents.
      generations: updates of the evolution.
      seed, seeds: meta-seeds `seed .. seed + seeds - 1`, evolved in parallel.
      intervals: rows of metrics, and evaluations of the current objectives on `eval_episodes` held-out tasks.
      held_out: tasks of the final comparison.
      transfers: other environments for the final comparison, by label.
      start: the parameters from which the evolution starts; None: those of the objective by default.
    """

    objective: str
    width: int
    worlds: tuple[World, ...]
    evolve: evolve.Config
    generations: int
    seed: int
    seeds: int
    intervals: int
    eval_episodes: int
    held_out: int
    transfers: dict[str, World] = dataclasses.field(default_factory=dict)
    start: dict[str, Any] | None = None

    @property
    def agents(self) -> int:
        """Number of objectives that are evolved; reporters use this name."""
        return self.seeds

    @property
    def lane_seeds(self) -> np.ndarray:
        """The meta-seeds `[S]`."""
        return np.arange(self.seed, self.seed + self.seeds, dtype=np.int32)

    @property
    def keys(self) -> jax.Array:
        """Their keys `[S]`."""
        return jax.vmap(jax.random.key)(self.lane_seeds)

    def to_json(self) -> dict[str, Any]:
        data = dataclasses.asdict(self)
        if self.start is None:  # left out, as in older versions, whose checkpoints remain valid
            del data["start"]
        return data


def from_json(data: dict[str, Any]) -> Spec:
    """The Spec that `to_json` wrote.

    Raises:
      ValueError: unknown names or values.
    """
    try:
        made = decode.decode(data, Spec, "run.json")
    except ValueError as error:
        raise ValueError(f"{error}: the file was edited, or written by another version of jaxrl") from None
    for world in (*made.worlds, *made.transfers.values()):
        user_files.environment(world.environment)
    return made


def start(spec: Spec) -> Objective:
    """The initial objective: a new network has weights of 0, which is PPO's clipping."""
    if user_files.is_source(spec.objective):
        objective = user_files.objective(spec.objective)[1]
    elif spec.objective in ("lpo", "ta_lpo"):
        objective = objectives.LEARNED[spec.objective](width=spec.width)
    else:
        objective = objective_file.named(spec.objective)
    if spec.start is None:
        return objective
    return objective._replace(params=runs.objective_from_json(spec.objective, spec.start))


def check(spec: Spec) -> None:
    """Raises ValueError for an invalid number, with the remedy."""
    for name in ("generations", "seeds", "intervals", "width"):
        if getattr(spec, name) < 1:
            raise ValueError(f"{name} = {getattr(spec, name)} must be at least 1")
    if spec.seed <= HELD_OUT < spec.seed + spec.seeds:
        raise ValueError(f"seed {HELD_OUT} belongs to the held-out tasks: choose others")
    if spec.seed < 0 or spec.seed + spec.seeds > 2**31:
        raise ValueError(f"seed = {spec.seed} must lie between 0 and {2**31 - spec.seeds}")
    for name, value in (("eval_tasks", spec.eval_episodes), ("held_out", spec.held_out)):
        if value < 2:
            raise ValueError(f"{name} = {value} must be at least 2")
    if spec.evolve.tasks < 1:
        raise ValueError(f"tasks = {spec.evolve.tasks} must be at least 1")
    for name in ("std", "learning_rate"):
        if not (math.isfinite(value := getattr(spec.evolve, name)) and value > 0):
            raise ValueError(f"{name} = {value} must be positive")
    if not spec.worlds:
        raise ValueError("environments are missing: give at least one environment")
    names = [world.environment for world in spec.worlds]
    if len(set(names)) < len(names):
        raise ValueError(f"environments {', '.join(names)}: give each only once")
