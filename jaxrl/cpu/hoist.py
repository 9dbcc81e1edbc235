"""A scan that computes random numbers, and everything else that depends only on the keys, in advance.

The steps of a rollout are small, and a random number in each costs more than the rest of the step: JAX's
generator is a separate loop on a CPU, and a separate kernel launch on a GPU. But the random numbers of a step
do not depend on earlier steps, only on its key, and neither does the initial state that an environment may
need after an episode. So the step's program is divided: the part that depends only on the key is computed for
many steps at once, the rest remains in the loop. Policies and environments need no changes, and the results
are the same.
"""

import math
from collections.abc import Callable

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Var, jaxpr_as_fun

from jaxrl.cpu.inline import inline
from jaxrl.gpu import settings
from jaxrl.types import PyTree

RANDOM = ("random_bits", "random_split", "random_fold_in", "random_wrap", "random_unwrap", "threefry2x32")
# Host callbacks and custom calls may not support `vmap`, or may give other results under it.
FOREIGN = ("pure_callback", "io_callback", "debug_callback", "ffi_call")
# Memory for values computed in advance: not more than a share of what the scan returns anyway, so that it is
# bounded in populations too. But `FEW_BYTES` are always allowed, since a scan may return nothing, and never
# more than `MOST_BYTES`: if more is needed, the arrays of random numbers are so large that computing them in
# a loop adds little time. Accelerators have another limit.
SHARE = 0.55
FEW_BYTES = 2**16
MOST_BYTES = 2**22
# With fewer steps per block, a nested loop does not pay off.
LEAST_STEPS = 8
# A block's values are computed in parts, one after another: intermediate values take several times as much.
PARTS = 8


def scan(step: Callable, carry: PyTree, keys: PyTree) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan(step, carry, keys)` in which everything that depends only on the keys is computed first.

    This is done for all steps at once. If the results or an intermediate value would take too much memory
    (see `MOST_BYTES`), only random bits are computed first, and if that is too much as well, in
    blocks of equally many steps. If not even a block of `LEAST_STEPS` fits, as with levels that are generated
    in every step, this is `jax.lax.scan` itself.

    Args:
      step: `(carry, key) -> (carry, y)`.
      keys: a pytree of `[T, ...]`.

    Returns:
      The result of `jax.lax.scan`, up to rounding; with keys of the implementation "rbg", other samples from
      the same distribution, because the numbers of that generator change under `vmap`.

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
    jaxpr = inline(closed.jaxpr)
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
        made = _in_parts(make_early, key_leaves, block)
        return jax.lax.scan(body, carry_leaves, made, length=block, unroll=settings.unroll())

    if block == length:
        carry_leaves, ys = steps(carry_leaves, key_leaves)
    else:
        blocks = [leaf.reshape(length // block, block, *leaf.shape[1:]) for leaf in key_leaves]
        carry_leaves, ys = jax.lax.scan(steps, carry_leaves, blocks)
        ys = [y.reshape(length, *y.shape[2:]) for y in ys]
    return carry_tree.unflatten(carry_leaves), jax.tree.structure(shapes[1]).unflatten(ys)


def _plan(jaxpr, num_carry, length):
    """How a step is divided, and the number of steps per block: `(early, late, block)`; 0: not divided."""
    divided = [_divide(jaxpr, num_carry, only_random) for only_random in (False, True)]
    sizes = [_size(early) for early, _ in divided]
    returned = _bytes(jaxpr.outvars[num_carry:])
    most = min(settings.early_bytes(MOST_BYTES), max(FEW_BYTES, SHARE * returned * length))
    for (early, late), size in zip(divided, sizes):
        if size * length <= most:
            return early, late, length
    for (early, late), size in zip(divided, sizes):
        fits = most // (size + returned)  # the results of a block are copied once more
        block = _divisor(length, int(fits))
        if block >= LEAST_STEPS:
            return early, late, block
    return *divided[0], 0


def _divisor(number, most):
    """The largest divisor of `number` up to `most`; 0: none."""
    return max((n for n in range(1, min(most, number) + 1) if number % n == 0), default=0)


def _in_parts(make, leaves, length):
    """`make(*leaves)`, for a part of the leading axis at a time."""
    num = _divisor(length, min(settings.early_parts(PARTS), length // LEAST_STEPS))
    if num <= 1:
        return make(*leaves)
    parts = [leaf.reshape(num, length // num, *leaf.shape[1:]) for leaf in leaves]
    made = jax.lax.map(lambda part: make(*part), parts)
    return [leaf.reshape(length, *leaf.shape[2:]) for leaf in made]


def _size(jaxpr) -> int:
    """Bytes of the outputs of a program, or of its largest intermediate value if that is larger."""
    size, varying = _bytes(jaxpr.outvars), set(jaxpr.invars)
    for eqn in jaxpr.eqns:
        if varying.isdisjoint(v for v in eqn.invars if isinstance(v, Var)):
            continue  # a constant is stored once, not for every step
        varying.update(eqn.outvars)
        size = max(size, _bytes(eqn.outvars), *map(_size, _bodies(eqn)))
    return size


def _kinds(tree):
    """Structure, shapes and dtypes; not as a tree, because its nodes may override equality."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _divide(jaxpr, num_carry, only_random=False):
    """Cuts a jaxpr `(*carry, *key) -> out` into `(*key) -> made` and `(*carry, *made) -> out`.

    Args:
      only_random: compute only random bits, and operations on keys, in advance.
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
        elif inputs <= constant:  # in both parts; the compiler removes unused ones
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
    """Whether an equation, including all nested ones, may be computed for many steps at once."""
    if eqn.effects or eqn.primitive.name in FOREIGN:
        return False
    return all(_movable(one) for inner in _bodies(eqn) for one in inner.eqns)


def _bodies(eqn) -> list[Jaxpr]:
    """The jaxprs of a loop, a branch or a call."""
    inner = (getattr(leaf, "jaxpr", leaf) for leaf in jax.tree.leaves(list(eqn.params.values())))
    return [leaf for leaf in inner if isinstance(leaf, Jaxpr)]


def _bytes(variables) -> int:
    """Bytes of the values of variables; a random key has the size of its words."""

    def itemsize(dtype):
        return 8 if jax.dtypes.issubdtype(dtype, jax.dtypes.extended) else dtype.itemsize

    return sum(math.prod(v.aval.shape) * itemsize(v.aval.dtype) for v in variables)
