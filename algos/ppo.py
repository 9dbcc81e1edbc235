"""PPO: Proximal Policy Optimization, for any policy objective.

    maximise  E[ L(r, A) ] - vf_coef E[ 1/2 (V(s) - G)^2 ] + ent_coef E[ H(pi(.|s)) ]
    r = pi(a|s) / pi_old(a|s),   A = GAE(gamma, gae_lambda),   G = A + V_old(s)

`L` is an `Objective`: the clipped surrogate min(r A, clip(r) A) unless another one is given.
Schulman et al. 2017, https://arxiv.org/abs/1707.06347; the details that matter after Huang et al. 2022,
https://iclr-blog-track.github.io/2022/03/25/ppo-implementation-details/. Here a time limit is no death:
advantages bootstrap from where a truncated step led. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import objectives, on_policy
from jaxrl.optimizers import clipped_adam, progress
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Objective
from jaxrl.widths import narrowed


@dataclasses.dataclass(frozen=True)
class Config:
    """What compiles: counts, shapes and switches."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 4  # gradient steps per pass
    torso: Literal["auto", "mlp", "cnn"] = "auto"  # before the heads; auto: a CNN for images, else an MLP
    hidden_sizes: tuple[int, ...] = (64, 64)  # units of the MLP, or of the layers after the convolution
    activation: Literal["tanh", "relu", "silu", "gelu", "elu"] = "tanh"  # between the layers
    shared_torso: bool = False  # one network for policy and value, up to the heads
    memory_size: int = 0  # units of a GRU after the torso (minibatches are then environments); 0: none
    init_log_std: float = 0.0  # log standard deviation of continuous actions at the start
    squash: bool = False  # tanh-squash continuous actions into their bounds instead of cutting them off
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    normalize_advantages: bool = True  # to mean 0 and variance 1, in each minibatch
    clip_value: bool = False  # keep the new value within value_clip_eps of the old one
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@struct.dataclass
class Hparams:
    """What is traced: vary it in a population, differentiate by it, evolve it."""

    learning_rate: float = 2.5e-4  # of Adam, at the start
    lr_decay: float = 1.0  # share of the learning rate that is gone at the end, linearly; 0: constant
    total_updates: float = 977.0  # updates from progress 0 to 1, for all that is annealed
    adam_eps: float = 1e-5  # of Adam
    max_grad_norm: float = 0.5  # a longer gradient, over all parameters at once, is scaled back to this
    gamma: float = 0.99  # discount per step
    gae_lambda: float = 0.95  # trace of the advantage estimator: 0 one step, 1 to the episode's end
    vf_coef: float = 0.5  # weight of the value loss
    ent_coef: float = 0.01  # weight of the entropy bonus
    value_clip_eps: float = 0.2  # in units of the value; used with clip_value
    objective: Any = objectives.ppo().params  # parameters of the policy objective


@struct.dataclass
class TrainState:
    """All that a run changes; `env_state`, `timestep` and `memory` have axes `[N, ...]`."""

    key: jax.Array
    params: Any
    opt_state: Any
    env_state: Any
    timestep: Any
    memory: Any
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(
    env: Env,
    config: Config = Config(),
    objective: Objective = objectives.ppo(),
    torso: nn.Module | None = None,
) -> Algorithm:
    """PPO in `env`: one environment that resets itself and has episode statistics in its `info`.

    Args:
      torso: a flax module of your own, `[..., *obs] -> [..., F]`, instead of `config.torso`.

    Raises:
      ValueError: a count below 1, a batch that does not divide, an option that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches")
    agent = on_policy.make(env, torso, **vars(config))

    def optimizer(hp, num_updates):
        learning_rate = hp.learning_rate * (1.0 - hp.lr_decay * progress(num_updates, hp.total_updates))
        return clipped_adam(learning_rate, hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = agent.begin(key, hp.gamma)
        opt_state = optimizer(hp, 0).init(fields["params"])
        return TrainState(**fields, opt_state=opt_state, num_updates=jnp.zeros((), jnp.int32))

    def loss(params, hp, batch, now):
        outputs, value = agent.evaluate(params, batch)
        pi = agent.distribution(batch, outputs)
        log_ratio = pi.log_prob(batch["action"]) - batch["log_prob"]
        advantages = batch["advantages"]
        if config.normalize_advantages:
            advantages = on_policy.standardize(advantages)
        policy_loss = -objective.apply(hp.objective, log_ratio, advantages, now).mean()
        error = jnp.square(value - batch["targets"])
        if config.clip_value:
            moved = jnp.clip(value - batch["value"], -hp.value_clip_eps, hp.value_clip_eps)
            error = jnp.maximum(error, jnp.square(batch["value"] + moved - batch["targets"]))
        value_loss = 0.5 * error.mean()
        entropy = pi.entropy().mean()
        kl = (jnp.expm1(log_ratio) - log_ratio).mean()
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        metrics = {"loss/policy": policy_loss, "loss/value": value_loss}
        return total, metrics | {"policy/entropy": entropy, "policy/kl": kl}

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        now, optim = progress(state.num_updates, hp.total_updates), optimizer(hp, state.num_updates)
        fields, data, seen = agent.experience(state, rollout_key, hp.gamma, hp.gae_lambda)

        def sgd_step(carry, columns):
            params, opt_state = carry
            minibatch = agent.batch(state, data, columns)
            grads, metrics = jax.grad(jax.named_scope("loss")(loss), has_aux=True)(params, hp, minibatch, now)
            metrics["grad/norm"] = optax.tree.norm(grads)
            updates, opt_state = jax.named_scope("optimizer")(optim.update)(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), metrics

        start = (state.params, state.opt_state)
        minibatches = agent.minibatches(shuffle_key, config.num_epochs)
        (params, opt_state), metrics = jax.lax.scan(sgd_step, start, minibatches)
        fields |= {"key": key, "params": params, "opt_state": opt_state}
        state = state.replace(**fields, num_updates=state.num_updates + 1)
        return state, jax.tree.map(jnp.mean, metrics) | seen

    hparams = Hparams(objective=objective.params)
    steps_per_update = config.num_envs * config.num_steps
    counted = (steps_per_update, agent.warmup_steps)
    return narrowed(Algorithm(init, update, agent.act, hparams, *counted, agent.collect, agent.judge))
