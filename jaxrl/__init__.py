"""jaxrl: reinforcement learning in which environments, learning and populations are one JAX program.

An algorithm is made for an environment and run as one function:

    from jaxrl import envs, train
    from jaxrl.algos import ppo

    algo = ppo.make(envs.make("CartPole-v1"), ppo.Config())
    state, metrics = jax.jit(partial(train.run, algo, num_updates=100))(jax.random.key(0), algo.hparams)

`jaxrl.fit(algo, steps=100_000, seeds=8, out="runs/mine")` does so with progress, checkpoints and resume.
`load("runs/cartpole")` gives the trained policy of a run, in NumPy. `jaxrl.envs` and `jaxrl.algos` are the
folders beside this one; the README shows more.
"""

from typing import TYPE_CHECKING

from jaxrl.artifact import load
from jaxrl.version import __version__ as __version__

if TYPE_CHECKING:
    from jaxrl.fitting import fit

__all__ = ["fit", "load"]


def __getattr__(name: str):
    if name == "fit":  # when used: it imports JAX, and `jaxrl --help` should not wait for that
        from jaxrl.fitting import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
