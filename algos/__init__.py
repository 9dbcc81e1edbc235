"""Algorithms, one file each. A module here has `Config`, `Hparams`, `TrainState` and `make`."""

from jaxrl.algos import a2c, dqn, es, fixpo, ga, ppo, ppo_kl, pqn, trpo, vmpo

ALGORITHMS = {
    "a2c": a2c,
    "dqn": dqn,
    "es": es,
    "fixpo": fixpo,
    "ga": ga,
    "ppo": ppo,
    "ppo_kl": ppo_kl,
    "pqn": pqn,
    "trpo": trpo,
    "vmpo": vmpo,
}
