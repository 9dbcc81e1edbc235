"""Evaluation of a policy: a fixed number of whole episodes, so that short ones are not overrepresented."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.rollout import interact, vectorize, without_extras
from jaxrl.spaces import require_positive
from jaxrl.types import Decide, Env, PyTree, Stream


@struct.dataclass
class Evaluation:
    """The episodes of an evaluation; leaves `[E]`.

    `finished` is false for an episode that had not ended after `max_steps`: its return and length are those
    up to then.
    """

    returns: jax.Array
    lengths: jax.Array
    finished: jax.Array


def evaluate(
    env: Env, act: Decide, memory: PyTree, key: jax.Array, num_episodes: int, max_steps: int = 100_000
) -> Evaluation:
    """Plays `num_episodes` episodes in parallel, exactly one in each environment.

    Therefore short episodes have the same weight as long ones. Runs until the last episode has ended.

    Args:
      env: one environment, as returned by `envs.make`.
      memory: any memory of the policy `[N, ...]`; only its shapes matter, because `first` resets it.
      max_steps: maximum number of steps, for episodes that do not end.

    Raises:
      ValueError: a number that is not a whole number of at least 1.
    """
    require_positive(num_episodes=num_episodes, max_steps=max_steps)
    env, policy = vectorize(env, num_episodes), without_extras(act)
    reset_key, run_key = jax.random.split(key)
    memory = jax.tree.map(lambda m: jnp.zeros((num_episodes, *m.shape[1:]), m.dtype), memory)
    stream = Stream(*env.reset(reset_key), memory)
    nothing = Evaluation(
        jnp.zeros(num_episodes), jnp.zeros(num_episodes, jnp.int32), jnp.zeros(num_episodes, bool)
    )

    def running(carry):
        step, _, result = carry
        return (step < max_steps) & ~result.finished.all()

    def step(carry):
        step, stream, result = carry
        action_key, env_key = jax.random.split(jax.random.fold_in(run_key, step))
        stream, now = interact(env, policy, stream, (action_key, env_key))
        result = Evaluation(
            returns=jnp.where(result.finished, result.returns, now.info["episode_return"]),
            lengths=jnp.where(result.finished, result.lengths, now.info["episode_length"]),
            finished=result.finished | now.done,
        )
        return step + 1, stream, result

    start = (jnp.zeros((), jnp.int32), stream, nothing)
    return jax.lax.while_loop(running, step, start)[-1]
