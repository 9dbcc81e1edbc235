"""Replays that differ in what they draw: transitions uniformly or by priority, or sequences of steps.

    init() -> rows
    add(rows, steps [T, N, ...]) -> rows
    draw(key, (B,)) -> noise
    sample(rows, noise, gamma) -> Batch
    reweigh(rows, batch.row, priority) -> rows              a prioritized one only

All are pure functions; the rows belong to the state of an algorithm, which `jaxrl.train` donates, so that
they are changed in place. In one update, add first and sample then: in the other order XLA may copy them.
Sampling is with replacement, and takes a time proportional to the batch, whatever the capacity.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.replay import tree
from jaxrl.replay.rows import Batch, Rows, Sequences, storage
from jaxrl.spaces import require_positive
from jaxrl.types import Number, PyTree, Transition


class Replay(NamedTuple):
    """Functions of a replay; `rows` is its state, `Rows` or `PrioritizedRows`.

    Attributes:
      init: `() -> rows`, without any.
      add: `(rows, steps) -> rows`. Leaves of `steps` are `[T, N, ...]`, `T` and `N` as given to `uniform`.
        They must follow the steps that were added before, in the same environments.
      draw: `(key, shape) -> noise`, all random numbers of `sample`, for batches of this shape. It does not
        depend on the rows, so it can be called for many batches in advance.
      sample: `(rows, noise, gamma) -> Batch`, or `(rows, noise) -> Sequences`.
      reweigh: `(rows, batch.row, priority) -> rows`: new priorities `[B]`; None if there are none.
      capacity: the number of rows; at least as many as were asked for.
    """

    init: Callable[[], Any]
    add: Callable[[Any, Transition], Any]
    draw: Callable[[jax.Array, tuple[int, ...]], jax.Array]
    sample: Callable[..., Any]
    reweigh: Callable[[Any, jax.Array, jax.Array], Any] | None
    capacity: int


def uniform(
    obs: PyTree,
    action: PyTree,
    num_envs: int,
    capacity: int,
    n_step: int = 1,
    num_steps: int = 1,
    extras: PyTree = (),
    max_ends: int | None = None,
) -> Replay:
    """A replay from which transitions of `n_step` steps are drawn with equal probabilities.

        R = sum_{i=0}^{k-1} gamma^i r_{t+i},    target = R + discount * V(next_obs)

    `k` is `n_step`, or less where an episode or the newest step comes before. A transition is never of two
    episodes. After a truncation, `next_obs` is the last observation of the episode, and has a value; after a
    termination, `discount` is 0.

    Args:
      obs, action: examples of one environment: arrays, `jax.ShapeDtypeStruct`s or spaces.
      num_envs: `N`, environments of an agent.
      capacity: rows, that is steps of one environment; rounded up to a multiple of `N * T`.
      num_steps: `T`, steps that are added at a time.
      extras: an example of what else to store of a step, `Transition.extras`, such as a policy's memory.
      max_ends: truncated episodes whose last observations can be stored; by default one per 8 rows. If there
        are more among the rows, older rows can no longer be drawn: as if the capacity were smaller. With an
        end per row, which is also the maximum, this never happens; with a time limit of `n` steps,
        `capacity / n + num_envs` are enough if episodes end at the limit only.

    Raises:
      ValueError: an invalid number, or an array that cannot be stored.
    """
    require_positive(n_step=n_step)
    rows = storage(obs, action, num_envs, capacity, num_steps, extras, max_ends)

    def sample(state: Rows, noise: jax.Array, gamma: Number) -> Batch:
        count = jnp.maximum(state.filled, 1)
        probability = jnp.full(noise.shape, 1.0 / (count * num_envs), jnp.float32)
        return rows.transitions(state, _pick(rows, state, noise, count), n_step, gamma, probability)

    return Replay(rows.init, rows.add, _bits, sample, None, rows.length * num_envs)


def sequence(
    obs: PyTree,
    action: PyTree,
    num_envs: int,
    capacity: int,
    length: int,
    num_steps: int = 1,
    extras: PyTree = (),
    max_ends: int | None = None,
) -> Replay:
    """A replay from which sequences of `length` steps are drawn, for policies with memory.

    Every step of an environment is the first of a sequence with the same probability, except for the newest
    ones, after which there are not enough. A sequence may contain ends of episodes: a memory is reset where
    `first` is true, and a return is cut where `terminated | truncated`.

    Args:
      length: steps of a sequence, `L` in `Sequences`, at most `capacity / num_envs`.
      The others as for `uniform`; a stored memory of the policy belongs to `extras`.

    Raises:
      ValueError: an invalid number, or an array that cannot be stored.
    """
    require_positive(length=length)
    rows = storage(obs, action, num_envs, capacity, num_steps, extras, max_ends)
    if length > rows.length:
        raise ValueError(
            f"length = {length} is more than the {rows.length} steps per environment of a replay with "
            f"capacity = {capacity}"
        )

    def sample(state: Rows, noise: jax.Array) -> Sequences:
        count = jnp.maximum(state.filled - length + 1, 1)
        return rows.sequences(state, _pick(rows, state, noise, count), length)

    return Replay(rows.init, rows.add, _bits, sample, None, rows.length * num_envs)


@struct.dataclass
class PrioritizedRows:
    """The state of a prioritized replay.

    Attributes:
      rows: what is stored.
      priorities: of the rows, as a tree.
      largest: priority that was ever assigned, which new rows get.
    """

    rows: Rows
    priorities: tree.Tree
    largest: jax.Array
    is_replay: ClassVar[bool] = True
    replace: ClassVar[Callable[..., "PrioritizedRows"]]

    @property
    def time(self) -> jax.Array:
        """Steps that were added so far."""
        return self.rows.time

    def moved(self, shift: jax.Array) -> "PrioritizedRows":
        """The same rows as if they had been added `shift` steps later; leaves `[P, ...]`."""
        size = self.rows.obs.shape[-2]
        priorities = tree.rolled(self.priorities, size, shift * self.rows.num_envs)
        return self.replace(rows=self.rows.moved(shift), priorities=priorities)


def prioritized(
    obs: PyTree,
    action: PyTree,
    num_envs: int,
    capacity: int,
    n_step: int = 1,
    num_steps: int = 1,
    extras: PyTree = (),
) -> Replay:
    """A replay from which transitions of `n_step` steps are drawn in proportion to their priority.

        P(i) = p_i / sum_k p_k

    `p_i` is the number given to `reweigh`, which is not negative: the exponent of proportional
    prioritization, p_i = (|delta_i| + eps)^alpha, is the algorithm's. New rows get the largest priority so
    far, at first 1. A draw takes a time proportional to the logarithm of the capacity.
    Schaul et al. 2016, "Prioritized Experience Replay", https://arxiv.org/abs/1511.05952.

    Args:
      As for `uniform`. There is room for the last observation of every row, so that no row with a priority
      becomes invalid: observations take twice the memory.
    """
    require_positive(n_step=n_step)
    rows = storage(obs, action, num_envs, capacity, num_steps, extras, max_ends=2**29)
    total, block = rows.length * num_envs, num_envs * num_steps
    depth = len(jax.eval_shape(lambda: tree.init(total)))

    def init():
        return PrioritizedRows(rows.init(), tree.init(total), jnp.ones((), jnp.float32))

    def add(state, steps):
        start = rows.start(state.rows.time)
        priorities = tree.assign_block(state.priorities, start, block, state.largest)
        return state.replace(rows=rows.add(state.rows, steps), priorities=priorities)

    def draw(key, shape):
        return jax.random.uniform(key, (*shape, depth), jnp.float32)

    def sample(state: PrioritizedRows, noise: jax.Array, gamma: Number) -> Batch:
        index, probability = tree.draw(state.priorities, noise)
        return rows.transitions(state.rows, index, n_step, gamma, probability)

    def reweigh(state, index, priority):
        priority = jnp.asarray(priority, jnp.float32)
        largest = jnp.maximum(state.largest, priority.max())
        return state.replace(priorities=tree.assign(state.priorities, index, priority), largest=largest)

    return Replay(init, add, draw, sample, reweigh, total)


def importance_weights(probability: jax.Array, beta: Number) -> jax.Array:
    """Weights that correct for unequal probabilities, relative to the largest in the batch.

        w_i = (N P(i))^-beta / max_j (N P(j))^-beta

    Schaul et al. 2016, section 3.4, https://arxiv.org/abs/1511.05952. The number of rows N cancels.

    Args:
      probability: of the batch, `[B]`.
      beta: 0 corrects nothing, 1 everything.
    """
    return (probability / probability.min()) ** -beta


def _bits(key, shape):
    return jax.random.bits(key, shape, jnp.uint32)


def _pick(rows, state, bits, count):
    """Rows `[B]`, each of the `count` oldest steps of each environment with the same probability.

    By 32 random bits: a float32 has 23, with which some of a million rows would be drawn 10 % more often.
    """
    chosen = (bits % (count * rows.num_envs).astype(jnp.uint32)).astype(jnp.int32)
    total = rows.length * rows.num_envs
    return (rows.start(state.time - state.filled) + chosen) % total
