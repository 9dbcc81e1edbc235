"""Hyperparameters learned by meta-gradients, evaluated on newly initialized agents."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import envs, memory, meta, train
from jaxrl.algos import ppo
from jaxrl.experiments import runs, user_files
from jaxrl.experiments.runs import estimate
from jaxrl.policies import NetworkConfig
from jaxrl.statistics import bootstrap_interval
from jaxrl.types import Algorithm


@dataclasses.dataclass
class Tune:
    """Options of the experiment; the agents are small PPO agents."""

    env: str = "Catch-bsuite"  # a name, or a file
    names: tuple[str, ...] = ("learning_rate", "ent_coef", "gae_lambda", "gamma")  # what is meta-learned
    objective: str = "ppo"  # a name, or a file; its parameters are named, for example, objective.clip_eps
    lifetime: int = 40  # updates of an agent, of 128 steps each
    unroll: int = 4  # updates that meta-gradients are taken through; divides the lifetime
    num_agents: int = 8  # agents that train in parallel
    updates: int = 200  # steps of the meta-learner
    meta_learning_rate: float = 0.05
    seeds: int = 8  # meta-learners, from `seed` on
    seed: int = 0
    fresh: int = 32  # new agents that evaluate each result, with seeds that no meta-learner used
    rates: tuple[float, ...] = (1e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2)  # fixed learning rates, for comparison
    out: Path | None = None  # JSON file for the result


def measure(options: Tune) -> dict[str, Any]:
    """Meta-learns, then trains new agents with the initial, the learned and fixed hyperparameters.

    A return is the mean over all episodes of a lifetime, or over those of its last fifth.
    """
    if options.seeds < 2 or options.fresh < 1 or options.updates < 1:
        raise ValueError("seeds must be at least 2, fresh and updates at least 1")
    config = ppo.Config(
        num_envs=8, num_steps=16, num_epochs=2, num_minibatches=2, network=NetworkConfig(hidden_sizes=(32,))
    )
    objective = runs.objective_given(options.objective)[1]
    algo = ppo.make(envs.make(user_files.environment(options.env)), config, objective)
    start = algo.hparams.replace(total_updates=float(options.lifetime), lr_decay=0.0)
    rule = meta.hyperparameters(start, options.names)
    outer = meta.surrogate(algo, rule, options.unroll)
    learner = meta.make(algo, rule, outer, meta.Config(options.num_agents, options.lifetime))
    hp = learner.hparams.replace(agent=start, learning_rate=options.meta_learning_rate)
    _require_memory(options, learner, hp)
    keys = jax.vmap(jax.random.key)(options.seed + jnp.arange(options.seeds))
    learn = train.over_agents(partial(train.run, learner, num_updates=options.updates), (0, None))
    states, metrics = jax.jit(learn)(keys, hp)

    def returns_of(hp, key):
        state, metrics = train.run(algo, key, hp, options.lifetime)
        totals, counts = metrics["episode/return_sum"], metrics["episode/count"]
        last = -(-options.lifetime // 5)
        parts = [(totals.sum(), counts.sum()), (totals[-last:].sum(), counts[-last:].sum())]
        means = jnp.stack([total / jnp.maximum(count, 1.0) for total, count in parts])
        return jnp.where(train.diverged(state.params, metrics), jnp.nan, means)

    # Seeds that no meta-learner uses: far away in the same sequence.
    fresh = jax.vmap(jax.random.key)(1_000_000 + options.seed + jnp.arange(options.fresh))
    evaluate = jax.jit(jax.vmap(returns_of, (None, 0)))

    learned = jax.vmap(lambda theta: rule.hparams(theta, None, jax.tree.map(jnp.float32, start)))(
        states.theta
    )
    values = {name: np.asarray(value) for name, value in meta.by_name(learned).items()}
    tried = [start, *(jax.tree.map(lambda x, i=i: x[i], learned) for i in range(options.seeds))]
    tried += [start.replace(learning_rate=rate) for rate in options.rates]
    found = np.stack([np.asarray(evaluate(jax.tree.map(jnp.float32, hp), fresh), np.float64) for hp in tried])
    # An agent that diverged counts as the worst of all.
    worst = found.min(axis=(0, 1), where=np.isfinite(found), initial=np.inf)
    means = np.where(np.isfinite(found), found, worst).mean(axis=1).tolist()
    first = 1 + options.seeds
    return {
        "start": means[0],
        "learned": means[1:first],
        "rates": [[rate, *mean] for rate, mean in zip(options.rates, means[first:])],
        "values": {name: values[name].tolist() for name in options.names if values[name].ndim == 1},
        "dead": float(metrics["meta/dead/count"].sum()),
    }


def _require_memory(options: Tune, learner: Algorithm, hp: Any) -> None:
    """Raises `memory.NotEnough` if the agents of all meta-learners do not fit into memory."""
    state = jax.eval_shape(learner.init, estimate.keys(), hp)
    agents = "--num-agents" if options.num_agents > options.seeds else "--seeds"
    needs = {
        agents: options.seeds * memory.num_bytes(state),
        "--updates": options.seeds * options.updates * 8,  # at least two metrics of each
        "--fresh": options.fresh * 16,  # a key, and two returns
        "--lifetime": options.lifetime * 8,  # two metrics of each update of a new agent
    }
    memory.require(f"{options.seeds} meta-learners", needs, memory.on_devices())


def table(options: Tune, result: dict[str, Any]) -> str:
    """The table of a result, as Markdown."""
    learned = np.array(result["learned"])

    def row(name, life, last):
        return f"| {name} | {life} | {last} |"

    def with_interval(values):
        low, high = bootstrap_interval(values)
        return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"

    plain = [f"{value:.3f}" for value in result["start"]]
    gains = [with_interval(learned[:, i] - result["start"][i]) for i in range(2)]
    lines = [
        f"Mean returns of {options.fresh} fresh agents in {options.env}; 95 % bootstrap intervals over "
        f"{options.seeds} meta-learners:",
        "",
        row("hyperparameters", "whole lifetime", "last fifth"),
        row("---", "---", "---"),
        row("start", *plain),
        row("meta-learned", *map(with_interval, learned.T)),
        row("difference", *gains),
        *(row(f"start, learning_rate {r:g}", f"{a:.3f}", f"{b:.3f}") for r, a, b in result["rates"]),
        "",
    ]
    for name, values in result["values"].items():
        lines.append(f"{name}: {np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})")
    return "\n".join(lines)
