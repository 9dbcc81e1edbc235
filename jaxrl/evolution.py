"""Evolution strategies of evosax (https://github.com/RobertTLange/evosax), as values of one kind.

They are used by the algorithm `es`, by the searches for hyperparameters, and by the discovery of objectives.
"""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from jaxrl.names import lookup
from jaxrl.types import PyTree


class Tell(Protocol):
    def __call__(self, key: jax.Array, state: Any, candidates: PyTree, fitness: jax.Array, /) -> Any:
        """The state after candidates `[P, ...]` had a fitness `[P]`; higher is better."""


class EvolutionStrategy(NamedTuple):
    """Candidates around a mean, which moves towards the better ones. All functions can be traced.

    Attributes:
      init: `(key, mean) -> state`.
      ask: `(key, state) -> (state, candidates)`, the latter `[P, ...]`.
      tell: `(key, state, candidates, fitness) -> state`.
      mean: `(state) -> mean`.
    """

    init: Callable[[jax.Array, PyTree], Any]
    ask: Callable[[jax.Array, Any], tuple[Any, PyTree]]
    tell: Tell
    mean: Callable[[Any], PyTree]


def evolution_strategy(
    method: str,
    num_candidates: int,
    solution: PyTree,
    learning_rate: float = 1.0,
    std: float = 1.0,
    ranks: bool = True,
    constants: bool = False,
) -> EvolutionStrategy:
    """An evolution strategy over trees of numbers like `solution`.

    "openes" has antithetic pairs, Adam and a constant standard deviation (Salimans et al. 2017,
    https://arxiv.org/abs/1703.03864); "cmaes" adapts a covariance matrix (Hansen 2016,
    https://arxiv.org/abs/1604.00772), "snes" a standard deviation for each number (Wierstra et al. 2014,
    https://www.jmlr.org/papers/v15/wierstra14a.html), both from 1.

    Only the order of fitness counts. Equal fitness has equal weight, or, for cmaes, a random order: see
    `by_lot`.

    Args:
      num_candidates: `P`, per generation; even for openes.
      learning_rate: of the mean, for openes.
      std: of the candidates around the mean, for openes.
      ranks: whether openes replaces fitness by centred ranks; False: it is used as it is given.
      constants: whether the weights of cmaes and snes are computed here and are constants of the program.
        Otherwise the program computes them, and they can differ in the last bit.

    Raises:
      ValueError: an unknown method, or evosax is not installed.
    """
    require(f"the evolution strategy {method}")
    from evosax.algorithms import CMA_ES, SNES, Open_ES
    from evosax.core.fitness_shaping import identity_fitness_shaping_fn

    kind = lookup("method", {"openes": Open_ES, "cmaes": CMA_ES, "snes": SNES}, method)
    options: dict[str, Any] = {}
    if method == "openes":
        options |= {"optimizer": optax.adam(learning_rate), "std_schedule": optax.constant_schedule(std)}
        options |= {} if ranks else {"fitness_shaping_fn": identity_fitness_shaping_fn}
    es = kind(num_candidates, solution, **options)
    fixed = es.default_params if constants else None

    def params():
        return es.default_params if fixed is None else fixed

    def init(key, mean):
        return strong(es.init(key, mean, params()))

    def ask(key, state):
        candidates, state = es.ask(key, state, params())
        return strong(state), candidates

    def tell(key, state, candidates, fitness):
        if method == "cmaes":
            key, lot_key = jax.random.split(key)
            fitness = by_lot(lot_key, fitness)
        state, _ = es.tell(key, candidates, -fitness, state, params())  # evosax minimizes
        return strong(state)

    if method == "cmaes" and jax.default_backend() == "cpu":
        # A batched eigendecomposition can deadlock (docs/thread_pool.md): one after another.
        ask = jax.custom_batching.sequential_vmap(ask)
    return EvolutionStrategy(init, ask, tell, es.get_mean)


def require(who: str) -> None:
    """Raises ValueError, with the remedy, if evosax, which `who` needs, is not installed."""
    if importlib.util.find_spec("evosax") is None:
        raise ValueError(f"{who} needs the extra: pip install 'jaxrl[evolution]'")


def strong(tree: PyTree) -> PyTree:
    """Removes the weak types in states of evosax, which would differ from those of the next generation."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), tree)


def by_lot(key: jax.Array, score: jax.Array) -> jax.Array:
    """Ranks of scores `[P]`, from 0 for the worst: ties in random order, `nan` lowest.

    CMA-ES has a weight for each rank. evosax gives ties the weight of their mean rank, which on a plateau is
    the same small weight for all: the step becomes short, and the step size control keeps shrinking it.
    """
    known = jnp.where(jnp.isnan(score), -jnp.inf, score)
    order = jnp.lexsort((jax.random.uniform(key, score.shape), known))
    places = jnp.arange(score.shape[0], dtype=jnp.float32)
    return jnp.zeros(score.shape[0]).at[order].set(places)
