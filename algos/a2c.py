"""A2C: Advantage Actor-Critic, one gradient step per rollout; without a baseline it is REINFORCE.

    maximise  E[ A log pi(a|s) ] - vf_coef E[ 1/2 (V(s) - G)^2 ] + ent_coef E[ H(pi(.|s)) ]
    A = GAE(gamma, gae_lambda),   G = A + V(s)

Without `baseline`, log pi is weighted by G instead of A. If gae_lambda is also 1, that is REINFORCE: G is
the discounted return to the end of the episode, and the value function only estimates the rewards after the
end of a rollout or a time limit. Mnih et al. 2016 (its synchronous form), https://arxiv.org/abs/1602.01783;
Williams 1992, https://doi.org/10.1007/BF00992696. Axes: `T` num_steps, `N` num_envs.
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
from jaxrl.optimizers import clipped_adam, linear_decay
from jaxrl.policies import NetworkConfig, take, unroll
from jaxrl.returns import standardize
from jaxrl.rollout import vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 8  # environments side by side
    num_steps: int = 16  # steps in each environment between two updates
    network: NetworkConfig = NetworkConfig()  # of the policy and the value function
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    normalize_advantages: bool = False  # to mean 0 and variance 1, in each rollout
    baseline: bool = True  # weight actions by advantages; off: by returns (REINFORCE, with gae_lambda 1)
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(7e-4)  # of Adam, at the start
    lr_decay: float = share(1.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-5)  # of Adam
    max_grad_norm: float = positive(0.5)  # clip the global norm of the gradient to this
    gamma: float = share(0.99)  # discount per step
    gae_lambda: float = share(0.95)  # trace of the advantage estimator: 0 one step, 1 to the episode's end
    vf_coef: float = not_negative(0.5)  # weight of the value loss
    ent_coef: float = log_scale(0.01)  # weight of the entropy bonus


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


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """A2C in `env`: one auto-resetting environment with episode statistics in its `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, an option that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps")
    sizes = config.num_envs, config.num_steps
    normalize = config.normalize_obs, config.normalize_reward
    policy = policies.actor_critic(env, config.network, torso)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = policies.start(key, envs, policy, *sizes, *normalize, hp.gamma)
        opt_state = optimizer(hp, 0).init(fields["params"])
        return TrainState(**fields, opt_state=opt_state, num_updates=jnp.zeros((), jnp.int32))

    def loss(params, hp, batch):
        outputs, value = unroll(policy, params, batch)
        pi = policy.distribution(outputs, batch.get("action_mask"))
        weights = batch["advantages"] if config.baseline else batch["targets"]
        if config.normalize_advantages:
            weights = standardize(weights)
        policy_loss = -(weights * pi.log_prob(batch["action"])).mean()
        value_loss = 0.5 * jnp.square(value - batch["targets"]).mean()
        entropy = pi.entropy().mean()
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        return total, {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": entropy}

    def update(state, hp):
        key, rollout_key = jax.random.split(state.key)
        discounts = hp.gamma, hp.gae_lambda
        after, batch, played = collect_batch(policy, envs, state, rollout_key, config.num_steps, *discounts)
        grad = jax.grad(jax.named_scope("loss")(loss), has_aux=True)
        grads, metrics = grad(state.params, hp, take(policy, state.obs_stats, batch))
        metrics["grad/norm"] = optax.tree.norm(grads)
        step = jax.named_scope("optimizer")(optimizer(hp, state.num_updates).update)
        updates, opt_state = step(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics |= played
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        state = TrainState(key, params, opt_state, **after, num_updates=state.num_updates + 1)
        return state, metrics

    return algorithm(init, update, Hparams(), policy, envs, *sizes, *normalize, config.greedy)


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
