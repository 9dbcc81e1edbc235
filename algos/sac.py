"""SAC: soft actor-critic, off-policy learning that also maximizes the entropy of the policy.

    Q_i:    minimise  E[ (Q_i(s, a) - R - discount * (min_j Q'_j(s', a') - alpha log pi(a'|s')))^2 ] / 2
    pi:     minimise  E[ alpha log pi(a|s) - min_i Q_i(s, a) ],   a, a' ~ pi
    alpha:  minimise  E[ -log alpha (log pi(a|s) + H) ]

`H` is the entropy that the policy shall have, of actions between -1 and 1. With Discrete actions,
expectations under the policy are sums over all actions. With fewer `num_target_critics` than critics, the
minimum is over some that are drawn for every gradient step, and the policy maximizes the mean over all. A
time limit is not a terminal state: the value of the last observation is used after a truncation.

Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905; Discrete actions: Christodoulou 2019,
https://arxiv.org/abs/1910.07207; subsets (REDQ): Chen et al. 2021, https://arxiv.org/abs/2101.05982; dropout
and normalization (DroQ): Hiraoka et al. 2022, https://arxiv.org/abs/2110.02034. Axes: `E` critics, `B` batch.
"""

import dataclasses
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
from jaxrl.spaces import Discrete, require_counts
from jaxrl.types import Algorithm, Env, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 1  # steps in each environment between two updates
    num_gradient_steps: int = 2  # gradient steps per update
    batch_size: int = 128  # transitions per gradient step
    capacity: int = 100_000  # transitions in the replay
    warmup_steps: int = 1_000  # environment steps with random actions before the first update
    n_step: int = 1  # rewards of a transition
    num_critics: int = 2  # networks of Q
    num_target_critics: int = 2  # of them, those whose minimum is a target; fewer: drawn for each step
    critic_layer_norm: bool = False  # normalize the units of each layer of the critics
    dropout: float = 0.0  # probability that a unit of the critics is dropped while learning
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
    tau: float = share(0.005)  # fraction by which targets move to the critics in each gradient step
    temperature: float = positive(1.0)  # weight of the entropy, at the start
    entropy_scale: float = not_negative(1.0)  # of the target, -1 per number of an action; log A if Discrete


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    critic_params: Any
    target_params: Any
    log_temperature: jax.Array
    opt_state: Any
    stream: Stream
    replay: Any
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """SAC in `env`: one auto-resetting environment with a bounded Box or Discrete actions.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`, for each network.

    Raises:
      ValueError: a count below 1, other actions, an option that does not fit the spaces.
    """
    counts = (
        "num_envs num_steps num_gradient_steps batch_size capacity warmup_steps n_step num_target_critics"
    )
    require_counts(config, *counts.split())
    if config.num_target_critics > config.num_critics:
        given = f"num_target_critics = {config.num_target_critics}"
        raise ValueError(f"{given} must be at most num_critics = {config.num_critics}")
    space, discrete = env.action_space, isinstance(env.action_space, Discrete)
    policy = action_critics.soft_policy(env, config.network, torso)
    critics = action_critics.make(
        space,
        policy,
        config.network,
        config.num_critics,
        config.critic_layer_norm,
        config.dropout,
        torso=torso,
    )
    # Densities of the policy are those of actions between their bounds: here they are between -1 and 1.
    unit = 0.0 if discrete else off_policy.log_scale(space)
    natural_entropy = np.log(space.n) if discrete else -float(np.prod(space.shape))
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

    def init(key, hp):
        begun = off_policy.start(key, envs, policy, critics, memory, config.num_steps, warmup_rollouts)
        log_temperature = jnp.log(jnp.asarray(hp.temperature, jnp.float32))
        learned = begun["params"], begun["critic_params"], log_temperature
        opt_state = [optim.init(x) for optim, x in zip(optimizers(hp, 0), learned)]
        return TrainState(**begun, log_temperature=log_temperature, opt_state=opt_state)

    def soft_value(params, critic_params, seen, key, reduce):
        """Expectations under the policy, `[B]`: of `reduce(Q [E, ...])` and of log pi.

        By a sum over all actions if they are Discrete, else by one sample.
        """
        (obs, mask), (action_key, drop_key) = seen, jax.random.split(key)
        x = policy.encode((), obs)
        pi = off_policy.distribution(policy, params, x, mask)
        drop_key = drop_key if config.dropout else None
        if discrete:
            actions = jnp.broadcast_to(jnp.arange(space.n)[:, None], (space.n, x.shape[0]))
            log_pi = jax.vmap(pi.log_prob, out_axes=1)(actions)
            q = reduce(critics.values(critic_params, x, drop_key))
            return (jnp.exp(log_pi) * q).sum(1), (jnp.exp(log_pi) * log_pi).sum(1)
        action = pi.sample(action_key)
        return reduce(critics.value(critic_params, x, action, drop_key)), pi.log_prob(action) + unit

    @jax.named_scope("loss")
    def critic_loss(critic_params, batch, target, key):
        x = policy.encode((), batch.obs[0])
        q = critics.value(critic_params, x, batch.action, key if config.dropout else None)
        return 0.5 * jnp.square(q - target).mean(axis=1).sum(), q.mean()

    @jax.named_scope("loss")
    def policy_loss(params, critic_params, temperature, batch, key):
        best = jnp.mean if config.num_target_critics < config.num_critics else jnp.min
        q, log_pi = soft_value(params, critic_params, batch.obs, key, lambda q: best(q, axis=0))
        return (temperature * log_pi - q).mean(), log_pi.mean()

    def update(state, hp):
        key, rollout_key, draw_key, step_key = jax.random.split(state.key, 4)
        optims = optimizers(hp, state.num_updates)

        # Act by samples, and store the steps.
        act = policies.explore(policy, state.params, ())
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        rows = memory.add(state.replay, off_policy.stored(steps, stream))

        # Gradient steps of critics, policy and temperature, each on a batch from the replay.
        def sgd_step(carry, inputs):
            params, critic_params, target_params, log_temperature, opt_state = carry
            noise, key = inputs
            subset_key, next_key, drop_key, action_key = jax.random.split(key, 4)
            batch, temperature = memory.sample(rows, noise, hp.gamma), jnp.exp(log_temperature)

            def lowest(q):
                if config.num_target_critics < config.num_critics:
                    q = jax.random.permutation(subset_key, q)[: config.num_target_critics]
                return q.min(axis=0)

            q_next, log_pi = soft_value(params, target_params, batch.next_obs, next_key, lowest)
            target = batch.reward + batch.discount * (q_next - temperature * log_pi)
            grad = jax.value_and_grad(critic_loss, has_aux=True)
            (value_loss, q), critic_grads = grad(critic_params, batch, target, drop_key)
            critic_params, critic_opt = stepped(optims[1], critic_grads, opt_state[1], critic_params)
            target_params = optax.incremental_update(critic_params, target_params, hp.tau)

            grad = jax.value_and_grad(policy_loss, has_aux=True)
            (loss, log_pi), grads = grad(params, critic_params, temperature, batch, action_key)
            params, opt = stepped(optims[0], grads, opt_state[0], params)
            excess = -log_pi - hp.entropy_scale * natural_entropy  # of the entropy
            log_temperature, temperature_opt = stepped(optims[2], excess, opt_state[2], log_temperature)

            metrics = {"loss/value": value_loss, "loss/policy": loss, "value/mean": q}
            metrics |= {"policy/entropy": -log_pi, "policy/temperature": temperature}
            metrics["grad/norm"] = optax.tree.norm(critic_grads)
            opt_state = [opt, critic_opt, temperature_opt]
            return (params, critic_params, target_params, log_temperature, opt_state), metrics

        noise = memory.draw(draw_key, (config.num_gradient_steps, config.batch_size))
        keys = jax.random.split(step_key, config.num_gradient_steps)
        learned = state.params, state.critic_params, state.target_params
        start = *learned, state.log_temperature, state.opt_state
        end, metrics = jax.lax.scan(sgd_step, start, (noise, keys))
        params, critic_params, target_params, log_temperature, opt_state = end

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        rate = linear_decay(hp.learning_rate, hp.lr_decay, state.num_updates, hp.total_updates)
        metrics["optimizer/learning_rate"] = rate
        return state.replace(
            key=key,
            params=params,
            critic_params=critic_params,
            target_params=target_params,
            log_temperature=log_temperature,
            opt_state=opt_state,
            stream=stream,
            replay=rows,
            num_updates=state.num_updates + 1,
        ), metrics

    return off_policy.algorithm(
        init,
        update,
        Hparams(entropy_scale=0.5) if discrete else Hparams(),
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
