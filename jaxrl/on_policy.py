"""What on-policy algorithms share: a batch with advantages, and an `Algorithm` for a policy."""

from typing import Any

import jax

from jaxrl import policies, stats
from jaxrl.policies import Policy, explore, observe, samples, values
from jaxrl.returns import explained_variance, gae
from jaxrl.rollout import episode_metrics, rollout
from jaxrl.types import Algorithm, Env, Init, Metrics, Number, PyTree, Update
from jaxrl.widths import narrowed


def collect_batch(
    policy: Policy,
    envs: Env,
    state: PyTree,
    key: jax.Array,
    num_steps: int,
    gamma: Number,
    gae_lambda: Number,
) -> tuple[dict[str, Any], dict[str, Any], Metrics]:
    """Collects `[T, N]` steps and estimates the advantage of each action; `ppo.update` shows these steps.

    Args:
      envs: vectorized, taking raw actions.
      state: a TrainState with `params`, `stream`, `obs_stats` and `reward_stats`.

    Returns:
      The fields `stream`, `obs_stats` and `reward_stats` of the next state; `policies.samples` with
      `advantages` and `targets`, normalized by the statistics of `state`; `episode/...` and
      `value/explained_variance`.
    """
    act = explore(policy, state.params, state.obs_stats)
    stream, steps = rollout(envs, act, key, state.stream, num_steps)
    value, next_value = values(policy, state.params, state.obs_stats, steps, stream.memory)
    reward = stats.scale_reward(state.reward_stats, steps.reward)
    advantages = gae(reward, value, next_value, steps.terminated, steps.truncated, gamma, gae_lambda)
    targets = advantages + value
    batch = samples(policy, steps, state.stream.memory, advantages=advantages, targets=targets)
    seen = observe(policy, state.obs_stats, state.reward_stats, steps, gamma)
    metrics = episode_metrics(steps.info, steps.done)
    metrics["value/explained_variance"] = explained_variance(advantages, targets)
    return {"stream": stream, **seen}, batch, metrics


def algorithm(
    init: Init,
    update: Update,
    hparams: PyTree,
    policy: Policy,
    envs: Env,
    num_envs: int,
    num_steps: int,
    normalize_obs: bool,
    normalize_reward: bool,
    greedy: bool,
) -> Algorithm:
    """The Algorithm of an on-policy learner whose states begin with `policies.start`.

    Args:
      envs: vectorized, taking raw actions.
      greedy: `act` takes the most likely action instead of a sample.
    """
    return narrowed(
        Algorithm(
            init,
            update,
            act=policies.act(policy, greedy),
            hparams=hparams,
            steps_per_update=num_envs * num_steps,
            warmup_steps=policies.warmup_steps(num_envs, num_steps, normalize_obs, normalize_reward),
            collect=policies.collect(envs, policy, num_steps),
            evaluate_actions=policies.evaluate_actions(policy),
            description=policy.description,
        )
    )
