"""Runs: a scan inside for what is traced, a generator outside for what talks to the world."""

from collections.abc import Iterator
from functools import lru_cache, partial

import jax
import jax.numpy as jnp

from jaxrl.types import Algorithm, PyTree


def run(algo: Algorithm, key, hp, num_updates: int):
    """A whole run as one traceable function: jit it, vmap it over `key` and `hp`, differentiate it.

    Returns:
      The final TrainState, and the metrics of every update `[num_updates]`.
    """
    state = algo.init(key, hp)
    return jax.lax.scan(lambda state, _: algo.update(state, hp), state, length=num_updates)


def grid(hparams: PyTree, **axes) -> PyTree:
    """Hyperparameters for a population: the given ones vary, all others are repeated.

        hp = grid(algo.hparams, learning_rate=jnp.logspace(-4, -2, 8))     # every leaf `[8]`

    Arguments of several values vary together (`[P]` each); combine them first for a product.

    Raises:
      ValueError: an unknown name, no axis, or axes of different lengths.
    """
    unknown = sorted(set(axes) - set(vars(hparams)))
    if unknown:
        raise ValueError(f"no hyperparameter {unknown[0]!r}; there are {', '.join(vars(hparams))}")
    # A list is one axis, not a tree of numbers.
    axes = {n: jnp.asarray(v) if isinstance(v, list | tuple) else v for n, v in axes.items()}
    axes = jax.tree.map(jnp.asarray, axes)
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(axes)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"a grid needs axes of one length, not {sorted(sizes) or 'none'}")
    ((size,),) = sizes
    repeated = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (size, *jnp.shape(x))), hparams)
    return repeated.replace(**axes)


def population(algo: Algorithm, vary_hparams: bool = False) -> Algorithm:
    """The same algorithm for `P` agents at once: keys, states and metrics get a leading axis `[P]`.

    Args:
      vary_hparams: hyperparameters have that axis too (see `grid`); otherwise all agents share them.
    """
    hp_axis = 0 if vary_hparams else None

    def act(state, memory, key, obs, first, action_mask=None):
        return jax.vmap(algo.act)(state, memory, key, obs, first, action_mask)

    return algo._replace(
        init=jax.vmap(algo.init, (0, hp_axis)), update=jax.vmap(algo.update, (0, hp_axis)), act=act
    )


def advance(update, state, totals, hp, length):
    """`length` updates, their metrics added to `totals`.

    `length` is traced: runs of every length, whole, in pieces or resumed, are the same program and
    so the same bits.
    """

    def body(_, carry):
        state, totals = carry
        state, metrics = update(state, hp)
        return state, jax.tree.map(jnp.add, totals, metrics)

    return jax.lax.fori_loop(0, length, body, (state, totals))


def no_totals(update, state, hp):
    """The totals of no updates: zeros for each metric; `state` may be its `jax.eval_shape`."""
    metrics = jax.eval_shape(update, state, hp)[1]
    return jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), metrics)


def summarize(totals, num_updates: int):
    """Metrics of several updates as one: sums and counts stay, the rest becomes the mean.

    Sums and counts are the metrics whose names end in `_sum` or `/count`.
    """
    return {
        name: value if name.endswith(("_sum", "/count")) else value / num_updates
        for name, value in totals.items()
    }


@lru_cache(maxsize=16)
def program(update):
    """`advance` of an algorithm's `update`, jitted once, with its state donated."""
    return jax.jit(partial(advance, update), donate_argnums=0)


def chunks(algo: Algorithm, state, hp, num_chunks: int, length: int) -> Iterator[tuple]:
    """Trains `num_chunks` times `length` updates, for a host that logs, saves or stops in between.

    A chunk is dispatched when it is asked for and yielded before it is done: read the metrics of one
    after asking for the next, and the device never waits for the host.
    The state yielded is donated as soon as the next chunk is asked for: save or evaluate it before.
    The one given stays.

    Yields:
      `(state, metrics)`, both still being computed; metrics as `summarize` makes them.
    """
    zeros = no_totals(algo.update, state, hp)
    state = jax.tree.map(jnp.copy, state)  # an `init` outside `jit` shares buffers, which none may donate
    for _ in range(num_chunks):
        state, totals = program(algo.update)(state, zeros, hp, length)
        yield state, summarize(totals, length)
