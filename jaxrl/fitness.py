"""What policies are worth to those who search without gradients: returns of whole episodes, and ranks.

A member of a population plays exactly one episode in each of its environments, in a fixed number of steps.
What an environment does after the end of that episode is stepped, as it must be in one program, and not
counted: otherwise short episodes, of which more fit into the steps, would have more say. An episode that
is still running when the steps are over counts with what it has so far; give as many steps as an episode
can last. All members of a generation meet the same starts and the same chances (common random numbers),
opposite pairs among them, so that they differ by what they do alone. Axes: `P` members, `N` environments.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from jaxrl import distributions, networks, policies, stats
from jaxrl.cpu import hoist
from jaxrl.policies import NetworkConfig
from jaxrl.rollout import vectorize
from jaxrl.types import Env, Metrics, Number, PyTree, Stream

Behaviour = Callable[[PyTree], jax.Array]  # (obs) -> `[D]`, or of a population `[P, N, ...]` -> `[P, D]`


@struct.dataclass
class Episodes:
    """The first episode of each environment; leaves `[N, ...]`, or `[P, N, ...]` of a population.

    `finished` is false for an episode that ran out of steps. `last_obs` is where it ended. `seen` are the
    statistics of its observations, encoded, a `RunningStats` of each environment, or `()`.
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
    """A deterministic policy network for an environment, and how it is played."""

    init: Callable[[jax.Array], PyTree]  # (key) -> params
    reset: Callable[[jax.Array, int], Stream]  # (key, num_envs) -> stream
    act: PlayerAct
    play: Play
    obs_stats: PyTree  # before anything was seen; () where observations are not normalized


def player(
    env: Env,
    num_steps: int,
    network: NetworkConfig = NetworkConfig(),
    normalize_obs: bool = False,
    torso: nn.Module | None = None,
) -> Player:
    """A network that takes the most likely action, in `env`: one environment that resets itself.

    Args:
      num_steps: steps of each environment when a member plays.
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
        # The spread around the most likely action does not matter: it is not searched.
        outputs = jnp.concatenate([outputs, jnp.zeros((*outputs.shape[:-1], num_log_stds))], axis=-1)
        return memory, policy.bound(policy.distribution(outputs, action_mask).mode())

    def play(params, obs_stats, key, stream):
        num_envs = stream.timestep.reward.shape[0]
        envs = vectorize(env, num_envs)

        def step(carry, key):
            env_state, now, memory, was = carry
            mask = now.info.get("action_mask")
            memory, action = act(params, obs_stats, memory, now.obs, now.first, mask)
            env_state, then = envs.step(key, env_state, action)
            counts = ~was.finished
            seen = was.seen
            if normalize_obs:
                x = policy.encode((), now.obs)
                x = jnp.where(_like(counts, x), x, seen.mean)  # not what follows the end, finite or not
                seen = jax.vmap(stats.merge)(seen, x, jnp.zeros_like(x), counts.astype(jnp.float32))
            now_played = Episodes(
                returns=was.returns + jnp.where(counts, then.reward, 0.0),
                lengths=was.lengths + counts,
                finished=was.finished | then.done,
                last_obs=jax.tree.map(
                    lambda new, old: jnp.where(_like(counts, new), new, old), then.next_obs, was.last_obs
                ),
                seen=seen,
            )
            return (env_state, then, memory, now_played), ()

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
        carry = (stream.env_state, stream.timestep, stream.memory, none)
        return hoist.scan(step, carry, jax.random.split(key, num_steps))[0][-1]

    start = stats.init(policy.obs_shape) if normalize_obs else ()
    return Player(policy.init, reset, act, play, start)


def _like(flags, x):
    """Flags `[N]` with as many axes as `x` `[N, ...]`."""
    return flags.reshape(flags.shape + (1,) * (x.ndim - flags.ndim))


def observe(obs_stats: stats.RunningStats, seen: stats.RunningStats) -> stats.RunningStats:
    """Running statistics after a generation; `seen` as in `Episodes`, `[P, N]`.

    The variance is that within episodes and that between their means, never a difference of two large sums:
    in float32 that would lose a spread that is small beside the mean.
    """
    # A member that diverged is the worst, and nothing that the others are normalised by.
    fine = (jnp.isfinite(seen.mean) & jnp.isfinite(seen.var)).reshape(*seen.count.shape, -1).all(axis=-1)
    count = jnp.where(fine, seen.count, 0.0)
    size = count.sum()
    share = _like(count / jnp.maximum(size, 1.0), seen.mean)
    axes = tuple(range(count.ndim))

    def average(x):
        return (share * jnp.where(_like(fine, x), x, 0.0)).sum(axes)

    mean = average(seen.mean)
    mean = mean + average(seen.mean - mean)  # what the first sum has lost by rounding
    var = average(seen.var + jnp.square(seen.mean - mean))
    return stats.merge(obs_stats, mean, var, size)


def mean_return(episodes: Episodes) -> jax.Array:
    """The fitness of each member `[P]`; `nan` where a return is not a finite number."""
    mean = episodes.returns.mean(axis=-1)
    return jnp.where(jnp.isfinite(mean), mean, jnp.nan)


def centred_ranks(fitness: jax.Array) -> jax.Array:
    """Ranks from -1/2, the worst, to 1/2, the best; equals share the mean of their ranks.

    So a fitness that all have moves nobody, and no member gains by its place. What is not a number is worst.
    Salimans et al. 2017 (who break ties by place), https://arxiv.org/abs/1703.03864

    Args:
      fitness: `[P]`, at least two.
    """
    known = jnp.where(jnp.isnan(fitness), -jnp.inf, fitness)
    # All pairs are fewer operations than a sort, up to thousands of members.
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
    """`(1 - weight) rank(fitness) + weight rank(novelty)` `[P]`: quality and novelty in one order.

    NSR-ES weighs them alike, NS-ES takes novelty alone. Conti et al. 2018, https://arxiv.org/abs/1712.06560
    """
    return (1.0 - weight) * centred_ranks(fitness) + weight * centred_ranks(novelty)


def behaviour(env: Env, function: Behaviour | None = None) -> Behaviour:
    """`(last_obs [P, N, ...]) -> [P, D]`: the mean over a member's episodes of what `function` says of each.

    Args:
      function: `(obs) -> [D]`, of the last observation of an episode; that observation, flat, unless given.
    """
    function = function or partial(networks.encode, env.observation_space)

    def of_members(last_obs):
        each = jax.vmap(jax.vmap(function))(last_obs)
        return each.reshape((*each.shape[:2], -1)).astype(jnp.float32).mean(axis=1)

    return of_members


def behaviour_size(env: Env, of_members: Behaviour) -> int:
    """Numbers of a behaviour, as `behaviour` makes it."""

    def example(key):
        return of_members(jax.tree.map(lambda x: x[None], vectorize(env, 1).reset(key)[1].obs))

    return jax.eval_shape(example, jax.random.key(0)).shape[1]
