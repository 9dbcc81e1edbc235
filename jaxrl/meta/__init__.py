"""Meta-learning by gradients: `make` wraps an algorithm and trains a Rule by an outer loss.

algo = ppo.make(env, config)
rule = meta.hyperparameters(algo.hparams, ("learning_rate", "ent_coef"))
learner = meta.make(algo, rule, meta.surrogate(algo, rule, unroll=4), meta.Config(num_agents=8, lifetime=40))
state, metrics = jax.jit(partial(train.run, learner, num_updates=100))(key, learner.hparams)
hp = rule.hparams(state.theta, None, algo.hparams)  # the learned hyperparameters
"""

from jaxrl.meta.learner import Config, Hparams, TrainState, make
from jaxrl.meta.outer import Outer, bootstrap, divergence, policy_loss, surrogate, train_agent
from jaxrl.meta.rules import Rule, by_name, entropy_net, hyperparameters, recent_reward

__all__ = [
    "Config",
    "Hparams",
    "Outer",
    "Rule",
    "TrainState",
    "bootstrap",
    "by_name",
    "divergence",
    "entropy_net",
    "hyperparameters",
    "make",
    "policy_loss",
    "recent_reward",
    "surrogate",
    "train_agent",
]
