"""Asynchronous successive halving: many trials are started, few are trained to the end, lanes are reused.

A trial that reaches a rung (base, base * eta, base * eta^2, ... updates) continues if its score is among
the best 1/eta of all trials that have reached it so far, and is stopped otherwise; its lanes then start the
next trial. Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning",
https://arxiv.org/abs/1810.05934, in the variant that stops trials instead of pausing them: all lanes are
updated together, and a paused trial would occupy lanes as well.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from numpy.typing import ArrayLike

from jaxrl.search.over import Decision, Strategy, for_seeds, over_all, worst_of


@struct.dataclass
class Ladder:
    """The state of the strategy. Axes: `K` slots, `S` seeds, `R` rungs, `T` trials.

    Attributes:
      trial: `[K]`, the trial in each slot; -1: no trial is left.
      began, ended: `[T]`, in updates of the search; -1: not yet.
      rung_score: `[R, T]`, mean over the seeds, where diverged ones count as the worst score that any agent
        has reached so far; nan for a rung that a trial has not reached.
      per_seed: `[T, S]`, the scores at the last rung reached.
      next: the first trial that has not started.
    """

    trial: jax.Array
    began: jax.Array
    ended: jax.Array
    rung_score: jax.Array
    per_seed: jax.Array
    next: jax.Array


def rungs(agent_updates: int, eta: int, count: int) -> list[int]:
    """The updates of a trial at each rung; the last are `agent_updates`, rounded up."""
    base = -(-agent_updates // eta ** (count - 1))
    return [base * eta**i for i in range(count)]


def asha(x: ArrayLike, slots: int, agent_updates: int, eta: int = 4, num_rungs: int = 3) -> Strategy:
    """A Strategy that trains the trials `x`, in their order.

    Args:
      x: `[T, D]`, the trials.
      slots: `K`, trials at a time.
      agent_updates: updates of a trial that is not stopped; rounded up to a multiple of the first rung.
      eta: one of this many trials continues from a rung.

    Raises:
      ValueError: an invalid number.
    """
    x = np.asarray(x, np.float32)
    trials = len(x)
    if eta < 2 or num_rungs < 2:
        raise ValueError(f"eta = {eta} and rungs = {num_rungs} must be at least 2")
    if not 1 <= slots <= trials:
        raise ValueError(f"slots = {slots} must lie between 1 and the number of trials, {trials}")
    if eta ** (num_rungs - 1) > agent_updates:
        raise ValueError(
            f"{agent_updates} updates are too few for {num_rungs} rungs of {eta}: train for more steps, or "
            "take fewer rungs"
        )
    ages = np.array(rungs(agent_updates, eta, num_rungs), np.int32)

    def init(key, seeds):
        del key
        trial = jnp.arange(slots, dtype=jnp.int32)
        began = jnp.where(jnp.arange(trials) < slots, 0, -1).astype(jnp.int32)
        current = Ladder(
            trial=trial,
            began=began,
            ended=jnp.full(trials, -1, jnp.int32),
            rung_score=jnp.full((num_rungs, trials), jnp.nan),
            per_seed=jnp.full((trials, seeds), jnp.nan),
            next=jnp.full((), slots, jnp.int32),
        )
        return current, for_seeds(jnp.asarray(x)[trial], seeds)

    def decide(key, current, x_now, score, alive, num_updates):
        del key
        trial = current.trial
        age = num_updates - current.began[trial]
        at = (age == ages[:, None]) & (trial >= 0)  # [R, K]
        here = at.any(axis=0)
        scattered = jnp.where(here, trial, trials)  # out of bounds: dropped
        per_seed = current.per_seed.at[scattered].set(score, mode="drop")
        mean = over_all(score, worst_of(per_seed))
        rung_score = current.rung_score
        for i in range(num_rungs):
            rung_score = rung_score.at[i, jnp.where(at[i], trial, trials)].set(mean, mode="drop")
        goes_on = jnp.stack([promoted(rung_score[i], trial, eta) for i in range(num_rungs)])
        # A trial is stopped if at least half of its agents diverged, whatever the scores of the others are.
        goes_on = goes_on.at[-1].set(False) & (2 * alive.sum(axis=1) > alive.shape[1])
        stops = (at & ~goes_on).any(axis=0)
        ended = current.ended.at[jnp.where(stops, trial, trials)].set(num_updates, mode="drop")
        number = current.next + jnp.cumsum(stops) - 1
        starts = stops & (number < trials)
        trial = jnp.where(stops, jnp.where(starts, number, -1), trial).astype(jnp.int32)
        began = current.began.at[jnp.where(starts, trial, trials)].set(num_updates, mode="drop")
        upto = jnp.minimum(current.next + stops.sum(), trials).astype(jnp.int32)
        current = Ladder(trial, began, ended, rung_score, per_seed, upto)
        fresh = jnp.broadcast_to(starts[:, None], score.shape)
        x_new = jnp.where(fresh[..., None], for_seeds(jnp.asarray(x)[trial], score.shape[1]), x_now)
        return Decision(current, x_new, fresh=fresh)

    return Strategy(
        slots=slots,
        every=int(ages[0]),
        agent_updates=int(ages[-1]),
        num_updates=int(ages[-1]) * -(-trials // slots),  # if no trial is stopped
        init=init,
        decide=decide,
        finished=lambda current: (current.trial < 0).all(),
    )


def promoted(rung_score: jax.Array, trial: jax.Array, eta: int) -> jax.Array:
    """`[K]`: whether trials `[K]` are among the best 1/eta of a rung's scores `[T]`, nan if not reached.

    The best one so far always continues, however few there are, and equal scores are treated equally: no
    trial is stopped as long as no episode has ended.
    """
    known = ~jnp.isnan(rung_score)
    places = jnp.maximum(known.sum() // eta, 1)
    current = rung_score[trial]
    better = (known & (rung_score > current[:, None])).sum(axis=1)
    return (better < places) & ~jnp.isnan(current)
