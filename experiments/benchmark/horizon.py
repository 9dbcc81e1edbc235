"""How well the effective horizon predicts PPO and DQN: in 20 worlds and 14 others, by rank correlation.

    python -m jaxrl.experiments.benchmark.horizon FILE.json first ppo dqn
    python -m jaxrl.experiments.benchmark.horizon FILE.json others ppo dqn

Every world is played as a process of T steps: the time is observed and the last step is terminal, as in the
definition of the effective horizon. Agents are trained for a fixed number of steps, and the policies after
every 1,024 of them are evaluated exactly. What is correlated with the effective horizon is the number of
steps until the median agent's return is near the optimum; worlds in which it never is are the hardest, and
equal.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl import __version__, files, horizon, logger, statistics, train
from jaxrl.algos import dqn, ppo
from jaxrl.compile_cache import enable_compile_cache
from jaxrl.envs import tables
from jaxrl.envs.worlds import tabular
from jaxrl.envs.wrappers import auto_reset, episode_stats
from jaxrl.spaces import Box
from jaxrl.types import Env

STEPS, EVERY, SEEDS = 50_176, 1_024, 4
NEAR = 0.95  # of the way from the random policy's return to the optimal one
MOST_STATES, MOST_STEPS = 65, 50  # to which worlds are padded, so that few programs are compiled
HORIZONS = ("effective_horizon", "near_optimal_horizon", "steps")  # the last is T: no lookahead at all
ALGORITHMS: dict[str, Any] = {"ppo": ppo, "dqn": dqn}


class World(NamedTuple):
    """A registered environment with parameters, and the steps of an episode."""

    name: str
    steps: int
    params: dict[str, Any]


WORLDS = [
    World("world/chain", 10, {"length": 3}),
    World("world/chain", 20, {}),
    World("world/chain", 30, {"length": 8}),
    World("world/loop", 12, {"length": 4}),
    World("world/loop", 30, {"length": 10, "large": 30.0}),
    World("world/river-swim", 20, {"num_states": 4}),
    World("world/river-swim", 40, {}),
    *(World("DeepSea-bsuite", size, {"size": size}) for size in (4, 6, 8, 10)),
    World("FrozenLake-v1", 20, {}),
    World("FrozenLake-v1", 20, {"is_slippery": False}),
    World("FrozenLake8x8-v1", 40, {"is_slippery": False}),
    World("CliffWalking-v1", 30, {}),
    World("CliffWalkingSlippery-v1", 30, {}),
    World("world/garnet", 5, {"num_states": 8}),
    World("world/garnet", 10, {"num_states": 16, "seed": 1}),
    World("world/garnet", 10, {"num_states": 32, "density": 0.1, "seed": 2}),
    World("world/garnet", 20, {"num_states": 16, "density": 0.1, "seed": 3}),
]

# Chosen after the measures of difficulty, to test them on worlds that they were not chosen by.
OTHERS = [
    World("world/chain", 15, {"length": 4}),
    World("world/chain", 12, {"slip": 0.0}),
    World("world/chain", 25, {"length": 6, "slip": 0.1}),
    World("world/loop", 24, {"length": 6, "large": 20.0}),
    World("world/river-swim", 30, {"num_states": 5}),
    *(World("DeepSea-bsuite", size, {"size": size, "mapping_seed": 1}) for size in (5, 7, 9)),
    World("FrozenLake-v1", 20, {"success_rate": 0.8}),
    World("FrozenLake8x8-v1", 40, {"success_rate": 0.9}),
    World("CliffWalking-v1", 20, {}),
    World("world/garnet", 8, {"num_states": 12, "seed": 4}),
    World("world/garnet", 15, {"num_states": 24, "density": 0.2, "seed": 5}),
    World("world/garnet", 10, {"num_states": 48, "branching": 1, "density": 0.05, "seed": 6}),
]
SETS = {"first": WORLDS, "others": OTHERS}


@struct.dataclass
class Task:
    """A padded world, its rewards divided by the largest."""

    mdp: tabular.Tabular
    steps: jax.Array  # of an episode
    best: jax.Array  # return of the optimal policy
    random: jax.Array  # of the random policy


def examine(world: World) -> tuple[dict[str, Any], Task]:
    """The effective horizon of a world as a record, and the world as a task."""
    mdp = tables.table(world.name, **world.params)
    its, near = horizon.exactly(mdp, world.steps, NEAR, max_k=world.steps)
    num_states, num_actions = mdp.reward.shape[:2]
    scale = float(jnp.abs(mdp.reward).max())
    found = {
        **world._asdict(),
        "states": int((~mdp.terminal).sum()),
        "actions": num_actions,
        "k": int(its.k),
        "effective_horizon": logger.finite(float(its.effective_horizon)),
        "gorp_horizon": logger.finite(float(its.gorp_horizon)),
        "near_optimal_k": int(near.k),
        "near_optimal_horizon": float(near.effective_horizon),
    }
    more = MOST_STATES - num_states
    reward = jnp.broadcast_to(horizon.reward_after(mdp), mdp.transition.shape)
    padded = tabular.Tabular(
        jnp.pad(mdp.transition, ((0, more), (0, 0), (0, more))).at[num_states:, :, -1].set(1.0),
        jnp.pad(reward, ((0, more), (0, 0), (0, more))) / scale,
        jnp.pad(mdp.terminal, (0, more), constant_values=True),
        jnp.pad(mdp.start, (0, more)),
    )
    numbers = world.steps, float(its.optimal_return) / scale, float(its.random_return) / scale
    return found, Task(padded, *map(jnp.asarray, numbers))


def observe(index, time):
    """The state one-hot and the time as a fraction of the longest episode, `[MOST_STATES + 1]`."""
    hot = (np.arange(MOST_STATES) == index[..., None]).astype(jnp.float32)
    return jnp.concatenate([hot, time[..., None] / MOST_STEPS], axis=-1)


def environment(task: Task) -> Env:
    """The process of a task; its last step is terminal."""
    world = tabular.env(task.mdp, "index")

    def shown(timestep, time):
        obs = observe(timestep.obs, time)
        return timestep.replace(obs=obs, next_obs=obs)

    def reset(key):
        state, timestep = world.reset(key)
        time = jnp.zeros((), jnp.int32)
        return (state, time), shown(timestep, time)

    def step(key, state, action):
        inner, timestep = world.step(key, state[0], action)
        time = state[1] + 1
        timestep = timestep.replace(terminated=timestep.terminated | (time >= task.steps))
        return (inner, time), shown(timestep, time)

    space = Box(0.0, 1.0, (MOST_STATES + 1,))
    return auto_reset(episode_stats(Env(reset, step, space, world.action_space)))


def score(task: Task, actions) -> jax.Array:
    """The return of actions `[T, S]`: 0 is that of the random policy, 1 the optimum."""

    worth = tabular.plan_return(task.mdp, actions, 1.0, task.steps)
    return (worth - task.random) / (task.best - task.random)


def scores(module, key, task: Task) -> jax.Array:
    """The scores of an agent after every `EVERY` steps of its training, `[STEPS / EVERY]`."""
    algo = module.make(environment(task))
    updates = EVERY // algo.steps_per_update
    hp = train.with_horizon(algo.hparams.replace(gamma=1.0), STEPS // algo.steps_per_update)
    time, state = (
        x.ravel() for x in jnp.meshgrid(jnp.arange(MOST_STEPS), jnp.arange(MOST_STATES), indexing="ij")
    )
    seen = observe(state, time)

    def interval(state, _):
        state, _ = jax.lax.scan(lambda state, _: (algo.update(state, hp)[0], None), state, length=updates)
        memory = jax.tree.map(lambda x: jnp.zeros((len(seen), *x.shape[1:]), x.dtype), state.stream.memory)
        _, action = algo.act(state, memory, key, seen, jnp.ones(len(seen), bool), None)
        return state, score(task, action.reshape(MOST_STEPS, MOST_STATES))

    return jax.lax.scan(interval, algo.init(key, hp), length=STEPS // EVERY)[1]


def measure(algorithm: str, tasks: list[Task], seeds: int = SEEDS) -> list[np.ndarray]:
    """The scores of all agents of an algorithm in each of the tasks, `[seeds, STEPS / EVERY]`."""
    keys = jax.random.split(jax.random.key(0), seeds)

    @jax.jit
    def agents(task):
        return jax.lax.map(lambda key: scores(ALGORITHMS[algorithm], key, task), keys)

    return [np.asarray(agents(task)) for task in tasks]


def steps_until_near(curve: np.ndarray) -> float:
    """The steps after which the median of the agents' scores is near the optimum; inf: it never is."""
    near = np.median(curve, axis=0) >= NEAR
    return EVERY * (1 + float(np.argmax(near))) if near.any() else math.inf


def correlated(worlds: list[dict[str, Any]], algorithm: str) -> dict[str, dict[str, float]]:
    """Spearman's correlations of measures of difficulty with the steps that an algorithm needs.

    Of a horizon H that is log10 A^H, so that worlds with different numbers of actions can be compared.
    """
    needed = [math.inf if one[algorithm]["steps"] is None else one[algorithm]["steps"] for one in worlds]
    hard = np.minimum(needed, 10 * STEPS)
    actions = np.log10([one["actions"] for one in worlds])
    horizons = {name: actions * [one[name] for one in worlds] for name in HORIZONS}
    measures = horizons | {name: [one[name] for one in worlds] for name in ("k", "near_optimal_k")}
    return {name: statistics.rank_correlation(value, hard)._asdict() for name, value in measures.items()}


def main(argv: list[str]) -> dict[str, Any]:
    """Measures algorithms in a set of worlds, and writes them to a file beside those that it has."""
    file, name, *algorithms = argv
    path = Path(file)
    found, tasks = zip(*map(examine, SETS[name]), strict=True)
    before = json.loads(path.read_text()) if path.exists() else {"worlds": [{} for _ in SETS[name]]}
    worlds = [{**old, **new} for old, new in zip(before["worlds"], found, strict=True)]
    for algorithm in algorithms:
        for world, curve in zip(worlds, measure(algorithm, list(tasks)), strict=True):
            steps = logger.finite(steps_until_near(curve))
            world[algorithm] = {"steps": steps, "score": np.round(curve[:, -1], 3).tolist()}
            print(world["name"], world["params"], world[algorithm], flush=True)
    measured = [name for name in ALGORITHMS if all(name in world for world in worlds)]
    result = {
        "steps": STEPS,
        "seeds": SEEDS,
        "near": NEAR,
        "versions": {"jaxrl": __version__, "jax": jax.__version__},
        "correlation": {name: correlated(worlds, name) for name in measured},
        "worlds": worlds,
    }
    files.replace(path, json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    train.use_cores(quiet=True)
    enable_compile_cache()
    print(json.dumps(main(sys.argv[1:])["correlation"]))
