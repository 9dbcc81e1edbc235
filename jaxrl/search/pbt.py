"""Population based training: the worst members copy the best, and change their hyperparameters.

The agents of each seed are a separate population, so that `S` seeds are `S` independent searches. At every
decision the worst quarter become copies, except for their random keys, of members of the best quarter, drawn
independently (exploit). They then change every hyperparameter, each with a separate key (explore): by a
normal step with a tenth of its range, or, with probability 1/4, by a new sample from the range.
Jaderberg et al. 2017, "Population Based Training of Neural Networks", https://arxiv.org/abs/1711.09846.
Their factors 0.8 and 1.2 are steps here, since a range may be logarithmic, a fraction or a list of values.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

from jaxrl.search.over import Decision, Strategy, for_seeds
from jaxrl.search.space import Space

RESAMPLED = 0.25


@struct.dataclass
class Ancestry:
    """The history of the search. Axes: `G` decisions, `K` members, `S` seeds, `D` numbers searched.

    Attributes:
      parent: `[G, K, S]`, the member that was copied; the member itself if it continued.
      x: `[G + 1, K, S, D]`, hyperparameters up to each decision.
      score: `[G, K, S]`, at each decision.
    """

    parent: jax.Array
    x: jax.Array
    score: jax.Array


def pbt(x: ArrayLike, agent_updates: int, decisions: int, space: Space) -> Strategy:
    """A Strategy whose members have the initial hyperparameters `x`.

    Args:
      x: `[K, D]` in the unit cube.
      agent_updates: of every member; rounded up to whole intervals.
      decisions: how often members are replaced (at most, if updates are not divisible); at the end, they are
        evaluated once more.

    Raises:
      ValueError: too few members, or more decisions than updates.
    """
    x = np.asarray(x, np.float32)
    members, size = x.shape
    if members < 4:
        raise ValueError(
            f"population based training needs at least 4 members, not {members}: give more trials"
        )
    if not 1 <= decisions < agent_updates:
        raise ValueError(f"decisions = {decisions} must be at least 1 and less than {agent_updates} updates")
    every = -(-agent_updates // (decisions + 1))
    decisions = -(-agent_updates // every) - 1
    quarter = members // 4

    def init(key, seeds):
        del key
        start = for_seeds(jnp.asarray(x), seeds)
        current = Ancestry(
            parent=jnp.zeros((decisions + 1, members, seeds), jnp.int32),
            x=jnp.zeros((decisions + 1, members, seeds, size)).at[0].set(start),
            score=jnp.zeros((decisions + 1, members, seeds)),
        )
        return current, start

    def decide(key, current, x_now, score, alive, num_updates):
        del alive  # contained in the score: a member that diverged ranks below all others
        source_key, explore_key = jax.random.split(key)
        generation = num_updates // every - 1
        last = generation >= decisions
        source_keys = jax.random.split(source_key, score.shape[1])
        source = jax.vmap(lambda k, s: exploit(k, s, quarter), (0, 1), 1)(source_keys, score)
        source = jnp.where(last, jnp.arange(members)[:, None], source)
        copied = source != jnp.arange(members)[:, None]
        parents = jnp.take_along_axis(x_now, source[..., None], axis=0)
        x_new = jnp.where(copied[..., None], explore(explore_key, parents, space.spread), x_now)
        current = Ancestry(
            parent=current.parent.at[generation].set(source),
            x=current.x.at[generation + 1].set(x_new, mode="drop"),
            score=current.score.at[generation].set(score),
        )
        return Decision(current, x_new, source=source)

    updates = every * (decisions + 1)
    return Strategy(members, every, updates, updates, init, decide)


def exploit(key: jax.Array, score: jax.Array, quarter: int) -> jax.Array:
    """`[K]`, the member that each one copies: the worst quarter draw from the best, the rest copy themselves.

    A member whose score equals the lowest of the best quarter is not replaced either.
    """
    members = score.shape[0]
    order = jnp.argsort(-score)  # best first; stable
    rank = jnp.zeros(members, jnp.int32).at[order].set(jnp.arange(members, dtype=jnp.int32))
    drawn = order[jax.random.randint(key, (members,), 0, quarter)]
    worst = (rank >= members - quarter) & (score < score[order[quarter - 1]])
    return jnp.where(worst, drawn, jnp.arange(members)).astype(jnp.int32)


def explore(key: jax.Array, x: jax.Array, spread: ArrayLike) -> jax.Array:
    """`x [K, S, D]` changed: each number with a separate key, reflected at the faces of the cube."""
    keys = jax.random.split(key, x.shape)

    def change(key, x, spread):
        step_key, draw_key, which_key = jax.random.split(key, 3)
        moved = jnp.abs(x + spread * jax.random.normal(step_key))
        moved = jnp.clip(jnp.where(moved > 1.0, 2.0 - moved, moved), 0.0, 1.0)
        return jnp.where(jax.random.bernoulli(which_key, RESAMPLED), jax.random.uniform(draw_key), moved)

    spread = jnp.broadcast_to(jnp.asarray(spread), x.shape)
    flat = jax.vmap(change)(keys.reshape(-1), x.reshape(-1), spread.reshape(-1))
    return flat.reshape(x.shape)
