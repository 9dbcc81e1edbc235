"""DDPG: deep deterministic policy gradient.

    Q:   minimise  E[ (Q(s, a) - R - discount * Q'(s', mu'(s')))^2 ] / 2
    mu:  maximise  E[ Q(s, mu(s)) ]

Actions are between -1 and 1; exploration adds normal noise to them, where the paper has an Ornstein-Uhlenbeck
process. A time limit is not a terminal state: the value of the last observation is used after a truncation.
Lillicrap et al. 2016, https://arxiv.org/abs/1509.02971. Axes: `B` batch.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import action_critics, off_policy, policies, replay
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.optimizers import clipped_adam, linear_decay, stepped
from jaxrl.policies import NetworkConfig
from jaxrl.rollout import episode_metrics, rollout, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 1  # steps in each environment between two updates
    num_gradient_steps: int = 2  # gradient steps of the critic per update
    batch_size: int = 128  # transitions per gradient step
    capacity: int = 100_000  # transitions in the replay
    warmup_steps: int = 1_000  # environment steps with random actions before the first update
    n_step: int = 1  # rewards of a transition
    critic_layer_norm: bool = False  # normalize the units of each layer of the critic
    network: NetworkConfig = NetworkConfig(activation="relu")  # of the policy; its sizes also of the critic
    keep_replay: Literal["auto", "yes", "no"] = "auto"  # in checkpoints; auto: if it is small


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(1e-3)  # of Adam for the policy, at the start
    critic_learning_rate: float = not_negative(1e-3)  # for the critic
    lr_decay: float = share(0.0)  # fraction by which the rates decay linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-8)  # of Adam
    max_grad_norm: float = positive(1e3)  # clip the global norm of each gradient to this
    gamma: float = share(0.99)  # discount per step
    tau: float = share(0.005)  # fraction by which targets move in each gradient step
    exploration_noise: float = not_negative(0.1)  # standard deviation of the noise on actions


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    critic_params: Any
    target_params: Any
    target_policy_params: Any
    opt_state: Any
    stream: Stream
    replay: Any
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """DDPG in `env`: one auto-resetting environment with one bounded Box of actions.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`, for each network.

    Raises:
      ValueError: a count below 1, other actions, an option that does not fit the spaces.
    """
    counts = "num_envs num_steps num_gradient_steps batch_size capacity warmup_steps n_step"
    require_counts(config, *counts.split())
    policy = policies.squashed(env, config.network, torso, stochastic=False)
    layer_norm = config.critic_layer_norm
    critics = action_critics.make(env.action_space, policy, config.network, 1, layer_norm, torso=torso)
    sizes = config.num_envs, config.capacity, config.n_step, config.num_steps
    memory = replay.uniform(off_policy.observed(env), env.action_space, *sizes)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)
    warmup_rollouts = off_policy.rollouts_of(config.num_steps, config.num_envs, config.warmup_steps)

    def optimizers(hp, num_updates):
        """Of the policy and of the critic."""
        rates = hp.learning_rate, hp.critic_learning_rate
        decayed = (linear_decay(rate, hp.lr_decay, num_updates, hp.total_updates) for rate in rates)
        return [clipped_adam(rate, hp.adam_eps, hp.max_grad_norm) for rate in decayed]

    def init(key, hp):
        begun = off_policy.start(key, envs, policy, critics, memory, config.num_steps, warmup_rollouts)
        learned = begun["params"], begun["critic_params"]
        opt_state = [optim.init(x) for optim, x in zip(optimizers(hp, 0), learned)]
        target_policy_params = jax.tree.map(jnp.copy, begun["params"])
        return TrainState(**begun, target_policy_params=target_policy_params, opt_state=opt_state)

    def value(params, critic_params, obs):
        """Q(s, mu(s)) `[B]`."""
        x = policy.encode((), obs[0])
        return critics.value(critic_params, x, off_policy.distribution(policy, params, x).mode())[0]

    @jax.named_scope("loss")
    def critic_loss(critic_params, batch, target):
        q = critics.value(critic_params, policy.encode((), batch.obs[0]), batch.action)[0]
        return 0.5 * jnp.square(q - target).mean(), q.mean()

    @jax.named_scope("loss")
    def policy_loss(params, critic_params, batch):
        return -value(params, critic_params, batch.obs).mean()

    def update(state, hp):
        key, rollout_key, draw_key = jax.random.split(state.key, 3)
        optims = optimizers(hp, state.num_updates)

        # Act with noise, and store the steps.
        explore = off_policy.with_noise(policy, state.params, hp.exploration_noise)
        stream, steps = rollout(envs, explore, rollout_key, state.stream, config.num_steps)
        rows = memory.add(state.replay, off_policy.stored(steps, stream))

        # Gradient steps of critic and policy, each on a batch from the replay.
        def sgd_step(carry, noise):
            params, critic_params, (target_params, target_policy_params), (opt, critic_opt) = carry
            batch = memory.sample(rows, noise, hp.gamma)
            q_next = value(target_policy_params, target_params, batch.next_obs)
            grad = jax.value_and_grad(critic_loss, has_aux=True)
            (loss, q), grads = grad(critic_params, batch, batch.reward + batch.discount * q_next)
            metrics = {"loss/value": loss, "value/mean": q, "grad/norm": optax.tree.norm(grads)}
            critic_params, critic_opt = stepped(optims[1], grads, critic_opt, critic_params)
            metrics["loss/policy"], grads = jax.value_and_grad(policy_loss)(params, critic_params, batch)
            params, opt = stepped(optims[0], grads, opt, params)
            targets = target_params, target_policy_params
            targets = optax.incremental_update((critic_params, params), targets, hp.tau)
            return (params, critic_params, targets, [opt, critic_opt]), metrics

        noise = memory.draw(draw_key, (config.num_gradient_steps, config.batch_size))
        targets = state.target_params, state.target_policy_params
        learned = state.params, state.critic_params, targets, state.opt_state
        (params, critic_params, targets, opt_state), metrics = jax.lax.scan(sgd_step, learned, noise)

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        rate = linear_decay(hp.learning_rate, hp.lr_decay, state.num_updates, hp.total_updates)
        metrics["optimizer/learning_rate"] = rate
        return state.replace(
            key=key,
            params=params,
            critic_params=critic_params,
            target_params=targets[0],
            target_policy_params=targets[1],
            opt_state=opt_state,
            stream=stream,
            replay=rows,
            num_updates=state.num_updates + 1,
        ), metrics

    return off_policy.algorithm(
        init,
        update,
        Hparams(),
        policy,
        greedy=True,
        steps_per_update=config.num_envs * config.num_steps,
        warmup_steps=warmup_rollouts * config.num_envs * config.num_steps,
        keep_replay=config.keep_replay,
    )


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
