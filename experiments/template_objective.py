"""The clipped surrogate with a slope where it clips. A template for an objective; change what you like.

jaxrl train ppo CartPole-v1 --objective ./my_loss.py --hp.objective.slope 0.2
jaxrl compare --environments CartPole-v1 --objectives ./my_loss.py
"""

import jax.numpy as jnp
from flax import struct

from jaxrl.types import Objective


@struct.dataclass
class Params:
    """Parameters of the objective: options --hp.objective.NAME, which can also be swept."""

    clip_eps: float = 0.2  # how far the probability ratio may move from 1
    slope: float = 0.1  # of the surrogate beyond that; 0: PPO


def make() -> Objective:
    """The surrogate to maximize, for each sample; all arrays have the same shape."""

    def apply(params, log_ratio, advantages, progress):
        del progress  # 0 at the start of training, 1 at its end
        ratio = jnp.exp(jnp.minimum(log_ratio, 30.0))
        clipped = jnp.clip(ratio, 1.0 - params.clip_eps, 1.0 + params.clip_eps)
        clipped = clipped + params.slope * (ratio - clipped)
        return jnp.minimum(ratio * advantages, clipped * advantages)

    return Objective(Params(), apply)
