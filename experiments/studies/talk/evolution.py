"""The evolution of adversaries, and the evaluation of an evolved one with new victims."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl import train
from jaxrl.evolution import evolution_strategy
from jaxrl.experiments.studies.talk.game import Game, Setting

RATE = 0.05  # learning rate of Adam, for the mean of the candidates


@struct.dataclass
class Evolution:
    """Everything that changes: the strategy's state, the key, and the number of generations done."""

    es: Any
    key: jax.Array
    generation: jax.Array


def evolution(game: Game, setting: Setting):
    """`init() -> Evolution`, and `step(Evolution) -> (Evolution, scores [K])`, jitted, means over victims.

    OpenES (Salimans et al. 2017, https://arxiv.org/abs/1703.03864) by evosax, with centred ranks, antithetic
    candidates and Adam. It starts from a random adversary.

    Raises:
      ValueError: evosax is not installed.
    """
    es = evolution_strategy("openes", setting.candidates, game.silent, RATE, setting.std)
    lanes = setting.candidates * setting.victims
    scores = train.over_agents(game.score, (0, 0), train.mesh(lanes))

    def init():
        key, start_key, es_key = jax.random.split(jax.random.key(setting.seed), 3)
        return Evolution(es.init(es_key, game.draw(start_key)), key, jnp.zeros((), jnp.int32))

    def step(state):
        key, ask_key, victim_key, tell_key = jax.random.split(state.key, 4)
        asked, x = es.ask(ask_key, state.es)
        keys = jax.random.split(victim_key, setting.victims)
        who = jnp.repeat(x, setting.victims, axis=0)
        candidate_scores = (
            scores(who, jnp.tile(keys, setting.candidates)).reshape(setting.candidates, -1).mean(axis=1)
        )
        # Victims that diverged are not a success.
        fitness = jnp.nan_to_num(game.sign * candidate_scores, nan=-jnp.inf)
        updated = es.tell(tell_key, asked, x, fitness)
        return Evolution(updated, key, state.generation + 1), candidate_scores

    return jax.jit(init), jax.jit(step, donate_argnums=0)


def evaluated(game: Game, setting: Setting, mean, victims: int = 8) -> dict[str, list[float]]:
    """Scores `[V]` of new victims, whose keys no generation has used: with the evolved adversary, with random
    ones, a different one for each victim, and without messages."""
    root = jax.random.fold_in(jax.random.key(setting.seed), 0x7A1C)
    victim_key, talk_key = jax.random.split(root)
    keys = jax.random.split(victim_key, victims)
    random = jax.vmap(game.draw)(jax.random.split(talk_key, victims))
    who = {"evolved": jnp.tile(mean, (victims, 1)), "random": random, "silent": jnp.zeros_like(random)}
    score = jax.jit(train.over_agents(game.score, (0, 0), train.mesh(3 * victims)))
    victim_scores = np.asarray(score(jnp.concatenate([*who.values()]), jnp.tile(keys, 3)), np.float64)
    return dict(zip(who, victim_scores.reshape(3, victims).tolist()))
