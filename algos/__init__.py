"""Algorithms, one file each. A module here has `Config`, `Hparams`, `TrainState` and `make`."""

from jaxrl.algos import a2c, ddpg, dqn, dsac_t, es, fixpo, ga, ppo, ppo_kl, pqn, sac, td3, trpo, vmpo, xqc

ALGORITHMS = {
    "a2c": a2c,
    "ddpg": ddpg,
    "dqn": dqn,
    "dsac_t": dsac_t,
    "es": es,
    "fixpo": fixpo,
    "ga": ga,
    "ppo": ppo,
    "ppo_kl": ppo_kl,
    "pqn": pqn,
    "sac": sac,
    "td3": td3,
    "trpo": trpo,
    "vmpo": vmpo,
    "xqc": xqc,
}
