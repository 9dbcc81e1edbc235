"""Mixtures of objectives."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.types import Objective


@struct.dataclass
class Mixed:
    """The parameters of a mixture: `weights [M]`, and the parameters of the parts."""

    weights: jax.Array
    parts: tuple


def mixture(*parts: Objective, weights: jax.Array | np.ndarray | None = None) -> Objective:
    """A weighted sum of objectives; with a one-hot row per agent, `vmap` runs over different objectives.

        mixed = mixture(ppo(), dpo(), spo())
        rows = jax.vmap(lambda row: mixed.params.replace(weights=row))(jnp.eye(3))   # one of the three each

    Args:
      weights: `[M]`, by default all equal. They should sum to 1.

    Raises:
      ValueError: there is no objective, or another number of weights.
    """
    if not parts:
        raise ValueError("a mixture needs at least one objective, as in mixture(ppo(), dpo())")
    if weights is None:
        weights = jnp.full(len(parts), 1.0 / len(parts))
    if jnp.shape(weights)[-1:] != (len(parts),):
        raise ValueError(f"{len(parts)} objectives need as many weights, not {jnp.shape(weights)}")

    def apply(params, log_ratio, advantages, progress):
        each = [part.apply(own, log_ratio, advantages, progress) for part, own in zip(parts, params.parts)]
        return jnp.tensordot(params.weights, jnp.stack(each), axes=1)

    return Objective(Mixed(jnp.asarray(weights), tuple(part.params for part in parts)), apply)
