"""What a run needs at least, from shapes alone: nothing is allocated for the estimate, and nothing compiled.

`jaxrl.memory` says what is available. What a compiled update needs in addition is checked once it is
compiled, by `jaxrl.programs.compile_programs`.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxrl import fields, memory
from jaxrl.experiments import search
from jaxrl.experiments.runs.spec import Spec
from jaxrl.types import Algorithm, PyTree

MANY = 100_000  # lanes; `require_run`, which is exact, checks fewer of them
ROW = 40  # bytes of a number in a list: of `Programs.ends`


def keys(*shape: int) -> jax.ShapeDtypeStruct:
    """Keys of this shape, as a shape: for `jax.eval_shape`."""
    return _key().update(shape=shape)


@functools.cache
def _key() -> jax.ShapeDtypeStruct:
    return jax.eval_shape(jax.random.key, 0)


def require_lanes(spec: Spec, algo: Algorithm) -> None:
    """Raises `memory.NotEnough` if the lanes are so many that their numbers take time or memory to make.

    Args:
      algo: of one agent, whose state is traced for that.
    """
    if spec.lanes > MANY:
        require_agents(algo, spec.agents, _of_agents(spec))


def require_run(spec: Spec, algo: Algorithm, state: PyTree, num_rows: int, to_train: bool) -> None:
    """Raises `memory.NotEnough` if the agents of a run do not fit into memory, with an evaluation or update.

    Args:
      algo: of one agent.
      state: of all lanes, as shapes; its part that is needed.
      num_rows: of metrics.
      to_train: False: a run that is only evaluated.
    """
    history = memory.num_bytes(getattr(state, "strategy", ())) if spec.search else 0
    lanes, agents = _share(spec), (memory.num_bytes(state) - history) / jax.process_count()
    option = _of_agents(spec) if to_train else "the memory that other programs use"
    available = memory.on_devices()
    if to_train and available is not None and agents / lanes > available:  # already one is too large
        shape = max(jax.tree.leaves(state), key=lambda leaf: memory.num_bytes([leaf])).shape
        option = _of_config(spec, lambda size: size in shape)
    episodes = "--eval-episodes" if to_train else "--episodes"
    evaluation = memory.evaluation_bytes(state, lanes, spec.eval_episodes)
    _require(spec, {option: agents, _of_history(spec): history, episodes: evaluation})
    if to_train:
        of_rollout = _of_config(spec, lambda size: algo.steps_per_update % size == 0)
        rollout = memory.rollout_bytes(algo, state, lanes, spec.chunk)
        _require(spec, {option: agents, of_rollout: rollout})
    memory.require(f"{num_rows} rows", {"--intervals": ROW * num_rows}, memory.on_machine())


def require_agents(algo: Algorithm, count: int, option: str) -> None:
    """Raises `memory.NotEnough` if the states of `count` agents do not fit into memory.

    Args:
      option: the option that lowers their number.
    """
    state = jax.eval_shape(algo.init, _key(), algo.hparams, *algo.data_args)
    share = count / jax.process_count()
    memory.require(f"{count} agents", {option: share * memory.num_bytes(state)}, memory.on_devices())


def _require(spec: Spec, needs: dict[str, float]) -> None:
    agents = f"{spec.agents} agent{'s' * (spec.agents > 1)}"
    memory.require(agents, needs, memory.on_devices())


def _share(spec: Spec) -> float:
    """The lanes of this process."""
    return spec.lanes / jax.process_count()


def _of_agents(spec: Spec) -> str:
    """The options that lower the number of agents."""
    if spec.search:
        options = search.named(spec.search["kind"]).options
        return "--seeds or --slots" if "slots" in options else "--seeds or --trials"
    return "--seeds or the number of trials" if spec.trials else "--seeds"


def _of_history(spec: Spec) -> str:
    """The option that shortens the history of a search, which is a part of its state."""
    return search.on_device(spec.search["kind"]).history if spec.search else "--trials"


def _of_config(spec: Spec, explains: Callable[[int], bool]) -> str:
    """The option with the largest number of those that can explain a size, or of all if none can."""
    config = {f"--config.{name}": value for name, value in fields.flatten(spec.config).items()}
    env = {f"--env.{name}": value for name, value in spec.env.items() if name != "max_steps"}
    sizes = {name: _largest(value) for name, value in {**config, **env}.items()}
    possible = {name: size for name, size in sizes.items() if size > 1 and explains(size)}
    option, _ = max((possible or sizes).items(), key=lambda pair: pair[1], default=("its sizes", 0))
    return option.replace("_", "-")


def _largest(value: Any) -> int:
    numbers = value if isinstance(value, tuple) else (value,)
    return max((one for one in numbers if type(one) is int), default=0)
