"""Optimizers on all parameters as one vector match the plain optimizers."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl.cpu import flat
from jaxrl.optimizers import clipped_radam


def clipped_adam(learning_rate):
    return optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate, eps=1e-5))


def few_params():
    rng = np.random.default_rng(0)
    shapes = {"kernel": (4, 8), "bias": (8,), "head": {"kernel": (8, 1), "scale": ()}}
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s), jnp.float32), shapes, is_leaf=is_shape)


def train(wrap, learning_rate, params, num_steps=6):
    """Descent on a quadratic, with gradients above and below the maximum norm."""
    optimizer = wrap(clipped_adam(learning_rate))

    def step(carry, scale):
        params, state = carry
        grads = jax.tree.map(lambda p: scale * (p - 0.3), params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), updates

    scales = jnp.logspace(1, -3, num_steps)
    return jax.lax.scan(step, (params, optimizer.init(params)), scales)


@cache
def trained(wrap):
    return jax.jit(lambda rate, params: train(wrap, rate, params))(0.1, few_params())


def plain(optimizer):
    return optimizer


def test_updates_match_the_plain_optimizer():
    (params, _), updates = trained(flat.as_vector)
    (their_params, _), their_updates = trained(plain)
    assert jax.tree.structure(updates) == jax.tree.structure(their_updates)
    ours, theirs = (jax.tree.leaves(tree) for tree in ((params, updates), (their_params, their_updates)))
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert all(np.abs(u).max() > 1e-3 for u in jax.tree.leaves(their_updates))


def test_few_parameters_are_one_vector():
    shapes = {leaf.shape for leaf in jax.tree.leaves(trained(flat.as_vector)[0][1])}
    assert shapes == {(4 * 8 + 8 + 8 + 1,), ()}  # Adam's two moments, and a count of steps


def test_many_parameters_are_not_flattened():
    ours, theirs = flat.as_vector(clipped_adam(0.1)), clipped_adam(0.1)
    for size, apart in ((flat.FEW - 5, False), (flat.FEW - 4, True)):
        params = {"kernel": jnp.zeros((size,)), "bias": jnp.zeros(4)}
        state, theirs_state = jax.eval_shape(ours.init, params), jax.eval_shape(theirs.init, params)
        assert (
            jax.tree.map(lambda x: x.shape, state) == jax.tree.map(lambda x: x.shape, theirs_state)
        ) == apart
        # The state after `update` has the same structure.
        assert jax.eval_shape(ours.update, params, state, params)[1] == state


def test_a_learning_rate_has_a_gradient_through_the_updates():
    params = few_params()

    def end(wrap, rate):
        (params_after, _), _ = train(wrap, rate, params, 3)
        return sum(jnp.square(p).sum() for p in jax.tree.leaves(params_after))

    ours, theirs = (jax.jit(jax.grad(lambda r, w=w: end(w, r)))(0.1) for w in (flat.as_vector, plain))
    assert abs(theirs) > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_radam_is_that_of_optax_and_has_gradients():
    """Over its first steps, which have no second moment, and later ones; clipped and not."""
    params = few_params()

    def end(optimizer):
        def step(carry, scale):
            params, state = carry
            updates, state = optimizer.update(jax.tree.map(lambda p: scale * p, params), state, params)
            return (optax.apply_updates(params, updates), state), updates

        return jax.lax.scan(step, (params, optimizer.init(params)), jnp.logspace(1, -1, 12))[1]

    def ours(rate):
        return end(clipped_radam(rate, 1e-8, 0.5))

    theirs = jax.jit(lambda: end(optax.chain(optax.clip_by_global_norm(0.5), optax.radam(0.1))))()
    for a, b in zip(*map(jax.tree.leaves, (jax.jit(ours)(0.1), theirs))):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
        assert np.abs(b).min(axis=0).max() > 0
    slope = jax.jit(jax.grad(lambda rate: sum(jnp.square(x).sum() for x in jax.tree.leaves(ours(rate)))))(0.1)
    assert np.isfinite(slope) and slope != 0.0
