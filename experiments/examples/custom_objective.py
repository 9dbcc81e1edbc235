"""A custom objective and network in a script: `jaxrl.fit` trains them like the built-in ones.

    python -m jaxrl.experiments.examples.custom_objective [--steps 100000] [--seeds 4] [--out FOLDER]

The objective is a smooth version of PPO's clipping, with one parameter; the network adds its input to its
hidden layer.
"""

import argparse

import jax.numpy as jnp
from flax import linen as nn
from flax import struct

import jaxrl
from jaxrl import envs
from jaxrl.algos import ppo
from jaxrl.fitting import Fitted
from jaxrl.types import Objective


@struct.dataclass
class Smooth:
    """Numbers of the objective: hyperparameters of PPO under `objective`."""

    width: float = 0.2  # of the region in which the probability ratio follows the advantage


def smooth(width: float = 0.2) -> Objective:
    """L(r, A) = A (1 + w tanh((r - 1) / w)): at r = 1 its slope is A, further away it goes to 0."""

    def apply(params, log_ratio, advantages, progress):
        moved = jnp.tanh((jnp.exp(log_ratio) - 1.0) / params.width)
        return advantages * (1.0 + params.width * moved)

    return Objective(Smooth(width), apply)


class Residual(nn.Module):
    """A torso `[..., *obs] -> [..., F]`."""

    features: int = 64

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.features)(x)
        return x + nn.Dense(self.features)(nn.tanh(nn.Dense(self.features)(x)))


def main(argv: list[str] | None = None) -> Fitted:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out")
    options = parser.parse_args(argv)
    env = envs.make("CartPole-v1")
    algo = ppo.make(env, ppo.Config(num_envs=8), smooth(), torso=Residual())
    hp = algo.hparams.replace(learning_rate=3e-3, objective=Smooth(width=0.3))
    fitted = jaxrl.fit(
        algo, steps=options.steps, seeds=options.seeds, hparams=hp, env=env, intervals=5, out=options.out
    )
    print("returns of the seeds:", fitted.rows[-1]["evaluation/return"])
    return fitted


if __name__ == "__main__":
    main()
