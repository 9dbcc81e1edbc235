"""ES: evolution strategies on a policy's parameters: OpenES, CMA-ES or SNES, optionally with novelty.

    theta_i = theta + sigma z_i,   i = 1 .. P
    theta <- theta + sigma learning_rate d
    OpenES:  d = Adam( 1/P sum_i rank_i z_i ),   z_i ~ N(0, I), antithetic
    SNES:    d = sum_i w_i z_i,   z_i ~ N(0, s^2), with an adapted deviation s for each parameter
    CMA-ES:  d = sum_i w_i z_i,   z_i ~ N(0, s^2 C), with adapted deviation and covariance

One update is one generation. `rank_i` and `w_i` depend only on the order of fitness. The fitness of a member
is its mean return over one whole episode in each of its environments, with the same initial states for all
members (see `jaxrl.fitness` for short and unfinished episodes). `act` uses the mean, theta.
With an archive, members are ordered by a blend of return and novelty (NSR-ES with one agent):

    score_i = (1 - novelty_weight) rank(return_i) + novelty_weight rank(novelty_i)

Salimans et al. 2017, https://arxiv.org/abs/1703.03864; Hansen 2016, https://arxiv.org/abs/1604.00772;
Wierstra et al. 2014, https://www.jmlr.org/papers/v15/wierstra14a.html; Conti et al. 2018,
https://arxiv.org/abs/1712.06560.
The methods are evosax's (https://github.com/RobertTLange/evosax), which minimizes, in units of sigma.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree

from jaxrl import fitness as fit
from jaxrl import novelty as nov
from jaxrl.evolution import evolution_strategy, require
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.optimizers import progress
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, PyTree, Stream
from jaxrl.widths import narrow, narrowed

MOST_OF_CMA = 2000  # parameters; each generation decomposes a matrix of that size


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    method: Literal["openes", "cmaes", "snes"] = "openes"  # cmaes: for networks of a few hundred parameters
    num_members: int = 64  # policies per generation; must be even for openes
    num_envs: int = 1  # environments per member, one episode in each
    num_steps: int = 500  # steps of each environment; the maximum length of an episode
    network: NetworkConfig = NetworkConfig(hidden_sizes=(16,))  # of the policy
    normalize_obs: bool = False  # by running mean and variance, frozen within a generation
    archive_size: int = 0  # behaviours in the novelty archive; 0: select by return only
    archive_additions: int = 1  # behaviours that each generation adds to the archive
    num_neighbours: int = 10  # novelty is the mean distance to this many nearest behaviours


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(0.5)  # of the mean, in units of sigma; 1 for CMA-ES and SNES
    lr_decay: float = share(0.0)  # fraction by which the rate decays linearly over the run; 0: constant
    sigma: float = positive(0.1)  # standard deviation of the perturbations; initial one for cmaes and snes
    sigma_decay: float = share(0.0)  # fraction by which sigma decays linearly over the run; 0: constant
    novelty_weight: float = share(0.5)  # with an archive: 0 ranks by return only, 1 by novelty only
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has


@struct.dataclass
class TrainState:
    """Everything that a run changes; `stream` has the initial states of the next generation."""

    key: jax.Array
    params: Any
    search: Any
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
    """An evolution strategy in `env`: one environment that resets itself.

    Args:
      behaviour: `(obs) -> [D]`, the behaviour of an episode from its last observation; by default that
        observation.
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: evosax is not installed, an invalid count, an option that does not fit the spaces.
    """
    require_search(config)
    player = fit.player(env, config.num_steps, config.network, config.normalize_obs, torso)
    nov.require_behaviour(behaviour, config.archive_size)
    behave = fit.behaviour(env, behaviour)
    size = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(player.init, jax.random.key(0))))
    es = strategy(config.method, config.num_members, size)

    def init(key, hp):
        key, params_key, start_key = jax.random.split(key, 3)
        return TrainState(
            key=key,
            params=player.init(params_key),
            search=es.init(),
            archive=nov.init(config.archive_size, fit.behaviour_size(env, behave)),
            stream=player.reset(start_key, config.num_envs),
            obs_stats=player.obs_stats,
            num_updates=jnp.zeros((), jnp.int32),
        )

    def update(state, hp):
        key, ask_key, play_key, start_key, tell_key, archive_key = jax.random.split(state.key, 6)
        now = progress(state.num_updates, hp.total_updates)
        sigma = hp.sigma * (1.0 - hp.sigma_decay * now)
        learning_rate = hp.learning_rate * (1.0 - hp.lr_decay * now)

        search, z = es.ask(ask_key, state.search)
        mean, unravel = ravel_pytree(state.params)
        members = jax.vmap(unravel)(mean + sigma * z)
        play = jax.vmap(player.play, (0, None, None, None))
        episodes = play(members, state.obs_stats, play_key, state.stream)
        fitness = fit.mean_return(episodes)

        score, archive = fitness, state.archive
        metrics = fit.episode_metrics(episodes, fitness)
        if config.archive_size:
            behaviours = behave(episodes.last_obs)
            novelty = nov.novelty(behaviours, archive, config.num_neighbours)
            score = fit.blend(fitness, novelty, hp.novelty_weight)
            archive = nov.remember(archive, archive_key, behaviours, config.archive_additions)
            metrics["fitness/novelty"] = novelty.mean()

        search, step = es.tell(tell_key, search, z, score)
        step = learning_rate * sigma * step
        metrics["grad/norm"] = jnp.linalg.norm(step)
        metrics["policy/perturbation"] = sigma * jnp.sqrt(jnp.square(z).mean())
        metrics["optimizer/learning_rate"] = learning_rate
        obs_stats = state.obs_stats
        if config.normalize_obs:
            obs_stats = fit.observe(obs_stats, episodes.seen)
        state = state.replace(
            key=key,
            params=unravel(mean + step),
            search=search,
            archive=archive,
            stream=player.reset(start_key, config.num_envs),
            obs_stats=obs_stats,
            num_updates=state.num_updates + 1,
        )
        return state, metrics

    def act(state, memory, key, obs, first, action_mask=None):
        return player.act(state.params, state.obs_stats, memory, obs, first, action_mask)

    steps = config.num_members * config.num_envs * config.num_steps
    return narrowed(Algorithm(init, update, act, Hparams(), steps, description=player.description))


def require_search(config: Config) -> None:
    """Raises ValueError for an invalid configuration."""
    require_counts(config, "num_members", "num_envs", "num_steps", "num_neighbours")
    nov.require_archive(config.archive_size, config.archive_additions, config.num_members)
    if config.num_members < 4:
        raise ValueError(f"num_members = {config.num_members} is too small: use at least 4")
    if config.method == "openes" and config.num_members % 2:
        raise ValueError(
            f"openes samples members in antithetic pairs: num_members = {config.num_members} must be even"
        )
    require("es")


class Tell(Protocol):
    def __call__(
        self, key: jax.Array, state: PyTree, z: jax.Array, score: jax.Array, /
    ) -> tuple[PyTree, jax.Array]:
        """`(state, step [D])` after members `z` `[P, D]` were scored `[P]`; a higher score is better."""


class Strategy(NamedTuple):
    """How members are sampled around a mean of 0, and the step of that mean."""

    init: Callable[[], PyTree]  # () -> state
    ask: Callable[[jax.Array, PyTree], tuple[PyTree, jax.Array]]  # (key, state) -> (state, z `[P, D]`)
    tell: Tell


def strategy(method: str, num_members: int, size: int) -> Strategy:
    """A search over `size` numbers by evosax, in units of the initial standard deviation.

        search = es.strategy("snes", num_members=16, size=3)
        state, z = search.ask(key, search.init())
        state, step = search.tell(key, state, z, score)    # the mean should move by `step`

    Equal scores have equal weights, or, for cmaes, are ordered at random; a score of `nan` is the worst.

    Raises:
      ValueError: an unknown method, or more parameters than CMA-ES can handle.
    """
    if method == "cmaes" and size > MOST_OF_CMA:
        raise ValueError(
            f"cmaes decomposes a matrix of {size} x {size} in every generation: use smaller hidden_sizes "
            f"(at most {MOST_OF_CMA} parameters), or method snes or openes"
        )
    es = evolution_strategy(method, num_members, jnp.zeros(size))

    def init():
        return es.init(jax.random.key(0), jnp.zeros(size))

    def ask(key, state):
        return narrow(es.ask(key, state))

    def tell(key, state, z, score):
        state = es.tell(key, state, z, score)
        # The mean of each generation is 0 for evosax, so that sigma and the learning rate can be traced.
        return state.replace(mean=jnp.zeros(size)), es.mean(state)

    return Strategy(init, ask, tell)


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
