"""Converts an algorithm over a population to one that searches hyperparameters during training.

The search is an Algorithm again: `init` initializes the agents, `update` updates all of them and, at regular
intervals, calls a Strategy, which decides which agents continue, which become copies of others, and which are
replaced by new ones with other hyperparameters. All of this happens in the compiled program, with a fixed
number of lanes, so that a search can be saved, stopped and resumed like any run.

    algo = over(population, pbt(...), box(axes), seeds=8)
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.replay.lanes import choose
from jaxrl.search.space import Space
from jaxrl.train import diverged
from jaxrl.types import Algorithm, PyTree

SEARCH = 0x5EA2C4  # folded into a key; differs from the counters of its splits


@struct.dataclass
class SearchState:
    """The state of a search. Axes: `P` lanes, `D` numbers searched, `K` slots, `S` seeds.

    Attributes:
      key: of the search itself.
      keys: `[P]`, with which agents are initialized; those of a seed are the same in every slot.
      agents: states of the algorithm `[P]`.
      x: `[P, D]`, the hyperparameters of the agents.
      return_sum, episodes: `[P]`, over the episodes that ended since the last decision.
      score: `[P]`, their mean return; -inf if no episode has ended yet or the agent has diverged.
      strategy: the state of the strategy.
      num_updates: of the search.
    """

    key: jax.Array
    keys: jax.Array
    agents: Any
    x: jax.Array
    return_sum: jax.Array
    episodes: jax.Array
    score: jax.Array
    strategy: Any
    num_updates: jax.Array


class Decision(NamedTuple):
    """The result of a decision.

    Attributes:
      strategy: the new state of the strategy.
      x: `[K, S, D]`, the new hyperparameters.
      source: `[K, S]`, the slot whose agent of the same seed is copied (the same slot: no change); None for a
        strategy that never copies.
      fresh: `[K, S]`, true for agents that are initialized again; None for a strategy that never does this.
    """

    strategy: Any
    x: jax.Array
    source: jax.Array | None = None
    fresh: jax.Array | None = None


class Begin(Protocol):
    def __call__(self, key: jax.Array, seeds: int, /) -> tuple[Any, jax.Array]:
        """The initial state of the strategy, and the initial hyperparameters `x` `[K, S, D]`."""


class Decide(Protocol):
    def __call__(
        self,
        key: jax.Array,
        strategy: Any,
        x: jax.Array,
        score: jax.Array,
        alive: jax.Array,
        num_updates: jax.Array,
        /,
    ) -> Decision:
        """The next decision.

        Args:
          strategy: its state.
          x: `[K, S, D]`, the hyperparameters of the agents.
          score: `[K, S]`, -inf for an agent that has diverged or has no complete episode.
          alive: `[K, S]`, false for an agent that has diverged.
          num_updates: of the search, a scalar.
        """


class Strategy(NamedTuple):
    """A search strategy.

    Attributes:
      slots: `K`; with `S` seeds there are `K * S` agents, all seeds of the first slot first.
      every: updates between two decisions.
      agent_updates: total updates of an agent.
      num_updates: maximum number of updates of the search.
      finished: `(state of the strategy) -> bool`: the search is complete; None: it ends after `num_updates`.
      renews: a new agent gets a new key instead of the initial key of its seed.
    """

    slots: int
    every: int
    agent_updates: int
    num_updates: int
    init: Begin
    decide: Decide
    finished: Callable[[Any], jax.Array] | None = None
    renews: bool = False


def over(algo: Algorithm, strategy: Strategy, space: Space, seeds: int) -> Algorithm:
    """A search over the hyperparameters of `algo`, whose agents have an axis `[P]`, by a Strategy.

    Any Algorithm can be used: the score is the mean return in its metrics.

    Args:
      algo: as returned by `train.population(..., vary_hparams=True)`.
      seeds: `S`; `P` may be larger than `K * S`, additional lanes follow the last slot.

    Returns:
      An Algorithm: `init(keys [P], hp)`, `update(state, hp)`, where `hp`, the values that are not searched,
      has no axis. If `algo` has data, both take it, too.
    """

    def hparams(hp, x):
        return jax.vmap(lambda own: space.hparams(hp, own))(x)

    def to_grid(x):  # [P, ...] -> [K, S, ...]
        return x[: strategy.slots * seeds].reshape(strategy.slots, seeds, *x.shape[1:])

    def to_lanes(x, lanes):  # [K, S, ...] -> [P, ...]
        x = x.reshape(strategy.slots * seeds, *x.shape[2:])
        rest = jnp.broadcast_to(x[-1:], (lanes - x.shape[0], *x.shape[1:]))
        return jnp.concatenate([x, rest])

    def init(keys, hp, *data):
        lanes = keys.shape[0]
        key, strategy_key = jax.random.split(jax.random.fold_in(keys[0], SEARCH))
        own, x = strategy.init(strategy_key, seeds)
        x = to_lanes(x, lanes)
        nothing = jnp.zeros(lanes)
        score = jnp.full(lanes, -jnp.inf)
        agents = algo.init(keys, hparams(hp, x), *data)
        start = jnp.zeros((), jnp.int32)
        return SearchState(key, keys, agents, x, nothing, nothing, score, own, start)

    def update(state, hp, *data):
        agents, metrics = algo.update(state.agents, hparams(hp, state.x), *data)
        for name in ("episode/return_sum", "episode/count"):
            if name not in metrics:
                raise ValueError(f"a search compares agents by their returns, so update must return {name}")
        state = state.replace(
            agents=agents,
            return_sum=state.return_sum + metrics["episode/return_sum"],
            episodes=state.episodes + metrics["episode/count"],
            num_updates=state.num_updates + 1,
        )
        due = state.num_updates % strategy.every == 0
        alive = ~jax.vmap(diverged)(getattr(agents, "params", ()), metrics)
        state = jax.lax.cond(due, lambda s: decide(s, hp, alive, *data), lambda s: s, state)
        return state, metrics

    def decide(state, hp, alive, *data):
        lanes = state.keys.shape[0]
        mean = state.return_sum / jnp.maximum(state.episodes, 1.0)
        score = jnp.where(state.episodes > 0, mean, state.score)
        score = jnp.where(alive, score, -jnp.inf)
        key, strategy_key = jax.random.split(state.key)
        decision = strategy.decide(
            strategy_key,
            state.strategy,
            to_grid(state.x),
            to_grid(score),
            to_grid(alive),
            state.num_updates,
        )
        agents, x = state.agents, to_lanes(decision.x, lanes)
        if decision.source is not None:
            lane = decision.source * seeds + jnp.arange(seeds)
            lane = to_lanes(lane, lanes)
            own_keys = agents.key  # with the same key, a copy would remain identical to the original
            agents = jax.tree.map(lambda leaf: leaf[lane], agents).replace(key=own_keys)
            score = score[lane]
        if decision.fresh is not None:
            fresh = to_lanes(decision.fresh, lanes)
            keys = state.keys
            if strategy.renews:
                keys = jax.vmap(jax.random.fold_in, (0, None))(keys, state.num_updates)
            agents = jax.lax.cond(
                fresh.any(),
                lambda: choose(fresh, algo.init(keys, hparams(hp, x), *data), agents),
                lambda: agents,
            )
            score = jnp.where(fresh, -jnp.inf, score)
        nothing = jnp.zeros(lanes)
        return state.replace(
            key=key,
            agents=agents,
            x=x,
            return_sum=nothing,
            episodes=nothing,
            score=score,
            strategy=decision.strategy,
        )

    def act(state, memory, key, obs, first, action_mask=None):
        return algo.act(state.agents, memory, key, obs, first, action_mask)

    def keep(state):
        return state.replace(agents=algo.keep(state.agents))

    return algo._replace(init=init, update=update, act=act, keep=keep)


def for_seeds(x: jax.Array, seeds: int) -> jax.Array:
    """`[K, D]` as `[K, S, D]`: the same for every seed."""
    return jnp.broadcast_to(x[:, None], (x.shape[0], seeds, x.shape[1]))


def worst_of(score: jax.Array) -> jax.Array:
    """The smallest finite score; inf if there is none."""
    return jnp.min(score, initial=jnp.inf, where=jnp.isfinite(score))


def over_all(score: jax.Array, worst: jax.Array) -> jax.Array:
    """`[K]`: the mean of scores `[K, S]` over all seeds, where those that are not finite count as `worst`.

    -inf if no agent has a score.
    """
    mean = jnp.where(jnp.isfinite(score), score, worst).mean(axis=1)
    return jnp.where(jnp.isfinite(worst), mean, -jnp.inf)


def fitness_of(score: jax.Array) -> jax.Array:
    """`[K]`: `over_all` of a generation's scores `[K, S]` with its worst score; 0 if no agent has one."""
    mean = over_all(score, worst_of(score))
    return jnp.where(jnp.isfinite(mean), mean, 0.0)


def on_host(tree: PyTree) -> PyTree:
    """A tree of arrays as NumPy arrays, random keys as their words."""

    def fetch(leaf):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    return jax.tree.map(fetch, tree)
