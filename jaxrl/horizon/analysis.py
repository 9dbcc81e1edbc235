"""k-QVI-solvability and the effective horizon."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.horizon.values import (
    TOLERANCE,
    Table,
    action_values,
    iterate,
    parts,
    require,
    returns,
    reward_after,
    span,
)
from jaxrl.types import Number

MOST_K = 50


@struct.dataclass
class Analysis:
    """What `analyse` computes; of each k `[K]` only as far as it had to look, see `looked`."""

    k: jax.Array  # the smallest k at which the process is k-QVI-solvable, int32; 0: none up to K
    effective_horizon: jax.Array  # of a stochastic process: the smallest k + log_A (1 / gap_k^2); inf: none
    gorp_horizon: jax.Array  # of a deterministic process: the smallest k + log_A m_k; nan: it is stochastic
    gorp_steps: jax.Array  # T^2 A^H, steps after which GORP is optimal with probability 1/2; nan: stochastic
    optimal_return: jax.Array  # mean over the first states
    random_return: jax.Array
    solvable: jax.Array  # [K] bool
    gap: jax.Array  # [K] smallest gap, as a fraction of the range of returns; 0: not solvable
    samples: jax.Array  # [K] m_k, episodes of each action sequence; inf: not solvable
    looked: jax.Array  # [K] bool: the values of k that were looked at
    replace: ClassVar[Callable[..., "Analysis"]]  # defined by flax, which type checkers do not see


def solvable(mdp: Table, q: jax.Array, optimal: jax.Array, tolerance: Number) -> jax.Array:
    """Whether all greedy actions are optimal wherever greedy actions lead, a bool.

    Args:
      q: `[T, S, A]`, in which to act greedily.
      optimal: `[T, S, A]`, of the best policy.
      tolerance: difference up to which two values are equal.
    """
    greedy = q >= q.max(axis=2, keepdims=True) - tolerance
    wrong = (greedy & _suboptimal(optimal, tolerance)).any(axis=2)
    return ~(wrong & _visited(mdp, greedy)).any()


def gaps(mdp: Table, q: jax.Array, optimal: jax.Array, tolerance: Number) -> tuple[jax.Array, jax.Array]:
    """By how much the best action exceeds the best suboptimal one, and where this matters, both `[T, S]`.

        gap_t(s) = max_a Q^k_t(s, a) - max { Q^k_t(s, a) : a is not optimal },   inf if all are optimal

    It matters in the states that are reached by actions above all suboptimal ones, as in the authors' code.
    """
    rival = jnp.where(_suboptimal(optimal, tolerance), q, -jnp.inf).max(axis=2)
    gap = q.max(axis=2) - rival
    above = q > rival[..., None] + tolerance
    return jnp.where(gap > tolerance, gap, 0.0), _visited(mdp, above)


@partial(jax.jit, static_argnames=("horizon", "max_k"))
def analyse(
    mdp: Table, horizon: int, gamma: Number = 1.0, max_k: int = MOST_K, tolerance: float = TOLERANCE
) -> Analysis:
    """The smallest k at which the process is k-QVI-solvable, and its effective horizon.

    For a deterministic process, GORP (greedy over the random policy) plays m random episodes after each
    sequence of k actions in each time step, and needs T^2 A^k m steps. Enough are (theorem 5.4 of the first
    paper, with the constants of `compute_simple_effective_horizon` in its code)

        m_k = max_{t, s, a} 16 V^k_t(s, a) / gap_t(s)^2 log(2 T A^k),   H = min_k k + log_A m_k <= T,
        V^1_t(s, a) = (Q^1 - lowest) (highest - lowest),   V^{k+1}_t(s, a) = max_a' V^k_{t+1}(s', a'),

    where V bounds the variance of a return. For a stochastic process, SQIRL (`jaxrl.sqirl`) takes the place
    of GORP. Up to factors polynomial in T and in the complexity of its functions it needs A^H steps, with

        H = min_k k + log_A (1 / gap_k^2),   gap_k = min_{t, s} gap_t(s),

    the stochastic effective horizon of the second paper, where returns lie between 0 and 1: here gaps are
    fractions of the range of returns. The authors' code has only k for such a process, so that this H, unlike
    k and the one of GORP, is not checked against it. Both use the states and the gaps of `gaps`, which are
    those of the code for deterministic processes. Over all states, and of all actions that are not greedy, a
    gap could be smaller: this H is then too low.

    Args:
      horizon: T, the steps that count.
      gamma: discount per step; the papers have none.
      max_k: the largest k to look at, if it is below T.
      tolerance: difference up to which two values are equal, as a fraction of the range of returns.

    Raises:
      ValueError: a horizon or `max_k` below 1, or tables with inconsistent shapes.
    """
    require(mdp, horizon, max_k)
    num_actions, max_k = mdp.transition.shape[1], min(horizon, max_k)
    values = action_values(mdp, horizon, gamma)
    spread, (random_return, optimal_return) = span(mdp, values), returns(mdp, values)
    equal = tolerance * spread
    deterministic = ((mdp.transition == 0) | (mdp.transition == 1)).all() & (_spread(mdp) == 0)
    base = jnp.log(jnp.asarray(max(num_actions, 2), spread.dtype))
    one = jnp.ones((), spread.dtype)

    def look(carry):
        k, q, variance, found = carry
        gap, matters = gaps(mdp, q, values.optimal, equal)
        smallest = jnp.where(matters, gap, jnp.inf).min()
        solved = smallest > 0
        fraction = jnp.where(solved, jnp.minimum(smallest / jnp.maximum(spread, 1e-30), 1.0), 0.0)
        needed = 16.0 * variance.max(axis=2) / gap**2 * (jnp.log(2.0 * horizon) + k * base)
        needed = jnp.where(matters & (gap > 0), jnp.ceil(needed), 1.0).max()
        samples = jnp.where(solved, jnp.maximum(needed, 1.0), jnp.inf)
        stochastic = jnp.where(solved, k - 2.0 * jnp.log(jnp.where(solved, fraction, 1.0)) / base, jnp.inf)
        gorp = k + jnp.log(samples) / base
        exact = solvable(mdp, q, values.optimal, equal)
        found = found.replace(
            k=jnp.where((found.k == 0) & exact, k, found.k),
            effective_horizon=jnp.minimum(found.effective_horizon, stochastic),
            gorp_horizon=jnp.minimum(found.gorp_horizon, gorp),
            solvable=found.solvable.at[k - 1].set(exact),
            gap=found.gap.at[k - 1].set(fraction),
            samples=found.samples.at[k - 1].set(samples),
            looked=found.looked.at[k - 1].set(True),
        )
        return k + 1, iterate(mdp, q, gamma), _later(mdp, variance, gamma), found

    def unknown(carry):
        k, _, _, found = carry
        better = (k < found.effective_horizon) | (deterministic & (k < found.gorp_horizon))
        return (k <= max_k) & ((found.k == 0) | better)

    nothing = Analysis(
        k=jnp.zeros((), jnp.int32),
        effective_horizon=jnp.inf * one,
        gorp_horizon=horizon * one,
        gorp_steps=one,
        optimal_return=optimal_return,
        random_return=random_return,
        solvable=jnp.zeros(max_k, bool),
        gap=jnp.zeros(max_k, spread.dtype),
        samples=jnp.full(max_k, jnp.inf, spread.dtype),
        looked=jnp.zeros(max_k, bool),
    )
    variance = (values.random - values.lowest) * (values.highest - values.lowest)
    first = jnp.ones((), jnp.int32), values.random, variance, nothing
    *_, found = jax.lax.while_loop(unknown, look, first)
    gorp = jnp.where(deterministic, found.gorp_horizon, jnp.nan)
    return found.replace(gorp_horizon=gorp, gorp_steps=horizon**2 * jnp.exp(gorp * base))


def _spread(mdp):
    """Of the rewards of an action, the difference of the highest and the lowest; the largest of all."""
    possible, each = mdp.transition > 0, reward_after(mdp)
    high = jnp.where(possible, each, -jnp.inf).max(axis=2)
    return jnp.where(mdp.terminal[:, None], 0.0, high - jnp.where(possible, each, jnp.inf).min(axis=2)).max()


def _suboptimal(optimal, tolerance):
    return optimal < optimal.max(axis=2, keepdims=True) - tolerance


def _visited(mdp, allowed):
    """The states that are reached by allowed actions `[T, S, A]`, terminal ones excepted: bool `[T, S]`."""
    edges = (parts(mdp)[0] > 0).astype(mdp.transition.dtype)

    def onward(here, allowed):
        taken = (here[:, None] & allowed).astype(edges.dtype)
        return jnp.einsum("sa,sat->t", taken, edges) > 0, here

    return jax.lax.scan(onward, (mdp.start > 0) & ~mdp.terminal, allowed)[1]


def _later(mdp, variance, gamma):
    """The largest variance one step later, over actions and possible next states: `[T, S, A]`."""
    possible = parts(mdp)[0] > 0

    def one(following):  # [S]
        return jnp.where(possible, gamma**2 * following, 0.0).max(axis=2)

    later = jax.lax.map(one, variance[1:].max(axis=2))
    return jnp.concatenate([later, variance[-1:]])
