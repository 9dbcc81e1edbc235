"""Wrappers for all environments, as `Env -> Env` functions.

Adapters return raw dynamics; `jaxrl.envs.make` composes `auto_reset(episode_stats(time_limit(raw)))`. A
wrapper that needs memory stores it in the environment's state. Apply wrappers of observations and
actions inside `time_limit`, so that `next_obs` is wrapped in the same way as `obs`:

    raw = frame_stack(envs.REGISTRY["Catch-bsuite"].make(), 4)
    env = auto_reset(episode_stats(time_limit(raw, 1000)))

`restart` and `transition` create the TimeSteps of raw environments.
"""

from jaxrl.envs.wrappers.actions import Sticky, clip_action, rescale_action, sticky_actions
from jaxrl.envs.wrappers.dtypes import fix_dtypes
from jaxrl.envs.wrappers.episodes import Counted, Recorded, episode_stats, time_limit
from jaxrl.envs.wrappers.observations import Stacked, cheap_talk, flatten_obs, frame_stack, one_hot_obs
from jaxrl.envs.wrappers.resets import OPTIMISTIC_SHARE, POOL_PERIOD, RESETS, Pooled, auto_reset
from jaxrl.envs.wrappers.timesteps import restart, transition

__all__ = [
    "OPTIMISTIC_SHARE",
    "POOL_PERIOD",
    "RESETS",
    "Counted",
    "Pooled",
    "Recorded",
    "Stacked",
    "Sticky",
    "auto_reset",
    "cheap_talk",
    "clip_action",
    "episode_stats",
    "fix_dtypes",
    "flatten_obs",
    "frame_stack",
    "one_hot_obs",
    "rescale_action",
    "restart",
    "sticky_actions",
    "time_limit",
    "transition",
]
