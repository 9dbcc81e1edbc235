"""Algorithms, one file each. A module here has `Config`, `Hparams`, `TrainState` and `make`."""

from jaxrl.algos import a2c, es, fixpo, ga, ppo, ppo_kl, trpo, vmpo

ALGORITHMS = {
    "a2c": a2c,
    "es": es,
    "fixpo": fixpo,
    "ga": ga,
    "ppo": ppo,
    "ppo_kl": ppo_kl,
    "trpo": trpo,
    "vmpo": vmpo,
}
