"""Optax optimizers, schedules, and conjugate gradients."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxrl.cpu.flat import as_vector
from jaxrl.types import Number, PyTree


def progress(num_updates: int | jax.Array, total_updates: Number) -> jax.Array:
    """The completed fraction of training: from 0 at the start to 1 after `total_updates` and later.

    Always 0 if `total_updates` is infinite: a schedule without an end remains at its initial value.
    """
    return jnp.clip(num_updates / total_updates, 0.0, 1.0)


def linear_decay(start: Number, decay: Number, num_updates: int | jax.Array, total_updates: Number) -> Number:
    """A linear decay from `start` to `(1 - decay) * start` over `total_updates`, constant afterwards."""
    return start * (1.0 - decay * progress(num_updates, total_updates))


def linear(start: Number, end: Number, now: Number, fraction: Number) -> jax.Array:
    """From `start` to `end` within the first `fraction` of a run, constant afterwards; `now`: `progress`."""
    return end + (start - end) * jnp.maximum(0.0, 1.0 - now / jnp.maximum(fraction, 1e-8))


def clipped_adam(
    learning_rate: Number, eps: Number, max_grad_norm: Number | None, b1: Number = 0.9
) -> optax.GradientTransformation:
    """Adam, with momentum `b1`, on gradients whose global norm is clipped at `max_grad_norm` unless None."""
    # eps_root: for a gradient of 0, meta-gradients would otherwise be 0 / 0. Too small to change a step.
    adam = optax.adam(learning_rate, b1, eps=eps, eps_root=1e-30)
    # Clipping at infinity would make meta-gradients NaN.
    clip = optax.identity() if max_grad_norm is None else optax.clip_by_global_norm(max_grad_norm)
    return as_vector(optax.chain(clip, adam))


def stepped(
    optimizer: optax.GradientTransformation, grads: PyTree, opt_state: PyTree, params: PyTree
) -> tuple[PyTree, PyTree]:
    """Parameters and state of the optimizer after one step."""
    updates, opt_state = jax.named_scope("optimizer")(optimizer.update)(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def clipped_radam(learning_rate: Number, eps: Number, max_grad_norm: Number) -> optax.GradientTransformation:
    """RAdam on gradients that are clipped as in `clipped_adam`. Liu et al. 2020.

    https://arxiv.org/abs/1908.03265. As `optax.radam`, whose gradient by the learning rate is NaN: the square
    root of the first steps, which is not used, is that of a negative number.
    """
    clip, rate = optax.clip_by_global_norm(max_grad_norm), optax.scale_by_learning_rate(learning_rate)
    return as_vector(optax.chain(clip, _scale_by_radam(eps), rate))


def _scale_by_radam(eps, b1=0.9, b2=0.999, threshold=5.0):
    adam = optax.scale_by_adam(b1, b2, eps=eps, eps_root=1e-30)
    longest = 2.0 / (1.0 - b2) - 1.0

    def update(grads, state, params=None):
        scaled, state = adam.update(grads, state, params)
        decayed = b2**state.count
        length = longest - 2.0 * state.count * decayed / (1.0 - decayed)  # of the average of squares
        rectified = length >= threshold
        length = jnp.where(rectified, length, threshold)
        share = (length - 4.0) * (length - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * length)

        def chosen(step, momentum):
            return jnp.where(rectified, jnp.sqrt(share) * step, momentum / (1.0 - b1**state.count))

        return jax.tree.map(chosen, scaled, state.mu), state

    return optax.GradientTransformation(adam.init, update)


def conjugate_gradient(
    product: Callable[[jax.Array], jax.Array], b: jax.Array, num_iterations: int
) -> jax.Array:
    """Solves A x = b for a positive definite A, given only as a function `v -> A v`, starting from x = 0.

    Once the residual consists of rounding errors only, x no longer changes. Hestenes and Stiefel 1952.
    https://doi.org/10.6028/jres.049.044

    Args:
      product: `(v) -> A v` on vectors `[D]`.
      b: `[D]`.
      num_iterations: `D` iterations give the exact solution, up to rounding.

    Returns:
      x `[D]`.
    """

    def iterate(carry, _):
        x, residual, direction, square = carry
        moved = product(direction)
        curvature = direction @ moved
        going = (square > 1e-12 * (b @ b)) & (curvature > 0.0)
        step = jnp.where(going, square / jnp.where(going, curvature, 1.0), 0.0)
        x, residual = x + step * direction, residual - step * moved
        new_square = residual @ residual
        share = jnp.where(going, new_square / jnp.where(going, square, 1.0), 0.0)
        return (x, residual, residual + share * direction, new_square), None

    start = (jnp.zeros_like(b), b, b, b @ b)
    (x, *_), _ = jax.lax.scan(iterate, start, length=num_iterations)
    return x
