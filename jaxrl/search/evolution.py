"""Evolution strategies of evosax over hyperparameters: every generation is trained from scratch."""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrl.evolution import by_lot, require, strong
from jaxrl.search.over import Decision, Strategy, fitness_of, for_seeds
from jaxrl.search.space import Space

METHODS = ("cmaes", "openes")
PARTS = 10  # parts of an agent's training; the last one gives its score


@struct.dataclass
class Generations:
    """The state of the strategy. Axes: `G` generations, `K` candidates, `S` seeds, `D` numbers searched.

    Attributes:
      es: the state of evosax.
      x: `[G, K, D]`, the candidates.
      score: `[G, K, S]`.
      mean: `[D]`, the current mean of the search.
    """

    es: object
    x: jax.Array
    score: jax.Array
    mean: jax.Array


def evolution(method: str, space: Space, slots: int, agent_updates: int, generations: int) -> Strategy:
    """A Strategy of CMA-ES (Hansen 2016, https://arxiv.org/abs/1604.00772) or OpenES (Salimans et al. 2017,
    https://arxiv.org/abs/1703.03864), as implemented in evosax.

    A candidate's fitness is the mean score over its seeds in the last tenth of their training, where an
    agent that diverged counts as the worst of its generation; the agents of each generation have different
    keys.

    Args:
      method: "cmaes" or "openes".
      slots: `K`, candidates of a generation; even for OpenES, which uses antithetic pairs.
      agent_updates: of each candidate's agents; rounded up to a multiple of ten.

    Raises:
      ValueError: evosax is not installed, or a number is invalid.
    """
    require(method)
    if slots < 4 or slots % 2:
        raise ValueError(f"an evolution strategy needs an even number of candidates, at least 4, not {slots}")
    if generations < 1:
        raise ValueError(f"generations = {generations} must be at least 1")
    every = -(-agent_updates // PARTS)
    agent_updates = every * PARTS
    size = len(space.centre)
    centre, scale = jnp.asarray(space.centre), jnp.asarray(space.scale)
    es, params = _make(method, slots, size)

    def ask(key, state):  # evosax works in units of `scale` around `centre`
        z, state = es.ask(key, state, params)
        return state, centre + scale * z

    def init(key, seeds):
        init_key, ask_key = jax.random.split(key)
        state, x = ask(ask_key, es.init(init_key, jnp.zeros(size), params))
        current = Generations(
            es=state,
            x=jnp.zeros((generations, slots, size)).at[0].set(x),
            score=jnp.zeros((generations, slots, seeds)),
            mean=centre,
        )
        return strong(current), for_seeds(x, seeds)

    def decide(key, current, x_now, score, alive, num_updates):
        del alive  # contained in the score
        tell_key, ask_key = jax.random.split(key)
        over = num_updates % agent_updates == 0  # otherwise only the score is reset
        generation = num_updates // agent_updates - 1
        fitness = fitness_of(score)
        if method == "cmaes":
            tell_key, lot_key = jax.random.split(tell_key)
            fitness = by_lot(lot_key, fitness)
        z = (current.x[generation] - centre) / scale
        state, _ = es.tell(tell_key, z, -fitness, current.es, params)  # evosax minimizes
        new_mean = centre + scale * state.mean
        state, x = ask(ask_key, state)
        seeds = score.shape[1]
        then = Generations(
            es=state,
            x=current.x.at[generation + 1].set(x, mode="drop"),
            score=current.score.at[generation].set(score),
            mean=new_mean,
        )
        current = jax.tree.map(lambda new, old: jnp.where(over, new, old), strong(then), current)
        # The last generation is kept after its evaluation, because another one would not be trained.
        more = over & (generation + 1 < generations)
        x = jnp.where(more, for_seeds(x, seeds), x_now)
        return Decision(current, x, fresh=jnp.broadcast_to(more, score.shape))

    updates = agent_updates * generations
    return Strategy(slots, every, agent_updates, updates, init, decide, renews=True)


def _make(method: str, slots: int, size: int):
    from evosax.algorithms import CMA_ES, Open_ES

    if method == "cmaes":
        es = CMA_ES(population_size=slots, solution=jnp.zeros(size))
    else:
        es = Open_ES(
            population_size=slots,
            solution=jnp.zeros(size),
            optimizer=optax.adam(0.2),
            std_schedule=optax.constant_schedule(0.5),
        )
    return es, es.default_params
