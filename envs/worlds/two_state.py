"""Two hidden states: the tiger behind one of two doors.

Kaelbling, Littman and Cassandra 1998, "Planning and acting in partially observable stochastic
domains", https://doi.org/10.1016/S0004-3702(98)00023-X. Listening has a small cost and gives the correct side
with probability `accuracy`; the door without the tiger has a reward, the other a large cost; after opening a
door the tiger is placed at random. Only the difference k between the numbers of times that left and right
were heard matters, so the belief is a walk on the integers,

    P(tiger is left) = 1 / (1 + ((1 - accuracy) / accuracy)^k),

and the optimum is exact: with gamma 0.95 it is 19.37 from the start. After opening a door nothing is heard
(two zeros), where the original gives a random side: both contain no information, but here a memory of the
observations is enough, without one of the actions. Episodes do not end; the registered time limit is 100.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

LISTEN, LEFT, RIGHT = range(3)
_SILENCE = np.zeros(2, np.float32)


@struct.dataclass
class State:
    """Whether the tiger is behind the left door."""

    left: jax.Array


def make(
    *, accuracy: float = 0.85, listen: float = -1.0, prize: float = 10.0, penalty: float = -100.0
) -> Env:
    """The environment; actions are listening, opening the left door, and opening the right one.

    Observes the side that was heard, one-hot over left and right, or zeros. Every parameter may be traced.

    Args:
      accuracy: probability of hearing the correct side, between 0 and 1.
      listen, prize, penalty: rewards for listening, for the empty door and for the tiger's.

    Raises:
      ValueError: another accuracy.
    """
    _require_noise(accuracy)

    def reset(key):
        return State(jax.random.uniform(key) < 0.5), restart(jnp.asarray(_SILENCE))

    def step(key, state, action):
        return advance(state, action, jax.random.uniform(key))

    def advance(state, action, uniform):
        listening = action == LISTEN
        heard_left = state.left == (uniform < accuracy)
        obs = jnp.stack([listening & heard_left, listening & ~heard_left]).astype(jnp.float32)
        eaten = (action == LEFT) == state.left
        reward = jnp.where(listening, listen, jnp.where(eaten, penalty, prize))
        left = jnp.where(listening, state.left, uniform < 0.5)
        return State(left), transition(obs, reward, False)

    return Env(reset, step, Box(0.0, 1.0, (2,)), Discrete(3))


def mdp(
    accuracy: float = 0.85,
    listen: float = -1.0,
    prize: float = 10.0,
    penalty: float = -100.0,
    depth: int = 64,
) -> Tabular:
    """The belief process: state `k + depth`, where left was heard k more times than right.

    Exact for horizons up to `depth`, and for longer ones if no optimal policy listens until |k| = depth.

    Raises:
      ValueError: an accuracy that is not between 0 and 1, or a depth below 1.
    """
    _require_noise(accuracy)
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth!r}")
    k = np.arange(-depth, depth + 1)
    left = jax.nn.sigmoid(k * (jnp.log(accuracy) - jnp.log1p(-accuracy)))[:, None]
    hear_left = left * accuracy + (1 - left) * (1 - accuracy)
    eye = np.eye(len(k), dtype=np.float32)
    fresh = np.broadcast_to(eye[depth], eye.shape)
    listened = hear_left * eye[np.minimum(k + 1, depth) + depth]
    listened += (1 - hear_left) * eye[np.maximum(k - 1, -depth) + depth]
    rewards = [listen * jnp.ones_like(left), left * penalty + (1 - left) * prize]
    rewards.append(left * prize + (1 - left) * penalty)
    return Tabular(
        jnp.stack([listened, fresh, fresh], axis=1),
        jnp.concatenate(rewards, axis=1),
        jnp.zeros(len(k), bool),
        jnp.asarray(eye[depth]),
    )


def _require_noise(accuracy) -> None:
    if not isinstance(accuracy, jax.core.Tracer) and not 0.0 < accuracy < 1.0:
        raise ValueError(f"accuracy must lie between 0 and 1, not {accuracy!r}; ends excluded")
