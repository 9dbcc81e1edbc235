"""Tables from the outcomes of actions: the next state, the reward and the probability of each."""

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.worlds.tabular import Tabular


def table(following: np.ndarray, reward: np.ndarray, probability: np.ndarray, start: np.ndarray) -> Tabular:
    """The table of a process with `O` outcomes of each action, and a terminal state after the others.

    Args:
      following: `[S, A, O]` the next state; -1 where the episode ends.
      reward: `[S, A, O]`; outcomes with the same next state get their mean.
      probability: `[O]`, of the outcomes of each action.
      start: `[S]` probabilities of the first state.
    """
    num_states, num_actions, _ = following.shape
    rows = np.arange(num_states)[:, None, None], np.arange(num_actions)[:, None], following % (num_states + 1)
    shape = (num_states + 1, num_actions, num_states + 1)
    transition, total = np.zeros(shape), np.zeros(shape)
    np.add.at(transition, rows, np.broadcast_to(probability, following.shape))
    np.add.at(total, rows, probability * reward)
    mean = np.divide(total, transition, out=np.zeros(shape), where=transition > 0)
    transition[-1, :, -1] = 1.0
    return Tabular(
        jnp.asarray(transition, jnp.float32),
        jnp.asarray(mean, jnp.float32),
        jnp.arange(num_states + 1) == num_states,
        jnp.asarray(np.append(start, 0.0), jnp.float32),
    )
