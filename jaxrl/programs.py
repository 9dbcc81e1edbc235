"""The programs of a run: its functions, their arguments and shardings, and their compilation."""

import hashlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from jaxrl import hosts, keeping, memory, train
from jaxrl.types import Algorithm, Env, Keep, PyTree, whole


class Programs(NamedTuple):
    """A run, ready to be compiled: an algorithm over all its agents, and whatever else the loop depends on.

    Attributes:
      algo: over all agents `[P]`.
      hp: hyperparameters, as `algo` takes them.
      seeds: `[P]`, int32, of each agent.
      num_updates: maximum number of updates of the run.
      agent_updates: updates of an agent in total; a search trains several agents per lane, in succession.
      ends: the updates after which a row is written, in increasing order.
      reported: the number of agents with values in rows; those after them only fill up the lanes.
      eval_episodes: episodes per agent in each evaluation; 0: no evaluation.
      identity: plain JSON that determines what the run computes. It is stored in checkpoints, which are
        restored only into a run with the same identity.
      init: `(keys, *data) -> state`.
      evaluate: `(state, keys) -> Evaluation [P, E]`.
      sharding: of every array with an axis of agents.
      hp_sharding: of the hyperparameters, a prefix of their tree.
      state_sharding: of the state, a prefix of its tree.
      agents: `(state) -> states of the algorithm [P]`.
      finished: `(state) -> bool`: a search has finished; None: the run ends after `num_updates`.
      split: of one agent along its environments: `(state) -> shardings`, replaces `state_sharding`.
      env: the environment of the first agent, whose spaces describe its policy; None: there is no policy.
      data: `()`, or the data of an algorithm with data, as returned by `share`.
      fingerprint: of the data. It is stored in checkpoints, which are restored only with the same data.
      keep: the part of the state that checkpoints hold.
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
    data: tuple[PyTree, ...] = ()
    fingerprint: dict[str, str] | None = None
    keep: Keep = whole

    @property
    def keys(self) -> jax.Array:
        """The keys of the agents `[P]`; the key of a seed is the same in every population."""
        return agent_keys(self.seeds)


class Compiled(NamedTuple):
    """The compiled programs of a run; `evaluate` is a Future, `memory` is in bytes, for training."""

    init: Any
    advance: Any
    evaluate: Future | None
    memory: int | None


# Each is jitted: executed op by op, the start of a run would compile a dozen small programs.
@jax.jit
def agent_keys(seeds: np.ndarray) -> jax.Array:
    """The keys `[P]` of agents with these seeds."""
    return jax.vmap(jax.random.key)(seeds)


def evaluation_keys(seeds: np.ndarray, num_updates: int, domain: int = 0) -> jax.Array:
    """Keys `[P]`, one per agent, for an evaluation after `num_updates`, independent of the training keys.

    Args:
      domain: a different one for each purpose; 0 is the evaluation during training.
    """
    return _evaluation_keys(np.int32(domain), seeds, np.int32(num_updates))


@jax.jit
def _evaluation_keys(domain, seeds, num_updates):
    root = jax.random.fold_in(jax.random.key(0x5EED), domain)
    return jax.vmap(lambda s: jax.random.fold_in(jax.random.fold_in(root, s), num_updates))(seeds)


def boundaries(num_updates: int, intervals: int) -> list[int]:
    """The updates after which a row is written: `intervals` of them, spaced as evenly as possible."""
    count = min(intervals, num_updates)
    return [num_updates * i // count for i in range(1, count + 1)]


def shapes(programs: Programs) -> tuple[PyTree, PyTree]:
    """The state and the totals of a run as shapes with shardings.

    Raises:
      ValueError: `keep` does not return part of the state.
    """
    state = jax.eval_shape(programs.init, programs.keys, *programs.data)
    keeping.require_part(programs.keep, state)
    args = programs.hp, *programs.data
    totals = jax.eval_shape(lambda s: train.no_totals(programs.algo.update, s, *args), state)
    where = placement(programs, state, totals)
    return jax.tree.map(lambda x, sharding: x.update(sharding=sharding), (state, totals), where)


def placement(programs: Programs, state: PyTree, totals: PyTree) -> tuple[PyTree, PyTree]:
    """The shardings of the leaves of the state and of the totals."""
    of_state = programs.split(state) if programs.split else programs.state_sharding
    return jax.tree.broadcast((of_state, programs.sharding), (state, totals))


def hparams(programs: Programs) -> PyTree:
    """The hyperparameters as the programs take them: sharded with the agents, or replicated."""
    return hosts.place(programs.hp, programs.hp_sharding)


def share(algo: Algorithm, sharding: NamedSharding) -> tuple[PyTree, ...]:
    """The data of an algorithm as its programs take it: one copy on each device of a replicated sharding."""
    return (hosts.place if hosts.several() else jax.device_put)(algo.data_args, sharding)


def fingerprint(tree: PyTree) -> dict[str, str]:
    """The shape and a hash of every array of a tree, such as the data of an algorithm, by name."""

    def described(leaf):
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        whole = np.asarray(leaf)
        whole = whole.astype(jax.dtypes.canonicalize_dtype(whole.dtype), copy=False)  # as programs take it
        content = hashlib.sha256(np.ascontiguousarray(whole).reshape(-1).view(np.uint8).data)
        return f"{whole.dtype}[{','.join(map(str, whole.shape))}] {content.hexdigest()[:16]}"

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    return {name or "array": described(leaf) for name, leaf in named.items()}


def compile_programs(programs: Programs, state_exists: bool = False) -> Compiled:
    """Compiles `init` and `update` of a run in parallel, because the compiler does not use all cores.

    The evaluation is compiled while training has started; its first use waits for `result()`.

    Args:
      state_exists: the memory of the state is in use already, as that of a restored one.

    Raises:
      memory.NotEnough: an update needs more memory than is available.
    """
    state, totals = shapes(programs)
    pool = ThreadPoolExecutor(1)
    keys, hp = hosts.place(programs.keys, programs.sharding), hparams(programs)
    init = pool.submit(lambda: programs.init.lower(keys, *programs.data).compile())
    places = None if programs.split else (programs.state_sharding, programs.sharding)
    update: Any = programs.algo.update
    advance = train.program(update, out_shardings=places)
    advance = advance.lower(state, totals, hp, np.int32(1), *programs.data).compile()
    require_update(programs, advance, state_exists)
    evaluate = None
    if programs.eval_episodes:  # last, because training needs only the other two
        evaluate = pool.submit(lambda: programs.evaluate.lower(state, keys).compile())
    pool.shutdown(wait=False)
    return Compiled(init.result(), advance, evaluate, memory_of(advance))


def require_update(programs: Programs, program: Any, state_exists: bool = False) -> None:
    """Raises `memory.NotEnough` if the compiled update of a run needs more memory than is available.

    Args:
      state_exists: the state and the totals are allocated already, as the data always are.
    """
    used = memory_of(program)
    if used is None:
        return
    exists = memory.num_bytes(programs.data) + (memory.shard_bytes(shapes(programs)) if state_exists else 0)
    devices = programs.sharding.mesh.size // jax.process_count()  # they do the same
    option = "the agents, environments or steps per update, or --chunk, the agents at a time"
    memory.require("an update of all agents", {option: devices * (used - exists)}, memory.on_devices())


def memory_of(program: Any) -> int | None:
    """Bytes that a compiled program uses on a device, including its arguments; None if not available."""
    analysis = program.memory_analysis()
    if analysis is None:
        return None
    total = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return total + analysis.temp_size_in_bytes - analysis.alias_size_in_bytes


def zeros(programs: Programs, totals: PyTree) -> PyTree:
    """Totals of zero, in the shapes of `totals`."""
    return hosts.place(jax.tree.map(lambda m: np.zeros(m.shape, m.dtype), totals), programs.sharding)
