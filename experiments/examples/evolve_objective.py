"""Evolve the parameters of an objective: an evolution strategy over whole training runs, in one program.

    python -m jaxrl.experiments.examples.evolve_objective [--generations 20] [--pairs 16]

A candidate is the pair (alpha, beta) of DPO's drift function; its fitness is the return of agents that PPO
trains with it on CartPole. `jaxrl discover` does this for networks, over several devices, with checkpoints.
Salimans et al. 2017, https://arxiv.org/abs/1703.03864; Lu et al. 2022, https://arxiv.org/abs/2210.05639
"""

import argparse

import jax
import jax.numpy as jnp

from jaxrl import envs, objectives, train
from jaxrl.algos import ppo

STD, RATE, UPDATES, SEEDS = 0.3, 0.1, 20, 4  # of the candidates; of the mean; length and number of runs


def main(argv: list[str] | None = None) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of the search, (log alpha, log beta), and the mean fitness of each generation."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--generations", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=16)
    options = parser.parse_args(argv)
    dpo = objectives.dpo()
    algo = ppo.make(envs.make("CartPole-v1"), ppo.Config(num_envs=8, num_steps=32), dpo)
    hparams = algo.hparams.replace(learning_rate=5e-3)

    def fitness(theta, key):
        alpha, beta = jnp.exp(theta)
        hp = hparams.replace(objective=dpo.params.replace(alpha=alpha, beta=beta))
        _, metrics = train.run(algo, key, hp, UPDATES)
        return metrics["episode/return_sum"].sum() / jnp.maximum(metrics["episode/count"].sum(), 1.0)

    def generation(mean, key):
        noise_key, task_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (options.pairs, 2))
        noise = jnp.concatenate([noise, -noise])
        keys = jax.random.split(task_key, SEEDS)  # the same for all candidates
        score = jax.vmap(lambda theta: jax.vmap(lambda k: fitness(theta, k))(keys).mean())(mean + STD * noise)
        rank = jnp.argsort(jnp.argsort(score)) / (len(noise) - 1) - 0.5
        return mean + RATE / STD * (rank[:, None] * noise).mean(axis=0), score.mean()

    start = jnp.log(jnp.array([dpo.params.alpha, dpo.params.beta]))
    search = jax.jit(lambda keys: jax.lax.scan(generation, start, keys))
    mean, scores = search(jax.random.split(jax.random.key(0), options.generations))
    print("alpha and beta:", jnp.exp(mean), "mean fitness per generation:", scores)
    return mean, scores


if __name__ == "__main__":
    main()
