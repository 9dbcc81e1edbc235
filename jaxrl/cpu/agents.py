"""A function of one agent whose `jax.vmap` is efficient on a CPU: computed in groups, on all devices.

`jax.vmap` over hundreds of agents produces operations that do not fit into the cache of a core, and one
device hardly uses a second core. `train.over_agents` is faster; here it is made the batching rule of a
function, so that a plain `jax.jit(jax.vmap(train.run))` uses it. Differentiation uses the function itself.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

agent_p = Primitive("agent")
agent_p.multiple_results = True


def per_agent(function: Callable, over_agents: Callable) -> Callable:
    """`function`, whose `vmap` is `over_agents(function, in_axes, size)`.

    Args:
      function: takes pytrees of arrays; if it has side effects, it is returned unchanged.
      over_agents: `(function, in_axes, size) -> function of the batch`; `in_axes` are 0 or None.
    """

    def call(*args):
        flat, tree = jax.tree.flatten(args)
        closed, shapes = jax.make_jaxpr(lambda *x: function(*tree.unflatten(x)), return_shape=True)(*flat)
        if closed.effects:
            return function(*args)
        inputs = (*closed.consts, *flat)
        outs = agent_p.bind(
            *inputs, jaxpr=closed.jaxpr, num_consts=len(closed.consts), over_agents=over_agents
        )
        return jax.tree.unflatten(jax.tree.structure(shapes), outs)

    return call


def _plain(*inputs, jaxpr, num_consts, over_agents=None):
    return jaxpr_as_fun(ClosedJaxpr(jaxpr, inputs[:num_consts]))(*inputs[num_consts:])


def _batched(inputs, dims, *, over_agents, **params):
    sizes = {x.shape[d] for x, d in zip(inputs, dims) if d is not None}
    (size,) = sizes
    moved = [x if d is None else jnp.moveaxis(x, d, 0) for x, d in zip(inputs, dims)]
    in_axes = tuple(None if d is None else 0 for d in dims)
    outs = over_agents(partial(_plain, **params), in_axes, size)(*moved)
    return outs, (0,) * len(outs)


def _jvp(primals, tangents, **params):
    tangents = tuple(ad.instantiate_zeros(t) for t in tangents)
    outs, tangents_out = jax.jvp(partial(_plain, **params), tuple(primals), tangents)
    nothing = [ad.Zero(jax.typeof(x).to_tangent_aval()) for x in outs]
    return outs, [
        zero if np.result_type(t.dtype) == jax.dtypes.float0 else t for t, zero in zip(tangents_out, nothing)
    ]


agent_p.def_impl(jax.jit(_plain, static_argnames=("jaxpr", "num_consts", "over_agents")))
agent_p.def_abstract_eval(lambda *_, jaxpr, **__: [v.aval for v in jaxpr.outvars])
batching.primitive_batchers[agent_p] = _batched
ad.primitive_jvps[agent_p] = _jvp
mlir.register_lowering(agent_p, mlir.lower_fun(_plain, multiple_results=True))
