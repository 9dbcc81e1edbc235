"""Markov decision processes as tables: simulated as environments, and solved.

    mdp = chain.mdp()
    env = tabular.env(mdp)                                # a raw environment that simulates it
    best = tabular.optimal_return(mdp, gamma=0.95)        # the best return of any policy
    values = tabular.policy_value(mdp, policy, gamma=0.95)  # the value of every state under this policy

Everything is traceable and may be vmapped over tables: one program solves thousands of processes.
`gamma` may be traced; so may `horizon`, but only a Python number can be differentiated through. Axes:
`S` states, `A` actions.

**Two interpretations of a time limit.** With `horizon=None` a time limit is a truncation, and rewards
after it count. With `horizon=T` only T steps count: a time limit is a termination, and the best policy may
depend on the time.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl.envs.wrappers import restart, transition
from jaxrl.spaces import Box, Discrete
from jaxrl.types import Env

TOLERANCE = 1e-6  # of a value, relative to the largest one
MOST_SWEEPS = 100_000
_SUM: Any = {"precision": "highest"}  # GPUs would otherwise round the factors of a float32 product


@struct.dataclass
class Tabular:
    """A finite Markov decision process.

    An episode ends when it enters a terminal state; transitions from terminal states are ignored.
    """

    transition: jax.Array  # [S, A, S] probabilities of the next state
    reward: jax.Array  # [S, A], or [S, A, S] if it depends on the next state
    terminal: jax.Array  # [S] bool
    start: jax.Array  # [S] probabilities of the first state


@struct.dataclass
class State:
    """The index of the current state, int32."""

    index: jax.Array


def env(mdp: Tabular, observation="one_hot") -> Env:
    """The environment that simulates a table; one uniform number per step, by inverse transform sampling.

    Args:
      observation: "one_hot": the state as float32 `[S]`; "index": as an integer; an array `[S, ...]`: its
        row for the state (states with equal rows are indistinguishable).

    Raises:
      ValueError: another observation, or tables with inconsistent shapes.
    """
    num_states, num_actions = _sizes(mdp)
    start, rows = _cumulative(mdp.start), _cumulative(mdp.transition)
    rows = rows.reshape(num_states * num_actions, num_states)
    rewards = jnp.asarray(mdp.reward, jnp.float32)
    after = rewards.ndim == 3
    rewards = rewards.reshape(-1)

    if isinstance(observation, str):
        if observation not in ("one_hot", "index"):
            raise ValueError(f"observation {observation!r} is not known: take 'one_hot', 'index' or an array")
        hot = observation == "one_hot"
        space = Box(0.0, 1.0, (num_states,)) if hot else Discrete(num_states)
        states = np.arange(num_states)

        def observe(index):
            return (states == index).astype(jnp.float32) if hot else index
    else:
        table = jnp.asarray(observation, jnp.float32)
        if table.shape[:1] != (num_states,):
            raise ValueError(f"observation needs a row for each of {num_states} states, not {table.shape}")
        space = Box(-jnp.inf, jnp.inf, table.shape[1:])

        def observe(index):
            return table[index]

    def reset(key):
        index = _invert(start, jax.random.uniform(key))
        return State(index), restart(observe(index))

    def step(key, state, action):
        return advance(state, action, jax.random.uniform(key))

    def advance(state, action, uniform):
        pair = state.index * num_actions + action
        index = _invert(rows[pair], uniform)
        reward = rewards[pair * num_states + index] if after else rewards[pair]
        return State(index), transition(observe(index), reward, mdp.terminal[index])

    return Env(reset, step, space, Discrete(num_actions))


def backup(mdp: Tabular, values: jax.Array, gamma) -> jax.Array:
    """The value of each action, given the values `[S]` of its successors.

        Q(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) V(s'),   0 in and after terminal states

    Returns:
      Q `[S, A]`.
    """
    alive = ~mdp.terminal
    future = jnp.einsum("sat,t->sa", mdp.transition, jnp.where(alive, values, 0.0), **_SUM)
    return jnp.where(alive[:, None], expected_reward(mdp) + gamma * future, 0.0)


def expected_reward(mdp: Tabular) -> jax.Array:
    """The mean reward of each action, `[S, A]`."""
    if jnp.ndim(mdp.reward) == 2:
        return jnp.asarray(mdp.reward, jnp.float32)
    return jnp.einsum("sat,sat->sa", mdp.transition, mdp.reward, **_SUM)


def compiled(solver):
    """Compiles `solver(*args, horizon)` once; gradients pass through a horizon that is a Python number."""
    known, traced = jax.jit(solver, static_argnums=-1), jax.jit(solver)
    return lambda *args: (traced if isinstance(args[-1], jax.Array) else known)(*args)


@compiled
def _optimal_values(mdp, gamma, horizon):
    values = solve(lambda v: backup(mdp, v, gamma).max(axis=1), jnp.zeros(mdp.terminal.shape), gamma, horizon)
    return jnp.where(mdp.terminal, 0.0, values)


@compiled
def _policy_value(mdp, policy, gamma, horizon):
    zeros = jnp.zeros(mdp.terminal.shape)
    if horizon is not None:
        return solve(lambda v: (policy * backup(mdp, v, gamma)).sum(axis=1), zeros, gamma, horizon)
    alive = (~mdp.terminal).astype(jnp.float32)
    chain = jnp.einsum("sa,sat->st", policy, mdp.transition, **_SUM) * alive[:, None] * alive
    reward = (policy * expected_reward(mdp)).sum(axis=1) * alive
    return _eliminate(jnp.eye(zeros.size) - gamma * chain, reward)


def optimal_values(mdp: Tabular, gamma, horizon=None) -> jax.Array:
    """The value of every state under the best policy, `[S]`, by value iteration.

    Args:
      gamma: discount per step; 1 is allowed with a horizon, or if episodes of all good policies end.
      horizon: number of steps that count; None for all.

    Raises:
      ValueError: neither a discount, nor a horizon, nor an end (if that is known before tracing).
    """
    _sizes(mdp)
    require_finite(gamma, horizon, mdp.terminal)
    return _optimal_values(mdp, gamma, horizon)


def policy_value(mdp: Tabular, policy: jax.Array, gamma, horizon=None) -> jax.Array:
    """The value of every state under a policy `[S, A]` of probabilities, `[S]`, exactly.

    Without a horizon: V = (I - gamma P)^-1 r; not finite if gamma is 1 and episodes may never end.
    With a horizon: by backward induction.

    Raises:
      ValueError: neither a discount, nor a horizon, nor an end (if that is known before tracing).
    """
    _sizes(mdp)
    require_finite(gamma, horizon, mdp.terminal)
    return _policy_value(mdp, policy, gamma, horizon)


def optimal_return(mdp: Tabular, gamma, horizon=None) -> jax.Array:
    """The best expected return of an episode, a scalar; see `optimal_values`."""
    return jnp.dot(mdp.start, optimal_values(mdp, gamma, horizon), **_SUM)


def policy_return(mdp: Tabular, policy: jax.Array, gamma, horizon=None) -> jax.Array:
    """The expected return of an episode under a policy `[S, A]`, a scalar; see `policy_value`."""
    return jnp.dot(mdp.start, policy_value(mdp, policy, gamma, horizon), **_SUM)


def plan_return(mdp: Tabular, actions: jax.Array, gamma, horizon=None) -> jax.Array:
    """The expected return of actions that depend on the time, a scalar.

    Args:
      actions: `[T, S]`.
      horizon: steps that count, at most T; None: all T.
    """
    steps = len(actions) if horizon is None else horizon

    def back(values, now):
        time, action = now
        q = jnp.take_along_axis(backup(mdp, values, gamma), action[:, None], axis=1)[:, 0]
        return jnp.where(time < steps, q, 0.0), None

    start = jnp.zeros(mdp.terminal.shape)
    values, _ = jax.lax.scan(back, start, (jnp.arange(len(actions)), actions), reverse=True)
    return jnp.dot(mdp.start, values, **_SUM)


def uniform_policy(mdp: Tabular) -> jax.Array:
    """All actions equally likely, `[S, A]`."""
    num_states, num_actions = _sizes(mdp)
    return jnp.full((num_states, num_actions), 1.0 / num_actions)


def greedy_policy(mdp: Tabular, values: jax.Array, gamma) -> jax.Array:
    """The best action for `values` `[S]`, one-hot `[S, A]`; the first one of equal actions."""
    _, num_actions = _sizes(mdp)
    return jax.nn.one_hot(backup(mdp, values, gamma).argmax(axis=1), num_actions)


def solve(improve, values: jax.Array, gamma, horizon=None, leaks: bool = False) -> jax.Array:
    """Applies a Bellman operator `horizon` times, or until its fixed point is known to `TOLERANCE`.

    The difference to the fixed point is between gamma / (1 - gamma) times the smallest and the largest change
    of the last sweep (MacQueen 1966; Porteus 1971), so the mean of the two bounds is added, and iteration
    stops when they are close: in processes that mix, this is long before the values themselves converge.

    Args:
      improve: `values -> values`.
      leaks: whether probabilities sum to less than one, because a terminal state of value 0 is omitted.
    """
    if horizon is not None:
        return jax.lax.fori_loop(0, horizon, lambda _, v: improve(v), values)
    gamma = jnp.asarray(gamma, jnp.float32)
    discounted = gamma < 1.0
    factor = jnp.where(discounted, gamma / jnp.where(discounted, 1.0 - gamma, 1.0), 0.0)
    allowed = jnp.maximum(jnp.where(discounted, TOLERANCE / factor, 0.0), 4 * np.finfo(np.float32).eps)

    def bounds(change):
        zero = leaks | ~discounted
        low, high = change.min(), change.max()
        return jnp.where(zero, jnp.minimum(low, 0.0), low), jnp.where(zero, jnp.maximum(high, 0.0), high)

    def sweep(carry):
        count, values, _ = carry
        new = improve(values)
        return count + 1, new, new - values

    def unknown(carry):
        count, values, change = carry
        low, high = bounds(change)
        return (count < MOST_SWEEPS) & (high - low > allowed * jnp.abs(values).max())

    first = sweep((jnp.zeros((), jnp.int32), values, values))
    _, values, change = jax.lax.while_loop(unknown, sweep, first)
    low, high = bounds(change)
    return values + factor * 0.5 * (low + high)


def require_finite(gamma, horizon, terminal=()) -> None:
    """Raises ValueError if a return without a horizon would not be finite, if this is known in Python."""
    known = not isinstance(gamma, jax.core.Tracer) and not isinstance(terminal, jax.core.Tracer)
    if horizon is None and known and np.all(np.asarray(gamma) >= 1.0) and not np.any(terminal):
        raise ValueError(f"gamma = {gamma} without an end of the episode: give a horizon, or a gamma below 1")


def _sizes(mdp: Tabular) -> tuple[int, int]:
    shape = jnp.shape(mdp.transition)
    wanted = {"transition": (*shape[:2], *shape[:1]), "terminal": shape[:1], "start": shape[:1]}
    for name, want in wanted.items():
        if jnp.shape(getattr(mdp, name)) != want or len(shape) != 3:
            raise ValueError(f"{name} must have shape {want}, not {jnp.shape(getattr(mdp, name))}")
    if jnp.shape(mdp.reward) not in (shape, shape[:2]):
        raise ValueError(f"reward must have shape {shape[:2]} or {shape}, not {jnp.shape(mdp.reward)}")
    return shape[0], shape[1]


def _cumulative(probabilities):
    """Cumulative probabilities, the last exactly 1, so that no number in [0, 1) is above it."""
    sums = jnp.cumsum(jnp.asarray(probabilities, jnp.float32), axis=-1)
    return sums / sums[..., -1:]


def _invert(cumulative, uniform):
    """The outcome for a number in [0, 1); never one with probability 0."""
    return (cumulative <= uniform).sum(axis=-1, dtype=jnp.int32)


def _eliminate(matrix, vector):
    """Solves `matrix @ x = vector` by Gauss-Jordan elimination.

    I - gamma P is diagonally dominant, so no pivoting is needed; and LAPACK's solver, batched over
    processes on a CPU, would share the thread pool with the program that waits for it.
    """
    table = jnp.concatenate([matrix, vector[:, None]], axis=1)
    size = vector.shape[0]

    def clear(k, table):
        row = table[k] / table[k, k]
        column = table[:, k] - (np.arange(size) == k)
        return table - column[:, None] * row

    return jax.lax.fori_loop(0, size, clear, table)[:, -1]
