"""Returns of a run's policies over new episodes."""

import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxrl import logger, loop, records, sources, train
from jaxrl.experiments import diverged, runs
from jaxrl.experiments.runs.load import load
from jaxrl.programs import Programs
from jaxrl.statistics import bootstrap_interval, iqm


def evaluation(
    path: Path,
    episodes: int,
    best: bool,
    as_json: bool,
    lanes: Sequence[int] | None = None,
    label: str = "",
) -> str:
    """Returns over `episodes` new episodes of each seed, as text or as one JSON object.

    Args:
      lanes: of the agents, one for each seed; None: all agents of the run.
      label: what these agents are, for the text.

    Agents that diverged count as the worst of the others, whatever their returns are: with discrete actions
    the argmax of NaN is a valid action. There is no score if at least half of them diverged.
    """
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} must be at least 1")
    spec, programs, at = load(path, best, episodes)
    lost = _diverged(path, spec, programs, at)
    keys = runs.evaluation_keys(spec, at.num_updates, domain=1)
    result = programs.evaluate(at.state, keys)
    lanes = range(spec.agents) if lanes is None else lanes
    one_trial = spec.slots == 1 or len(lanes) < spec.agents
    returns, finished = (np.asarray(x)[np.array(lanes)] for x in (result.returns, result.finished))
    returns = returns.astype(np.float64)
    lost = [place for place, lane in enumerate(lanes) if lane in lost]
    agents = {"per_seed": returns.mean(axis=1).tolist(), "died": lost}
    least = np.nan if diverged.unknown([agents]) else diverged.worst([agents])
    per_seed = np.array(diverged.counted(agents, least) or [np.nan] * len(lanes))
    # Episodes of one agent are correlated: with several agents the interval is over agents.
    sample = per_seed if len(lanes) > 1 or lost else returns[0]
    low, high = bootstrap_interval(sample, iqm) if len(sample) > 1 else (np.nan, np.nan)
    summary = {
        "mean": float(sample.mean()),
        "median": float(np.median(sample)),
        "iqm": float(iqm(sample)),
        "interval": [float(low), float(high)],
        "episodes": int(returns.size),
        "per_seed": [np.nan if x is None else x for x in diverged.known(agents)],
        "unfinished": int((~finished).sum()),
        "num_updates": at.num_updates,
    }
    if lost:
        summary["diverged"] = [spec.seed + place for place in lost] if one_trial else lost
    if as_json:
        return json.dumps({name: logger.finite(value) for name, value in summary.items()})
    each = ["diverged" if x is None else f"{x:.4g}" for x in diverged.known(agents)]
    kind = "seeds" if one_trial else "agents"
    over = f"{len(lanes)} {kind}" if len(lanes) > 1 else "episodes of one seed"
    unfinished = ""
    if not finished.all():
        steps = int(np.asarray(result.lengths)[np.array(lanes)][~finished].max())
        unfinished = (
            f"\n{summary['unfinished']} of {summary['episodes']} episodes had not ended after {steps} steps: "
            "their returns until then are counted; give a new run a time limit, as --env.max-steps 1000"
        )
    who = sources.shown(f"{spec.algorithm} on {spec.environment}") + f", {label}," * bool(label)
    return (
        f"{who} after {at.num_updates} updates, "
        f"{episodes} episodes of each seed\n"
        f"IQM {summary['iqm']:.4g} (95 % bootstrap interval over {over}: {low:.4g} to {high:.4g})   "
        f"mean {summary['mean']:.4g}   median {summary['median']:.4g}\n"
        f"per seed: {'  '.join(each)}{unfinished}"
    )


def _diverged(path: Path, spec: runs.Spec, programs: Programs, at: loop.Position) -> list[int]:
    """The lanes of agents that had diverged at a position, by their parameters and by the rows until then."""
    rows = [row for row in records.rows(path) if row["num_updates"] <= at.num_updates]
    lanes = set(records.first_diverged(rows))
    params = getattr(programs.agents(at.state), "params", ())
    if jax.tree.leaves(params):
        broken = jax.jit(jax.vmap(lambda params_of_agent: train.diverged(params_of_agent, {})))(params)
        lanes |= set(np.flatnonzero(np.asarray(broken)[: spec.agents]).tolist())
    return sorted(lanes)
