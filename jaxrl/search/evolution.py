"""Evolution strategies over hyperparameters: every generation is trained from scratch."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl.evolution import evolution_strategy, strong
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
    """A Strategy of CMA-ES or OpenES: see `jaxrl.evolution`.

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
    if slots < 4 or slots % 2:
        raise ValueError(f"an evolution strategy needs an even number of candidates, at least 4, not {slots}")
    if generations < 1:
        raise ValueError(f"generations = {generations} must be at least 1")
    every = -(-agent_updates // PARTS)
    agent_updates = every * PARTS
    size = len(space.centre)
    centre, scale = jnp.asarray(space.centre), jnp.asarray(space.scale)
    # In units of `scale` around `centre`.
    es = evolution_strategy(method, slots, jnp.zeros(size), learning_rate=0.2, std=0.5, constants=True)

    def ask(key, state):
        state, z = es.ask(key, state)
        return state, centre + scale * z

    def init(key, seeds):
        init_key, ask_key = jax.random.split(key)
        state, x = ask(ask_key, es.init(init_key, jnp.zeros(size)))
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
        z = (current.x[generation] - centre) / scale
        state = es.tell(tell_key, current.es, z, fitness_of(score))
        new_mean = centre + scale * es.mean(state)
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
