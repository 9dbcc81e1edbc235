"""Cliff walking: walk along a cliff to the goal; stepping off it costs 100 and leads back to the start.

The transition table is that of Gymnasium 1.3's CliffWalking-v1; Sutton and Barto 2018, example 6.6.
https://gymnasium.farama.org/environments/toy_text/cliff_walking/
`info` is empty; the original reports the probability of the transition.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.worlds import outcomes
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Discrete
from jaxrl.types import Env

ROWS, COLUMNS = 4, 12
_START = np.int32((ROWS - 1) * COLUMNS)


@struct.dataclass
class State:
    """The position of the agent: row * 12 + column."""

    position: jax.Array


def make(*, is_slippery: bool = False) -> Env:
    """Actions are up, right, down, left; the observation is the position, row by row; reward -1.

    Args:
      is_slippery: a step goes in the chosen direction or to either side, each with probability 1/3.
    """
    slips = jnp.asarray(is_slippery, bool)
    never = not isinstance(is_slippery, jax.core.Tracer) and not is_slippery

    def reset(key):
        position = jnp.asarray(_START)
        return State(position), restart(position)

    def step(key, state, action):
        turn = jnp.zeros((), jnp.int32) if never else jnp.where(slips, slip(draw(key)), 0)
        state, reward, terminated = advance(state, action, turn)
        return state, transition(state.position, reward, terminated)

    return Env(reset, step, Discrete(ROWS * COLUMNS), Discrete(4))


def mdp(is_slippery: bool = False) -> Tabular:
    """The table of `make`: a state for each position, and one for the end; not traceable."""
    state, action, turn = np.ogrid[: ROWS * COLUMNS, :4, -1:2]
    after, reward, ended = advance(State(jnp.asarray(state)), action, turn)
    following = np.where(ended, -1, after.position)
    probability = np.full(3, 1 / 3) if is_slippery else np.array([0.0, 1.0, 0.0])
    return outcomes.table(following, reward, probability, np.arange(ROWS * COLUMNS) == _START)


def draw(key) -> jax.Array:
    """The random number of a step, in [0, 1)."""
    return jax.random.uniform(key)


def slip(u) -> jax.Array:
    """The deviation of a step: -1, 0 or 1 quarter turns, equally likely."""
    return (u >= 1 / 3).astype(jnp.int32) + (u >= 2 / 3).astype(jnp.int32) - 1


def advance(state: State, action, turn):
    """One step in the direction of the action, turned by `turn` quarter turns.

    Returns:
      The new state, the reward and whether the goal is reached.
    """
    direction = (action + turn) % 4
    row, column = state.position // COLUMNS, state.position % COLUMNS
    down = (direction == 2).astype(jnp.int32) - (direction == 0)
    right = (direction == 1).astype(jnp.int32) - (direction == 3)
    row, column = jnp.clip(row + down, 0, ROWS - 1), jnp.clip(column + right, 0, COLUMNS - 1)
    bottom = row == ROWS - 1
    fell = bottom & (column > 0) & (column < COLUMNS - 1)
    position = jnp.where(fell, _START, row * COLUMNS + column)
    return State(position), jnp.where(fell, -100.0, -1.0), bottom & (column == COLUMNS - 1)
