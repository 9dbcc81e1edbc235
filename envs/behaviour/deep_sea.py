"""Deep sea: a diver sinks row by row; going right costs, and the treasure is at the far right.

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite),
bsuite/environments/deep_sea.py; the chain is from Osband et al. 2019, https://arxiv.org/abs/1703.07608.
The hidden meaning of the actions comes from the same generator as the original's, so that a
`mapping_seed` is the same task in both. gymnax's `sample_action_map`, a new meaning in every episode, is not
included, because it cannot be learned.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.require import require_count
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env


@struct.dataclass
class State:
    """The position of the diver, and whether it deliberately left the only path to the treasure."""

    row: jax.Array
    column: jax.Array
    bad: jax.Array


def make(
    *,
    size: int = 8,
    deterministic: bool = True,
    unscaled_move_cost=0.01,
    randomize_actions: bool = True,
    mapping_seed: int = 0,
) -> Env:
    """A board of `size` rows and columns; every step goes one row down and one column left or right.

    Observes the diver's position one-hot `[size, size]`, all 0 at the end, below the bottom row: the
    episode terminates after `size` steps. Going right costs `unscaled_move_cost / size`; going right in
    the last column gives 1. So the best return is `1 - unscaled_move_cost`, and random play attains it once
    in 2^size episodes.

    Args:
      deterministic: if not, going right fails with probability `1 / size`, and the rewards in the two
        corners of the bottom row have standard normal noise.
      randomize_actions: the action that means right differs from cell to cell; if not, it is always 1.
      mapping_seed: seed of these meanings.

    Raises:
      ValueError: `size` below 1, or a switch or seed that is not known in Python.
    """
    require_count("size", size, 1)
    require_count("mapping_seed", mapping_seed, 0)
    for name, switch in dict(deterministic=deterministic, randomize_actions=randomize_actions).items():
        if isinstance(switch, jax.core.Tracer):
            raise ValueError(f"{name} determines array shapes and cannot be traced")
    cells = np.arange(size * size, dtype=np.int32).reshape(size, size)
    right_action = np.ones((size, size), np.int32)
    if randomize_actions:
        right_action = mapping(size, mapping_seed)
    right_action = right_action.ravel()
    move_cost = unscaled_move_cost / size

    def show(state):
        # Below the bottom row there is no cell, so the last observation is all 0.
        return (cells == state.row * size + state.column).astype(jnp.float32)

    def reset(key):
        zero = jnp.zeros((), jnp.int32)
        state = State(zero, zero, jnp.zeros((), bool))
        return state, restart(show(state))

    def step(key, state, action):
        right = action == jnp.asarray(right_action)[state.row * size + state.column]
        reward = right * ((state.column == size - 1) - move_cost)
        moves_right = right
        if not deterministic:
            noise, wind = draw(key)
            corner = (state.row == size - 1) & ((state.column == 0) | (state.column == size - 1))
            reward = reward + jnp.where(corner, noise, 0.0)
            moves_right = right & (wind > 1.0 / size)
        column = state.column + jnp.where(right, moves_right.astype(jnp.int32), -1)
        state = State(
            row=state.row + 1,
            column=jnp.clip(column, 0, size - 1),
            bad=state.bad | (~right & (state.row == state.column)),
        )
        return state, transition(show(state), reward, state.row == size)

    return Env(reset, step, Box(0.0, 1.0, (size, size)), Discrete(2))


def mapping(size: int, seed: int) -> np.ndarray:
    """The action that goes right in each cell, int32 `[size, size]`."""
    return np.random.RandomState(seed).binomial(1, 0.5, [size, size]).astype(np.int32)


def draw(key):
    """A standard normal number, and a uniform one in [0, 1), from one call of the generator."""
    lowest = np.nextafter(np.float32(-1), np.float32(0))  # at -1 the normal number would be minus infinity
    noise, wind = jax.random.uniform(key, (2,), minval=lowest, maxval=1.0)
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(noise), (wind + 1.0) * 0.5
