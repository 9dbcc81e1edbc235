"""Environments as tables: those that are defined by one, and those with few states that can be enumerated.

    mdp = tables.table("DeepSea-bsuite", size=6)      # a `worlds.tabular.Tabular`

If there is a function `mdp(**params)` beside the environment's `make`, that is its table, over the beliefs of
a perfect memory if states are hidden. Otherwise a deterministic environment is explored: from its first
states, every action is taken in every state that is reached, whatever of it is observed. Of random first
states, only which ones there are is exact; their probabilities are frequencies.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.entry import require_known
from jaxrl.envs.registry import REGISTRY
from jaxrl.envs.worlds import grid, grid_values, outcomes
from jaxrl.envs.worlds.tabular import Tabular
from jaxrl.names import lookup
from jaxrl.spaces import Discrete
from jaxrl.types import Env

MOST_STATES = 1100
_RESETS = 4096  # that are tried to see the first states
_DRAWS = 8  # keys with which each step is taken, to see whether it is random
_AT_ONCE = 64  # states


class NoTable(ValueError):
    """The transitions of an environment are random, or it has more than `MOST_STATES` states."""


def table(name: str, /, **params: Any) -> Tabular:
    """The table of a registered environment with these parameters, float32.

    Raises:
      NoTable: random transitions of an environment without a table, or more than `MOST_STATES` states.
      ValueError: an unknown name or parameter, or actions that are not discrete.
    """
    entry = lookup("environment", REGISTRY, name)
    require_known(name, entry.make, params)
    if entry.wrapped:
        raise ValueError(f"{name} resets itself: give an environment without wrappers")
    env = entry.make(**params)  # reports invalid parameters
    if not isinstance(env.action_space, Discrete):
        raise ValueError(f"{name} has no table: its actions are not discrete")
    given = {**getattr(entry.make, "keywords", {}), **params}
    make = _solver_of(getattr(entry.make, "func", entry.make))
    if make is None:
        return explored(env, name)
    if make is grid_values.mdp:
        level = grid.sample(given.pop("level", "small"), given.get("seed", 0))
        _require_few(name, 2 ** len(level.present) * level.walls.size)
        given = {"level": level}
    mdp = make(**{key: value for key, value in given.items() if key != "observation"})
    _require_few(name, mdp.terminal.size)
    return mdp


def _solver_of(make: Any) -> Any:
    """The function `mdp` beside `make`, with the same parameters; None: there is none."""
    if make is grid.make:
        return grid_values.mdp
    return getattr(sys.modules.get(getattr(make, "__module__", "")), "mdp", None)


def longest_episode(mdp: Tabular) -> int | None:
    """The steps after which every episode has ended; None if some never end."""
    live = ~np.asarray(mdp.terminal)
    edges = (np.asarray(mdp.transition) > 0).any(axis=1) & live
    here = (np.asarray(mdp.start) > 0) & live
    for steps in range(len(live) + 1):
        if not here.any():
            return steps
        here = edges[here].any(axis=0)
    return None


def explored(env: Env, name: str = "the environment") -> Tabular:
    """The table of a deterministic environment whose states are reached by trying all actions.

    Raises:
      NoTable: random transitions, or more than `MOST_STATES` states.
    """
    key, reset_key = jax.random.split(jax.random.key(0))
    # With a number beside it, even a state without arrays has a leaf.
    reset = jax.jit(jax.vmap(lambda key: (env.reset(key)[0], jnp.zeros(()))))
    states = reset(jax.random.split(reset_key, _RESETS))
    numbers: dict[bytes, int] = {}
    found: list[Any] = []

    def number(states) -> np.ndarray:
        """The number of each state; those that are new are appended to `found`."""
        leaves = [np.asarray(_plain(leaf)) for leaf in jax.tree.leaves(states)]
        words = [b"".join(leaf[i].tobytes() for leaf in leaves) for i in range(len(leaves[0]))]
        for i, word in enumerate(words):
            if word not in numbers:
                numbers[word] = len(numbers)
                found.append(jax.tree.map(lambda leaf: leaf[i], states))  # noqa: B023 (used at once)
                _require_few(name, len(numbers))
        return np.array([numbers[word] for word in words])

    firsts = number(jax.device_get(states))
    actions = jnp.arange(env.action_space.n)

    @jax.jit
    def tried(states, keys):
        """The results of all actions `[B, A]` with the first key, and whether those with others differ."""

        def result(key, state, action):
            inner, timestep = env.step(key, state[0], action)
            return (inner, state[1]), timestep.reward, timestep.terminated

        over_actions = jax.vmap(result, (None, None, 0))
        each = jax.vmap(jax.vmap(over_actions, (None, 0, None)), (0, None, None))(keys, states, actions)
        same = [(_plain(leaf) == _plain(leaf)[:1]).all() for leaf in jax.tree.leaves(each)]
        return jax.tree.map(lambda leaf: leaf[0], each), ~jnp.stack(same).all()

    keys = jax.random.split(key, _DRAWS)
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    while len(rows) < len(found):
        batch = found[len(rows) : len(rows) + _AT_ONCE]
        padded = batch + batch[:1] * (_AT_ONCE - len(batch))  # one program for batches of all sizes
        results, random = jax.device_get(tried(jax.tree.map(lambda *x: np.stack(x), *padded), keys))
        if random:
            raise NoTable(f"{name} has no table: its transitions are random")
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)
        count = len(batch) * len(actions)
        states, reward, ended = jax.tree.map(lambda leaf, count=count: leaf[:count], flat)
        onward = np.flatnonzero(~ended)
        following = np.full(len(ended), -1)
        if len(onward):
            following[onward] = number(jax.tree.map(lambda leaf: leaf[onward], states))  # noqa: B023
        pairs = zip(*(x.reshape(len(batch), -1) for x in (following, reward)), strict=True)
        rows += list(pairs)
    following, reward = (np.stack(x)[..., None] for x in zip(*rows, strict=True))
    start = np.bincount(firsts, minlength=len(found)) / len(firsts)
    return outcomes.table(following, reward, np.ones(1), start)


def _plain(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _require_few(name: str, count: int) -> None:
    if count > MOST_STATES:
        raise NoTable(f"{name} has no table: it has more than {MOST_STATES} states")
