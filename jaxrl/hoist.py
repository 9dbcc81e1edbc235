"""A scan whose random numbers, and all else that follows from the keys alone, are made beforehand.

The steps of a rollout are small, and a random number in each costs more than the step: JAX's generator
is a loop of its own on a CPU, and a launch of its own on a GPU. But what a step draws does not depend on
what happened before it, only on its key, and neither does the fresh start that an environment may need.
So the step's program is divided: what follows from the key alone is computed for all steps at once, the
rest stays in the loop. Nobody who writes a policy or an environment need know; the numbers are the same.
"""

import math

import jax
from jax.extend.core import ClosedJaxpr, Literal, Var, jaxpr_as_fun

# Where a program is cut if the results of all that could be made early would take too much memory.
RANDOM = ("random_bits", "random_split", "random_fold_in", "random_wrap", "random_unwrap", "threefry2x32")
MOST_BYTES = 4.0  # of early results, per byte that the scan stacks anyway


def scan(step, carry, keys):
    """`jax.lax.scan(step, carry, keys)` with everything that depends on nothing but the keys made early.

    Where the early results would need more than a few times the memory of what the scan returns
    (environments with a large state), only the random bits are made early.

    Args:
      step: `(carry, key) -> (carry, y)`.
      keys: a pytree of `[T, ...]`.

    Returns:
      What `jax.lax.scan` returns, to rounding; with keys of the kind "rbg" other draws of the same
      distribution, for that generator's numbers change under `vmap`.

    Raises:
      TypeError: the carry that comes back has another structure, shape or dtype.
    """
    carry_leaves, carry_tree = jax.tree.flatten(carry)
    key_leaves, key_tree = jax.tree.flatten(keys)
    of_step = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in key_leaves]
    first = key_tree.unflatten(of_step)
    closed, shapes = jax.make_jaxpr(step, return_shape=True)(carry, first)
    given, returned = jax.eval_shape(lambda: carry), shapes[0]
    if jax.tree.map(_kind, given) != jax.tree.map(_kind, returned):
        raise TypeError(f"a step must return a carry like the one it is given: {given}, not {returned}")
    jaxpr = _inline(closed.jaxpr)
    jaxpr = jaxpr.replace(debug_info=jaxpr.debug_info.with_unknown_names())  # its arguments will change
    early, late = _divide(jaxpr, len(carry_leaves))
    if _bytes(early.outvars) > MOST_BYTES * _bytes(jaxpr.outvars[len(carry_leaves) :]):
        early, late = _divide(jaxpr, len(carry_leaves), only_random=True)
    made = jax.vmap(jaxpr_as_fun(ClosedJaxpr(early, closed.consts)))(*key_leaves)

    def body(carry_leaves, made):
        out = jaxpr_as_fun(ClosedJaxpr(late, closed.consts))(*carry_leaves, *made)
        return out[: len(carry_leaves)], out[len(carry_leaves) :]

    length = key_leaves[0].shape[0]
    # Two steps at once: a fiftieth of PPO's update less.
    carry_leaves, ys = jax.lax.scan(body, carry_leaves, made, length=length, unroll=2)
    return carry_tree.unflatten(carry_leaves), jax.tree.structure(shapes[1]).unflatten(ys)


def _kind(leaf):
    return leaf.shape, leaf.dtype


def _divide(jaxpr, num_carry, only_random=False):
    """Cuts a jaxpr `(*carry, *key) -> out` into `(*key) -> made` and `(*carry, *made) -> out`.

    Args:
      only_random: only random bits and what is done with keys may be early.
    """

    def may_be_early(eqn):
        keys = all(jax.dtypes.issubdtype(v.aval.dtype, jax.dtypes.prng_key) for v in eqn.outvars)
        return not eqn.effects and (not only_random or keys or eqn.primitive.name in RANDOM)

    carried, of_key = jaxpr.invars[:num_carry], jaxpr.invars[num_carry:]
    constant, early = set(jaxpr.constvars), set(of_key)
    early_eqns, late_eqns = [], []
    for eqn in jaxpr.eqns:
        inputs = {v for v in eqn.invars if isinstance(v, Var)}
        if inputs <= constant and not eqn.effects:  # in both; the compiler drops what is not used
            constant.update(eqn.outvars)
            early_eqns.append(eqn)
            late_eqns.append(eqn)
        elif inputs <= constant | early and may_be_early(eqn):
            early.update(eqn.outvars)
            early_eqns.append(eqn)
        else:
            late_eqns.append(eqn)
    used = {v for eqn in late_eqns for v in eqn.invars if isinstance(v, Var)}
    used |= {v for v in jaxpr.outvars if isinstance(v, Var)}
    order = [*of_key, *(v for eqn in early_eqns for v in eqn.outvars)]
    made = [v for v in order if v in early and v in used]
    return (
        jaxpr.replace(invars=of_key, outvars=made, eqns=early_eqns),
        jaxpr.replace(invars=[*carried, *made], eqns=late_eqns),
    )


def _inline(jaxpr):
    """The same jaxpr with the bodies of its inner `jit`s in their place."""
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
            if eqn.primitive.name in ("jit", "pjit") and not eqn.params["jaxpr"].consts:
                outs = copy(eqn.params["jaxpr"].jaxpr, invars, source.name_stack)
                known.update(zip(eqn.outvars, outs))
                continue
            outvars = [Var(v.aval) for v in eqn.outvars]
            known.update(zip(eqn.outvars, outvars))
            eqns.append(eqn.replace(invars=invars, outvars=outvars, source_info=source))
        return [read(v) for v in inner.outvars]

    inputs = [*jaxpr.constvars, *jaxpr.invars]
    outvars = copy(jaxpr.replace(constvars=[], invars=inputs), inputs, None)
    return jaxpr.replace(eqns=eqns, outvars=outvars)


def _bytes(variables) -> int:
    """Bytes of what variables hold; a random key has the size of its words."""

    def itemsize(dtype):
        return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else dtype.itemsize

    return sum(math.prod(v.aval.shape) * itemsize(v.aval.dtype) for v in variables)
