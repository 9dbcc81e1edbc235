"""The spaces of a family of environments: valid for all values of its parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from jaxrl.spaces import Box
from jaxrl.types import Env, PyTree


def spaces_for_all(make: Callable[..., Env], params: dict[str, Any]) -> tuple[PyTree, PyTree]:
    """The spaces of `make(**params)` that are valid for all values of `params`.

    Args:
      params: an example. `make` is called with it, so that it can reject values, and so that a library which
        is imported there is not imported inside a trace, where its constants would become tracers.

    Returns:
      The spaces of observations and of actions; bounds that depend on a parameter are infinite.

    Raises:
      ValueError: for a parameter that determines array shapes.
    """
    with jax.ensure_compile_time_eval():
        env = make(**params)

    def bounds(params):
        env = make(**params)
        leaves = jax.tree.leaves((env.observation_space, env.action_space))
        counts = [vars(space) for space in leaves if not isinstance(space, Box)]
        if any(isinstance(n, jax.core.Tracer) for n in jax.tree.leaves(counts)):
            raise TypeError("it is the size of a space")
        return [(space.low, space.high) for space in leaves if isinstance(space, Box)]

    try:
        closed = jax.make_jaxpr(bounds)(params)
    except TypeError as error:  # JAX's errors about tracers are of this type
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"one of {', '.join(params)} determines array shapes and can neither be drawn nor drift: {reason}"
        ) from error
    depends = set(closed.jaxpr.invars)
    for eqn in closed.jaxpr.eqns:
        if any(v in depends for v in eqn.invars if not isinstance(v, Literal)):
            depends.update(eqn.outvars)
    varies = iter([not isinstance(v, Literal) and v in depends for v in closed.jaxpr.outvars])

    def settled(space):
        if not isinstance(space, Box):
            return space
        floating = jnp.issubdtype(space.dtype, jnp.floating)
        lowest, highest = (-np.inf, np.inf) if floating else _range(space.dtype)
        low, high = (lowest if next(varies) else space.low), (highest if next(varies) else space.high)
        return Box(low, high, space.shape, space.dtype)

    return jax.tree.map(settled, (env.observation_space, env.action_space))


def _range(dtype):
    return (False, True) if np.dtype(dtype) == bool else (np.iinfo(dtype).min, np.iinfo(dtype).max)
