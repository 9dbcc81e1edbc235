"""The effective horizon of good enough instead of optimal returns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.horizon.analysis import MOST_K, Analysis, analyse
from jaxrl.horizon.values import SUM, TOLERANCE, Table, action_values, iterate, parts, require, returns, span
from jaxrl.types import Number


@struct.dataclass
class NearOptimal:
    """What `near_optimal` computes."""

    k: jax.Array  # the smallest k at which acting greedily is good enough, int32; 0: none up to `max_k`
    effective_horizon: jax.Array  # the smallest k + log_A (1 / slack_k^2); inf: none
    returns: jax.Array  # [K] of the worst greedy policy, nan where it did not look


def worst_return(mdp: Table, q: jax.Array, slack: Number, gamma: Number = 1.0) -> jax.Array:
    """The lowest return of a policy whose actions are within `slack` of the best in q `[T, S, A]`, a scalar.

    With no slack, of the worst greedy policy: `calculate_greedy_returns` in the authors' code.
    """
    future, reward, _ = parts(mdp)

    def back(values, q):
        now = reward + gamma * jnp.einsum("sat,t->sa", future, values, **SUM)
        return jnp.where(q >= q.max(axis=1, keepdims=True) - slack, now, jnp.inf).min(axis=1), None

    values, _ = jax.lax.scan(back, jnp.zeros_like(reward[:, 0]), q, reverse=True)
    return jnp.dot(mdp.start.astype(values.dtype), values, **SUM)


@partial(jax.jit, static_argnames=("horizon", "max_k"))
def near_optimal(
    mdp: Table, horizon: int, share: float = 0.95, gamma: Number = 1.0, max_k: int = MOST_K
) -> NearOptimal:
    """How far to look ahead for a return that is good enough rather than optimal.

    A process in which one late decision hardly matters is k-QVI-solvable only at a large k, although learners
    reach nearly all of the return. So k here is the smallest at which every greedy policy in Q^k has a return
    of random + share (optimal - random). As the effective horizon, with the errors of Q^k that this tolerates
    in place of the gap,

        H = min_k k + log_A (1 / slack_k^2),   slack_k = the largest slack with a `worst_return` good enough,

    slacks being fractions of the range of returns, to a factor of 2. This H is not from the papers.

    Args:
      horizon: T, the steps that count.
      share: which part of the way from the random policy's return to the optimal one is enough.
    """
    require(mdp, horizon, max_k)
    num_actions, max_k = mdp.transition.shape[1], min(horizon, max_k)
    values = action_values(mdp, horizon, gamma)
    spread, (random, optimal) = span(mdp, values), returns(mdp, values)
    enough = random + share * (optimal - random) - TOLERANCE * spread
    # Halved down to the tolerance, which is no slack.
    slacks = jnp.append(2.0 ** -jnp.arange(1.0, 20.0), TOLERANCE).astype(spread.dtype)
    base = jnp.log(jnp.asarray(max(num_actions, 2), spread.dtype))

    def look(carry):
        k, q, found = carry
        lowest = jax.lax.map(lambda slack: worst_return(mdp, q, slack * spread, gamma), slacks)
        good = lowest >= enough
        widest = jnp.where(good, slacks, 0.0).max()
        far = jnp.where(good.any(), k - 2.0 * jnp.log(jnp.where(good.any(), widest, 1.0)) / base, jnp.inf)
        found = NearOptimal(
            k=jnp.where((found.k == 0) & good[-1], k, found.k),
            effective_horizon=jnp.minimum(found.effective_horizon, far),
            returns=found.returns.at[k - 1].set(lowest[-1]),
        )
        return k + 1, iterate(mdp, q, gamma), found

    def unknown(carry):
        k, _, found = carry
        return (k <= max_k) & ((found.k == 0) | (k < found.effective_horizon))

    one = jnp.ones((), spread.dtype)
    nothing = NearOptimal(jnp.zeros((), jnp.int32), jnp.inf * one, jnp.full(max_k, jnp.nan, spread.dtype))
    return jax.lax.while_loop(unknown, look, (jnp.ones((), jnp.int32), values.random, nothing))[-1]


def exactly(
    mdp: Table, horizon: int, share: float = 0.95, gamma: Number = 1.0, max_k: int = MOST_K
) -> tuple[Analysis, NearOptimal]:
    """`analyse` and `near_optimal` of a float32 table in float64, because gaps shrink exponentially.

    Not inside a traced function. The arguments are those of both.
    """
    with jax.enable_x64(True):
        table = jax.tree.map(lambda x: np.asarray(x, np.float64 if x.dtype == np.float32 else x.dtype), mdp)
        both = analyse(table, horizon, gamma, max_k), near_optimal(table, horizon, share, gamma, max_k)
    return both
