"""The policies in the state of a run as an `Artifact`, the content of its `policy.npz`."""

import contextlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl import hosts, records
from jaxrl.artifact import policy
from jaxrl.artifact.describe import describe
from jaxrl.critics import SCALAR, Head
from jaxrl.types import Algorithm, Env, PyTree


def write(
    path: Path, algo: Algorithm, agents: PyTree, seeds: np.ndarray, row: dict[str, Any] | None, about: dict
) -> None:
    """Writes the policies of the first `[S]` agents `[P]` into the folder of a run.

    All processes must call it. Nothing is written if the algorithm does not describe its policy, or if no
    file can represent it.

    Args:
      algo: of one agent.
      seeds: `[S]`.
      row: the last row of metrics, whose returns are the scores.
      about: algorithm, environment, num_updates: for the reader.
    """
    if algo.description is None:
        return
    env, network, head = algo.description
    held, stream = hosts.fetch(learned(agents)), shapes_of_stream(agents)

    def write_file():
        with contextlib.suppress(ValueError):
            policy.write(path / policy.FILE, make(env, network, held, stream, seeds, row, about, head))

    hosts.by_leader(write_file)


def learned(agents: PyTree) -> dict[str, Any]:
    """The learned parts of the policies of agents `[P]`."""
    return {"params": getattr(agents, "params", {}), "obs_stats": getattr(agents, "obs_stats", ())}


def shapes_of_stream(agents: PyTree) -> Any:
    """The shapes of the Stream of agents, leaves `[P, N, ...]`; None if their state has none."""
    return jax.eval_shape(lambda stream: stream, getattr(agents, "stream", None))


def make(
    env: Env,
    network: Any,
    held: dict[str, Any],
    stream: Any,
    seeds: np.ndarray,
    row: dict[str, Any] | None,
    about: dict[str, Any],
    head: Head = SCALAR,
) -> policy.Artifact:
    """The Artifact of the first `[S]` agents `[P]`, whose actions all have the bounds of `env`.

    Args:
      network: the NetworkConfig of the policy.
      held: as returned by `learned`. stream: as returned by `shapes_of_stream`.
      seeds, row, about: as in `write`.
      head: of values of actions.

    Raises:
      ValueError: the policy cannot be described.
    """
    count = len(seeds)
    held = jax.tree.map(lambda x: np.asarray(x)[:count], held)
    masked = stream is not None and "action_mask" in stream.timestep.info
    recipe = describe(env.observation_space, env.action_space, network, **held, masked=masked, head=head)
    each = jax.tree.map(lambda x: np.repeat(x[None], count, axis=0), recipe.bounds)
    return policy.Artifact(recipe._replace(bounds=each), seeds, _scores(recipe, row, count), about)


def _scores(recipe, row: dict[str, Any] | None, count: int) -> np.ndarray:
    """The returns of the agents in a row of metrics, nan where they are unknown or the agent has diverged."""
    scores = np.full(count, np.nan)
    returns = next((row[name] for name in records.RETURNS if row and row.get(name)), ())
    if len(returns) == count:
        scores = np.array([np.nan if x is None else x for x in returns], np.float64)
    for _, arrays in recipe.layers:
        for x in arrays.values():
            scores[~np.isfinite(x).reshape(count, -1).all(axis=1)] = np.nan
    return scores
