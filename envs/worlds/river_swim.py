"""RiverSwim: a small reward downstream, a large one upstream, against a current.

Strehl and Littman 2008, "An analysis of model-based interval estimation for Markov decision processes",
https://doi.org/10.1016/j.jcss.2007.08.009: six states in a row, starting in the second or third; always
swimming upstream has a return of 3.34 million in the 5,000 steps of the original. Later papers use another
current (0.35, 0.6, 0.05) and rewards of 0.005 and 1: `up=0.35, down=0.05, small=0.005, large=1.0` is similar,
except at the ends of the river. Episodes do not end; the registered time limit is 5,000.
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
    """The table: action 0 moves with the current and never fails, action 1 swims against it.

    Args:
      up, down: probabilities that swimming upstream moves one state up, or down.
      small: reward for action 0 at the lower end.
      large: reward for action 1 at the upper end if the state does not change, with probability `up`.

    Raises:
      ValueError: a river of fewer than three states, or invalid probabilities.
    """
    require_count("num_states", num_states, 3)
    require_probability(up=up, down=down)
    if not isinstance(up + down, jax.core.Tracer) and up + down > 1:
        raise ValueError(f"up = {up} and down = {down} must not sum to more than 1")
    states = np.arange(num_states)
    eye = np.eye(num_states, dtype=np.float32)
    left, right = eye[np.maximum(states - 1, 0)], eye[np.minimum(states + 1, num_states - 1)]
    bottom, top = (states == 0)[:, None], (states == num_states - 1)[:, None]
    swim = up * right + down * left + (1 - up - down) * eye
    # At the lower end the current has no effect; at the upper end a failure moves one state down.
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
