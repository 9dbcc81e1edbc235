"""DSAC-T: distributional soft actor-critic with three refinements.

A critic is a normal distribution of returns, Z_i(s, a) = N(Q_i, sigma_i^2). With a' ~ pi', the target critic
j with the lower mean, and z ~ Z'_j(s', a') within three of its standard deviations,

    y   = R + discount * (Q'_j(s', a') - alpha log pi'(a'|s'))    (1. a mean instead of a sample; 2. j)
    y_z = R + discount * (z - alpha log pi'(a'|s')),              clipped to Q_i +- b_i
    gradient = (omega_i + eps) E[ -(y - Q_i) / (sigma_i^2 + eps) grad Q_i
                                  - ((y_z - Q_i)^2 - sigma_i^2) / (sigma_i^3 + eps) grad sigma_i ]

(3.) omega_i and b_i are moving averages of sigma_i^2 and 3 sigma_i: scales of rewards do not matter. Policy
and temperature are those of SAC, stepped with the targets once per `policy_every` gradient steps. A time
limit is not a terminal state: the value of the last observation is used after a truncation.
Duan et al. 2025, https://arxiv.org/abs/2310.05858. Axes: `E` critics, `B` batch.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from jaxrl import action_critics, off_policy, policies, replay
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.optimizers import clipped_adam, linear_decay, stepped
from jaxrl.policies import NetworkConfig
from jaxrl.rollout import episode_metrics, rollout, vectorize
from jaxrl.spaces import require_counts, require_division
from jaxrl.types import Algorithm, Env, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 1  # steps in each environment between two updates
    num_gradient_steps: int = 2  # gradient steps of the critics per update
    batch_size: int = 128  # transitions per gradient step
    capacity: int = 100_000  # transitions in the replay
    warmup_steps: int = 1_000  # environment steps with random actions before the first update
    n_step: int = 1  # rewards of a transition
    policy_every: int = 2  # gradient steps of the critics for one of policy, temperature and targets
    num_critics: int = 2  # distributions of returns
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
    temperature_learning_rate: float = not_negative(1e-3)  # for the temperature
    lr_decay: float = share(0.0)  # fraction by which the rates decay linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-8)  # of Adam
    max_grad_norm: float = positive(1e3)  # clip the norms of the gradients of policy and critics
    gamma: float = share(0.99)  # discount per step
    tau: float = share(0.01)  # fraction by which targets and moving averages move
    temperature: float = positive(1.0)  # weight of the entropy, at the start
    entropy_scale: float = not_negative(1.0)  # of the entropy that the policy shall have, -1 per number
    variance_bias: float = positive(0.1)  # eps, which keeps small variances from large gradients


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    critic_params: Any
    target_params: Any
    target_policy_params: Any
    log_temperature: jax.Array
    variance: jax.Array  # omega `[E]`
    bound: jax.Array  # b `[E]`
    opt_state: Any
    stream: Stream
    replay: Any
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """DSAC-T in `env`: one auto-resetting environment with one bounded Box of actions.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`, for each network.

    Raises:
      ValueError: a count below 1, other actions, an option that does not fit the spaces.
    """
    counts = "num_envs num_steps num_gradient_steps batch_size capacity warmup_steps n_step policy_every"
    require_counts(config, *counts.split())
    require_division("num_gradient_steps", config.num_gradient_steps, config.policy_every)
    space, policy = env.action_space, policies.squashed(env, config.network, torso)
    layer_norm = config.critic_layer_norm
    critics = action_critics.make(
        space, policy, config.network, config.num_critics, layer_norm, num_outputs=2, torso=torso
    )
    unit, size = off_policy.log_scale(space), float(np.prod(space.shape))
    sizes = config.num_envs, config.capacity, config.n_step, config.num_steps
    memory = replay.uniform(off_policy.observed(env), space, *sizes)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)
    warmup_rollouts = off_policy.rollouts_of(config.num_steps, config.num_envs, config.warmup_steps)

    def optimizers(hp, num_updates):
        """Of the policy, the critics and the temperature."""
        rates = hp.learning_rate, hp.critic_learning_rate, hp.temperature_learning_rate
        decayed = [linear_decay(rate, hp.lr_decay, num_updates, hp.total_updates) for rate in rates]
        norms = hp.max_grad_norm, hp.max_grad_norm, None
        return [clipped_adam(rate, hp.adam_eps, norm) for rate, norm in zip(decayed, norms)]

    def distribution(critic_params, x, action):
        """Mean and standard deviation of returns, `[E, B]` each."""
        outputs = critics.value(critic_params, x, action)
        return outputs[..., 0], jax.nn.softplus(outputs[..., 1])

    def init(key, hp):
        begun = off_policy.start(key, envs, policy, critics, memory, config.num_steps, warmup_rollouts)
        log_temperature = jnp.log(jnp.asarray(hp.temperature, jnp.float32))
        learned = begun["params"], begun["critic_params"], log_temperature
        deviation = jnp.full(config.num_critics, np.log(2.0), jnp.float32)  # softplus(0)
        return TrainState(
            **begun,
            target_policy_params=jax.tree.map(jnp.copy, begun["params"]),
            log_temperature=log_temperature,
            variance=jnp.square(deviation),
            bound=3.0 * deviation,
            opt_state=[optim.init(x) for optim, x in zip(optimizers(hp, 0), learned)],
        )

    def sample(params, x, key):
        """Raw actions of the policy and their log-density between -1 and 1."""
        pi = off_policy.distribution(policy, params, x)
        action = pi.sample(key)
        return action, pi.log_prob(action) + unit

    def targets_of(state, temperature, batch, key):
        """The means y and the samples y_z `[B]` of the return."""
        action_key, return_key = jax.random.split(key)
        x = policy.encode((), batch.next_obs[0])
        action, log_pi = sample(state.target_policy_params, x, action_key)
        mean, std = distribution(state.target_params, x, action)
        lower = mean.argmin(axis=0)[None]
        mean, std = (jnp.take_along_axis(each, lower, axis=0)[0] for each in (mean, std))
        z = jnp.clip(jax.random.normal(return_key, mean.shape), -3.0, 3.0)
        soft = batch.reward - batch.discount * temperature * log_pi
        return soft + batch.discount * mean, soft + batch.discount * (mean + std * z)

    @jax.named_scope("loss")
    def critic_loss(critic_params, state, hp, batch, targets):
        q, std = distribution(critic_params, policy.encode((), batch.obs[0]), batch.action)
        mean, deviation = jax.lax.stop_gradient((q, std))
        variance = optax.incremental_update(jnp.square(deviation).mean(axis=1), state.variance, hp.tau)
        bound = optax.incremental_update(3.0 * deviation.mean(axis=1), state.bound, hp.tau)
        y, y_z = targets
        gradients = partial(action_critics.normal_gradients, mean, deviation, y, y_z)
        of_mean, of_std = gradients(variance, bound, hp.variance_bias)
        surrogate = -(of_mean * q + of_std * std).mean(axis=1).sum()  # only its gradient is defined
        loss = 0.5 * jnp.square(y - mean).mean(axis=1).sum()
        metrics = {"loss/value": loss, "value/mean": mean.mean()}
        return surrogate, (variance, bound, metrics | {"value/std": deviation.mean()})

    @jax.named_scope("loss")
    def policy_loss(params, critic_params, temperature, batch, key):
        x = policy.encode((), batch.obs[0])
        action, log_pi = sample(params, x, key)
        q = distribution(critic_params, x, action)[0].min(axis=0)
        return (temperature * log_pi - q).mean(), log_pi.mean()

    def update(state, hp):
        key, rollout_key, draw_key, step_key = jax.random.split(state.key, 4)
        optims = optimizers(hp, state.num_updates)

        # Act by samples, and store the steps.
        act = policies.explore(policy, state.params, ())
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        rows = memory.add(state.replay, off_policy.stored(steps, stream))
        state = state.replace(stream=stream)

        def critic_step(state, inputs):
            noise, key = inputs
            batch = memory.sample(rows, noise, hp.gamma)
            targets = targets_of(state, jnp.exp(state.log_temperature), batch, key)
            grad = jax.grad(critic_loss, has_aux=True)
            grads, (variance, bound, metrics) = grad(state.critic_params, state, hp, batch, targets)
            opt, critic_opt, temperature_opt = state.opt_state
            critic_params, critic_opt = stepped(optims[1], grads, critic_opt, state.critic_params)
            changed = {"critic_params": critic_params, "variance": variance, "bound": bound}
            changed["opt_state"] = [opt, critic_opt, temperature_opt]
            return state.replace(**changed), metrics | {"grad/norm": optax.tree.norm(grads)}

        # Some steps of the critics, then one of policy, temperature and targets.
        def sgd_step(state, inputs):
            state, metrics = jax.lax.scan(critic_step, state, inputs[:2])
            opt, critic_opt, temperature_opt = state.opt_state
            temperature, batch = jnp.exp(state.log_temperature), memory.sample(rows, inputs[0][-1], hp.gamma)
            grad = jax.value_and_grad(policy_loss, has_aux=True)
            (loss, log_pi), grads = grad(state.params, state.critic_params, temperature, batch, inputs[2])
            params, opt = stepped(optims[0], grads, opt, state.params)
            excess = -log_pi + hp.entropy_scale * size
            log_temperature, last = stepped(optims[2], excess, temperature_opt, state.log_temperature)
            targets = state.target_params, state.target_policy_params
            targets = optax.incremental_update((state.critic_params, params), targets, hp.tau)
            changed = {"params": params, "target_params": targets[0], "target_policy_params": targets[1]}
            changed |= {"log_temperature": log_temperature, "opt_state": [opt, critic_opt, last]}
            metrics = jax.tree.map(jnp.mean, metrics) | {"loss/policy": loss}
            metrics |= {"policy/entropy": -log_pi, "policy/temperature": temperature}
            return state.replace(**changed), metrics

        shape = config.num_gradient_steps // config.policy_every, config.policy_every
        noise = memory.draw(draw_key, (*shape, config.batch_size))
        keys = jax.random.split(step_key, (shape[0], shape[1] + 1))
        state, metrics = jax.lax.scan(sgd_step, state.replace(replay=()), (noise, keys[:, 1:], keys[:, 0]))

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        rate = linear_decay(hp.learning_rate, hp.lr_decay, state.num_updates, hp.total_updates)
        metrics["optimizer/learning_rate"] = rate
        return state.replace(key=key, replay=rows, num_updates=state.num_updates + 1), metrics

    return off_policy.algorithm(
        init,
        update,
        Hparams(),
        policy,
        greedy=config.greedy,
        steps_per_update=config.num_envs * config.num_steps,
        warmup_steps=warmup_rollouts * config.num_envs * config.num_steps,
        keep_replay=config.keep_replay,
    )


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
