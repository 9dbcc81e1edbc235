"""Running means and variances that are part of a state, to normalize observations and scale rewards."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.types import Number


@struct.dataclass
class RunningStats:
    """Mean and variance of all values so far, `[...]` per feature, and their number."""

    mean: jax.Array
    var: jax.Array
    count: jax.Array


def init(shape: tuple[int, ...] = ()) -> RunningStats:
    """Statistics of no values: normalizing with them only clips very large values."""
    mean, var = (jnp.full(shape, fill, jnp.float32) for fill in (0.0, 1.0))
    return RunningStats(mean, var, jnp.zeros((), jnp.float32))


def update(stats: RunningStats, batch: jax.Array) -> RunningStats:
    """Adds a batch `[..., *shape]` with any leading axes; same result as adding all values at once."""
    axes = tuple(range(batch.ndim - stats.mean.ndim))
    batch = batch.astype(jnp.float32)
    size = jnp.asarray(batch.size / max(stats.mean.size, 1), jnp.float32)
    return merge(stats, batch.mean(axes), batch.var(axes), size)


def merge(stats: RunningStats, mean: jax.Array, var: jax.Array, size: Number) -> RunningStats:
    """Adds `size` values with known mean and variance `[*shape]`; `size` 0 changes nothing.

    The pairwise update of Chan, Golub and LeVeque 1983. https://doi.org/10.2307/2683386
    """
    count = stats.count + size
    delta = mean - stats.mean
    share = jnp.maximum(count, 1.0)
    new_mean = stats.mean + delta * size / share
    spread = stats.var * stats.count + var * size + delta**2 * stats.count * size / share
    return RunningStats(new_mean, jnp.where(count > 0, spread / share, stats.var), count)


def normalize(stats: RunningStats, x: jax.Array, clip: float = 10.0) -> jax.Array:
    """`(x - mean) / std`, clipped at `clip` standard deviations; `x` is `[..., *shape]`. `()`: x."""
    if not jax.tree.leaves(stats):
        return x
    return jnp.clip((x - stats.mean) * jax.lax.rsqrt(stats.var + 1e-8), -clip, clip)


@struct.dataclass
class RewardStats:
    """The running discounted return of each environment `[N]`, and its statistics."""

    discounted: jax.Array
    returns: RunningStats


def init_reward(num_envs: int) -> RewardStats:
    return RewardStats(jnp.zeros((num_envs,), jnp.float32), init())


def update_reward(stats: RewardStats, reward: jax.Array, done: jax.Array, gamma: Number) -> RewardStats:
    """Adds the rewards of a rollout `[T, N]`.

        R_t = gamma * (1 - done_{t-1}) * R_{t-1} + r_t

    The sum is reset after the last reward of an episode, so that it does not leak into the next episode.
    With `()` instead of statistics, nothing is added.
    """
    if not jax.tree.leaves(stats):
        return stats

    def step(discounted, now):
        reward_t, done_t = now
        discounted = gamma * discounted + reward_t
        return jnp.where(done_t, 0.0, discounted), discounted

    discounted, returns = jax.lax.scan(step, stats.discounted, (reward, done))
    return RewardStats(discounted, update(stats.returns, returns.reshape(-1)))


def scale_reward(stats: RewardStats, reward: jax.Array, clip: float = 10.0) -> jax.Array:
    """Rewards divided by the standard deviation of the discounted return, clipped at `clip`; not centred.

    With `()` instead of statistics, the rewards are returned unchanged.
    """
    if not jax.tree.leaves(stats):
        return reward
    return jnp.clip(reward * jax.lax.rsqrt(stats.returns.var + 1e-8), -clip, clip)
