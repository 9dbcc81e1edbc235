"""PPO: Proximal Policy Optimization, for any policy objective.

    maximise  E[ L(r, A) ] - vf_coef E[ 1/2 (V(s) - G)^2 ] + ent_coef E[ H(pi(.|s)) ]
    r = pi(a|s) / pi_old(a|s),   A = GAE(gamma, gae_lambda),   G = A + V_old(s)

`L` is an `Objective`: the clipped surrogate min(r A, clip(r) A) unless another one is given. With a `critic`
that is not scalar, its loss takes the place of 1/2 (V(s) - G)^2 (`jaxrl.critics`).
Schulman et al. 2017, https://arxiv.org/abs/1707.06347; the details that matter after Huang et al. 2022,
https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/. A time limit is not a terminal
state here: advantages bootstrap from `next_obs` of a truncated step. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import critics, objectives, policies, stats
from jaxrl.checks import require_objective
from jaxrl.fields import explains_unknown, log_scale, not_negative, positive, share
from jaxrl.metrics import ratio_metrics
from jaxrl.on_policy import algorithm
from jaxrl.optimizers import clipped_adam, linear_decay, progress, stepped
from jaxrl.policies import NetworkConfig, explore, samples, take, unroll, values
from jaxrl.returns import explained_variance, gae, standardize
from jaxrl.rollout import episode_metrics, minibatches, rollout, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Objective, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 4  # gradient steps per pass
    network: NetworkConfig = NetworkConfig()  # of the policy and the value function
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    normalize_advantages: bool = True  # to mean 0 and variance 1, in each minibatch
    clip_value: bool = False  # keep the new value within value_clip_eps of the old one
    # what V is: a number, or the mean of a distribution with `num_atoms` outputs
    critic: Literal["scalar", "c51", "qr", "hl_gauss", "two_hot"] = "scalar"
    num_atoms: int = 51  # points, quantiles or intervals of a critic that is not scalar
    lowest_return: float = -100.0  # range of V with c51, hl_gauss and two_hot
    highest_return: float = 100.0  # with normalize_reward, V is a discounted sum of the normalized rewards
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(2.5e-4)  # of Adam, at the start
    lr_decay: float = share(1.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-5)  # of Adam
    max_grad_norm: float = positive(0.5)  # clip the global norm of the gradient to this
    gamma: float = share(0.99)  # discount per step
    gae_lambda: float = share(0.95)  # trace of the advantage estimator: 0 one step, 1 to the episode's end
    vf_coef: float = not_negative(0.5)  # weight of the value loss
    ent_coef: float = log_scale(0.01)  # weight of the entropy bonus
    value_clip_eps: float = positive(0.2)  # in units of the value; used with clip_value
    objective: Any = objectives.ppo().params  # parameters of the policy objective


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    opt_state: Any
    stream: Stream
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(
    env: Env,
    config: Config = Config(),
    objective: Objective = objectives.ppo(),
    torso: nn.Module | None = None,
) -> Algorithm:
    """PPO in `env`: one auto-resetting environment with episode statistics in its `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, an option that does not fit the spaces.
    """
    require_objective(objective)
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches")
    sizes, normalize = (config.num_envs, config.num_steps), (config.normalize_obs, config.normalize_reward)
    columns = policies.num_columns(config.network, *sizes, config.num_minibatches)
    critic = critics.make(config.critic, config.lowest_return, config.highest_return, config.num_atoms)
    critics.require_scalar(critic, clip_value=config.clip_value)
    policy = policies.actor_critic(env, config.network, torso, critic)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = policies.start(key, envs, policy, *sizes, *normalize, hp.gamma)
        opt_state = optimizer(hp, 0).init(fields["params"])
        return TrainState(**fields, opt_state=opt_state, num_updates=jnp.zeros((), jnp.int32))

    @jax.named_scope("loss")
    def loss(params, hp, batch, now):
        outputs, value = unroll(policy, params, batch)
        pi = policy.distribution(outputs, batch.get("action_mask"))
        log_ratio = pi.log_prob(batch["action"]) - batch["log_prob"]
        advantages = batch["advantages"]
        if config.normalize_advantages:
            advantages = standardize(advantages)
        policy_loss = -objective.apply(hp.objective, log_ratio, advantages, now).mean()
        if critic is critics.SCALAR:
            error = jnp.square(value - batch["targets"])
            if config.clip_value:
                moved = jnp.clip(value - batch["value"], -hp.value_clip_eps, hp.value_clip_eps)
                error = jnp.maximum(error, jnp.square(batch["value"] + moved - batch["targets"]))
            value_loss = 0.5 * error.mean()
        else:  # `value` are the outputs of the critic, `[..., K]`
            value_loss = critics.fit(critic, value, batch["targets"]).mean()
        entropy = pi.entropy().mean()
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        metrics = {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": entropy}
        return total, metrics | ratio_metrics(log_ratio, hp.objective)

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        now, optim = progress(state.num_updates, hp.total_updates), optimizer(hp, state.num_updates)

        # Collect `[T, N]` steps, and estimate the advantage of each action.
        act = explore(policy, state.params, state.obs_stats)
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        value, next_value = values(policy, state.params, state.obs_stats, steps, stream.memory)
        reward = stats.scale_reward(state.reward_stats, steps.reward)
        ended = steps.terminated, steps.truncated
        advantages = gae(reward, value, next_value, *ended, hp.gamma, hp.gae_lambda)
        estimates = {"value": value, "advantages": advantages, "targets": advantages + value}
        batch = samples(policy, steps, state.stream.memory, **estimates)

        # Several epochs of shuffled minibatches of steps (with memory: of environments).
        def sgd_step(carry, chosen):
            params, opt_state = carry
            minibatch = take(policy, state.obs_stats, batch, chosen)
            grads, metrics = jax.grad(loss, has_aux=True)(params, hp, minibatch, now)
            metrics["grad/norm"] = optax.tree.norm(grads)
            return stepped(optim, grads, opt_state, params), metrics

        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        (params, opt_state), metrics = jax.lax.scan(sgd_step, (state.params, state.opt_state), order)

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        metrics["value/explained_variance"] = explained_variance(advantages, estimates["targets"])
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        seen = policies.observe(policy, state.obs_stats, state.reward_stats, steps, hp.gamma)
        return TrainState(key, params, opt_state, stream, **seen, num_updates=state.num_updates + 1), metrics

    hparams = Hparams(objective=objective.params)
    return algorithm(init, update, hparams, policy, envs, *sizes, *normalize, config.greedy)


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
