"""The fitness of policies for gradient-free search: returns of whole episodes, and ranks.

A member of a population plays exactly one episode in each of its environments, in a fixed number of steps.
The steps after the end of that episode are computed, as a fixed program requires, but ignored: otherwise
short episodes, of which more fit into the steps, would have a larger weight. An episode that has not ended
after the last step counts with its return so far; the number of steps should be the maximum length of an
episode. All members of a generation have the same initial states and random numbers (common random numbers),
including antithetic pairs, so that they differ only in their actions. Axes: `P` members, `N` environments.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from jaxrl import distributions, encoding, policies, stats
from jaxrl.cpu import hoist
from jaxrl.policies import NetworkConfig
from jaxrl.rollout import interact, vectorize, without_extras
from jaxrl.types import Env, Metrics, Number, PyTree, Stream

Behaviour = Callable[[PyTree], jax.Array]  # (obs) -> `[D]`, or of a population `[P, N, ...]` -> `[P, D]`


@struct.dataclass
class Episodes:
    """The first episode of each environment; leaves `[N, ...]`, or `[P, N, ...]` of a population.

    `finished` is false for an episode that had not ended after the last step. `last_obs` is the last
    observation. `seen` are the statistics of the encoded observations, a `RunningStats` for each environment,
    or `()`.
    """

    returns: jax.Array
    lengths: jax.Array
    finished: jax.Array
    last_obs: PyTree
    seen: PyTree


class PlayerAct(Protocol):
    def __call__(
        self,
        params: PyTree,
        obs_stats: PyTree,
        memory: PyTree,
        obs: PyTree,
        first: jax.Array,
        /,
        action_mask: jax.Array | None = None,
    ) -> tuple[PyTree, PyTree]:
        """The most likely actions in `N` environments; returns `(memory, action)`, leaves `[N, ...]`."""


class Play(Protocol):
    def __call__(self, params: PyTree, obs_stats: PyTree, key: jax.Array, stream: Stream, /) -> Episodes:
        """Plays the first episode of each environment of `stream`, leaves `[N, ...]`."""


class Player(NamedTuple):
    """A deterministic policy network for an environment, and the functions that play it."""

    init: Callable[[jax.Array], PyTree]  # (key) -> params
    reset: Callable[[jax.Array, int], Stream]  # (key, num_envs) -> stream
    act: PlayerAct
    play: Play
    obs_stats: PyTree  # initial statistics; () if observations are not normalized
    description: policies.Description | None = None  # of the policy; None: it has a custom torso


def player(
    env: Env,
    num_steps: int,
    network: NetworkConfig = NetworkConfig(),
    normalize_obs: bool = False,
    torso: nn.Module | None = None,
) -> Player:
    """A network that takes the most likely action, in `env`: one auto-resetting environment.

    Args:
      num_steps: steps of each environment, for every member.
      torso: a flax module `[..., *obs] -> [..., F]` instead of the one that `network` names.

    Raises:
      ValueError: an option that does not fit the spaces.
    """
    policy = policies.actor(env, network, torso)
    num_log_stds = distributions.num_log_stds(env.action_space)

    def reset(key, num_envs):
        env_state, timestep = vectorize(env, num_envs).reset(key)
        return Stream(env_state, timestep, policy.initial_memory(num_envs))

    def act(params, obs_stats, memory, obs, first, action_mask=None):
        memory, outputs = policy.step(params, memory, policy.encode(obs_stats, obs), first)
        # Only the most likely action is used: standard deviations are not among the parameters.
        outputs = jnp.concatenate([outputs, jnp.zeros((*outputs.shape[:-1], num_log_stds))], axis=-1)
        return memory, policy.bound(policy.distribution(outputs, action_mask).mode())

    def play(params, obs_stats, key, stream):
        num_envs = stream.timestep.reward.shape[0]
        envs = vectorize(env, num_envs)

        @without_extras
        def most_likely(memory, _, obs, first, action_mask):
            return act(params, obs_stats, memory, obs, first, action_mask)

        def step(carry, key):
            stream, was = carry
            stream, now = interact(envs, most_likely, stream, (None, key))
            counts = ~was.finished
            seen = was.seen
            if normalize_obs:
                x = policy.encode((), now.obs)
                x = jnp.where(_like(counts, x), x, seen.mean)  # not the steps after the end
                seen = jax.vmap(stats.merge)(seen, x, jnp.zeros_like(x), counts.astype(jnp.float32))
            now_played = Episodes(
                returns=was.returns + jnp.where(counts, now.reward, 0.0),
                lengths=was.lengths + counts,
                finished=was.finished | now.done,
                last_obs=jax.tree.map(
                    lambda new, old: jnp.where(_like(counts, new), new, old), now.next_obs, was.last_obs
                ),
                seen=seen,
            )
            return (stream, now_played), ()

        nothing = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (num_envs, *x.shape)), stats.init(policy.obs_shape)
        )
        none = Episodes(
            returns=jnp.zeros(num_envs),
            lengths=jnp.zeros(num_envs, jnp.int32),
            finished=jnp.zeros(num_envs, bool),
            last_obs=stream.timestep.next_obs,
            seen=nothing if normalize_obs else (),
        )
        return hoist.scan(step, (stream, none), jax.random.split(key, num_steps))[0][-1]

    start = stats.init(policy.obs_shape) if normalize_obs else ()
    return Player(policy.init, reset, act, play, start, policy.description)


def _like(flags, x):
    """Flags `[N]` reshaped to broadcast against `x` `[N, ...]`."""
    return flags.reshape(flags.shape + (1,) * (x.ndim - flags.ndim))


def observe(obs_stats: stats.RunningStats, seen: stats.RunningStats) -> stats.RunningStats:
    """Running statistics after a generation; `seen` as in `Episodes`, `[P, N]`.

    The variance is the sum of that within episodes and that between their means. A difference of two large
    sums would lose precision in float32 where the standard deviation is small compared with the mean.
    """
    # Observations of a member that diverged are left out, so that the others are not normalized by them.
    fine = (jnp.isfinite(seen.mean) & jnp.isfinite(seen.var)).reshape(*seen.count.shape, -1).all(axis=-1)
    count = jnp.where(fine, seen.count, 0.0)
    size = count.sum()
    share = _like(count / jnp.maximum(size, 1.0), seen.mean)
    axes = tuple(range(count.ndim))

    def average(x):
        return (share * jnp.where(_like(fine, x), x, 0.0)).sum(axes)

    mean = average(seen.mean)
    mean = mean + average(seen.mean - mean)  # corrects the rounding error of the first sum
    var = average(seen.var + jnp.square(seen.mean - mean))
    return stats.merge(obs_stats, mean, var, size)


def mean_return(episodes: Episodes) -> jax.Array:
    """The fitness of each member `[P]`; `nan` where a return is not finite."""
    mean = episodes.returns.mean(axis=-1)
    return jnp.where(jnp.isfinite(mean), mean, jnp.nan)


def centred_ranks(fitness: jax.Array) -> jax.Array:
    """Ranks from -1/2, the worst, to 1/2, the best; tied members all have the mean of their ranks.

    Therefore a fitness that is equal for all gives no step, and ranks do not depend on the order of members.
    `nan` is the worst. Salimans et al. 2017 (who break ties by position), https://arxiv.org/abs/1703.03864

    Args:
      fitness: `[P]`, at least two.
    """
    known = jnp.where(jnp.isnan(fitness), -jnp.inf, fitness)
    # Comparing all pairs takes fewer operations than a sort, up to thousands of members.
    better = (known[:, None] > known).sum(axis=1) - (known[:, None] < known).sum(axis=1)
    return 0.5 * better / (fitness.shape[0] - 1)


def episode_metrics(episodes: Episodes, fitness: jax.Array) -> Metrics:
    """`episode/...`, sums over the episodes that ended, as in `rollout`; mean and best fitness."""
    known = jnp.isfinite(fitness)
    ended = episodes.finished & jnp.isfinite(episodes.returns)
    lowest = jnp.min(fitness, initial=0.0, where=known)
    return {
        "episode/count": ended.sum(dtype="float32"),
        "episode/return_sum": jnp.where(ended, episodes.returns, 0.0).sum(),
        "episode/length_sum": jnp.where(ended, episodes.lengths, 0).sum(dtype="float32"),
        "fitness/mean": jnp.where(known, fitness, 0.0).sum() / jnp.maximum(known.sum(), 1),
        "fitness/best": jnp.max(fitness, initial=lowest, where=known),
        "fitness/broken_sum": (~known).sum(dtype="float32"),
    }


def blend(fitness: jax.Array, novelty: jax.Array, weight: Number) -> jax.Array:
    """`(1 - weight) rank(fitness) + weight rank(novelty)` `[P]`: a weighted sum of quality and novelty.

    NSR-ES has a weight of 1/2, NS-ES of 1. Conti et al. 2018, https://arxiv.org/abs/1712.06560
    """
    return (1.0 - weight) * centred_ranks(fitness) + weight * centred_ranks(novelty)


def behaviour(env: Env, function: Behaviour | None = None) -> Behaviour:
    """`(last_obs [P, N, ...]) -> [P, D]`: the mean of `function` over the episodes of a member.

    Args:
      function: `(obs) -> [D]` of the last observation of an episode; by default that observation, flattened.
    """
    function = function or partial(encoding.encode, env.observation_space)

    def of_members(last_obs):
        each = jax.vmap(jax.vmap(function))(last_obs)
        return each.reshape((*each.shape[:2], -1)).astype(jnp.float32).mean(axis=1)

    return of_members


def behaviour_size(env: Env, of_members: Behaviour) -> int:
    """The number of values in a behaviour as returned by `behaviour`."""

    def example(key):
        return of_members(jax.tree.map(lambda x: x[None], vectorize(env, 1).reset(key)[1].obs))

    return jax.eval_shape(example, jax.random.key(0)).shape[1]
