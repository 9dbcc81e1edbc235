"""GA: the genetic algorithm of "Deep Neuroevolution", with novelty search if wanted.

    child = parent + sigma eps,   eps ~ N(0, I),   parent drawn from the elite and the best

One update is one generation: the elite and `num_members - 1` children play, the candidates for the elite play
once more, and the best of those is the next elite, which acts. It and the best members are the next parents.
The fitness of a member is its mean return over one whole episode in each of its environments (`jaxrl.fitness`
says what becomes of short and of unfinished ones). With an archive, parents are chosen by a blend of return
and novelty (`novelty_weight` 1 is novelty search); the elite is by return alone. Such et al. 2017,
https://arxiv.org/abs/1712.06567; the blend is that of Conti et al. 2018, https://arxiv.org/abs/1712.06560.

A genome is the chain of keys that made a policy (`jaxrl.genome`): a state holds `num_parents` chains and one
policy, the elite's, instead of `num_parents` policies. The price is that each generation makes its parents
anew: `num_parents` times the chain's length times the parameters in random numbers. `keep_parents` has their
parameters in the state instead, with the same results. Here the first generation are mutations of
`num_parents` random policies; in the paper it is random policies.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree

from jaxrl import fitness as fit
from jaxrl import genome as gen
from jaxrl import novelty as nov
from jaxrl.fields import explains_unknown, positive, share
from jaxrl.optimizers import progress
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Stream
from jaxrl.widths import narrowed


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """What compiles: counts, shapes and switches."""

    num_members: int = 128  # policies of a generation
    num_parents: int = 16  # of the next one: the elite, and the best by return or its blend with novelty
    num_envs: int = 1  # environments of each member, one episode in each
    num_steps: int = 500  # steps of each environment; as many as an episode can last
    num_candidates: int = 8  # for the elite: the last one and the best others
    elite_episodes: int = 16  # more episodes of each candidate, which decide; 0: the first ones do
    max_mutations: int = 1000  # of a chain: a lineage ends its search there, so as many as updates
    keep_parents: bool = False  # in the state: faster generations, a state as large as their parameters
    network: NetworkConfig = NetworkConfig(hidden_sizes=(16,))  # of the policy
    normalize_obs: bool = False  # by running mean and variance, frozen within a generation
    archive_size: int = 0  # behaviours that novelty is measured against; 0: only returns count
    archive_additions: int = 1  # behaviours that a generation adds to them
    num_neighbours: int = 10  # nearest behaviours whose mean distance is the novelty


@explains_unknown
@struct.dataclass
class Hparams:
    """What is traced: vary it in a population, evolve it."""

    sigma: float = positive(0.1)  # standard deviation of a mutation
    sigma_decay: float = share(0.0)  # share of sigma that is gone at the end, linearly; 0: constant
    novelty_weight: float = share(0.5)  # with an archive: 0 selects parents by return, 1 by novelty
    total_updates: float = float("inf")  # updates until all annealing ends; inf: as many as the run has


@struct.dataclass
class TrainState:
    """All that a run changes; `stream` are the starts of the next generation.

    `parents` `[num_parents]` are genomes, of which the first is the elite; `params` are the elite's, and
    `kept` those of all parents, or `()`.
    """

    key: jax.Array
    params: Any
    parents: gen.Genome
    kept: Any
    archive: Any
    stream: Stream
    obs_stats: Any
    num_updates: jax.Array


def make(
    env: Env, config: Config = Config(), behaviour: Callable | None = None, torso: nn.Module | None = None
) -> Algorithm:
    """The genetic algorithm in `env`: one environment that resets itself.

    Args:
      behaviour: of an episode, from its last observation: `(obs) -> [D]`; unless given that observation.
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count that makes no search, an option that does not fit the spaces.
    """
    require_selection(config)
    player = fit.player(env, config.num_steps, config.network, config.normalize_obs, torso)
    nov.require_behaviour(behaviour, config.archive_size)
    behave = fit.behaviour(env, behaviour)
    network = gen.network(jax.eval_shape(player.init, jax.random.key(0)))
    express = jax.vmap(partial(gen.express, network))
    play = jax.vmap(player.play, (0, None, None, None))

    def init(key, hp):
        key, parents_key, start_key = jax.random.split(key, 3)
        starts = jax.random.split(parents_key, config.num_parents)
        parents = jax.vmap(lambda start: gen.genome(start, config.max_mutations))(starts)
        elite = jax.tree.map(lambda x: x[0], parents)
        return TrainState(
            key=key,
            params=network.params(gen.express(network, elite)),
            parents=parents,
            kept=express(parents) if config.keep_parents else (),
            archive=nov.init(config.archive_size, fit.behaviour_size(env, behave)),
            stream=player.reset(start_key, config.num_envs),
            obs_stats=player.obs_stats,
            num_updates=jnp.zeros((), jnp.int32),
        )

    def update(state, hp):
        key, *keys = jax.random.split(state.key, 8)
        choice_key, mutation_key, play_key, start_key, elite_key, tie_key, archive_key = keys
        now = progress(state.num_updates, hp.total_updates)
        sigma = hp.sigma * (1.0 - hp.sigma_decay * now)

        # The generation: the elite, then children; `genomes` and `members` [P, ...].
        made = state.kept if config.keep_parents else express(state.parents)
        chosen = jax.random.randint(choice_key, (config.num_members - 1,), 0, config.num_parents)
        parents = jax.tree.map(lambda x: x[chosen], state.parents)
        mutations = jax.random.split(mutation_key, config.num_members - 1)
        genomes, members = jax.vmap(gen.mutate, (0, 0, 0, None))(parents, made[chosen], mutations, sigma)
        genomes = jax.tree.map(lambda old, new: jnp.concatenate([old[:1], new]), state.parents, genomes)
        members = jnp.concatenate([ravel_pytree(state.params)[0][None], members])

        policies = jax.vmap(network.params)(members)
        episodes = play(policies, state.obs_stats, play_key, state.stream)
        fitness = fit.mean_return(episodes)
        metrics = fit.episode_metrics(episodes, fitness)
        metrics["lineage/length"] = genomes.length.mean(dtype="float32")
        score, archive = fitness, state.archive
        if config.archive_size:
            behaviours = behave(episodes.last_obs)
            novelty = nov.novelty(behaviours, archive, config.num_neighbours)
            score = fit.blend(fitness, novelty, hp.novelty_weight)
            archive = nov.remember(archive, archive_key, behaviours, config.archive_additions)
            metrics["fitness/novelty"] = novelty.mean()

        # The elite: by more episodes, with chances that no member was chosen for.
        tie_key, elite_tie_key = jax.random.split(tie_key)
        best = select(elite_tie_key, fitness[1:], config.num_candidates - 1) + 1
        candidates = jnp.concatenate([jnp.zeros(1, jnp.int32), best])
        worth = fitness[candidates]
        if config.elite_episodes:
            elite_key, again_key = jax.random.split(elite_key)
            starts = player.reset(again_key, config.elite_episodes)
            tried = jax.tree.map(lambda x: x[candidates], policies)
            worth = fit.mean_return(play(tried, state.obs_stats, elite_key, starts))
        worth = jnp.where(jnp.isnan(worth), jnp.finfo(worth.dtype).min, worth)
        winner = candidates[jnp.argmax(worth)]
        metrics["fitness/elite"] = worth.max()

        survivors = jnp.append(winner, select(tie_key, score, config.num_parents - 1))
        obs_stats = state.obs_stats
        if config.normalize_obs:
            obs_stats = fit.observe(obs_stats, episodes.seen)
        state = state.replace(
            key=key,
            params=jax.tree.map(lambda x: x[winner], policies),
            parents=jax.tree.map(lambda x: x[survivors], genomes),
            kept=members[survivors] if config.keep_parents else (),
            archive=archive,
            stream=player.reset(start_key, config.num_envs),
            obs_stats=obs_stats,
            num_updates=state.num_updates + 1,
        )
        return state, metrics

    def act(state, memory, key, obs, first, action_mask=None):
        return player.act(state.params, state.obs_stats, memory, obs, first, action_mask)

    episodes = config.num_members * config.num_envs + config.num_candidates * config.elite_episodes
    return narrowed(Algorithm(init, update, act, Hparams(), steps_per_update=episodes * config.num_steps))


def require_selection(config: Config) -> None:
    """Raises ValueError for counts that make no selection."""
    require_counts(config, "num_members", "num_parents", "num_envs", "num_steps", "num_candidates")
    require_counts(config, "max_mutations", "num_neighbours")
    if config.elite_episodes < 0:
        raise ValueError(f"elite_episodes = {config.elite_episodes} must not be negative")
    nov.require_archive(config.archive_size, config.archive_additions, config.num_members)
    for name in ("num_parents", "num_candidates"):
        if getattr(config, name) >= config.num_members:
            raise ValueError(
                f"{name} = {getattr(config, name)} must be below num_members = {config.num_members}"
            )


def select(key, score, number: int) -> jax.Array:
    """Truncation selection: the places of the `number` best scores, the best first; equals by lot.

    What is not a number is worst.
    """
    known = jnp.where(jnp.isnan(score), -jnp.inf, score)
    lots = jax.random.uniform(key, score.shape)
    return jnp.lexsort((lots, -known))[:number]
