"""Kinds of randomness that can be added to an environment, as `Env -> Env` functions.

After the taxonomy of STORI (Barsainyan, Lim and Liu 2025, https://arxiv.org/abs/2509.01793):

| type | what is uncertain | here |
| --- | --- | --- |
| 1 | intrinsic, through the action | `corrupted_action` (and `wrappers.sticky_actions`) |
| 2.1 | intrinsic, independent of the action: random events | `unpredictable_dynamics` |
| 2.2 | intrinsic, independent of the action: concept drift | `non_stationary` |
| 3.1 | observation: the state in another representation | `noisy_obs`, a representation with errors |
| 3.2 | observation: parts of the state missing | `partial_obs` |

STORI's random events are specific to each game; those here apply to any environment.
Apply the wrappers inside `time_limit`, like those of `jaxrl.envs.wrappers`.

A wrapper passes its key on unchanged and takes its draws from `fold_in(key, tag)`. So the environment draws
the same numbers with and without a wrapper, a probability of 0 changes nothing, and runs with two
probabilities have the same random events otherwise. Two wrappers of the same kind around one environment need
different `salt`s, or they draw the same numbers. Probabilities and scales can be traced, for example to vmap
over them.
"""

from jaxrl.envs.stochastic.changes import (
    Drifting,
    Schedule,
    Shifted,
    cyclic,
    drift,
    non_stationary,
    scaled_reward,
    shifted_action,
    sudden,
)
from jaxrl.envs.stochastic.events import Allowed, Seen, corrupted_action, unpredictable_dynamics
from jaxrl.envs.stochastic.observations import noisy_obs, partial_obs

__all__ = [
    "Allowed",
    "Drifting",
    "Schedule",
    "Seen",
    "Shifted",
    "corrupted_action",
    "cyclic",
    "drift",
    "noisy_obs",
    "non_stationary",
    "partial_obs",
    "scaled_reward",
    "shifted_action",
    "sudden",
    "unpredictable_dynamics",
]
