"""Algorithms, one file each. A module here has `Config`, `Hparams`, `TrainState` and `make`."""

from jaxrl.algos import ppo

ALGORITHMS = {"ppo": ppo}
