"""The arguments of `fit`, checked and converted to the programs of a population."""

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl import checks, memory, train
from jaxrl.evaluate import evaluate
from jaxrl.programs import Programs, boundaries, fingerprint, shapes, share
from jaxrl.types import Algorithm, Env, PyTree


def make_programs(
    algo: Algorithm,
    steps: int,
    seeds: int,
    seed: int,
    hparams: PyTree,
    env: Env | None,
    eval_episodes: int,
    intervals: int,
) -> Programs:
    """The programs for the loop; the arguments are those of `fit`.

    Raises:
      ValueError: an invalid argument, or more memory is needed than is available.
    """
    if not isinstance(algo, Algorithm):
        given = f"the module {algo.__name__}" if hasattr(algo, "__spec__") else f"a {type(algo).__name__}"
        raise ValueError(f"fit trains an Algorithm, as ppo.make(env) returns it, not {given}")
    steps, seeds = _whole("steps", steps, 1), _whole("seeds", seeds, 1)
    intervals, seed = _whole("intervals", intervals, 1), _whole("seed", seed, 0)
    eval_episodes = _whole("eval_episodes", eval_episodes, 0)
    _whole("steps_per_update of the algorithm", algo.steps_per_update, 0)
    if not algo.steps_per_update and not algo.data_args:
        raise ValueError("an algorithm with steps_per_update = 0 learns from data: give it as Algorithm.data")
    if seed + seeds > 2**31:
        raise ValueError(f"seed = {seed} is too large: seeds end at 2147483647")
    if env is None:
        eval_episodes = 0
    elif eval_episodes:
        checks.require_env(env)
    num_updates = train.updates_for(algo, steps)
    if num_updates >= 2**31:
        raise ValueError(f"steps = {steps} are {num_updates} updates, at most 2147483647 can be counted")
    hp = _with_horizon(_arrays(algo.hparams if hparams is None else hparams, algo.hparams), num_updates)
    lanes = train.lanes_for(seeds)
    available = memory.on_devices()
    memory.require(f"{seeds} agents", {"seeds": lanes * memory.LANE}, available)
    mesh = train.mesh(lanes)
    by_agent, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("agents",), ()))
    many = train.watched(train.population(_checked(algo), mesh=mesh))
    many = many._replace(update=jax.jit(many.update))  # its shapes and its program need only one trace
    evaluate_agents = train.over_agents(partial(_evaluate, env, algo.act, eval_episodes), (0, 0), mesh)
    programs = Programs(
        algo=many,
        hp=hp,
        seeds=(np.arange(seed, seed + lanes) % 2**31).astype(np.int32),
        num_updates=num_updates,
        agent_updates=num_updates,
        ends=boundaries(num_updates, intervals),
        reported=seeds,
        eval_episodes=eval_episodes,
        identity={},
        init=jax.jit(lambda keys, *data: many.init(keys, hp, *data), out_shardings=by_agent),
        evaluate=jax.jit(evaluate_agents),
        sharding=by_agent,
        hp_sharding=everywhere,
        state_sharding=by_agent,
        data=share(algo, everywhere),
        fingerprint=fingerprint(algo.data),
        keep=algo.keep,
    )
    numbers = {"steps": steps, "seeds": seeds, "seed": seed, "intervals": intervals}
    numbers |= {"eval_episodes": eval_episodes, "steps_per_update": algo.steps_per_update}
    values = {name: _shown(leaf) for name, leaf in _named(hp).items()}
    state, _ = shapes(programs)  # traces: mismatches are reported here
    processes = jax.process_count()
    needs = {"seeds, or the sizes of an agent": memory.num_bytes(state) / processes}
    needs["eval_episodes"] = memory.evaluation_bytes(state, lanes / processes, eval_episodes)
    memory.require(f"{seeds} agents", needs, available)
    return programs._replace(identity={**numbers, "hparams": values, "state": _shapes(state)})


def _whole(name: str, value: Any, least: int) -> int:
    """An integer, which may be given as 1e5. Raises ValueError for any other value."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value != int(value) or value < least:
        raise ValueError(f"{name} = {value!r} must be a whole number of at least {least}")
    return int(value)


def _evaluate(env, act, num_episodes: int, state, key):
    memory = getattr(getattr(state, "stream", None), "memory", ())
    return evaluate(env, partial(act, state), memory, key, num_episodes)


def _named(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by dotted names."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _shapes(tree: PyTree) -> dict[str, str]:
    """The leaves of a tree as `float32[8,2]`, by dotted names."""
    leaves = _named(jax.eval_shape(lambda x: x, tree))
    return {name: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]" for name, leaf in leaves.items()}


def _arrays(hparams: PyTree, defaults: PyTree) -> PyTree:
    """Hyperparameters as arrays, numbers as float32: a Python number would have a weak type, so that the
    restored value would need another program."""
    given, known = _named(hparams), _named(defaults)
    if jax.tree.structure(hparams) != jax.tree.structure(defaults):
        difference = sorted(given.keys() ^ known.keys())
        of = f" (they differ in {', '.join(difference)})" if difference else ""
        raise ValueError(f"hparams are not those of the algorithm{of}: give algo.hparams.replace(...)")
    for name, value in given.items():
        if np.shape(value) != np.shape(known[name]):
            raise ValueError(
                f"hparams.{name} has the shape {np.shape(value)}, not {np.shape(known[name])}: fit gives all "
                f"seeds the same hyperparameters; vmap train.run over train.grid for others"
            )

    def array(value, default):
        if isinstance(value, jax.Array):
            return value
        return np.asarray(value, np.float32 if isinstance(default, float) else None)

    return jax.tree.map(array, hparams, defaults)


def _with_horizon(hparams: PyTree, num_updates: int) -> PyTree:
    """Hyperparameters whose schedules, if any, end with the run."""
    if "total_updates" not in getattr(hparams, "__dataclass_fields__", ()):
        return hparams
    return hparams.replace(total_updates=np.asarray(num_updates, np.float32))


def _shown(leaf) -> Any:
    """The value of a hyperparameter in JSON, with the fewest digits that identify it."""
    values = np.asarray(leaf)
    if not np.issubdtype(values.dtype, np.floating):
        return values.tolist()
    return np.reshape([float(str(x)) for x in values.ravel()], values.shape).tolist()


def _checked(algo: Algorithm) -> Algorithm:
    """The same algorithm; when it is traced, its outputs are checked.

    Raises:
      ValueError: `update` changes the shapes of the state, or its metrics are not scalars.
    """

    def update(state, hp, *data):
        answer = algo.update(state, hp, *data)
        if not isinstance(answer, tuple) or len(answer) != 2 or not isinstance(answer[1], dict):
            raise ValueError("update must return (state, metrics), where metrics is a dict of scalars")
        before, after = map(_shapes, (state, answer[0]))
        for name in [*before, *after]:
            if before.get(name) != after.get(name):
                was, now = (what.get(name, "missing") for what in (before, after))
                raise ValueError(f"update changes the state: {name} is {was} before and {now} after it")
        for name, value in answer[1].items():
            if np.shape(value):
                raise ValueError(f"the metric {name} has the shape {np.shape(value)}: reduce it to a scalar")
        if not answer[1]:
            raise ValueError("update must return at least one metric")
        if "episode/count" not in answer[1] and any(name.startswith("episode/") for name in answer[1]):
            raise ValueError("metrics of episodes need episode/count: see jaxrl.rollout.episode_metrics")
        return answer

    return algo._replace(update=update)
