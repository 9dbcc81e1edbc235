"""From a Spec to its programs: the checks of its numbers, the algorithm, and what is compiled."""

import dataclasses
import math
from functools import partial
from operator import attrgetter
from typing import Any

import jax
import numpy as np
from flax import struct
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl import envs, fields, sources, train
from jaxrl.evaluate import evaluate
from jaxrl.experiments import search
from jaxrl.experiments.runs import estimate
from jaxrl.experiments.runs.names import algorithm, objective
from jaxrl.experiments.runs.spec import Spec
from jaxrl.programs import Programs, boundaries, fingerprint, share
from jaxrl.types import Algorithm, Env


def make(spec: Spec, env: Env) -> Algorithm:
    """The algorithm of a Spec, for one agent in `env`."""
    chosen = (objective(spec.objective),) if spec.objective else ()
    algo = algorithm(spec.algorithm).make(env, spec.config, *chosen)
    if not isinstance(algo, Algorithm):
        name, kind = sources.shown(spec.algorithm), type(algo).__name__
        raise ValueError(f"make of {name} must return a jaxrl.types.Algorithm, not a {kind}")
    return algo


def build(spec: Spec, to_train: bool = True) -> Programs:
    """Creates environment, algorithm and programs of a Spec; does not compile.

    Args:
      to_train: False: only to act and to evaluate, which needs no more memory than what checkpoints hold.

    Raises:
      ValueError: an invalid or inconsistent value, or more memory is needed than there is, in one sentence.
    """
    check_numbers(spec)
    split = spec.shard == "envs"
    mesh = train.mesh_of_environments(spec.config.num_envs) if split else train.mesh(spec.lanes)
    of_agents = None if split else mesh
    env = envs.make(spec.environment, **spec.env_of(0))
    single = make(spec, env)
    estimate.require_lanes(spec, single)
    lane_env = spec.lane_env()
    traced = in_own_env(spec, single) if lane_env else single
    algo = train.population(traced, bool(spec.trials or spec.search), of_agents, spec.chunk)
    algo = train.watched(train.over_environments(algo, mesh) if split else algo)
    everywhere = NamedSharding(mesh, PartitionSpec())
    by_agent = everywhere if split else NamedSharding(mesh, PartitionSpec("agents"))
    num_updates = agent_updates = train.updates_for(single, spec.steps)
    for name, number in (("steps per update", single.steps_per_update), ("updates", num_updates)):
        if number >= 2**31:
            raise ValueError(f"{number} {name} are too many: at most 2147483647 can be counted")
    evaluate_agents = train.over_agents(
        partial(_evaluate, spec, env, single.act, max(spec.eval_episodes, 1)), (0, 0, 0), of_agents
    )
    state_sharding, finished, agents = by_agent, None, lambda state: state
    if spec.search:
        strategy, space = search.make(spec.search, agent_updates)
        shardings: list[Any] = [everywhere, *[by_agent] * 6, everywhere, everywhere]
        state_sharding = search.SearchState(*shardings)  # of its strategy and num_updates: everywhere
        algo = search.over(algo, strategy, space, spec.seeds)
        num_updates, agent_updates = strategy.num_updates, strategy.agent_updates
        agents = attrgetter("agents")
        if ends := strategy.finished:
            finished = jax.jit(lambda state: ends(state.strategy))
    algo = algo._replace(update=jax.jit(algo.update))  # its shapes and its program need only one trace
    spec = dataclasses.replace(spec, hparams=spec.hparams.replace(total_updates=float(agent_updates)))
    hp = spec.lane_hparams()
    if lane_env:
        hp = InEnv(hp, lane_env)
    lives = -(-num_updates // agent_updates)  # number of agents that a lane trains in succession
    data = share(algo, everywhere)
    init = jax.jit(
        lambda keys, *data: algo.init(keys, hp, *data), out_shardings=None if split else state_sharding
    )
    state = jax.eval_shape(init, estimate.keys(spec.lanes), *data)  # its trace is needed in any case
    held = state if to_train else jax.eval_shape(algo.keep, state)
    num_rows = min(spec.intervals * lives, num_updates)
    estimate.require_run(spec, single, held, num_rows, to_train)
    return Programs(
        algo=algo,
        hp=hp,
        seeds=spec.lane_seeds,
        num_updates=num_updates,
        agent_updates=agent_updates,
        ends=boundaries(num_updates, num_rows),
        reported=spec.agents,
        eval_episodes=spec.eval_episodes,
        identity=spec.to_json(),
        init=init,
        evaluate=jax.jit(lambda state, keys: evaluate_agents(agents(state), keys, lane_env)),
        sharding=by_agent,
        hp_sharding=by_agent if spec.trials else everywhere,
        state_sharding=state_sharding,
        agents=agents,
        finished=finished,
        split=partial(train.split_environments, mesh) if split else None,
        env=env,
        data=data,
        fingerprint=fingerprint(algo.data),
        keep=algo.keep,
    )


def check_numbers(spec: Spec) -> None:
    """Raises ValueError for a number that is invalid in every environment, with the remedy."""

    def require(holds, name, value, remedy):
        if not holds:
            raise ValueError(f"{name} = {value} must {remedy}")

    for name in ("steps", "seeds", "intervals"):
        require(getattr(spec, name) >= 1, name, getattr(spec, name), "be at least 1")
    for name in ("eval_episodes", "seed", "chunk"):
        require(getattr(spec, name) >= 0, name, getattr(spec, name), "not be negative")
    if spec.shard == "envs" and spec.agents > 1:
        raise ValueError(f"--shard envs divides one agent, not {spec.agents}: leave it out")
    if spec.seed + spec.seeds > 2**31:
        raise ValueError(f"seed = {spec.seed} is too large: seeds end at 2147483647")
    hparams, config = fields.numbers(spec.hparams), fields.flatten(spec.config)
    hparams.pop("total_updates", None)  # the run sets it
    for name, value in {**spec.env, **config, **hparams}.items():
        require(not isinstance(value, float) or math.isfinite(value), name, value, "be finite")
    counts = {"intervals": spec.intervals, "eval_episodes": spec.eval_episodes, "chunk": spec.chunk}
    for name, value in {**counts, **spec.env, **config}.items():
        require(not isinstance(value, int) or abs(value) < 2**31, name, value, "be less than 2147483648")
    require(spec.steps < 2**53, "steps", spec.steps, "be less than 2^53")
    for name, value in config.items():
        if isinstance(value, tuple):
            require(all(size >= 1 for size in value), name, value, "hold sizes of at least 1")
        elif isinstance(value, int):
            require(value >= 0, name, value, "not be negative")
    # Values from the command line are checked here, not in `make`, where they may be traced.
    bounds = fields.bounds(spec.hparams)
    tried = [pair for trial in spec.trials for pair in trial.items()]
    for name, value in [*hparams.items(), *tried]:
        kind = bounds.get(name)
        require(math.isfinite(value), name, value, "be finite")
        require(kind != "positive" or value > 0, name, value, "be positive")
        require(kind != "not_negative" or value >= 0, name, value, "not be negative")
        require(kind != "share" or 0 <= value <= 1, name, value, "lie between 0 and 1")


@struct.dataclass
class InEnv:
    """Hyperparameters of an algorithm, and parameters of its environment."""

    agent: Any
    env: dict[str, Any]


def in_own_env(spec: Spec, algo: Algorithm) -> Algorithm:
    """The algorithm in environments whose parameters are traced: `init` and `update` take an InEnv."""

    def made(hp):
        return make(spec, envs.make(spec.environment, **{**spec.env, **hp.env}))

    return algo._replace(
        init=lambda key, hp, *data: made(hp).init(key, hp.agent, *data),
        update=lambda state, hp, *data: made(hp).update(state, hp.agent, *data),
    )


def can_trace(spec: Spec, name: str, value: float) -> bool:
    """Whether a parameter of the environment can differ between the lanes of one program."""
    try:
        env = envs.make(spec.environment, **{**spec.env, name: value})
        algo = in_own_env(spec, make(spec, env))

        def two_updates(key, value):
            hp = InEnv(spec.hparams, {name: value})
            return algo.update(algo.init(key, hp, *algo.data_args), hp, *algo.data_args)

        jax.eval_shape(two_updates, jax.random.key(0), np.float32(value))
    except (jax.errors.JAXTypeError, TypeError, ValueError):
        return False
    return True


def _evaluate(spec, env, act, num_episodes, state, key, params):
    if params:  # traced, for this lane
        env = envs.make(spec.environment, **{**spec.env, **params})
    memory = getattr(getattr(state, "stream", None), "memory", ())
    return evaluate(env, partial(act, state), memory, key, num_episodes)
