"""Algorithms, one file each. A module here has `Config`, `Hparams`, `TrainState` and `make`."""

from jaxrl.algos import (
    a2c,
    ddpg,
    dqn,
    dsac_t,
    es,
    fixpo,
    ga,
    mdpo,
    ppo,
    ppo_kl,
    pqn,
    reppo,
    sac,
    td3,
    trpo,
    vmpo,
)

ALGORITHMS = {
    "a2c": a2c,
    "ddpg": ddpg,
    "dqn": dqn,
    "dsac_t": dsac_t,
    "es": es,
    "fixpo": fixpo,
    "ga": ga,
    "mdpo": mdpo,
    "ppo": ppo,
    "ppo_kl": ppo_kl,
    "pqn": pqn,
    "reppo": reppo,
    "sac": sac,
    "td3": td3,
    "trpo": trpo,
    "vmpo": vmpo,
}
