"""Programs of JAX as lists of equations without calls."""

from collections.abc import Callable

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var


def inline(jaxpr: Jaxpr, expanded: Callable[[JaxprEqn], ClosedJaxpr | None] = lambda eqn: None) -> Jaxpr:
    """The same jaxpr with inner `jit`s replaced by their bodies, and equations by what `expanded` returns."""
    eqns = []

    def copy(inner, inputs, stack):
        known = dict(zip(inner.invars, inputs))

        def read(v):
            return v if isinstance(v, Literal) else known[v]

        for eqn in inner.eqns:
            invars = [read(v) for v in eqn.invars]
            source = eqn.source_info
            if stack is not None:
                source = source.replace(name_stack=stack + source.name_stack)
            body = eqn.params["jaxpr"] if eqn.primitive.name in ("jit", "pjit") else expanded(eqn)
            if body is not None and not body.consts:
                outs = copy(body.jaxpr, invars, source.name_stack)
                known.update(zip(eqn.outvars, outs))
                continue
            outvars = [Var(v.aval) for v in eqn.outvars]
            known.update(zip(eqn.outvars, outvars))
            eqns.append(eqn.replace(invars=invars, outvars=outvars, source_info=source))
        return [read(v) for v in inner.outvars]

    inputs = [*jaxpr.constvars, *jaxpr.invars]
    outvars = copy(jaxpr.replace(constvars=[], invars=inputs), inputs, None)
    return jaxpr.replace(eqns=eqns, outvars=outvars)
