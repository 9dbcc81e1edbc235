"""Discovery of policy objectives by evolution over whole training runs: `make` from families of tasks.

    family = Family("mine", draw, score, hparams, steps=1000)  # tasks, and how an agent scores in one
    found = discovery.make(objectives.lpo(), (family,), discovery.Config(), num_seeds=3)
    state = found.init(keys, ())
    state, metrics = jax.jit(found.update)(state, ())  # one generation
    found.means(state)  # parameters of the objectives, [3, ...]

`discovery.training` makes the family of an algorithm in an environment, `discovery.distil` fits formulas.
"""

from jaxrl.discovery.evolve import Config, Discovery, State, make
from jaxrl.discovery.family import Family

__all__ = ["Config", "Discovery", "Family", "State", "make"]
