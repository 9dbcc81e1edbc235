"""The initial state of an on-policy algorithm, and the statistics of its observations and rewards."""

from typing import Any

import jax

from jaxrl import stats
from jaxrl.policies.acting import explore
from jaxrl.policies.building import Policy
from jaxrl.rollout import rollout
from jaxrl.types import Env, PyTree, Stream, Transition


def start(
    key: jax.Array,
    envs: Env,
    policy: Policy,
    num_envs: int,
    num_steps: int,
    normalize_obs: bool,
    normalize_reward: bool,
    gamma: float | jax.Array,
) -> dict[str, Any]:
    """The initial fields of an on-policy TrainState: `key params stream obs_stats reward_stats`.

    Normalization statistics are initialized from one rollout, which is not used for learning.

    Args:
      envs: vectorized, taking raw actions.
    """
    key, params_key, env_key, warmup_key = jax.random.split(key, 4)
    env_state, timestep = envs.reset(env_key)
    stream = Stream(env_state, timestep, policy.initial_memory(num_envs))
    params = policy.init(params_key)
    seen = {
        "obs_stats": stats.init(policy.obs_shape) if normalize_obs else (),
        "reward_stats": stats.init_reward(num_envs) if normalize_reward else (),
    }
    if normalize_obs or normalize_reward:
        act = explore(policy, params, seen["obs_stats"])
        stream, steps = rollout(envs, act, warmup_key, stream, num_steps)
        seen = observe(policy, **seen, steps=steps, gamma=gamma)
    return {"key": key, "params": params, "stream": stream, **seen}


def warmup_steps(num_envs: int, num_steps: int, normalize_obs: bool, normalize_reward: bool) -> int:
    """Environment steps that `start` takes."""
    return num_envs * num_steps if normalize_obs or normalize_reward else 0


def observe(
    policy: Policy, obs_stats: PyTree, reward_stats: PyTree, steps: Transition, gamma: float | jax.Array
) -> dict[str, Any]:
    """The statistics `obs_stats` and `reward_stats` after a rollout."""
    if jax.tree.leaves(obs_stats):
        obs_stats = stats.update(obs_stats, policy.encode((), steps.obs))
    reward_stats = stats.update_reward(reward_stats, steps.reward, steps.done, gamma)
    return {"obs_stats": obs_stats, "reward_stats": reward_stats}
