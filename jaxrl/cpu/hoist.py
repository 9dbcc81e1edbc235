"""A scan in which the random numbers, and all else that follows from the keys alone, are computed beforehand.

The steps of a rollout are small, and a random number in each costs more than the step: JAX's generator
is a loop of its own on a CPU, and a kernel launch of its own on a GPU. But what a step draws does not depend
on what happened before it, only on its key, and neither does the new start that an environment may need.
So the step's program is divided: what follows from the key alone is computed for many steps at once, the
rest stays in the loop. Policies and environments need not be written for it; the numbers are the same.
"""

import math
from collections.abc import Callable

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun

from jaxrl.types import PyTree

RANDOM = ("random_bits", "random_split", "random_fold_in", "random_wrap", "random_unwrap", "threefry2x32")
# Calls of the host or of foreign code may refuse `vmap`, or answer it in a way of their own.
FOREIGN = ("pure_callback", "io_callback", "debug_callback", "ffi_call")
# Memory for what is computed early at once: no more than the scan returns anyway, so that it is bounded in
# populations too. But `FEW_BYTES` are always allowed, for a scan may return nothing, and never more than
# `MOST_BYTES`: 64 games of MinAtar need 3.5 MB for 128 steps, and where more is needed, random numbers are
# computed in arrays so large that a loop of them costs little beside the rest.
FEW_BYTES = 2**16
MOST_BYTES = 2**22
# Fewer steps at once are not worth a loop inside a loop.
LEAST_STEPS = 8


def scan(step: Callable, carry: PyTree, keys: PyTree) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan(step, carry, keys)` in which what depends on nothing but the keys is computed early.

    That is done for all steps at once; if the results or an intermediate value would take too much memory
    (see `MOST_BYTES`), only for their random bits, and if that is too much as well, in blocks of steps that
    divide their number evenly. Where no block of `LEAST_STEPS` fits, as with levels that are generated in
    every step, it is `jax.lax.scan` itself.

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
    if _kinds(given) != _kinds(returned):
        raise TypeError(f"a step must return a carry like the one it is given: {given}, not {returned}")
    jaxpr = _inline(closed.jaxpr)
    jaxpr = jaxpr.replace(debug_info=jaxpr.debug_info.with_unknown_names())  # its arguments will change
    length, num_carry = key_leaves[0].shape[0], len(carry_leaves)
    early, late, block = _plan(jaxpr, num_carry, length)
    if not block:
        return jax.lax.scan(step, carry, keys)
    make_early = jax.vmap(jaxpr_as_fun(ClosedJaxpr(early, closed.consts)))

    def body(carry_leaves, made):
        out = jaxpr_as_fun(ClosedJaxpr(late, closed.consts))(*carry_leaves, *made)
        return out[:num_carry], out[num_carry:]

    def steps(carry_leaves, key_leaves):
        # Two steps at once: a fiftieth of PPO's update less.
        return jax.lax.scan(body, carry_leaves, make_early(*key_leaves), length=block, unroll=2)

    if block == length:
        carry_leaves, ys = steps(carry_leaves, key_leaves)
    else:
        blocks = [leaf.reshape(length // block, block, *leaf.shape[1:]) for leaf in key_leaves]
        carry_leaves, ys = jax.lax.scan(steps, carry_leaves, blocks)
        ys = [y.reshape(length, *y.shape[2:]) for y in ys]
    return carry_tree.unflatten(carry_leaves), jax.tree.structure(shapes[1]).unflatten(ys)


def _plan(jaxpr, num_carry, length):
    """How a step is divided, and for how many steps at once: `(early, late, block)`; block 0: not at all."""
    divided = [_divide(jaxpr, num_carry, only_random) for only_random in (False, True)]
    sizes = [_size(early) for early, _ in divided]
    returned = _bytes(jaxpr.outvars[num_carry:])
    most = min(MOST_BYTES, max(FEW_BYTES, returned * length))
    for (early, late), size in zip(divided, sizes):
        if size * length <= most:
            return early, late, length
    for (early, late), size in zip(divided, sizes):
        fits = most // (size + returned)  # what a block returns is copied once more, to the rest
        block = max((n for n in range(1, min(fits, length) + 1) if length % n == 0), default=0)
        if block >= LEAST_STEPS:
            return early, late, block
    return *divided[0], 0


def _size(jaxpr) -> int:
    """Bytes of what a program returns, or of its largest intermediate value if that is more."""
    size, varying = _bytes(jaxpr.outvars), set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        if varying.isdisjoint(v for v in eqn.invars if isinstance(v, Var)):
            continue  # a constant is there once, not for every step
        varying.update(eqn.outvars)
        size = max(size, _bytes(eqn.outvars), *map(_size, _bodies(eqn)))
    return size


def _kinds(tree):
    """Structure, shapes and dtypes; not as a tree, whose nodes may define an equality of their own."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _divide(jaxpr, num_carry, only_random=False):
    """Cuts a jaxpr `(*carry, *key) -> out` into `(*key) -> made` and `(*carry, *made) -> out`.

    Args:
      only_random: only random bits and what is done with keys may be early.
    """

    def may_be_early(eqn):
        keys = all(jax.dtypes.issubdtype(v.aval.dtype, jax.dtypes.prng_key) for v in eqn.outvars)
        return not only_random or keys or eqn.primitive.name in RANDOM

    carried, of_key = jaxpr.invars[:num_carry], jaxpr.invars[num_carry:]
    constant, early = set(jaxpr.constvars), set(of_key)
    early_eqns, late_eqns = [], []
    for eqn in jaxpr.eqns:
        inputs = {v for v in eqn.invars if isinstance(v, Var)}
        if not _movable(eqn):
            late_eqns.append(eqn)
        elif inputs <= constant:  # in both; the compiler drops what is not used
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


def _movable(eqn) -> bool:
    """Whether an equation, and all that is inside it, may be computed for many steps at once."""
    if eqn.effects or eqn.primitive.name in FOREIGN:
        return False
    return all(_movable(one) for inner in _bodies(eqn) for one in inner.eqns)


def _bodies(eqn) -> list[Jaxpr]:
    """The jaxprs of a loop, a branch or a call."""
    inner = (getattr(leaf, "jaxpr", leaf) for leaf in jax.tree.leaves(list(eqn.params.values())))
    return [leaf for leaf in inner if isinstance(leaf, Jaxpr)]


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
