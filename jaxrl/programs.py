"""What a run consists of before it runs: functions, their arguments, where these go; compiling them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxrl import hosts, train
from jaxrl.types import Algorithm, Env, PyTree


class Programs(NamedTuple):
    """A run, ready to be compiled: an algorithm over all its agents, and what else the loop depends on.

    Attributes:
      algo: over all agents `[P]`.
      hp: hyperparameters, as `algo` takes them.
      seeds: `[P]`, int32, of each agent.
      num_updates: of the run, at most.
      agent_updates: of an agent from its beginning to its end; a search begins several in a lane.
      ends: after which updates a row is written, in rising order.
      reported: how many agents have values in rows; those after them only fill up the lanes.
      eval_episodes: of each evaluation, per agent; 0: there is none.
      identity: plain JSON that says what the run computes. A checkpoint holds it, and is restored only into a
        run of the same.
      init: `(keys) -> state`.
      evaluate: `(state, keys) -> Evaluation [P, E]`.
      sharding: of whatever has an axis of agents.
      hp_sharding: of the hyperparameters, a prefix of their tree.
      state_sharding: of the state, a prefix of its tree.
      agents: `(state) -> states of the algorithm [P]`.
      finished: `(state) -> bool`: a search has nothing left to do; None: a run ends with its updates.
      split: of one agent over its environments: `(state) -> shardings`, instead of `state_sharding`.
      env: the environment of the first agent, whose spaces describe its policy; None: there is no policy.
    """

    algo: Algorithm
    hp: Any
    seeds: np.ndarray
    num_updates: int
    agent_updates: int
    ends: list[int]
    reported: int
    eval_episodes: int
    identity: dict[str, Any]
    init: Any
    evaluate: Any
    sharding: NamedSharding
    hp_sharding: NamedSharding
    state_sharding: Any
    agents: Callable = lambda state: state
    finished: Any = None
    split: Any = None
    env: Env | None = None

    @property
    def keys(self) -> jax.Array:
        """The keys of the agents `[P]`: that of a seed is the same in every population."""
        return agent_keys(self.seeds)


class Compiled(NamedTuple):
    """The programs of a run, compiled; `evaluate` is a Future, `memory` in bytes while training."""

    init: Any
    advance: Any
    evaluate: Future | None
    memory: int | None


# One program each: operation by operation, a start would compile a dozen small ones.
@jax.jit
def agent_keys(seeds: np.ndarray) -> jax.Array:
    """The keys `[P]` of agents with these seeds."""
    return jax.vmap(jax.random.key)(seeds)


def evaluation_keys(seeds: np.ndarray, num_updates: int, domain: int = 0) -> jax.Array:
    """Keys `[P]`, one per agent, for evaluating after so many updates, apart from all that training uses.

    Args:
      domain: one per purpose; 0 is the evaluation during training.
    """
    return _evaluation_keys(np.int32(domain), seeds, np.int32(num_updates))


@jax.jit
def _evaluation_keys(domain, seeds, num_updates):
    root = jax.random.fold_in(jax.random.key(0x5EED), domain)
    return jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(root, s), num_updates))(seeds)


def boundaries(num_updates: int, intervals: int) -> list[int]:
    """After which updates a row is written: `intervals` of them, as even as whole updates allow."""
    count = min(intervals, num_updates)
    return [num_updates * i // count for i in range(1, count + 1)]


def shapes(programs: Programs) -> tuple[PyTree, PyTree]:
    """The state and the totals of a run as shapes, spread over its devices: what a restore is measured by."""
    state = jax.eval_shape(programs.init, programs.keys)
    totals = jax.eval_shape(lambda s: train.no_totals(programs.algo.update, s, programs.hp), state)
    where = placement(programs, state, totals)
    return jax.tree.map(lambda x, sharding: x.update(sharding=sharding), (state, totals), where)


def placement(programs: Programs, state: PyTree, totals: PyTree) -> tuple[PyTree, PyTree]:
    """Where each leaf of the state and of the totals goes."""
    of_state = programs.split(state) if programs.split else programs.state_sharding
    return jax.tree.broadcast((of_state, programs.sharding), (state, totals))


def hparams(programs: Programs) -> PyTree:
    """The hyperparameters as the programs take them: with the agents, or everywhere the same."""
    return hosts.place(programs.hp, programs.hp_sharding)


def compile_programs(programs: Programs) -> Compiled:
    """Compiles the start and the update of a run side by side: the compiler leaves a core idle.

    Evaluation is compiled while training has begun; who needs it waits for its `result()`.
    """
    state, totals = shapes(programs)
    pool = ThreadPoolExecutor(1)
    keys, hp = hosts.place(programs.keys, programs.sharding), hparams(programs)
    init = pool.submit(lambda: programs.init.lower(keys).compile())
    places = None if programs.split else (programs.state_sharding, programs.sharding)
    update: Any = programs.algo.update
    advance = train.program(update, out_shardings=places)
    advance = advance.lower(state, totals, hp, np.int32(1)).compile()
    evaluate = None
    if programs.eval_episodes:  # not sooner: training waits for the two others
        evaluate = pool.submit(lambda: programs.evaluate.lower(state, keys).compile())
    pool.shutdown(wait=False)
    return Compiled(init.result(), advance, evaluate, memory_of(advance))


def memory_of(program: Any) -> int | None:
    """Bytes that a compiled program takes while it runs, its arguments included, if it can tell."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    total = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return total + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def zeros(programs: Programs, totals: PyTree) -> PyTree:
    """Totals of nothing, in the shapes of `totals`."""
    return hosts.place(jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), totals), programs.sharding)
