"""The experiment of bootstrapped meta-learning: a single lifetime in which two colours swap roles repeatedly.

Flennerhag et al. 2022, section 5.1, https://arxiv.org/abs/2109.04504, but much shorter. The agent is an
actor-critic: PPO with one pass over each rollout and the plain policy gradient. Adam replaces their SGD, and
two moving averages their 10 averages of reward. A meta-learner sets the entropy coefficient as a function of
recent reward; the alternatives are fixed coefficients. All methods take the same number of environment steps,
including those that are only used by the outer loss.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import envs, meta, objectives, train
from jaxrl.algos import ppo
from jaxrl.envs.worlds import optimal_return
from jaxrl.experiments.runs import estimate
from jaxrl.experiments.studies import study
from jaxrl.experiments.studies.parts import Part, announced
from jaxrl.experiments.verdict import Table, Verdict
from jaxrl.names import lookup
from jaxrl.policies import NetworkConfig
from jaxrl.statistics import bootstrap_interval
from jaxrl.types import Algorithm

PARTS = 40  # of a lifetime, for curves
METHODS = ("fixed", "meta-gradients", "bootstrapped")


@dataclasses.dataclass
class Options:
    """Options of the experiment."""

    steps: int = 400_000  # of an agent
    period: int = 50_000  # steps after which the colours swap roles
    seeds: int = 8  # agents of each method, from `seed` on
    seed: int = 0
    methods: tuple[str, ...] = METHODS
    fixed: tuple[float, ...] = (0.01, 0.03, 0.05, 0.1, 0.15, 0.2)  # fixed entropy coefficients
    unroll: int = 7  # updates that meta-gradients are taken through
    target: int = 8  # further updates to the bootstrapped target
    start: float = 0.1  # initial entropy coefficient of the meta-learners
    meta_learning_rate: float = 1e-3
    meta_entropy: float = 0.0  # entropy bonus in the outer loss of plain meta-gradients


# The mean reward per step in each part of each lifetime, `[S, PARTS]`, by method.
Curves = dict[str, tuple[tuple[float, ...], ...]]


@dataclasses.dataclass(frozen=True)
class Row:
    """A method: means of its lifetimes, their mean curve, and means with intervals."""

    seeds: tuple[float, ...]
    curve: tuple[float, ...]
    life: tuple[float, float, float]
    second_half: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Result:
    """The rewards of all methods, and the long-run optimum."""

    settings: Options
    best_possible: float
    methods: dict[str, Row]


def agent(period: int) -> tuple[Algorithm, Any]:
    """The actor-critic and its environment."""
    env = meta.recent_reward(envs.make("world/two-colours", period=period))
    config = ppo.Config(
        num_envs=1,
        num_steps=16,
        num_epochs=1,
        num_minibatches=1,
        network=NetworkConfig(hidden_sizes=(64,), activation="relu"),
        normalize_advantages=False,
    )
    algo = ppo.make(env, config, objectives.policy_gradient())
    hparams = algo.hparams.replace(learning_rate=3e-3, lr_decay=0.0, gae_lambda=1.0, max_grad_norm=1e9)
    return algo._replace(hparams=hparams), env


def learners(options: Options) -> dict[str, Algorithm]:
    """The two meta-learners by name; each has a single agent, so each seed has a separate `theta`."""
    algo, env = agent(options.period)
    rule = meta.entropy_net(2, start=options.start)
    outers = {
        "meta-gradients": meta.surrogate(algo, rule, options.unroll),
        "bootstrapped": meta.bootstrap(algo, rule, env.action_space, options.unroll, options.target),
    }
    made = {name: meta.make(algo, rule, outer, meta.Config(num_agents=1)) for name, outer in outers.items()}
    hp = {"learning_rate": options.meta_learning_rate, "ent_coef": options.meta_entropy, "gae_lambda": 1.0}
    return {name: learner._replace(hparams=learner.hparams.replace(**hp)) for name, learner in made.items()}


def reward_curves(algo: Algorithm, keys, hp, steps: int, agent_of, hp_axis: int | None = None) -> np.ndarray:
    """The mean reward per step in each part of each lifetime, `[S, PARTS]`."""
    per_part = steps // PARTS // algo.steps_per_update

    def lifetime(key, hp):
        def part(state, _):
            state = jax.lax.fori_loop(0, per_part, lambda _, s: algo.update(s, hp)[0], state)
            return state, agent_of(state).stream.timestep.info["episode_return"].mean()

        return jax.lax.scan(part, algo.init(key, hp), length=PARTS)[1]

    run = train.over_agents(lifetime, (0, hp_axis), train.mesh(len(keys)))
    so_far = np.asarray(jax.jit(run)(keys, hp), np.float64)
    return np.diff(so_far, axis=1, prepend=0.0) / (per_part * algo.steps_per_update)


def only(state: meta.TrainState) -> Any:
    """The state of a meta-learner's only agent."""
    return jax.tree.map(lambda x: x[0], state.agents)


def prepare(options: Options) -> tuple[Options, None]:
    """The options; there are no parameters to store. Raises ValueError for invalid options."""
    for name in ("seeds", "period", "steps"):
        if getattr(options, name) < 1:
            raise ValueError(f"{name} = {getattr(options, name)} must be at least 1")
    for name in options.methods:
        lookup("method", dict.fromkeys(METHODS), name)
    for algo in (agent(options.period)[0], *learners(options).values()):
        if options.steps < (least := PARTS * algo.steps_per_update):
            raise ValueError(
                f"steps = {options.steps} are too few: at least {least}, for a curve of {PARTS} points"
            )
    algo, _ = agent(options.period)
    estimate.require_agents(algo, options.seeds * max(1, len(options.fixed)), "--seeds")
    return options, None


def parts(path: Path, options: Options) -> list[Part]:
    """The methods; each is a stage with a file in the folder."""
    chosen = [name for name in METHODS if name in options.methods and (options.fixed or name != "fixed")]
    return [Part(name, path / f"{name}.json") for name in chosen]


def measure(path: Path, options: Options, _: None) -> dict[str, Any]:
    """The fields of a `Result`, without the settings. Each method is a stage with a file in the folder."""
    keys = jax.vmap(jax.random.key)(options.seed + jnp.arange(options.seeds))
    algo, _ = agent(options.period)

    def fixed() -> dict[str, Any]:
        coefs = np.repeat(np.asarray(options.fixed, np.float32), options.seeds)
        hp = train.grid(algo.hparams, ent_coef=coefs)
        all_keys = jnp.tile(keys, len(options.fixed))
        curves = reward_curves(algo, all_keys, hp, options.steps, lambda state: state, 0)
        each = curves.reshape(len(options.fixed), options.seeds, PARTS)
        return {f"fixed {coef:g}": rewards.tolist() for coef, rewards in zip(options.fixed, each)}

    def learned(name: str, learner: Algorithm) -> dict[str, Any]:
        return {name: reward_curves(learner, keys, learner.hparams, options.steps, only).tolist()}

    stages: dict[str, Callable] = {"fixed": fixed}
    stages |= {name: partial(learned, name, learner) for name, learner in learners(options).items()}
    curves: Curves = {}
    sizes = {one.name: float(not one.is_complete()) for one in parts(path, options)}
    for name in announced("training", sizes):
        curves |= study.once(path / f"{name}.json", Curves, stages[name])
    return summary({name: np.array(values) for name, values in curves.items()})


def summary(curves: dict[str, np.ndarray]) -> dict[str, Any]:
    """Mean reward per step with bootstrap intervals, over the whole lifetime and over its second half."""
    # Long-run optimum: the value of a thousand additional steps, for any initial state.
    most = [float(optimal_return("world/two-colours", gamma=1.0, horizon=h)) for h in (1000, 2000)]
    rows = {}
    for name, curve in curves.items():
        row = {"seeds": curve.mean(axis=1).tolist(), "curve": curve.mean(axis=0).round(4).tolist()}
        for part, values in (("life", curve), ("second_half", curve[:, PARTS // 2 :])):
            means = values.mean(axis=1)
            ends = bootstrap_interval(means) if len(means) > 1 else (means[0], means[0])
            row[part] = [float(means.mean()), *map(float, ends)]
        rows[name] = row
    return {"best_possible": (most[1] - most[0]) / 1000, "methods": rows}


def verdict(result: Result) -> Verdict:
    """The rewards of the methods, over a lifetime and over its second half."""
    rows = []
    for name, row in result.methods.items():
        cells = [f"{m:.3f} ({low:.3f} to {high:.3f})" for m, low, high in (row.life, row.second_half)]
        rows.append((name, *cells))
    title = (
        f"Mean reward per step ({result.best_possible:.3f} is the optimum); 95 % bootstrap intervals "
        f"over {result.settings.seeds} seeds:"
    )
    head = ("entropy coefficient", "lifetime", "second half")
    return Verdict("two colours that swap roles", (Table(title, head, tuple(rows)),))
