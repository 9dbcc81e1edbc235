"""Finite processes over a number of steps: the values of the random policy, and value iteration on them."""

from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.types import Number

TOLERANCE = 1e-6  # of the difference of two values, relative to the range of returns
SUM: Any = {"precision": "highest"}  # GPUs would otherwise round the factors of a product


class Table(Protocol):
    """A finite Markov decision process; an episode ends when it enters a terminal state."""

    transition: jax.Array  # [S, A, S] probabilities of the next state
    reward: jax.Array  # [S, A], or [S, A, S] if it depends on the next state
    terminal: jax.Array  # [S] bool
    start: jax.Array  # [S] probabilities of the first state


@struct.dataclass
class Values:
    """Action values of every time, `[T, S, A]`: of two policies, and the bounds of all returns."""

    random: jax.Array  # of the uniformly random policy: Q^1
    optimal: jax.Array  # of the best policy
    lowest: jax.Array  # the lowest return that is possible after the action
    highest: jax.Array  # the highest one


@partial(jax.jit, static_argnames="horizon")
def action_values(mdp: Table, horizon: int, gamma: Number = 1.0) -> Values:
    """The values of all times by backward induction.

    Args:
      horizon: T, the steps that count.
      gamma: discount per step; the papers have none.
    """
    future, reward, possible = parts(mdp)
    each = jnp.broadcast_to(reward_after(mdp), future.shape)

    def back(following, _):
        random, optimal, lowest, highest = following
        random = reward + gamma * jnp.einsum("sat,t->sa", future, random.mean(axis=1), **SUM)
        optimal = reward + gamma * jnp.einsum("sat,t->sa", future, optimal.max(axis=1), **SUM)
        lowest = jnp.where(possible, each + gamma * lowest.min(axis=1), jnp.inf).min(axis=2)
        highest = jnp.where(possible, each + gamma * highest.max(axis=1), -jnp.inf).max(axis=2)
        live = ~mdp.terminal[:, None]
        now = random, optimal, jnp.where(live, lowest, 0.0), jnp.where(live, highest, 0.0)
        return now, now

    nothing = (jnp.zeros_like(reward),) * 4
    _, values = jax.lax.scan(back, nothing, length=horizon, reverse=True)
    return Values(*values)


def iterate(mdp: Table, q: jax.Array, gamma: Number = 1.0) -> jax.Array:
    """One step of value iteration, from Q^k to Q^{k+1}: `[T, S, A]`."""
    future, reward, _ = parts(mdp)
    following = jnp.einsum("sau,tu->tsa", future, q[1:].max(axis=2), **SUM)
    return jnp.concatenate([reward + gamma * following, q[-1:]])


def span(mdp: Table, values: Values) -> jax.Array:
    """The difference of the highest and the lowest return of an episode, over all that may happen."""
    started = (mdp.start > 0) & ~mdp.terminal
    highest = jnp.where(started, values.highest[0].max(axis=1), -jnp.inf).max()
    return highest - jnp.where(started, values.lowest[0].min(axis=1), jnp.inf).min()


def returns(mdp: Table, values: Values) -> tuple[jax.Array, jax.Array]:
    """The returns of the random and of the best policy."""
    start = mdp.start.astype(values.random.dtype)
    random, optimal = values.random[0].mean(axis=1), values.optimal[0].max(axis=1)
    return jnp.dot(start, random, **SUM), jnp.dot(start, optimal, **SUM)


def parts(mdp: Table) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Probabilities of the states that are not terminal, mean rewards, and which successors are possible."""
    live = ~mdp.terminal
    reward = mdp.reward
    if jnp.ndim(reward) == 3:
        reward = jnp.einsum("sat,sat->sa", mdp.transition, reward, **SUM)
    reward = jnp.where(live[:, None], reward, 0.0)
    future = jnp.where(live[:, None, None] & live, mdp.transition, 0.0)
    return future, reward, mdp.transition > 0


def reward_after(mdp: Table) -> jax.Array:
    """The rewards, `[S, A, S]` or `[S, A, 1]`."""
    return mdp.reward[..., None] if jnp.ndim(mdp.reward) == 2 else mdp.reward


def require(mdp: Table, horizon: int, max_k: int) -> None:
    """Raises ValueError for a count below 1, or tables with inconsistent shapes."""
    shape = jnp.shape(mdp.transition)
    if len(shape) != 3 or shape[0] != shape[2]:
        raise ValueError(f"transition must have the shape [S, A, S], not {shape}")
    if jnp.shape(mdp.reward) not in (shape, shape[:2]):
        raise ValueError(f"reward must have the shape {shape[:2]} or {shape}, not {jnp.shape(mdp.reward)}")
    for name, count in (("horizon", horizon), ("max_k", max_k)):
        if count < 1:
            raise ValueError(f"{name} = {count} must be at least 1")
