"""Training runs: `run`, a scan that can be traced as a whole, and `chunks`, a generator for host code.

The functions of `jaxrl.devices`, which divide agents among devices, are also available here.
"""

import os
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxrl import fields
from jaxrl.checks import require_run
from jaxrl.cpu import threefry
from jaxrl.cpu.agents import per_agent
from jaxrl.devices import lanes_for as lanes_for
from jaxrl.devices import mesh as mesh
from jaxrl.devices import mesh_of_environments as mesh_of_environments
from jaxrl.devices import over_agents as over_agents
from jaxrl.devices import split_environments as split_environments
from jaxrl.devices import use_cores as use_cores
from jaxrl.types import Algorithm, Metrics, PyTree, Update


def run(
    algo: Algorithm, key: jax.Array, hp: PyTree, num_updates: int, data: PyTree = None
) -> tuple[PyTree, Metrics]:
    """A whole run as one traceable function: jit it, vmap it over `key` and `hp`, differentiate it.

    On a CPU its `vmap` processes agents in groups, and uses all devices that `use_cores` created.

    Args:
      hp: as `algo.hparams`; schedules end with the run, unless `total_updates` is set.
      data: as `algo.data`, which is used if it is None, as a constant of the program: give large data as an
        argument of the jitted function.

    Returns:
      The final TrainState, and the metrics of every update `[num_updates]`.

    Raises:
      ValueError: an argument of the wrong type.
    """

    require_run(algo, key, hp, num_updates)
    hp = with_horizon(hp, num_updates)

    if data is not None:
        algo = algo._replace(data=data)
    update = threefry.unrolled(algo.update)

    def one(key, hp, *data):
        state = algo.init(key, hp, *data)
        return jax.lax.scan(lambda state, _: update(state, hp, *data), state, length=num_updates)

    if jax.default_backend() != "cpu":
        return one(key, hp, *algo.data_args)
    return per_agent(one, _on_all_devices)(key, hp, *algo.data_args)


def with_horizon(hp: PyTree, num_updates: int) -> PyTree:
    """Hyperparameters whose schedules end after `num_updates`, where `total_updates` is not set."""
    if not hasattr(hp, "total_updates"):
        return hp
    given = hp.total_updates
    if isinstance(given, int | float):
        return hp.replace(total_updates=float(num_updates)) if given == float("inf") else hp
    return hp.replace(total_updates=jnp.where(jnp.isinf(given), float(num_updates), given))


def _on_all_devices(function, in_axes, size):
    # Not again inside `shard_map`, nor where another process has its share of the agents.
    divided = jax.sharding.get_abstract_mesh().shape or jax.process_count() > 1
    return over_agents(function, in_axes, None if divided else mesh(size))


def steps_after(algo: Algorithm, num_updates: int) -> int:
    """Environment steps that an agent has taken after this many updates, including those of its `init`.

    For an algorithm that learns from data alone (`steps_per_update` 0), the updates.
    """
    return algo.warmup_steps + num_updates * algo.steps_per_update if algo.steps_per_update else num_updates


def updates_for(algo: Algorithm, steps: int) -> int:
    """The fewest updates, at least one, after which `steps_after` is `steps` or more."""
    if not algo.steps_per_update:
        return max(1, steps)
    return max(1, -(-(steps - algo.warmup_steps) // algo.steps_per_update))


def grid(hparams: PyTree, **axes: Any) -> PyTree:
    """Hyperparameters for a population: those given as arguments vary, all others are repeated.

        hp = grid(algo.hparams, learning_rate=jnp.logspace(-4, -2, 8))     # every leaf `[8]`
        hp = grid(algo.hparams, clip_eps=[0.1, 0.2, 0.3])                  # of the objective

    Several arguments vary together (`[P]` each); for a Cartesian product, combine their values first.

    Raises:
      ValueError: an unknown name, no argument, or arguments of different lengths.
    """
    whole = {name: values for name, values in axes.items() if name in vars(hparams)}  # `objective` itself
    axes = whole | fields.resolve(
        hparams, {name: values for name, values in axes.items() if name not in whole}, "hyperparameter"
    )
    # A list is one axis, not a tree of numbers.
    axes = {n: jnp.asarray(v) if isinstance(v, list | tuple) else v for n, v in axes.items()}
    axes = jax.tree.map(jnp.asarray, axes)
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(axes)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"a grid needs axes of one length, not {sorted(sizes) or 'none'}")
    ((size,),) = sizes
    repeated = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (size, *jnp.shape(x))), hparams)
    return fields.replace(repeated, axes)


def population(
    algo: Algorithm, vary_hparams: bool = False, mesh: Mesh | None = None, chunk: int = 0
) -> Algorithm:
    """The same algorithm for `P` agents at once: keys, states and metrics get a leading axis `[P]`.

    All agents of a device read the same copy of `algo.data`.

    Args:
      vary_hparams: hyperparameters have that axis too (see `grid`); otherwise all agents share them.
      mesh: the devices to distribute the agents over, `mesh(P)` for as many as possible; None for one.
      chunk: agents that a device updates at a time, see `over_agents`.

    Raises (its `init`):
      ValueError: a single key instead of one for each agent.
    """
    axes = (0, 0 if vary_hparams else None, *[None] * len(algo.data_args))

    def act(state, memory, key, obs, first, action_mask=None):
        return jax.vmap(algo.act)(state, memory, key, obs, first, action_mask)

    functions = algo.init, threefry.unrolled(algo.update)
    over_keys, update = (over_agents(function, axes, mesh, chunk) for function in functions)

    def init(keys, *args):
        axes = 1 if jax.dtypes.issubdtype(keys.dtype, jax.dtypes.prng_key) else 2
        if jnp.ndim(keys) != axes:
            raise ValueError(
                f"a population needs a key for each agent [P], not keys of the shape {jnp.shape(keys)}: give "
                "jax.random.split(key, P)"
            )
        return over_keys(keys, *args)

    collect = algo.collect and jax.vmap(algo.collect)
    evaluate = algo.evaluate_actions and jax.vmap(algo.evaluate_actions)
    return algo._replace(init=init, update=update, act=act, collect=collect, evaluate_actions=evaluate)


def watched(algo: Algorithm) -> Algorithm:
    """The same population, with a metric that counts the updates after which an agent has diverged.

    `agent/dead/count` `[P]` is 1 for an update after which the agent has `diverged`. Parameters that are not
    finite stay so: if `n` updates of an interval are counted, the agent diverged `n` updates before the
    interval's end.
    """

    def update(state, hp, *data):
        state, metrics = algo.update(state, hp, *data)
        broken = jax.vmap(diverged)(getattr(state, "params", ()), metrics)
        return state, metrics | {"agent/dead/count": broken.astype(jnp.float32)}

    return algo._replace(update=update)


def diverged(params: PyTree, metrics: Metrics) -> jax.Array:
    """Whether any of an agent's parameters, losses and gradients are not finite.

    Returns do not show it: with discrete actions the argmax of NaN is a valid action. Parameters alone are
    not enough either: a loss can overflow in every update while clipping keeps the parameters finite. An
    update that was undone (`fallback/count` is 1, as in FixPO) did not change the parameters, so its losses
    are ignored.

    Args:
      params: of one agent, after its last update; `vmap` for a population.
      metrics: of one update, or of several consecutive ones, `[U]`.
    """
    undone = jnp.asarray(metrics.get("fallback/count", 0.0)) > 0
    checked = [value for name, value in metrics.items() if name.startswith(("loss/", "grad/"))]
    whole = [(jnp.isfinite(value) | undone).all() for value in checked]
    numbers = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    whole += [jnp.isfinite(leaf).all() for leaf in numbers]
    return ~jnp.all(jnp.array(whole, bool))


def over_environments(algo: Algorithm, mesh: Mesh) -> Algorithm:
    """A population of one agent whose environments, and so its batches, are divided among devices.

    Each device steps its environments and computes gradients on its part of every minibatch
    (`rollout.minibatches` arranges this); the compiler inserts the sum over devices. The order of summation
    differs from that on one device, so results agree only up to rounding.
    """

    def divided(state):
        return jax.lax.with_sharding_constraint(state, split_environments(mesh, state))

    def init(key, hp, *data):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return divided(algo.init(key, hp, *data))

    def update(state, hp, *data):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            state, metrics = algo.update(state, hp, *data)
        return divided(state), metrics

    return algo._replace(init=init, update=update)


def advance(
    update: Update, state: PyTree, totals: Metrics, hp: PyTree, length: int | jax.Array, *data: PyTree
) -> tuple[PyTree, Metrics]:
    """Performs `length` updates and adds their metrics to `totals`.

    `length` is traced: runs of any length, uninterrupted, in chunks or resumed, execute the same program, so
    that their results are bitwise equal. `data` is that of an algorithm with data, see `Algorithm.data_args`.
    """

    def body(_, carry):
        state, totals = carry
        state, metrics = update(state, hp, *data)
        return state, jax.tree.map(jnp.add, totals, metrics)

    return jax.lax.fori_loop(0, length, body, (state, totals))


def no_totals(update: Update, state: PyTree, hp: PyTree, *data: PyTree) -> Metrics:
    """Totals before the first update: zero for each metric; `state` may come from `jax.eval_shape`."""
    metrics = jax.eval_shape(update, state, hp, *data)[1]
    return jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), metrics)


def summarize(totals: Metrics, num_updates: int) -> Metrics:
    """Metrics of several updates combined: sums and counts are kept, other metrics become means.

    Sums and counts are the metrics whose names end in `_sum` or `/count`.
    """
    return {name: value if is_total(name) else value / num_updates for name, value in totals.items()}


def is_total(name: str) -> bool:
    """Whether a metric of several updates is their sum instead of their mean."""
    return name.endswith(("_sum", "/count"))


def compiler_options() -> dict:
    """XLA options that differ from the defaults; none if JAXRL_COMPILER_OPTIONS=off in the environment.

    On a CPU with AVX-512, use its full width: PPO on CartPole takes 8 % less time, and compiles as fast.
    """
    if os.environ.get("JAXRL_COMPILER_OPTIONS") == "off" or jax.default_backend() != "cpu":
        return {}
    return {"xla_cpu_prefer_vector_width": 512}


@lru_cache(maxsize=16)
def program(update: Update, **options: Any) -> Any:
    """`advance` for an algorithm's `update`, jitted once with these `options`; the state is donated."""
    options["compiler_options"] = compiler_options()
    return jax.jit(partial(advance, update), donate_argnums=0, **options)


def chunks(
    algo: Algorithm, state: PyTree, hp: PyTree, num_chunks: int, length: int
) -> Iterator[tuple[PyTree, Metrics]]:
    """Trains for `num_chunks` chunks of `length` updates, for a host that logs, saves or stops in between.

    The end of the run is unknown here: for schedules, set `total_updates` (see `with_horizon`).

    A chunk is dispatched when it is requested, and yielded before it is computed: read the metrics of one
    chunk after requesting the next, so that the device never waits for the host.
    The yielded state is donated when the next chunk is requested: save or evaluate it before.
    The `state` argument is not donated.

    Yields:
      `(state, metrics)`, both still being computed; metrics as returned by `summarize`.
    """
    data = jax.device_put(algo.data_args)  # once, not for every chunk
    zeros = no_totals(algo.update, state, hp, *data)
    state = jax.tree.map(jnp.copy, state)  # leaves of an `init` outside `jit` may share a buffer
    for _ in range(num_chunks):
        compiled = program(algo.update)  # type: ignore[arg-type]  # functions are hashable
        state, totals = compiled(state, zeros, hp, length, *data)
        yield state, summarize(totals, length)
