"""What a discovery needs at least, from shapes alone, before its candidates and tasks are made."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxrl import memory
from jaxrl.discovery.family import Family
from jaxrl.experiments.runs import estimate
from jaxrl.experiments.studies.discover.spec import Spec, start
from jaxrl.experiments.studies.discover.worlds import held_out

# Bytes for each training run: indices of its candidate and of its task, by NumPy or on the device; its score.
INDICES, LANE, SCORE = 16, 8, 4


def require(spec: Spec, families: Sequence[Family]) -> None:
    """Raises `memory.NotEnough` if a generation or an evaluation of a discovery does not fit into memory."""
    params = memory.num_bytes(jax.eval_shape(lambda: jax.tree.map(jnp.asarray, start(spec).params)))
    candidates, tasks = spec.seeds * spec.evolve.population, spec.evolve.tasks
    needs = {
        "--width" if spec.width > candidates else "--population": (3 * spec.seeds + candidates) * params,
        "--population or --tasks": candidates * tasks * (INDICES + SCORE * len(families)),
    }  # three for the mean, and for two moments of Adam
    memory.require(f"{candidates} candidates", needs, memory.on_devices())
    require_tasks(families, spec.eval_episodes, "--eval-tasks", spec.seeds)
    require_tasks(families, spec.held_out, "--held-out")
    rows = {"--intervals": estimate.ROW * min(spec.intervals, spec.generations)}
    memory.require("the rows of a discovery", rows, memory.on_machine())


def require_tasks(families: Sequence[Family], count: int, option: str, settings: int = 1) -> None:
    """Raises `memory.NotEnough` if held-out tasks of a family and the scores on them do not fit into memory.

    Args:
      count: the number of tasks.
      option: the option that sets it.
      settings: the number of objectives that are trained on each task.
    """
    for family in families:
        tasks = memory.num_bytes(jax.eval_shape(lambda one=family: held_out(one, 1)))
        needs = {option: count * (tasks + settings * (LANE + SCORE))}
        memory.require(f"{count} held-out tasks", needs, memory.on_devices())
