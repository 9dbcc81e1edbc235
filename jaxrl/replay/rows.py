"""The rows of a replay: what `N` environments saw and did, in a ring, and the transitions between them.

A row holds one step of one environment. The rows of a step are next to each other, those of the next step
follow, so that all environments of an agent are written as one block. An observation is stored once: the
observation that a step led to is that of the next row. There are two exceptions, which are stored apart, in
`ends`: the observation after the newest step, and the last observation of an episode that was truncated,
where the next row belongs to another episode.

Axes: `L` steps in the ring, `N` environments, `R = L * N` rows, `T` steps of an addition, `W` words,
`E` truncated episodes, `B` batch, `n` steps of a transition.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.cpu.once import once
from jaxrl.replay.lanes import in_lockstep, write
from jaxrl.replay.words import packing
from jaxrl.spaces import require_positive
from jaxrl.types import PyTree, Transition

TERMINATED, TRUNCATED, FIRST = 1, 2, 4  # bits of a word; above these `FLAGS`, the place in `ends`
FLAGS = 3
ROWS_PER_END = 8  # by default there is room for one truncated episode per this many rows


@struct.dataclass
class Rows:
    """The state of a replay.

    Attributes:
      obs: `[R, W]`, packed observations.
      steps: `[R, W']`, packed actions, extras, rewards and flags.
      ends: `[N + E, W]`: the observations after the newest step, then the last ones of truncated episodes; if
        there is room for one per row, those after every step, in the order of the rows.
      end_time: `[E]`, the times of the latter; `()` if there is room for one per row.
      time: steps that were added so far. The position in the ring follows from it, so it must be the same in
        all lanes of a population; see `lanes.choose`.
      filled: the number of newest steps that can be drawn.
      num_ends: truncated episodes so far, modulo `E`.
    """

    obs: jax.Array
    steps: jax.Array
    ends: jax.Array
    end_time: jax.Array | tuple[()]
    time: jax.Array
    filled: jax.Array
    num_ends: jax.Array
    is_replay: ClassVar[bool] = True
    replace: ClassVar[Callable[..., "Rows"]]

    @property
    def num_envs(self) -> int:
        """`N`."""
        room = self.obs.shape[-2] if isinstance(self.end_time, tuple) else self.end_time.shape[-1]
        return self.ends.shape[-2] - room

    def moved(self, shift: jax.Array) -> "Rows":
        """The same rows as if they had been added `shift` steps later; leaves `[P, ...]`."""
        num_envs = self.num_envs

        def rolled(x):
            return jnp.roll(x, shift * num_envs, axis=-2)

        moved = self.replace(obs=rolled(self.obs), steps=rolled(self.steps), time=self.time + shift)
        if not isinstance(self.end_time, tuple):
            return moved.replace(end_time=self.end_time + shift)
        newest, after = jnp.split(self.ends, [num_envs], axis=-2)
        return moved.replace(ends=jnp.concatenate([newest, rolled(after)], axis=-2))


class Batch(NamedTuple):
    """Transitions, leaves `[B, ...]`.

    Attributes:
      obs, action, extras: of the first step.
      reward: the discounted sum of up to `n` rewards.
      discount: of the value of `next_obs`: gamma^k after `k` rewards, 0 after a termination.
      next_obs: after the last of these steps, in the same episode. After a termination, which `discount`
        marks, the last one that was acted on.
      row: of the first step, for `reweigh`.
      probability: with which the transition was drawn; a constant in a uniform replay.
    """

    obs: PyTree
    action: PyTree
    extras: PyTree
    reward: jax.Array
    discount: jax.Array
    next_obs: PyTree
    row: jax.Array
    probability: jax.Array


class Sequences(NamedTuple):
    """Consecutive steps of an environment, leaves `[L, B, ...]`; a sequence may contain several episodes.

    Attributes:
      obs, first: the inputs of a policy; `first` is true where an episode starts.
      next_obs: what the step led to, in the same episode; after a termination, `obs`.
      mask: false for steps after the newest one, in a replay with fewer steps than a sequence.
      row: of the first step, `[B]`.
    """

    obs: PyTree
    first: jax.Array
    action: PyTree
    extras: PyTree
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    next_obs: PyTree
    mask: jax.Array
    row: jax.Array


class Storage(NamedTuple):
    """Functions on `Rows`, and their sizes."""

    init: Callable[[], Rows]
    add: Callable[[Rows, Transition], Rows]
    transitions: Callable[..., Batch]  # (rows, index of the first row `[B]`, n, gamma, probability)
    sequences: Callable[[Rows, jax.Array, int], Sequences]  # (rows, index of the first row `[B]`, steps)
    start: Callable[[jax.Array], jax.Array]  # (time) -> the row that is written at this time
    length: int  # `L`
    num_envs: int


def storage(
    obs: PyTree,
    action: PyTree,
    num_envs: int,
    capacity: int,
    num_steps: int = 1,
    extras: PyTree = (),
    max_ends: int | None = None,
) -> Storage:
    """Rows for `capacity` steps; the arguments are those of `uniform`."""
    require_positive(num_envs=num_envs, capacity=capacity, num_steps=num_steps)
    block = num_envs * num_steps
    length = -(-capacity // block) * num_steps
    total = length * num_envs
    if max_ends is None:
        max_ends = -(-total // ROWS_PER_END)
    require_positive(max_ends=max_ends)
    room = max(min(max_ends, total), block)  # no addition overwrites an end that it has written itself
    every = room == total
    if total >= 2**29:  # places in `ends` are stored above the flags
        raise ValueError(f"capacity = {capacity} is too large: a replay has fewer than {2**29} rows")
    obs_rows = packing(obs)
    reward, flags = (jax.ShapeDtypeStruct((), dtype) for dtype in (jnp.float32, jnp.uint32))
    step_rows = packing((action, extras, reward, flags))

    def init():
        return Rows(
            obs=jnp.zeros((total, obs_rows.num_words), jnp.uint32),
            steps=jnp.zeros((total, step_rows.num_words), jnp.uint32),
            ends=jnp.zeros((num_envs + room, obs_rows.num_words), jnp.uint32),
            end_time=() if every else jnp.full(room, -1, jnp.int32),
            time=jnp.zeros((), jnp.int32),
            filled=jnp.zeros((), jnp.int32),
            num_ends=jnp.zeros((), jnp.int32),
        )

    def start_of(time):
        return time % length * num_envs

    def add(rows, steps):
        _require_block(steps, num_steps, num_envs)
        time = in_lockstep(rows.time)
        filled = jnp.where(rows.time == time, rows.filled, 0)  # another lane's position: see `lanes.choose`
        # Truncated episodes, in the order of time, take the oldest places in `ends`.
        cut = (steps.truncated & ~steps.terminated).reshape(-1)
        order = jnp.cumsum(cut, dtype=jnp.int32)
        end = (rows.num_ends + order - cut) % room
        flags = TERMINATED * steps.terminated + TRUNCATED * steps.truncated + FIRST * steps.first
        flags = flags.astype(jnp.uint32) | (end.astype(jnp.uint32) << FLAGS).reshape(flags.shape)
        kept = steps.extras if jax.tree.leaves(extras) else ()
        packed = step_rows.pack((steps.action, kept, steps.reward, flags))
        start = start_of(time)
        obs = write(rows.obs, obs_rows.pack(steps.obs).reshape(block, -1), start)
        packed = write(rows.steps, packed.reshape(block, -1), start)

        last = obs_rows.pack(steps.next_obs).reshape(block, -1)
        ends = write(rows.ends, last[-num_envs:], jnp.zeros((), jnp.int32))
        now, filled = time + num_steps, jnp.minimum(filled + num_steps, length)
        if every:
            ends = write(ends, last, num_envs + start)
            return Rows(obs, packed, ends, rows.end_time, now, filled, rows.num_ends)
        nowhere = room + jnp.arange(block)
        place = once(jnp.where(cut, end, nowhere))
        ends = ends.at[num_envs + place].set(last, mode="drop", unique_indices=True)
        # Steps up to the time of an end that is overwritten can no longer be drawn.
        lost = jnp.where(cut, rows.end_time[end], -1)
        row_time = time + jnp.arange(block) // num_envs
        end_time = rows.end_time.at[place].set(row_time, mode="drop", unique_indices=True)
        filled = jnp.minimum(filled, now - 1 - lost.max())
        num_ends = (rows.num_ends + order[-1]) % room
        return Rows(obs, packed, ends, end_time, now, filled, num_ends)

    def age_of(rows, index):
        """How many steps are newer than those at `index`."""
        return (rows.time - 1 - index // num_envs) % length

    def successors(rows, index, flags, newest):
        """Whether the observation after a step is in `ends`, `[..., 1]`, and the words there, `[..., W]`."""
        cut = _is_cut(flags)
        end = index if every else (flags >> FLAGS).astype(jnp.int32)
        place = jnp.where(cut, num_envs + end, index % num_envs)
        apart = cut | (newest & ((flags & TERMINATED) == 0))
        return apart[..., None], rows.ends[once(place)]

    def transitions(rows, index, n, gamma, probability):
        ahead = jnp.arange(n)[:, None]
        age = age_of(rows, index)
        within = once((index + ahead * num_envs) % total)  # [n, B]
        actions, kept, rewards, flags = step_rows.unpack(rows.steps[within])
        action, kept = jax.tree.map(lambda x: x[0], (actions, kept))
        reward, discount = jnp.zeros_like(rewards[0]), jnp.ones_like(rewards[0])
        going = jnp.ones(index.shape, bool)
        count = jnp.zeros(index.shape, jnp.int32)
        for k in range(n):
            reward = reward + jnp.where(going, discount * rewards[k], 0.0)
            discount = jnp.where(going, discount * gamma, discount)
            count = count + going
            going = going & ((flags[k] & (TERMINATED | TRUNCATED)) == 0) & (age > k)
        last = jnp.take_along_axis(within, count[None] - 1, axis=0)[0]
        last_flags = jnp.take_along_axis(flags, count[None] - 1, axis=0)[0]
        apart, there = successors(rows, last, last_flags, age == count - 1)
        terminated = (last_flags & TERMINATED) > 0
        next_row = jnp.where(terminated, last, (last + num_envs) % total)
        seen = rows.obs[once(jnp.stack([index, next_row]))]
        return Batch(
            obs=obs_rows.unpack(seen[0]),
            action=action,
            extras=kept,
            reward=reward,
            discount=jnp.where(terminated, 0.0, discount),
            next_obs=obs_rows.unpack(jnp.where(apart, there, seen[1])),
            row=index,
            probability=probability,
        )

    def sequences(rows, index, steps):
        ahead = jnp.arange(steps + 1)[:, None]
        within = once((index + ahead * num_envs) % total)  # [steps + 1, B]
        inside = within[:-1]
        action, kept, reward, flags = step_rows.unpack(rows.steps[inside])
        age = age_of(rows, index) - ahead[:-1]
        apart, there = successors(rows, inside, flags, age == 0)
        terminated = (flags & TERMINATED) > 0
        seen = rows.obs[within]
        after = jnp.where(terminated[..., None], seen[:-1], seen[1:])
        return Sequences(
            obs=obs_rows.unpack(seen[:-1]),
            first=(flags & FIRST) > 0,
            action=action,
            extras=kept,
            reward=reward,
            terminated=terminated,
            truncated=(flags & TRUNCATED) > 0,
            next_obs=obs_rows.unpack(jnp.where(apart, there, after)),
            mask=age >= 0,
            row=index,
        )

    return Storage(init, add, transitions, sequences, start_of, length, num_envs)


def _is_cut(flags):
    return (flags & (TERMINATED | TRUNCATED)) == TRUNCATED


def _require_block(steps, num_steps, num_envs):
    if steps.reward.shape != (num_steps, num_envs):
        raise ValueError(
            f"this replay takes {num_steps} steps of {num_envs} environments at a time, not rewards of the "
            f"shape {steps.reward.shape}: make it with num_steps and num_envs of the rollout"
        )
