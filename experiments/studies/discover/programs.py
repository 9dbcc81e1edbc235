"""The programs of a discovery, made from its specification."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxrl import sources, train
from jaxrl.discovery import evolve
from jaxrl.discovery.family import filled, repeated, tables
from jaxrl.evaluate import Evaluation
from jaxrl.experiments.studies.discover import memory
from jaxrl.experiments.studies.discover.spec import Spec, check, start
from jaxrl.experiments.studies.discover.worlds import family, held_out
from jaxrl.programs import Programs, boundaries


def build(spec: Spec) -> Programs:
    """Makes families and programs of a Spec; compiles nothing yet.

    Raises:
      ValueError: invalid settings, in one sentence.
    """
    check(spec)
    families = tuple(family(world) for world in spec.worlds)
    memory.require(spec, families)
    objective = start(spec)
    if not jax.tree.leaves(objective.params):
        name = sources.shown(spec.objective)
        raise ValueError(f"{name} has no parameters to evolve: use lpo, ta_lpo or dpo")
    discovery = evolve.make(objective, families, spec.evolve, spec.seeds)
    where = NamedSharding(train.mesh(spec.seeds * spec.evolve.population), PartitionSpec())

    def evaluate(state, keys):
        del keys  # the same tasks in every evaluation, so that the curve shows progress
        hps = [repeated(one.hparams, spec.seeds) for one in families]
        tasks, keys = zip(*[held_out(one, spec.eval_episodes) for one in families])
        on_tasks = tables(families, objective.apply, discovery.means(state), hps, tasks, keys)
        scores = filled(on_tasks).mean(axis=0)
        steps = sum(one.steps for one in families)
        return Evaluation(scores, jnp.full(scores.shape, steps), jnp.ones(scores.shape, bool))

    return Programs(
        # It has what programs need of an Algorithm.
        algo=discovery._replace(update=jax.jit(discovery.update)),  # type: ignore[arg-type]  # see above
        hp=(),
        seeds=spec.lane_seeds,
        num_updates=spec.generations,
        agent_updates=spec.generations,
        ends=boundaries(spec.generations, spec.intervals),
        reported=spec.seeds,
        eval_episodes=spec.eval_episodes,
        identity=spec.to_json(),
        init=jax.jit(lambda keys: discovery.init(keys, ()), out_shardings=where),
        evaluate=jax.jit(evaluate, out_shardings=where),
        sharding=where,
        hp_sharding=where,
        state_sharding=where,
        agents=discovery.means,
    )
