"""Vectorized environments, rollouts, and minibatches of them."""

from functools import partial
from typing import Any

import jax
from jax.sharding import PartitionSpec

from jaxrl.cpu import hoist
from jaxrl.cpu.shuffle import permutations
from jaxrl.spaces import require_positive
from jaxrl.types import Decide, Env, Explore, Metrics, PyTree, Stream, Transition


def vectorize(env: Env, num_envs: int) -> Env:
    """`num_envs` independent copies of an environment, which take a single key for all of them.

    Returns:
      An Env whose states, time steps and actions have a leading axis `[N, ...]`; the spaces stay
      those of one copy.

    Raises:
      ValueError: `num_envs` is not a whole number of at least 1.
    """
    require_positive(num_envs=num_envs)

    def reset(key):
        return jax.vmap(env.reset)(jax.random.split(key, num_envs))

    def step(key, env_state, action):
        return jax.vmap(env.step)(jax.random.split(key, num_envs), env_state, action)

    return env._replace(reset=reset, step=step)


def interact(
    env: Env, policy: Explore, stream: Stream, keys: tuple[Any, jax.Array]
) -> tuple[Stream, Transition]:
    """One step of a policy in vectorized environments, which every loop that plays a policy repeats.

    Args:
      keys: for the policy (None if it draws nothing) and for the environments.

    Returns:
      The next stream, and the Transition, leaves `[N, ...]`.
    """
    action_key, env_key = keys
    now = stream.timestep
    mask = now.info.get("action_mask")
    with jax.named_scope("policy"):
        memory, action, extras = policy(stream.memory, action_key, now.obs, now.first, mask)
    with jax.named_scope("environment"):
        env_state, then = env.step(env_key, stream.env_state, action)
    transition = Transition(
        obs=now.obs,
        first=now.first,
        memory=stream.memory,
        action=action,
        extras=extras,
        next_obs=then.next_obs,
        reward=then.reward,
        terminated=then.terminated,
        truncated=then.truncated,
        # The mask belongs to the observation that the policy acted on; the rest of `info` to the step.
        info=then.info if mask is None else {**then.info, "action_mask": mask},
    )
    return Stream(env_state, then, memory), transition


def without_extras(act: Decide) -> Explore:
    """A policy for `interact` and `rollout` that returns nothing besides the memory and the action."""

    def policy(memory, key, obs, first, action_mask):
        memory, action = act(memory, key, obs, first, action_mask)
        return memory, action, ()

    return policy


@jax.named_scope("rollout")
def rollout(
    env: Env, policy: Explore, key: jax.Array, stream: Stream, num_steps: int
) -> tuple[Stream, Transition]:
    """Lets a policy act in vectorized environments for `num_steps` steps.

    Args:
      env: vectorized and auto-resetting.
      stream: the states at the end of the previous rollout.

    Returns:
      The stream for the next rollout, and Transitions `[T, N, ...]`.

    Raises:
      ValueError: `num_steps` is not a whole number of at least 1.
    """
    require_positive(num_steps=num_steps)

    return hoist.scan(partial(interact, env, policy), stream, tuple(jax.random.split(key, (2, num_steps))))


@jax.named_scope("shuffle")
def minibatches(key: jax.Array, size: int, num_epochs: int, num_minibatches: int) -> jax.Array:
    """The indices of the samples in each minibatch: in every epoch each sample once, in a new random order.

    Returns:
      Indices `[num_epochs * num_minibatches, size // num_minibatches]`.
    """
    order = permutations(key, num_epochs, size)
    if not (devices := jax.sharding.get_abstract_mesh().shape.get("envs")):
        return order.reshape((num_epochs * num_minibatches, -1))
    if num_epochs % devices == 0:  # each device sorts for some of the epochs
        order = jax.lax.with_sharding_constraint(order, PartitionSpec("envs"))
    order = order.reshape((num_epochs * num_minibatches, -1))
    return jax.lax.with_sharding_constraint(order, PartitionSpec(None, "envs"))


@jax.named_scope("metrics")
def episode_metrics(info: dict[str, PyTree], done: jax.Array) -> Metrics:
    """Sums over the episodes that ended in a rollout; 0 if none did.

    Args:
      info: of the transitions, with `episode_return` and `episode_length` `[T, N]`.
      done: `[T, N]`.

    Returns:
      `episode/count`, `episode/return_sum` and `episode/length_sum`, scalars.
    """
    return {
        "episode/count": done.sum(dtype="float32"),
        "episode/return_sum": (info["episode_return"] * done).sum(),
        "episode/length_sum": (info["episode_length"] * done).sum(dtype="float32"),
    }
