"""Hyperparameters learned by meta-gradients, evaluated on newly initialized agents."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import envs, memory, meta, sources, train
from jaxrl.algos import ppo
from jaxrl.experiments import runs, user_files
from jaxrl.experiments.runs import estimate
from jaxrl.experiments.studies.parts import Part, announced
from jaxrl.experiments.verdict import Table, Verdict
from jaxrl.fitting import fit
from jaxrl.policies import NetworkConfig
from jaxrl.statistics import bootstrap_interval
from jaxrl.types import Algorithm, Objective

LEARNING = "learning"  # the folder of the meta-learners, a run of `jaxrl.fit`


@dataclasses.dataclass
class Options:
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
    save_every_seconds: float = 10.0  # minimum time between checkpoints; 0: one per interval


class Parts(NamedTuple):
    """What is trained: an agent's algorithm, its initial hyperparameters, and the meta-learner."""

    algo: Algorithm
    start: Any
    rule: meta.Rule
    learner: Algorithm


@dataclasses.dataclass(frozen=True)
class Result:
    """Mean returns, each over all episodes of a lifetime and over those of its last fifth; learned values."""

    settings: Options
    start: tuple[float, float]
    learned: tuple[tuple[float, float], ...]
    rates: tuple[tuple[float, float, float], ...]  # each with its learning rate first
    values: dict[str, tuple[float, ...]]
    dead: float  # agents whose meta-gradient was not finite

    def __post_init__(self):
        if not self.learned:
            raise ValueError("must have learned")


def prepare(options: Options) -> tuple[Options, Any]:
    """The options with the names of files' contents, and the parameters of the objective as JSON.

    Raises:
      ValueError: invalid options.
    """
    name, objective = runs.objective_given(options.objective)
    named = dataclasses.replace(options, env=sources.named(options.env), objective=name)
    parts = build(named, objective)
    _require_memory(named, parts)
    params = dataclasses.asdict(parts.start)["objective"]
    return named, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32).tolist(), params)


def _require_memory(options: Options, parts: Parts) -> None:
    """Raises `memory.NotEnough` if the agents of all meta-learners do not fit into memory."""
    hp = parts.learner.hparams.replace(agent=parts.start)
    state = jax.eval_shape(parts.learner.init, estimate.keys(), hp)
    agents = "--num-agents" if options.num_agents > options.seeds else "--seeds"
    needs = {
        agents: options.seeds * memory.num_bytes(state),
        "--updates": options.seeds * options.updates * 8,  # at least two metrics of each
        "--fresh": options.fresh * 16,  # a key, and two returns
        "--lifetime": options.lifetime * 8,  # two metrics of each update of a new agent
    }
    memory.require(f"{options.seeds} meta-learners", needs, memory.on_devices())


def build(options: Options, objective: Objective) -> Parts:
    """The parts of the experiment. Raises ValueError for invalid options."""
    if options.seeds < 2 or options.fresh < 1 or options.updates < 1:
        raise ValueError("seeds must be at least 2, fresh and updates at least 1")
    config = ppo.Config(
        num_envs=8, num_steps=16, num_epochs=2, num_minibatches=2, network=NetworkConfig(hidden_sizes=(32,))
    )
    algo = ppo.make(envs.make(user_files.environment(options.env)), config, objective)
    start = algo.hparams.replace(total_updates=float(options.lifetime), lr_decay=0.0)
    rule = meta.hyperparameters(start, options.names)
    outer = meta.surrogate(algo, rule, options.unroll)
    learner = meta.make(algo, rule, outer, meta.Config(options.num_agents, options.lifetime))
    return Parts(algo, start, rule, learner)


def parts(path: Path, options: Options) -> list[Part]:
    """What is trained before the agents that give the result."""
    del options
    return [Part("meta-learners", path / LEARNING)]


def measure(path: Path, options: Options, params: Any) -> dict[str, Any] | None:
    """Meta-learns, then trains new agents with the initial, the learned and fixed hyperparameters.

    Continues from the state of the folder of the experiment. Agents that diverged count as the worst of all.

    Args:
      options, params: as returned by `prepare`.

    Returns:
      The fields of a `Result`, without the settings; None if it was interrupted.
    """
    objective = runs.objective(options.objective)
    objective = objective._replace(params=runs.objective_from_json(options.objective, params))
    algo, start, rule, learner = build(options, objective)
    fitted = fit(
        learner,
        steps=train.steps_after(learner, options.updates),
        seeds=options.seeds,
        seed=options.seed,
        hparams=learner.hparams.replace(agent=start, learning_rate=options.meta_learning_rate),
        out=path / LEARNING,
        save_every_seconds=options.save_every_seconds,
    )
    if not fitted.complete:
        return None
    f32 = jax.tree.map(jnp.float32, start)
    learned = jax.vmap(lambda theta: rule.hparams(theta, None, f32))(fitted.state.theta)
    values = {name: np.asarray(value) for name, value in meta.by_name(learned).items()}
    tried = [start, *(jax.tree.map(lambda x, i=i: x[i], learned) for i in range(options.seeds))]
    tried += [start.replace(learning_rate=rate) for rate in options.rates]
    returns = _returns(algo, tried, options)
    worst = returns.min(axis=(0, 1), where=np.isfinite(returns), initial=np.inf)
    means = np.where(np.isfinite(returns), returns, worst).mean(axis=1).tolist()
    first = 1 + options.seeds
    return {
        "start": means[0],
        "learned": means[1:first],
        "rates": [[rate, *mean] for rate, mean in zip(options.rates, means[first:])],
        "values": {name: values[name].tolist() for name in options.names if values[name].ndim == 1},
        "dead": float(sum(sum(row["meta/dead/count"]) for row in fitted.rows)),
    }


def _returns(algo: Algorithm, tried: list[Any], options: Options) -> np.ndarray:
    """Mean returns `[K, F, 2]` of `F` new agents with `K` sets of hyperparameters; NaN if one diverged."""

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
    numbered = {f"hyperparameters {number}": hp for number, hp in enumerate(tried, 1)}
    returns = [
        np.asarray(evaluate(jax.tree.map(jnp.float32, numbered[name]), fresh), np.float64)
        for name in announced(f"training {options.fresh} new agents", dict.fromkeys(numbered, 1.0))
    ]
    return np.stack(returns)


def verdict(result: Result) -> Verdict:
    """The returns of the initial, the learned and the fixed hyperparameters."""
    options, learned = result.settings, np.array(result.learned)

    def with_interval(values):
        low, high = bootstrap_interval(values)
        return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"

    rows = [
        ("start", *(f"{value:.3f}" for value in result.start)),
        ("meta-learned", *map(with_interval, learned.T)),
        ("difference", *(with_interval(learned[:, i] - result.start[i]) for i in range(2))),
        *((f"start, learning_rate {r:g}", f"{a:.3f}", f"{b:.3f}") for r, a, b in result.rates),
    ]
    notes = [
        f"{name}: {np.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"
        for name, values in result.values.items()
    ]
    place = sources.shown(options.env)
    title = (
        f"Mean returns of {options.fresh} fresh agents in {place}; 95 % bootstrap intervals over "
        f"{options.seeds} meta-learners:"
    )
    head = ("hyperparameters", "whole lifetime", "last fifth")
    table = Table(title, head, tuple(rows), tuple(notes))
    return Verdict(f"meta-learned hyperparameters in {place}", (table,))
