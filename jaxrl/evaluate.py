"""Evaluation of a policy: a fixed number of whole episodes, so that short ones are not overrepresented."""

from typing import Protocol

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.rollout import vectorize
from jaxrl.types import Env, PyTree


@struct.dataclass
class Evaluation:
    """The episodes of an evaluation; leaves `[E]`.

    `finished` is false for an episode that had not ended after `max_steps`: its return and length are those
    up to then.
    """

    returns: jax.Array
    lengths: jax.Array
    finished: jax.Array


class Decide(Protocol):
    def __call__(
        self, memory: PyTree, key: jax.Array, obs: PyTree, first: jax.Array, action_mask: jax.Array | None, /
    ) -> tuple[PyTree, PyTree]:
        """`(memory, action)`, leaves `[N, ...]`: `Algorithm.act` with the state bound."""


def evaluate(
    env: Env, act: Decide, memory: PyTree, key: jax.Array, num_episodes: int, max_steps: int = 100_000
) -> Evaluation:
    """Plays `num_episodes` episodes in parallel, exactly one in each environment.

    Therefore short episodes have the same weight as long ones. Runs until the last episode has ended.

    Args:
      env: one environment, as returned by `envs.make`.
      memory: any memory of the policy `[N, ...]`; only its shapes matter, because `first` resets it.
      max_steps: maximum number of steps, for episodes that do not end.
    """
    env = vectorize(env, num_episodes)
    reset_key, run_key = jax.random.split(key)
    env_state, timestep = env.reset(reset_key)
    memory = jax.tree.map(lambda m: jnp.zeros((num_episodes, *m.shape[1:]), m.dtype), memory)
    nothing = Evaluation(
        jnp.zeros(num_episodes), jnp.zeros(num_episodes, jnp.int32), jnp.zeros(num_episodes, bool)
    )

    def running(carry):
        step, *_, result = carry
        return (step < max_steps) & ~result.finished.all()

    def step(carry):
        step, env_state, now, memory, result = carry
        action_key, env_key = jax.random.split(jax.random.fold_in(run_key, step))
        mask = now.info.get("action_mask")
        memory, action = act(memory, action_key, now.obs, now.first, mask)
        env_state, then = env.step(env_key, env_state, action)
        result = Evaluation(
            returns=jnp.where(result.finished, result.returns, then.info["episode_return"]),
            lengths=jnp.where(result.finished, result.lengths, then.info["episode_length"]),
            finished=result.finished | then.done,
        )
        return step + 1, env_state, then, memory, result

    start = (jnp.zeros((), jnp.int32), env_state, timestep, memory, nothing)
    return jax.lax.while_loop(running, step, start)[-1]
