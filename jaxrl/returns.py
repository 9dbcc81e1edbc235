"""Advantages and returns of a rollout. Axes: `T` time first, then any others."""

import chex
import jax
import jax.numpy as jnp

from jaxrl.gpu import settings
from jaxrl.types import Number


@jax.named_scope("advantage")
def gae(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma: Number,
    gae_lambda: Number,
) -> jax.Array:
    """Generalised advantage estimation: how much better than expected each action turned out.

        A_t = d_t + gamma * lambda * (1 - done_t) * A_{t+1}
        d_t = r_t + gamma * (1 - terminated_t) * V(s'_t) - V(s_t)

    `s'_t` is the state that the step led to, not the one in which the next step starts: after a time limit
    it still has a value, so `truncated` stops the sum but not the bootstrap. Schulman et al. 2016 do not
    distinguish the two. https://arxiv.org/abs/1506.02438

    Args:
      reward, value, next_value, terminated, truncated: `[T, ...]`, time first.

    Returns:
      Advantages `[T, ...]`; add `value` for the value targets (TD-lambda returns).
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    decay = gamma * gae_lambda * (1.0 - (terminated | truncated))

    return _backward(delta, decay, jnp.zeros_like(delta[0]))


@jax.named_scope("advantage")
def lambda_returns(
    reward: jax.Array,
    value: jax.Array,
    next_value: jax.Array,
    terminated: jax.Array,
    truncated: jax.Array,
    gamma: Number,
    gae_lambda: Number,
) -> jax.Array:
    """TD-lambda returns: targets for the value of each state.

        G_t = r_t + gamma * (1 - terminated_t) * [(1 - lambda_t) * V(s'_t) + lambda_t * G_{t+1}]
        lambda_t = lambda * (1 - done_t)

    Lambda 0 gives one-step targets, 1 the discounted sum up to the end of the episode or of the rollout.
    Equal to `gae(...) + value` where `V(s'_t)` is `V(s_{t+1})` within an episode. This is not required: for
    Q(lambda), `next_value` is the value of the best action, and `value`, of which only the shape is used,
    that of the action taken. Sutton and Barto 2018, section 12.3. http://incompleteideas.net/book

    Args:
      reward, value, next_value, terminated, truncated: `[T, ...]`, time first.

    Returns:
      Returns `[T, ...]`.
    """
    chex.assert_equal_shape([reward, value, next_value, terminated, truncated])
    weight = gae_lambda * (1.0 - (terminated | truncated))
    discount = gamma * (1.0 - terminated)
    # The part that is known at this step; the return of the next step is added with `discount * weight`.
    known = reward + jnp.where(terminated, 0.0, discount * (1.0 - weight) * next_value)
    end = jnp.where(terminated[-1], 0.0, next_value[-1]).astype(known.dtype)
    return _backward(known, discount * weight, end)


def _backward(known, decay, end):
    """x_t = known_t + decay_t * x_{t+1} for all t of `[T, ...]`, with x_T = end."""
    if settings.associative():
        later_decay, later = jax.lax.associative_scan(_combined, (decay, known), reverse=True)
        return later + later_decay * end

    def step(later, now):
        known_t, decay_t = now
        later = known_t + decay_t * later
        return later, later

    return jax.lax.scan(step, end, (known, decay), reverse=True, unroll=4)[1]


def _combined(later, now):
    """Two consecutive steps x -> known + decay * x as one."""
    (later_decay, later_known), (decay, known) = later, now
    return decay * later_decay, known + decay * later_known


def standardize(advantages: jax.Array) -> jax.Array:
    """Advantages with mean 0 and variance 1; a single one, which would become 0, is unchanged."""
    if advantages.size < 2:
        return advantages
    return (advantages - advantages.mean()) / (advantages.std() + 1e-8)


def explained_variance(advantages: jax.Array, targets: jax.Array) -> jax.Array:
    """Share of the variance of the targets G that the value function explains: 1 - Var(G - V) / Var(G)."""
    return 1.0 - advantages.var() / (targets.var() + 1e-8)
