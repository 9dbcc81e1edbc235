"""The types of environments, algorithms and objectives.

Functions are grouped in NamedTuples, arrays in dataclasses. Axes: `T` time, `N` environments, `B` batch.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
from flax import struct

PyTree = Any
Metrics = dict[str, jax.Array]
Number = float | jax.Array  # a Python number, or a scalar that may be traced


@struct.dataclass
class TimeStep:
    """The result of `reset` or `step`; leaves `[...]` or, vectorized, `[N, ...]`.

    `obs` is the observation to act on next: after the end of an episode, the first one of the new episode.
    `next_obs` is the observation that the step led to: after an end, the last one of the old episode.
    `reward`, `terminated`, `truncated` and `info` describe the step that was taken. `first` is true
    when `obs` starts an episode. After a reset, `next_obs` is `obs`, and both flags are false.
    `info` is a dict with fixed keys; `info["action_mask"]`, if present, belongs to `obs`.
    """

    obs: PyTree
    next_obs: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    first: jax.Array
    info: dict[str, PyTree]
    replace: ClassVar[Callable[..., "TimeStep"]]  # defined by flax, which type checkers do not see

    @property
    def done(self) -> jax.Array:
        """Whether the episode ended here, terminated or truncated."""
        return self.terminated | self.truncated


@struct.dataclass
class Transition:
    """One step as an algorithm stores it; leaves `[T, N, ...]` after a rollout.

    `obs` and `first` are the inputs of the policy, `memory` is its memory before them, and `extras` are
    its outputs besides the action (log-probabilities, ...). The rest is from the resulting TimeStep.
    """

    obs: PyTree
    first: jax.Array
    memory: PyTree
    action: PyTree
    extras: PyTree
    next_obs: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    info: dict[str, PyTree]
    replace: ClassVar[Callable[..., "Transition"]]

    @property
    def done(self) -> jax.Array:
        """Whether the episode ended with this step, terminated or truncated."""
        return self.terminated | self.truncated


@struct.dataclass
class Stream:
    """The current states of `N` environments, at the start and end of a rollout; leaves `[N, ...]`."""

    env_state: PyTree
    timestep: TimeStep
    memory: PyTree
    replace: ClassVar[Callable[..., "Stream"]]


# --- functions of an environment ---------------------------------------------------------------------


class Reset(Protocol):
    def __call__(self, key: jax.Array, /) -> tuple[PyTree, TimeStep]:
        """Begins an episode; returns `(env_state, timestep)`."""


class Step(Protocol):
    def __call__(self, key: jax.Array, env_state: PyTree, action: PyTree, /) -> tuple[PyTree, TimeStep]:
        """Takes one step with an action of the action space; returns `(env_state, timestep)`."""


class Env(NamedTuple):
    """One environment; `jaxrl.rollout.vectorize` returns `N` copies of it."""

    reset: Reset
    step: Step
    observation_space: PyTree  # of spaces
    action_space: PyTree  # of spaces


# --- functions of an algorithm -----------------------------------------------------------------------


class Explore(Protocol):
    def __call__(
        self, memory: PyTree, key: jax.Array, obs: PyTree, first: jax.Array, action_mask: jax.Array | None, /
    ) -> tuple[PyTree, PyTree, PyTree]:
        """Acts in `N` environments; returns `(memory, action, extras)`, leaves `[N, ...]`.

        `action_mask` is None if the environment has none; `extras` are stored in the transitions.
        """


class Decide(Protocol):
    def __call__(
        self, memory: PyTree, key: Any, obs: PyTree, first: jax.Array, action_mask: jax.Array | None, /
    ) -> tuple[PyTree, PyTree]:
        """`(memory, action)`, leaves `[N, ...]`: `Algorithm.act` with the state bound."""


class ActionEvaluation(NamedTuple):
    """The policy and the value function, evaluated at Transitions, `[T, N]` each."""

    log_prob: jax.Array  # of the actions that were taken
    entropy: jax.Array  # of the policy
    value: jax.Array  # of the observations


# `*data: Any, **_: Any` together mean any further arguments to a type checker: functions of an algorithm
# without data do not take it.
class Init(Protocol):
    def __call__(self, key: jax.Array, hp: PyTree, /, *data: Any, **_: Any) -> PyTree:
        """The first TrainState of an agent, after `warmup_steps` environment steps.

        `(key, hp)`, or `(key, hp, data)` for an algorithm with data.
        """


class Update(Protocol):
    def __call__(self, state: PyTree, hp: PyTree, /, *data: Any, **_: Any) -> tuple[PyTree, Metrics]:
        """One iteration of collecting and learning; returns `(state, metrics)`, the metrics scalars.

        `(state, hp)`, or `(state, hp, data)` for an algorithm with data.
        """


class Keep(Protocol):
    def __call__(self, state: PyTree, /) -> PyTree:
        """The part of a TrainState that a checkpoint holds: the same, with `()` for what is left out.

        For example `state.replace(replay=())`. It only selects: leaves are unchanged, and may have further
        leading axes. When a run is resumed, what was left out is as after `init`.
        """


def whole(state: PyTree) -> PyTree:
    """`Keep` that leaves nothing out."""
    return state


class Act(Protocol):
    def __call__(
        self,
        state: PyTree,
        memory: PyTree,
        key: jax.Array,
        obs: PyTree,
        first: jax.Array,
        /,
        action_mask: jax.Array | None = None,
    ) -> tuple[PyTree, PyTree]:
        """Actions of a trained agent in `N` environments; returns `(memory, action)`, leaves `[N, ...]`.

        Args:
          memory: of the policy, leaves `[N, ...]`; `()` for one without memory.
          obs: leaves `[N, ...]`.
          first: `[N]`, true where `obs` starts an episode.
          action_mask: `[N, ...]`, true where an action is allowed; None: all are.
        """


class Collect(Protocol):
    def __call__(self, state: PyTree, key: jax.Array, /) -> tuple[PyTree, Transition]:
        """A rollout without learning; returns `(state, transitions)`, leaves of the latter `[T, N, ...]`."""


class EvaluateActions(Protocol):
    def __call__(self, state: PyTree, transitions: Transition, /) -> ActionEvaluation:
        """Log-probabilities of the actions in `transitions` `[T, N, ...]`, entropies and values `[T, N]`."""


class Algorithm(NamedTuple):
    """A learner, as returned by `ppo.make(env, config, objective)`.

    Meta-learners use `collect` and `evaluate_actions`; they are None for an algorithm without a stochastic
    policy and a value function. No gradient passes through the actions.
    """

    init: Init
    update: Update
    act: Act
    hparams: PyTree  # a full set of defaults, to `.replace`
    # Environment steps taken by one `update`, per agent; 0: it learns from `data` alone, and its updates are
    # counted wherever the steps of other algorithms are.
    steps_per_update: int
    warmup_steps: int = 0  # environment steps taken by `init`, per agent; included wherever steps are counted
    # Arrays that are read and never changed, such as a data set: the argument after `hp` of `init` and
    # `update`, which do not take it if there are none. Agents share them; checkpoints do not hold them.
    data: PyTree = ()
    keep: Keep = whole
    collect: Collect | None = None
    evaluate_actions: EvaluateActions | None = None
    # The `policies.Description` of the policy by which `act` acts, given `params` and `obs_stats` of the
    # state, for exports. None: it cannot be exported, for example because its network is a custom one.
    description: Any = None

    @property
    def data_args(self) -> tuple[PyTree, ...]:
        """`(data,)`, or `()` without data: `init(key, hp, *data_args)`, `update(state, hp, *data_args)`."""
        return (self.data,) if jax.tree.leaves(self.data) else ()


class Surrogate(Protocol):
    def __call__(
        self, params: PyTree, log_ratio: jax.Array, advantages: jax.Array, progress: jax.Array, /
    ) -> jax.Array:
        """The surrogate that a policy maximizes, per sample.

        Args:
          params: of the objective.
          log_ratio: log pi(a|s) - log pi_old(a|s), `[...]`.
          advantages: `[...]`.
          progress: completed fraction of training, from 0 to 1, a scalar.

        Returns:
          `[...]`, the shape of `log_ratio`.
        """


class Objective(NamedTuple):
    """A policy objective, whose parameters can be batched, evolved or differentiated."""

    params: PyTree
    apply: Surrogate
