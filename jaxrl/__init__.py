"""jaxrl: reinforcement learning in which environments, learning and populations are one JAX program.

An algorithm is made for an environment and run as one function:

    from jaxrl import envs, train
    from jaxrl.algos import ppo

    algo = ppo.make(envs.make("CartPole-v1"), ppo.Config())
    state, metrics = jax.jit(partial(train.run, algo, num_updates=100))(jax.random.key(0), algo.hparams)

`load("runs/cartpole")` gives the trained policy of a run, in NumPy. `jaxrl.envs` and `jaxrl.algos` are the
folders beside this one; the README shows more.
"""

from jaxrl.artifact import load

__all__ = ["load"]
__version__ = "0.1.0"
