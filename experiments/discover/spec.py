"""The specification of a discovery, the presets, and the programs that execute it."""

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl import envs, fields, objective_file, objectives, sources, train
from jaxrl.algos import ppo
from jaxrl.discovery import evolve, training
from jaxrl.discovery.family import Family, filled, repeated, tables
from jaxrl.evaluate import Evaluation
from jaxrl.experiments import presets, runs, user_files
from jaxrl.experiments.discover import tabular
from jaxrl.names import lookup
from jaxrl.programs import Programs, boundaries
from jaxrl.spaces import require_counts
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
        parts = {
            "worlds": tuple(World(**world) for world in data["worlds"]),
            "transfers": {label: World(**world) for label, world in data["transfers"].items()},
            "evolve": evolve.Config(**data["evolve"]),
        }
        made = Spec(**{**data, **parts})
        for world in (*made.worlds, *made.transfers.values()):
            user_files.environment(world.environment)
        runs.require_types(made, made.evolve, *made.worlds, *made.transfers.values())
        return made
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"the run.json was edited, or written by another version of jaxrl: {error}"
        ) from None


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


def family(world: World) -> Family:
    """Makes the family of a World.

    Raises:
      ValueError: an unknown environment, setting or hyperparameter, sizes that do not fit.
    """
    if world.steps < 1:
        raise ValueError(f"steps = {world.steps} must be at least 1")
    agents: Any = tabular if world.environment == "tabular" else ppo
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in world.config.items()}
    try:
        config, hp = fields.configured(agents.Config(), values), agents.Hparams(**world.hparams)
    except TypeError as error:
        raise ValueError(f"agents in {world.environment}: {error}") from None
    runs.require_types(config, hp, where=f"the agents of {world.environment}")
    require_counts(config, "num_envs", "num_steps", "num_epochs")
    if world.environment != "tabular":
        make = partial(ppo.make, envs.make(world.environment), config)
        return training.family(world.environment, make, hp, world.steps, world.low, world.high)
    updates = -(-world.steps // (config.num_envs * config.num_steps))
    return tabular.family(dataclasses.replace(config, num_updates=updates), hp)


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


def build(spec: Spec) -> Programs:
    """Makes families and programs of a Spec; compiles nothing yet.

    Raises:
      ValueError: invalid settings, in one sentence.
    """
    check(spec)
    families = tuple(family(world) for world in spec.worlds)
    objective = start(spec)
    if not jax.tree.leaves(objective.params):
        name = sources.shown(spec.objective)
        raise ValueError(f"{name} has no parameters to evolve: use lpo, ta_lpo or dpo")
    discovery = evolve.make(objective, families, spec.evolve, spec.seeds)
    where = NamedSharding(train.mesh(spec.seeds * spec.evolve.population), PartitionSpec())

    def evaluate(state, keys):
        del keys  # the same tasks in every evaluation, so that the curve shows progress
        hps = [repeated(one.hparams, spec.seeds) for one in families]
        tasks, keys = zip(*[held_out(one, spec.eval_episodes) for one in families])
        on_tasks = tables(families, objective.apply, discovery.means(state), hps, tasks, keys)
        scores = filled(on_tasks).mean(axis=0)
        steps = sum(one.steps for one in families)
        return Evaluation(scores, jnp.full(scores.shape, steps), jnp.ones(scores.shape, bool))

    return Programs(
        # It has what programs need of an Algorithm.
        algo=discovery._replace(update=jax.jit(discovery.update)),  # type: ignore[arg-type]  # see above
        hp=(),
        seeds=spec.lane_seeds,
        num_updates=spec.generations,
        agent_updates=spec.generations,
        ends=boundaries(spec.generations, spec.intervals),
        reported=spec.seeds,
        eval_episodes=spec.eval_episodes,
        identity=spec.to_json(),
        init=jax.jit(lambda keys: discovery.init(keys, ()), out_shardings=where),
        evaluate=jax.jit(evaluate, out_shardings=where),
        sharding=where,
        hp_sharding=where,
        state_sharding=where,
        agents=discovery.means,
    )


def held_out(family: Family, count: int):
    """The first `count` tasks on which no candidate is trained, and keys for the agents."""
    task_key, run_key = jax.random.split(jax.random.key(HELD_OUT))
    tasks = jax.vmap(lambda i: family.draw(jax.random.fold_in(task_key, i)))(jnp.arange(count))
    keys = jax.vmap(partial(jax.random.fold_in, run_key))(jnp.arange(count))
    return tasks, keys


def default_world(environment: str, steps: int) -> World:
    """An environment with the agents of `jaxrl train ppo ENV`."""
    if environment == "tabular":
        return World(environment, steps)
    environment = user_files.environment(environment)
    lookup("environment", envs.REGISTRY, environment)
    chosen = presets.preset("ppo", environment)
    return World(environment, steps, chosen.config, chosen.hparams)


def with_scale(world: World, num_agents: int = 16) -> World:
    """A World in which 0 is the mean score of agents that do not learn, and 1 that of PPO's clipping.

    Raises:
      ValueError: PPO learns nothing in it, so objectives cannot be compared.
    """
    if world.environment == "tabular" or (world.low, world.high) != (0.0, 1.0):
        return world
    one, objective = family(world), objectives.ppo()
    hps = train.grid(one.hparams, learning_rate=jnp.array([0.0, one.hparams.learning_rate]))
    params, (tasks, keys) = repeated(objective.params, 2), held_out(one, num_agents)
    areas = jax.jit(lambda *agents: filled(tables([one], objective.apply, *agents)))(
        params, [hps], [tasks], [keys]
    )
    low, high = np.asarray(areas[0], np.float64).mean(axis=1)
    if not high > low:
        raise ValueError(
            f"in {world.steps} steps of {world.environment} PPO learns nothing: it scores {high:.4g}, agents "
            f"that do not learn {low:.4g}; give more --steps"
        )
    return dataclasses.replace(world, low=float(low), high=float(high))


SMALL = {"num_envs": 8, "num_steps": 32, "num_epochs": 8, "hidden_sizes": (32, 32)}
# The learning rate is PPO's best one there: with another one, a drift would learn to compensate for it.
CARTPOLE = World("CartPole-v1", 10_240, SMALL, {"learning_rate": 7.5e-3})
TABULAR = Spec(
    objective="ta_lpo",
    width=32,
    worlds=(World("tabular", 1536),),
    evolve=evolve.Config(),
    generations=200,
    seed=0,
    seeds=3,
    intervals=20,
    eval_episodes=256,
    held_out=1024,
    transfers={
        "twice the horizon": World("tabular", 3072),
        "denser rewards (15 %)": World("tabular", 1536, {"density": 0.15}),
        "half the epochs": World("tabular", 1536, {"num_epochs": 4}),
    },
)
PRESETS = {
    "tabular": TABULAR,
    "tabular-small": dataclasses.replace(
        TABULAR, generations=50, seeds=1, intervals=5, eval_episodes=64, held_out=256, transfers={}
    ),
    "cartpole": dataclasses.replace(
        TABULAR,
        worlds=(CARTPOLE,),
        evolve=evolve.Config(population=32, tasks=4),
        generations=100,
        seeds=1,
        eval_episodes=16,
        held_out=64,
        transfers={
            "Acrobot": World("Acrobot-v1", 40_960, SMALL, {"learning_rate": 7.5e-3}),
            "Catch": World("Catch-bsuite", 10_240, SMALL, {"learning_rate": 7.5e-3}),
        },
    ),
    "minatar": dataclasses.replace(
        TABULAR,
        width=128,
        worlds=(default_world("SpaceInvaders-MinAtar", 1_000_000),),
        evolve=evolve.Config(tasks=1, std=0.05),
        generations=500,
        seeds=1,
        intervals=50,
        eval_episodes=8,
        held_out=64,
        transfers={
            name: default_world(f"{name}-MinAtar", 1_000_000) for name in ("Breakout", "Asterix", "Freeway")
        },
    ),
}
