"""The shapes of things: what an environment, an algorithm and an objective are.

Functions travel in NamedTuples, arrays in dataclasses. Axes: `T` time, `N` environments, `B` batch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import struct

PyTree = Any


@struct.dataclass
class TimeStep:
    """What an environment says after `reset` or `step`; leaves `[...]` or, vectorized, `[N, ...]`.

    `obs` is the observation to act on next: after an end it belongs to the new episode.
    `next_obs` is where the step led: after an end it is the last observation of the old episode.
    `reward`, `terminated`, `truncated` and `info` tell of the step that was taken. `first` is true
    when `obs` starts an episode. Of a reset, `next_obs` is `obs` and nothing has ended.
    `info` is a dict with fixed keys; `info["action_mask"]`, if present, belongs to `obs`.
    """

    obs: PyTree
    next_obs: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    first: jax.Array
    info: dict[str, PyTree]

    @property
    def done(self) -> jax.Array:
        """The episode ended here, one way or the other."""
        return self.terminated | self.truncated


@struct.dataclass
class Transition:
    """One step as an algorithm stores it; leaves `[T, N, ...]` after a rollout.

    `obs` and `first` are what the policy saw, `memory` what it remembered before seeing it, `extras`
    what it said beside its action (log-probabilities, ...). The rest is the answer's TimeStep.
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

    @property
    def done(self) -> jax.Array:
        """The episode ended with this step, one way or the other."""
        return self.terminated | self.truncated


@struct.dataclass
class Stream:
    """Where `N` environments stand: what a rollout starts from and ends with; leaves `[N, ...]`."""

    env_state: PyTree
    timestep: TimeStep
    memory: PyTree


class Env(NamedTuple):
    """One environment; `jaxrl.rollout.vectorize` makes N of it."""

    reset: Callable  # (key) -> (env_state, TimeStep)
    step: Callable  # (key, env_state, action) -> (env_state, TimeStep)
    observation_space: PyTree  # of spaces
    action_space: PyTree  # of spaces


class ActionEvaluation(NamedTuple):
    """A policy and its value function at Transitions, `[T, N]` each."""

    log_prob: jax.Array  # of the actions that were taken
    entropy: jax.Array  # of the policy
    value: jax.Array  # of the observations


class Algorithm(NamedTuple):
    """A learner, as `ppo.make(env, config, objective)` returns it.

    Meta-learners use `collect` and `evaluate_actions`; an algorithm without a stochastic policy and a value
    function has none. Actions count as data: no gradient passes through them.
    """

    init: Callable  # (key, hp) -> TrainState
    update: Callable  # (state, hp) -> (state, metrics): one iteration of collecting and learning
    act: Callable  # (state, memory, key, obs, first, action_mask=None) -> (memory, action)
    hparams: PyTree  # a full set of defaults, to `.replace`
    steps_per_update: int  # environment steps taken by one `update`, per agent
    warmup_steps: int = 0  # environment steps taken by `init`, per agent: counted wherever steps are
    collect: Callable | None = None  # (state, key) -> (state, Transitions): acts on, learns nothing
    evaluate_actions: Callable | None = None  # (state, Transitions) -> ActionEvaluation


class Objective(NamedTuple):
    """A policy objective as a value: swap, vmap, evolve or differentiate it.

    `apply(params, log_ratio, advantages, progress)` gives the surrogate to maximise, per sample, in
    the shape of `log_ratio`; `progress` runs from 0 to 1 over training.
    """

    params: PyTree
    apply: Callable
