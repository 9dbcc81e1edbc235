"""MDPO: off-policy Mirror Descent Policy Optimization.

A step of mirror descent by many gradient steps on batches of a replay; pi_k is the policy before these steps.

    Q_i:  minimise  E[ (Q_i(s, a) - R - discount * (min_j Q'_j(s', a') - alpha ln_q pi(a'|s')))^2 ] / 2
    pi:   minimise  E[ c (ln_q pi(a|s) - q ln_q pi_k(a|s)) + alpha q ln_q pi_k(a|s) - Q_1(s, a) ]
          ln_q p = (p^(q - 1) - 1) / (q - 1),   ln_1 p = log p,   a, a' ~ pi

The first term of pi is, but for a constant, the Bregman divergence from pi_k of the negative Tsallis entropy:
KL(pi || pi_k) for q = 1; c = 1/t for a step size t. The others are linear in pi, as the value of pi and its
entropy (weight alpha) are near pi_k. With q = 1 and c = alpha, pi_k cancels: the loss of SAC, of one critic.
With Discrete actions, expectations under the policy are sums over all actions. A time limit is not a terminal
state: the value of the last observation is used after a truncation.

Tomar et al. 2020, "Mirror descent policy optimization", https://arxiv.org/abs/2005.09814, section 4.2, and
https://github.com/manantomar/Mirror-Descent-Policy-Optimization, folder mdpo_off. As SAC here, without their
network of V(s), whose place the target critics take; p is the density of the whole action, where the code
adds ln_q over the numbers of an action; without the penalty of the code on means and deviations.
The objective `mdpo` of PPO is the on-policy algorithm of the same paper. Axes: `E` critics, `B` batch.
"""

import dataclasses
from functools import partial
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
from jaxrl.spaces import Discrete, require_counts
from jaxrl.types import Algorithm, Env, Number, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 1  # steps in each environment between two updates
    num_gradient_steps: int = 2  # gradient steps per update
    old_every: int = 50  # updates until the policy becomes the old one: a step of mirror descent
    batch_size: int = 128  # transitions per gradient step
    capacity: int = 100_000  # transitions in the replay
    warmup_steps: int = 1_000  # environment steps with random actions before the first update
    n_step: int = 1  # rewards of a transition
    num_critics: int = 2  # networks of Q, whose minimum is the target
    critic_layer_norm: bool = False  # normalize the units of each layer of the critics
    network: NetworkConfig = NetworkConfig(activation="relu")  # of the policy; its sizes also of the critics
    greedy: bool = True  # evaluations take the most likely action instead of a sample
    keep_replay: Literal["auto", "yes", "no"] = "auto"  # in checkpoints; auto: if it is small


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(1e-3)  # of Adam for the policy, at the start
    critic_learning_rate: float = not_negative(1e-3)  # for the critics
    lr_decay: float = share(0.0)  # fraction by which the rates decay linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-8)  # of Adam
    max_grad_norm: float = positive(1e3)  # clip the global norm of each gradient to this
    gamma: float = share(0.99)  # discount per step
    tau: float = share(0.005)  # fraction by which targets move to the critics in each gradient step
    temperature: float = not_negative(0.2)  # alpha, weight of the entropy; 0: returns only
    kl_coef: float = not_negative(1.0)  # c, weight of the divergence from the old policy
    tsallis_q: float = positive(1.0)  # q of entropy and divergence; 1: Shannon's, and KL


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    old_params: Any
    critic_params: Any
    target_params: Any
    opt_state: Any
    stream: Stream
    replay: Any
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array


def log_q(log_p: jax.Array, q: Number) -> jax.Array:
    """ln_q p = (p^(q - 1) - 1) / (q - 1), the Tsallis logarithm, with p^(q - 1) at most e^30; ln_1 p = log p.

    Lee et al. 2019, "Tsallis reinforcement learning", https://arxiv.org/abs/1902.00137.
    """
    z = jnp.minimum((q - 1.0) * log_p, 30.0)
    near = jnp.abs(z) < 1e-2  # there (e^z - 1) / z by its series: gradients by q exist for q = 1, too
    series = 1.0 + z / 2.0 * (1.0 + z / 3.0 * (1.0 + z / 4.0))
    return log_p * jnp.where(near, series, jnp.expm1(z) / jnp.where(near, 1.0, z))


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """MDPO in `env`: one auto-resetting environment with a bounded Box or Discrete actions.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`, for each network.

    Raises:
      ValueError: a count below 1, other actions, an option that does not fit the spaces.
    """
    counts = "num_envs num_steps num_gradient_steps old_every batch_size capacity warmup_steps n_step"
    require_counts(config, *counts.split())
    space, discrete = env.action_space, isinstance(env.action_space, Discrete)
    policy = action_critics.soft_policy(env, config.network, torso)
    layer_norm = config.critic_layer_norm
    critics = action_critics.make(space, policy, config.network, config.num_critics, layer_norm, torso=torso)
    # Densities of the policy are those of actions between their bounds: here they are between -1 and 1.
    unit = 0.0 if discrete else off_policy.log_scale(space)
    sizes = config.num_envs, config.capacity, config.n_step, config.num_steps
    memory = replay.uniform(off_policy.observed(env), space, *sizes)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)
    warmup_rollouts = off_policy.rollouts_of(config.num_steps, config.num_envs, config.warmup_steps)

    def optimizers(hp, num_updates):
        """Of the policy and of the critics."""
        rates = hp.learning_rate, hp.critic_learning_rate
        decayed = (linear_decay(rate, hp.lr_decay, num_updates, hp.total_updates) for rate in rates)
        return [clipped_adam(rate, hp.adam_eps, hp.max_grad_norm) for rate in decayed]

    def init(key, hp):
        begun = off_policy.start(key, envs, policy, critics, memory, config.num_steps, warmup_rollouts)
        learned = begun["params"], begun["critic_params"]
        opt_state = [optim.init(x) for optim, x in zip(optimizers(hp, 0), learned)]
        old_params = jax.tree.map(jnp.copy, begun["params"])
        return TrainState(**begun, old_params=old_params, opt_state=opt_state)

    def sample(pi, size, key):
        """Actions for the expectations under a policy in `size` states: raw ones, or all if Discrete."""
        return jnp.tile(jnp.arange(space.n)[:, None], size) if discrete else pi.sample(key)

    def log_prob(pi, action):
        """Of each `sample`, `[B]`; `[B, A]` if Discrete."""
        return jax.vmap(pi.log_prob, out_axes=1)(action) if discrete else pi.log_prob(action) + unit

    def values(critic_params, x, action):
        """Q of each `sample`, `[E, B]`; `[E, B, A]` if Discrete."""
        return critics.values(critic_params, x) if discrete else critics.value(critic_params, x, action)

    def mean(log_pi, x):
        """Expectations `[B]` under the policy of what is known of each `sample`."""
        return (jnp.exp(log_pi) * x).sum(axis=1) if discrete else x

    def targets_of(params, target_params, hp, batch, key):
        x, mask = policy.encode((), batch.next_obs[0]), batch.next_obs[1]
        pi = off_policy.distribution(policy, params, x, mask)
        action = sample(pi, len(x), key)
        log_pi, q = log_prob(pi, action), values(target_params, x, action).min(axis=0)
        value = mean(log_pi, q - hp.temperature * log_q(log_pi, hp.tsallis_q))
        return batch.reward + batch.discount * value

    @jax.named_scope("loss")
    def critic_loss(critic_params, batch, target):
        q = critics.value(critic_params, policy.encode((), batch.obs[0]), batch.action)
        return 0.5 * jnp.square(q - target).mean(axis=1).sum(), q.mean()

    @jax.named_scope("loss")
    def policy_loss(params, old_params, critic_params, hp, batch, key):
        x, mask = policy.encode((), batch.obs[0]), batch.obs[1]
        pi, old = (off_policy.distribution(policy, one, x, mask) for one in (params, old_params))
        action = sample(pi, len(x), key)
        log_pi, log_old = log_prob(pi, action), log_prob(old, action)
        linear = hp.tsallis_q * log_q(log_old, hp.tsallis_q)
        divergence = log_q(log_pi, hp.tsallis_q) - linear
        q = values(critic_params, x, action)[0]
        loss = mean(log_pi, hp.kl_coef * divergence + hp.temperature * linear - q)
        metrics = {"policy/entropy": -mean(log_pi, log_pi), "policy/kl": mean(log_pi, log_pi - log_old)}
        return loss.mean(), jax.tree.map(jnp.mean, metrics)

    def update(state, hp):
        key, rollout_key, draw_key, step_key = jax.random.split(state.key, 4)
        optims = optimizers(hp, state.num_updates)

        # Act by samples, and store the steps.
        act = policies.explore(policy, state.params, ())
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        rows = memory.add(state.replay, off_policy.stored(steps, stream))
        due = state.num_updates % config.old_every == 0
        old_params = jax.tree.map(partial(jnp.where, due), state.params, state.old_params)

        # Gradient steps of critics and policy, each on a batch from the replay.
        def sgd_step(carry, inputs):
            (params, critic_params, target_params, (opt, critic_opt)), (noise, key) = carry, inputs
            next_key, action_key = jax.random.split(key)
            batch = memory.sample(rows, noise, hp.gamma)
            target = targets_of(params, target_params, hp, batch, next_key)
            grad = jax.value_and_grad(critic_loss, has_aux=True)
            (value_loss, q), critic_grads = grad(critic_params, batch, target)
            critic_params, critic_opt = stepped(optims[1], critic_grads, critic_opt, critic_params)
            target_params = optax.incremental_update(critic_params, target_params, hp.tau)

            grad = jax.value_and_grad(policy_loss, has_aux=True)
            (loss, metrics), grads = grad(params, old_params, critic_params, hp, batch, action_key)
            params, opt = stepped(optims[0], grads, opt, params)
            metrics |= {"loss/value": value_loss, "loss/policy": loss, "value/mean": q}
            metrics["grad/norm"] = optax.tree.norm(critic_grads)
            return (params, critic_params, target_params, [opt, critic_opt]), metrics

        noise = memory.draw(draw_key, (config.num_gradient_steps, config.batch_size))
        keys = jax.random.split(step_key, config.num_gradient_steps)
        start = state.params, state.critic_params, state.target_params, state.opt_state
        end, metrics = jax.lax.scan(sgd_step, start, (noise, keys))
        params, critic_params, target_params, opt_state = end

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        rate = linear_decay(hp.learning_rate, hp.lr_decay, state.num_updates, hp.total_updates)
        metrics["optimizer/learning_rate"] = rate
        return state.replace(
            key=key,
            params=params,
            old_params=old_params,
            critic_params=critic_params,
            target_params=target_params,
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
        config.greedy,
        steps_per_update=config.num_envs * config.num_steps,
        warmup_steps=warmup_rollouts * config.num_envs * config.num_steps,
        keep_replay=config.keep_replay,
    )


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
