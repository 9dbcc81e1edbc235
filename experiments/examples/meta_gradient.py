"""A meta-gradient: differentiate a whole PPO update by its learning rate and entropy bonus, and follow it.

    python -m jaxrl.experiments.examples.meta_gradient [--updates 40]

Eight agents learn side by side; after every few updates the hyperparameters move in the direction that would
have improved the policies most. Xu et al. 2018, https://arxiv.org/abs/1805.09801; see docs/meta.md.
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp

from jaxrl import envs, meta, train
from jaxrl.algos import ppo
from jaxrl.policies import NetworkConfig


def main(argv: list[str] | None = None) -> ppo.Hparams:
    """Returns the hyperparameters that were learned."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--updates", type=int, default=40)
    options = parser.parse_args(argv)
    config = ppo.Config(num_envs=8, num_steps=8, network=NetworkConfig(hidden_sizes=(16,)))
    algo = ppo.make(envs.make("probe/action-from-obs"), config)
    start = algo.hparams.replace(learning_rate=1e-4, lr_decay=0.0)

    rule = meta.hyperparameters(start, ("learning_rate", "ent_coef"))
    learner = meta.make(
        algo, rule, meta.surrogate(algo, rule, unroll=2), meta.Config(num_agents=8, lifetime=16)
    )
    hp = learner.hparams.replace(agent=start, learning_rate=0.2)
    run = jax.jit(partial(train.run, learner, num_updates=options.updates))
    state, _ = run(jax.random.key(0), hp)
    learned = rule.hparams(state.theta, None, start)
    for name in ("learning_rate", "ent_coef"):
        before, after = (jnp.asarray(getattr(hp, name)) for hp in (start, learned))
        print(f"{name}: {before:.3g} before, {after:.3g} learned")
    return learned


if __name__ == "__main__":
    main()
