"""jaxrl: reinforcement learning in which environments, learning and populations are one JAX program.

from jaxrl import envs, train
from jaxrl.algos import ppo

algo = ppo.make(envs.make("CartPole-v1"), ppo.Config())
state, metrics = jax.jit(train.run, static_argnums=(0, 3))(algo, key, algo.hparams, 100)
"""

__version__ = "0.1.0"
