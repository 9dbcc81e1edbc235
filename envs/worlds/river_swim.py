"""RiverSwim: a little downstream at once, much more upstream, against a current that carries one back.

Strehl and Littman 2008, "An analysis of model-based interval estimation for Markov decision processes",
https://doi.org/10.1016/j.jcss.2007.08.009: six states in a row, starting in the second or third; swimming
always upstream is worth 3.34 million in the 5,000 steps of the original. Later papers use another current
(0.35, 0.6, 0.05) and rewards of 0.005 and 1: `up=0.35, down=0.05, small=0.005, large=1.0` is near to it,
but for the ends of the river. The world is endless; its registered time limit is 5,000.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.require import require_count, require_probability
from jaxrl.envs.worlds import tabular
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.types import Env


def mdp(
    num_states: int = 6, up: float = 0.3, down: float = 0.1, small: float = 5.0, large: float = 10_000.0
) -> Tabular:
    """The table: action 0 goes with the current and never fails, action 1 swims against it.

    Args:
      up, down: probabilities that a stroke upstream gains a state, or loses one.
      small: for drifting at the lower end.
      large: for swimming at the upper end and staying there, which happens with probability `up`.

    Raises:
      ValueError: a river of less than three states, or chances that are none.
    """
    require_count("num_states", num_states, 3)
    require_probability(up=up, down=down)
    if not isinstance(up + down, jax.core.Tracer) and up + down > 1:
        raise ValueError(f"up = {up} and down = {down} must not be more than 1 together")
    states = np.arange(num_states)
    eye = np.eye(num_states, dtype=np.float32)
    left, right = eye[np.maximum(states - 1, 0)], eye[np.minimum(states + 1, num_states - 1)]
    bottom, top = (states == 0)[:, None], (states == num_states - 1)[:, None]
    swim = up * right + down * left + (1 - up - down) * eye
    # Nothing carries a swimmer beyond the lower end; at the upper end whoever does not hold falls back.
    swim = jnp.where(bottom, up * right + (1 - up) * eye, swim)
    swim = jnp.where(top, up * eye + (1 - up) * left, swim)
    drift_reward = small * np.outer(states == 0, states == 0)
    swim_reward = large * np.outer(states == num_states - 1, states == num_states - 1)
    return Tabular(
        jnp.stack([jnp.asarray(left), swim], axis=1),
        jnp.stack([jnp.asarray(drift_reward), jnp.asarray(swim_reward)], axis=1).astype(jnp.float32),
        jnp.zeros(num_states, bool),
        jnp.asarray(0.5 * ((states == 1) | (states == 2)), jnp.float32),
    )


def make(
    *,
    num_states: int = 6,
    up: float = 0.3,
    down: float = 0.1,
    small: float = 5.0,
    large: float = 10_000.0,
    observation: str = "one_hot",
) -> Env:
    """The river of `mdp` as an environment; `observation` is "one_hot" or "index"."""
    return tabular.env(mdp(num_states, up, down, small, large), observation)
