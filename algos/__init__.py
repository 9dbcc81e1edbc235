"""Algorithms, one file each. A module here has `Config`, `Hparams`, `TrainState` and `make`."""

from jaxrl.algos import es, ga, ppo

ALGORITHMS = {"es": es, "ga": ga, "ppo": ppo}
