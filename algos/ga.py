"""GA: the genetic algorithm of "Deep Neuroevolution", optionally with novelty search.

    child = parent + sigma eps,   eps ~ N(0, I),   parent sampled from the elite and the best

One update is one generation: the elite and `num_members - 1` children are evaluated, the candidates for the
elite are evaluated again, and the best of these is the next elite, which `act` uses. The elite and the best
members are the next parents. The fitness of a member is its mean return over one whole episode in each of its
environments (see `jaxrl.fitness` for short and unfinished episodes). With an archive, parents are selected by
a blend of return and novelty (`novelty_weight` 1 is novelty search); the elite is selected by return only.
Such et al. 2017, https://arxiv.org/abs/1712.06567; the blend is that of Conti et al. 2018,
https://arxiv.org/abs/1712.06560.

A genome is the chain of keys that generated a policy (`jaxrl.genome`): a state stores `num_parents` genomes
and the policy of the elite instead of `num_parents` policies. The cost is that each generation reconstructs
its parents, which takes `num_parents` times the genome's length times the parameters in random numbers.
`keep_parents` stores their parameters in the state instead, with the same results. Here the first generation
consists of mutations of `num_parents` random policies; in the paper, of random policies.
"""

import dataclasses
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
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_members: int = 128  # policies per generation
    num_parents: int = 16  # the elite, and the best others by return or its blend with novelty
    num_envs: int = 1  # environments per member, one episode in each
    num_steps: int = 500  # steps of each environment; the maximum length of an episode
    num_candidates: int = 8  # candidates for the elite: the previous one and the best others
    elite_episodes: int = 16  # additional episodes per candidate that select the elite; 0: none
    max_mutations: int = 1000  # per genome; a full genome no longer changes, so at least as many as updates
    keep_parents: bool = False  # store the parents' parameters in the state: faster, more memory
    network: NetworkConfig = NetworkConfig(hidden_sizes=(16,))  # of the policy
    normalize_obs: bool = False  # by running mean and variance, frozen within a generation
    archive_size: int = 0  # behaviours in the novelty archive; 0: select by return only
    archive_additions: int = 1  # behaviours that each generation adds to the archive
    num_neighbours: int = 10  # novelty is the mean distance to this many nearest behaviours


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    sigma: float = positive(0.1)  # standard deviation of a mutation
    sigma_decay: float = share(0.0)  # fraction by which sigma decays linearly over the run; 0: constant
    novelty_weight: float = share(0.5)  # with an archive: 0 selects parents by return, 1 by novelty
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has


@struct.dataclass
class TrainState:
    """Everything that a run changes; `stream` has the initial states of the next generation.

    `parents` `[num_parents]` are genomes, the first of which is the elite; `params` are the parameters of the
    elite, and `kept` those of all parents, or `()`.
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
    env: Env,
    config: Config = Config(),
    behaviour: fit.Behaviour | None = None,
    torso: nn.Module | None = None,
) -> Algorithm:
    """The genetic algorithm in `env`: one environment that resets itself.

    Args:
      behaviour: `(obs) -> [D]`, the behaviour of an episode from its last observation; by default that
        observation.
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: an invalid count, an option that does not fit the spaces.
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

        # The elite is selected by additional episodes, whose random events did not influence the candidates.
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
    steps = episodes * config.num_steps
    return narrowed(Algorithm(init, update, act, Hparams(), steps, description=player.description))


def require_selection(config: Config) -> None:
    """Raises ValueError for invalid counts."""
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


def select(key: jax.Array, score: jax.Array, number: int) -> jax.Array:
    """Truncation selection: the indices of the `number` best scores, the best first; ties in random order.

    `nan` is the worst.
    """
    known = jnp.where(jnp.isnan(score), -jnp.inf, score)
    lots = jax.random.uniform(key, score.shape)
    return jnp.lexsort((lots, -known))[:number]


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
