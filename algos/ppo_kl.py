"""PPO-KL: Proximal Policy Optimization with an adaptive penalty on the divergence instead of the clip.

    maximise  E[ r A - c KL(pi_old(.|s), pi(.|s)) ] - vf_coef E[ 1/2 (V(s) - G)^2 ] + ent_coef E[ H(pi(.|s)) ]
    r = pi(a|s) / pi_old(a|s),   A = GAE(gamma, gae_lambda),   G = A + V_old(s)
    after an update, with d = E[ KL(pi_old(.|s), pi(.|s)) ] over its steps:
        d < kl_target / 1.5:  c <- c / 2          d > 1.5 kl_target:  c <- 2 c

The divergence is exact, summed over actions. Schulman et al. 2017, section 4,
https://arxiv.org/abs/1707.06347. Here c stays within 1e-6 and 1e6. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import policies
from jaxrl.fields import explains_unknown, log_scale, not_negative, positive, share
from jaxrl.on_policy import algorithm, collect_batch
from jaxrl.optimizers import clipped_adam, linear_decay, stepped
from jaxrl.policies import NetworkConfig, divergence, take, unroll
from jaxrl.returns import standardize
from jaxrl.rollout import minibatches, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Number, Stream


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
    kl_target: float = positive(0.01)  # target of the divergence in an update
    kl_coef: float = not_negative(1.0)  # initial coefficient of the divergence


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    opt_state: Any
    kl_coef: jax.Array
    stream: Stream
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """PPO-KL in `env`: one auto-resetting environment with episode statistics in its `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, an option that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches")
    sizes = config.num_envs, config.num_steps
    normalize = config.normalize_obs, config.normalize_reward
    columns = policies.num_columns(config.network, *sizes, config.num_minibatches)
    policy = policies.actor_critic(env, config.network, torso)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = policies.start(key, envs, policy, *sizes, *normalize, hp.gamma)
        opt_state = optimizer(hp, 0).init(fields["params"])
        kl_coef = jnp.asarray(hp.kl_coef, jnp.float32)
        zero = jnp.zeros((), jnp.int32)
        return TrainState(**fields, opt_state=opt_state, kl_coef=kl_coef, num_updates=zero)

    def loss(params, hp, kl_coef, batch):
        outputs, value = unroll(policy, params, batch)
        pi = policy.distribution(outputs, batch.get("action_mask"))
        ratio = jnp.exp(pi.log_prob(batch["action"]) - batch["log_prob"])
        advantages = batch["advantages"]
        if config.normalize_advantages:
            advantages = standardize(advantages)
        policy_loss = -(ratio * advantages).mean() + kl_coef * divergence(policy, batch, outputs).mean()
        value_loss = 0.5 * jnp.square(value - batch["targets"]).mean()
        entropy = pi.entropy().mean()
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        return total, {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": entropy}

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        optim = optimizer(hp, state.num_updates)
        discounts = hp.gamma, hp.gae_lambda
        after, batch, played = collect_batch(policy, envs, state, rollout_key, config.num_steps, *discounts)

        def sgd_step(carry, chosen):
            params, opt_state = carry
            minibatch = take(policy, state.obs_stats, batch, chosen)
            grad = jax.grad(jax.named_scope("loss")(loss), has_aux=True)
            grads, metrics = grad(params, hp, state.kl_coef, minibatch)
            metrics["grad/norm"] = optax.tree.norm(grads)
            return stepped(optim, grads, opt_state, params), metrics

        start = (state.params, state.opt_state)
        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        (params, opt_state), metrics = jax.lax.scan(sgd_step, start, order)
        whole = take(policy, state.obs_stats, batch)
        kl = divergence(policy, whole, unroll(policy, params, whole)[0]).mean()
        kl_coef = adapted(state.kl_coef, kl, hp.kl_target)
        metrics = jax.tree.map(jnp.mean, metrics) | played
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        metrics |= {"policy/kl": kl, "policy/kl_coef": kl_coef}
        state = TrainState(key, params, opt_state, kl_coef, **after, num_updates=state.num_updates + 1)
        return state, metrics

    return algorithm(init, update, Hparams(), policy, envs, *sizes, *normalize, config.greedy)


def adapted(kl_coef: Number, kl: jax.Array, kl_target: Number) -> jax.Array:
    """The coefficient of the divergence after an update with divergence `kl`."""
    factor = jnp.where(kl > 1.5 * kl_target, 2.0, jnp.where(kl < kl_target / 1.5, 0.5, 1.0))
    return jnp.clip(factor * kl_coef, 1e-6, 1e6)


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
