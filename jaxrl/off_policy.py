"""What algorithms share that learn a policy and critics from a replay.

Raw actions are stored: of a Box, what tanh maps between -1 and 1. Axes: `T` steps, `N` environments.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import policies, replay, stats
from jaxrl.distributions import Distribution
from jaxrl.policies import Policy
from jaxrl.replay import Replay
from jaxrl.rollout import rollout
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Algorithm, Env, Explore, Init, Number, PyTree, Stream, Transition, Update
from jaxrl.widths import narrowed

LARGEST = 1.0 - 1e-6  # of an action whose inverse hyperbolic tangent is stored


class HasInit(Protocol):
    """Networks, as `action_critics.Critics`."""

    @property
    def init(self) -> Callable[[jax.Array], PyTree]: ...


def observed(env: Env) -> PyTree:
    """An example of what a replay stores of an observation: with the actions that were allowed, or None."""
    timestep = jax.eval_shape(env.reset, jax.random.key(0))[1]
    return timestep.obs, timestep.info.get("action_mask")


def stored(steps: Transition, stream: Stream) -> Transition:
    """The steps `[T, N, ...]` before `stream` as a replay of `observed` stores them."""
    mask, after = policies.action_masks(steps, stream)
    return steps.replace(obs=(steps.obs, mask), next_obs=(steps.next_obs, after), extras=())


def fill(
    memory: Replay, envs: Env, act: Explore, key: jax.Array, stream: Stream, num_steps: int, num_rollouts: int
) -> tuple[Stream, Any, tuple[jax.Array, jax.Array]]:
    """The stream and the rows of a new replay after `num_rollouts` rollouts of `num_steps` steps.

    Returns:
      stream, rows, and the reward and `done` of each step, `[num_rollouts * num_steps, N]`.
    """

    def play(carry, key):
        stream, rows = carry
        stream, steps = rollout(envs, act, key, stream, num_steps)
        return (stream, memory.add(rows, stored(steps, stream))), (steps.reward, steps.done)

    start = stream, memory.init()
    (stream, rows), seen = jax.lax.scan(play, start, jax.random.split(key, num_rollouts))
    reward, done = (x.reshape((-1, x.shape[-1])) for x in seen)
    return stream, rows, (reward, done)


def rollouts_of(num_steps: int, num_envs: int, warmup_steps: int) -> int:
    """Rollouts of `num_steps` in each environment that have at least `warmup_steps` in all."""
    return -(-warmup_steps // (num_envs * num_steps))


def distribution(
    policy: Policy, params: PyTree, x: jax.Array, action_mask: jax.Array | None = None
) -> Distribution:
    """The distribution of raw actions of a policy without memory, for encoded observations `[B, *obs]`."""
    return policy.distribution(policy.step(params, (), x, jnp.zeros(x.shape[:1], bool))[1], action_mask)


def start(
    key: jax.Array,
    envs: Env,
    policy: Policy,
    critics: HasInit,
    memory: Replay,
    num_steps: int,
    num_rollouts: int,
    reward_gamma: Number | None = None,
) -> dict[str, Any]:
    """The initial fields of a TrainState: networks, and a replay of steps with random actions.

    `key params critic_params target_params stream replay obs_stats num_updates`; targets are copies of the
    critics. With `reward_gamma` also `reward_stats`.

    Args:
      envs: vectorized, taking raw actions.
      num_steps, num_rollouts: as for `fill`.
      reward_gamma: discount of the returns whose statistics are in `reward_stats`; None: there are none.
    """
    key, params_key, critic_key, env_key, warmup_key = jax.random.split(key, 5)
    params, critic_params = policy.init(params_key), critics.init(critic_key)
    stream = Stream(*envs.reset(env_key), ())
    discrete = isinstance(envs.action_space, Discrete)
    act = policies.epsilon_greedy(policy, params, (), 1.0) if discrete else _uniform(envs.action_space)
    stream, rows, seen = fill(memory, envs, act, warmup_key, stream, num_steps, num_rollouts)
    fields = {
        "key": key,
        "params": params,
        "critic_params": critic_params,
        "target_params": jax.tree.map(jnp.copy, critic_params),
        "stream": stream,
        "replay": rows,
        "obs_stats": (),
        "num_updates": jnp.zeros((), jnp.int32),
    }
    if reward_gamma is None:
        return fields
    empty = stats.init_reward(seen[0].shape[1])
    return fields | {"reward_stats": stats.update_reward(empty, *seen, reward_gamma)}


def _uniform(space: Box) -> Explore:
    """Acts in `rollout` with actions that are uniformly distributed within their bounds."""

    def act(memory, key, obs, first, action_mask):
        shape = (*first.shape, *space.shape)
        return memory, unsquash(jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0)), ()

    return act


def unsquash(action: jax.Array) -> jax.Array:
    """The raw actions of actions between -1 and 1; those at a bound are moved inside by 1e-6."""
    return jnp.arctanh(jnp.clip(action, -LARGEST, LARGEST))


def with_noise(policy: Policy, params: PyTree, deviation: Number) -> Explore:
    """Acts in `rollout` with the most likely action, to which noise is added between -1 and 1.

    The noise is normal, with a standard deviation of `deviation`; what exceeds the bounds is cut off.
    """

    def act(memory, key, obs, first, action_mask):
        memory, outputs = policy.step(params, memory, policy.encode((), obs), first)
        action = jnp.tanh(policy.distribution(outputs, action_mask).mode())
        return memory, unsquash(action + deviation * jax.random.normal(key, action.shape)), ()

    return act


def log_scale(space: Box) -> float:
    """The log-density of actions between -1 and 1, less that of the same actions between their bounds."""
    widths = np.broadcast_to(np.subtract(space.high, space.low), space.shape)
    return float(np.log(widths / 2.0).sum())


def algorithm(
    init: Init,
    update: Update,
    hparams: PyTree,
    policy: Policy,
    greedy: bool,
    steps_per_update: int,
    warmup_steps: int,
    keep_replay: Literal["auto", "yes", "no"],
) -> Algorithm:
    """The Algorithm of a learner whose states begin with `start`.

    Args:
      greedy: `act` takes the most likely action instead of a sample.
      keep_replay: whether checkpoints hold the replay, as in `replay.keep`.
    """
    return narrowed(
        Algorithm(
            init,
            update,
            act=policies.act(policy, greedy),
            hparams=hparams,
            steps_per_update=steps_per_update,
            warmup_steps=warmup_steps,
            keep=replay.keep(keep_replay),
            description=policy.description,
        )
    )
