"""XQC: soft actor-critic with batch and weight normalization and categorical critics; also CrossQ.

    Z_i:    minimise the cross-entropy of the distribution Z_i(s, a) with that of
            R / v + discount * (Z'_j(s', a') - alpha log pi(a'|s')),   Q'_j(s', a') = min_i Q'_i(s', a')
    pi:     minimise  E[ alpha log pi(a|s) - min_i Q_i(s, a) ],   a ~ pi, a' ~ pi
    alpha:  minimise  E[ -log alpha (log pi(a|s) + H) ]

Q_i is the mean of Z_i, `v` the standard deviation of discounted returns. A network that learns is normalized
by the statistics of its batch, for critics one of all (s, a) and (s', a'); otherwise by running averages. The
weights of each unit have a norm of 1. Policy and temperature are stepped once per `policy_every` steps of the
critics. A time limit is not a terminal state: the value of the last observation is used after a truncation.
Palenicek et al. 2025, https://arxiv.org/abs/2509.25174. Axes: `E` critics, `B` batch, `K` outputs.

CrossQ, the preset `crossq`, learns values, without targets, normalized rewards and weights, and normalizes by
`BatchRenorm` after activations. Bhatt et al. 2024, https://arxiv.org/abs/1902.05605.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxrl import batch_norm, critics, off_policy, policies, replay, stats
from jaxrl.batch_norm import BatchNormMLP
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
    num_gradient_steps: int = 3  # gradient steps of the critics per update
    batch_size: int = 128  # transitions per gradient step
    capacity: int = 100_000  # transitions in the replay
    warmup_steps: int = 1_000  # environment steps with random actions before the first update
    n_step: int = 1  # rewards of a transition
    policy_every: int = 3  # gradient steps of the critics for one of policy and temperature
    num_critics: int = 2  # networks of Z
    critic_hidden_sizes: tuple[int, ...] = (64, 64)  # units of the layers of a critic
    head: Literal["c51", "squared"] = "c51"  # a distribution of returns, or a value with the squared error
    num_atoms: int = 51  # of c51: points of a distribution
    lowest_return: float = -5.0  # of c51: least normalized return that can be predicted
    highest_return: float = 5.0  # of c51: largest
    weight_norm: bool = True  # project the weights of each unit to the unit sphere
    norm_before_activation: bool = True  # normalize what a layer computes before its activation, or after it
    renorm_after: int = 0  # gradient steps after which batch normalization is BatchRenorm; 0: never
    target_networks: bool = True  # targets by slowly moving critics, or by the critics themselves
    normalize_reward: bool = True  # divide rewards by the standard deviation of discounted returns
    network: NetworkConfig = NetworkConfig(activation="relu")  # of the policy; its activation also of critics
    greedy: bool = True  # evaluations take the most likely action instead of a sample
    keep_replay: Literal["auto", "yes", "no"] = "auto"  # in checkpoints; auto: if it is small


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(1e-3)  # of Adam for the policy, at the start
    critic_learning_rate: float = not_negative(1e-3)  # for the critics
    temperature_learning_rate: float = not_negative(1e-3)  # for the temperature
    lr_decay: float = share(0.9)  # fraction by which the rates decay linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_b1: float = share(0.9)  # momentum of Adam for policy and critics
    adam_eps: float = positive(1e-8)  # of Adam
    max_grad_norm: float = positive(1e3)  # clip the norms of the gradients of policy, critics and temperature
    gamma: float = share(0.99)  # discount per step
    tau: float = share(0.005)  # fraction by which targets move to the critics in each gradient step
    temperature: float = positive(0.01)  # weight of the entropy, at the start
    entropy_scale: float = not_negative(0.5)  # of the entropy that the policy shall have, -1 per number


@struct.dataclass
class TrainState:
    """Everything that a run changes. Stats are running averages; the actor's move only in its own steps."""

    key: jax.Array
    params: Any  # of the policy that acts: the actor by its statistics, as a network without normalization
    actor_params: Any
    actor_stats: Any
    critic_params: Any
    critic_stats: Any
    target_params: Any
    log_temperature: jax.Array
    opt_state: Any
    stream: Stream
    replay: Any
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array
    reward_stats: Any = ()  # (): rewards are not normalized


def make(env: Env, config: Config = Config()) -> Algorithm:
    """XQC in `env`: one auto-resetting environment with vectors as observations, one bounded Box of actions.

    Raises:
      ValueError: a count below 1, other observations or actions, an option that does not fit the spaces.
    """
    counts = "num_envs num_steps num_gradient_steps batch_size capacity warmup_steps n_step policy_every"
    require_counts(config, *counts.split())
    require_division("num_gradient_steps", config.num_gradient_steps, config.policy_every, "policy_every")
    space, policy = env.action_space, policies.squashed(env, config.network)
    batch_norm.require_mlp(policy, config.network, config.critic_hidden_sizes)
    head = critics.make(config.head, config.lowest_return, config.highest_return, config.num_atoms)
    before, size, num_inputs = config.norm_before_activation, int(np.prod(space.shape)), policy.obs_shape[0]
    kind = config.network.activation, before, config.renorm_after
    actor = batch_norm.network(BatchNormMLP(config.network.hidden_sizes, 2 * size, *kind), num_inputs)
    net = BatchNormMLP(config.critic_hidden_sizes, head.num_outputs, *kind)
    critic = batch_norm.ensemble(net, num_inputs + size, config.num_critics)
    project = batch_norm.projected if config.weight_norm else lambda params: params
    folded = partial(batch_norm.folded, before_activation=before)
    unit, sizes = off_policy.log_scale(space), (config.num_envs, config.capacity)
    memory = replay.uniform(off_policy.observed(env), space, *sizes, config.n_step, config.num_steps)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)
    warmup_rollouts = off_policy.rollouts_of(config.num_steps, config.num_envs, config.warmup_steps)

    def optimizers(hp, num_updates):
        """Of the actor, the critics and the temperature."""
        rates = hp.learning_rate, hp.critic_learning_rate, hp.temperature_learning_rate
        decayed = [linear_decay(rate, hp.lr_decay, num_updates, hp.total_updates) for rate in rates]
        momenta = hp.adam_b1, hp.adam_b1, 0.9
        return [clipped_adam(rate, hp.adam_eps, hp.max_grad_norm, b1) for rate, b1 in zip(decayed, momenta)]

    def init(key, hp):
        networks = policy._replace(init=actor.init), critic
        gamma = hp.gamma if config.normalize_reward else None
        begun = off_policy.start(key, envs, *networks, memory, config.num_steps, warmup_rollouts, gamma)
        (actor_params, actor_stats), (critic_params, critic_stats) = begun["params"], begun["critic_params"]
        learned = project(actor_params), project(critic_params), jnp.log(jnp.float32(hp.temperature))
        begun |= dict(zip(("actor_params", "critic_params", "log_temperature"), learned))
        begun["target_params"] = jax.tree.map(jnp.copy, learned[1]) if config.target_networks else ()
        begun |= {"params": folded(learned[0], actor_stats), "actor_stats": actor_stats}
        opt_state = [optim.init(x) for optim, x in zip(optimizers(hp, 0), learned)]
        return TrainState(**begun, critic_stats=critic_stats, opt_state=opt_state)

    def pairs(x, action):
        return jnp.concatenate([x, jnp.tanh(action).reshape(len(x), -1)], axis=-1)

    def sample(pi, key):
        """Raw actions, and their log-density between -1 and 1."""
        action = pi.sample(key)
        return action, pi.log_prob(action) + unit

    @jax.named_scope("loss")
    def critic_loss(critic_params, state, batch, key):
        x, next_x = policy.encode((), batch.obs[0]), policy.encode((), batch.next_obs[0])
        next_action, log_pi = sample(off_policy.distribution(policy, state.params, next_x), key)
        joint = jnp.concatenate([pairs(x, batch.action), pairs(next_x, next_action)])
        outputs, critic_stats = critic.learn(critic_params, state.critic_stats, joint)
        outputs, next_outputs = jnp.split(outputs, 2, axis=1)  # [E, B, K]
        if config.target_networks:
            target = critic.learn(state.target_params, state.critic_stats, joint)[0]
            next_outputs = jnp.split(target, 2, axis=1)[1]
        lowest = head.value(next_outputs).argmin(axis=0)
        next_outputs = jax.lax.stop_gradient(next_outputs[lowest, jnp.arange(len(x))])
        reward = stats.scale_reward(state.reward_stats, batch.reward, jnp.inf)
        reward -= batch.discount * jnp.exp(state.log_temperature) * log_pi
        loss = jax.vmap(head.loss, (0, None, None, None))(outputs, reward, batch.discount, next_outputs)[0]
        return loss.mean(axis=1).sum(), (critic_stats, head.value(outputs).mean())

    @jax.named_scope("loss")
    def policy_loss(actor_params, state, batch, key):
        x = policy.encode((), batch.obs[0])
        outputs, actor_stats = actor.learn(actor_params, state.actor_stats, x)
        action, log_pi = sample(policy.distribution(outputs), key)
        q = head.value(critic.apply(state.critic_params, state.critic_stats, pairs(x, action))).min(axis=0)
        return (jnp.exp(state.log_temperature) * log_pi - q).mean(), (actor_stats, log_pi.mean())

    def update(state, hp):
        key, rollout_key, draw_key, step_key = jax.random.split(state.key, 4)
        optims = optimizers(hp, state.num_updates)

        # Act by samples, and store the steps.
        act = policies.explore(policy, state.params, ())
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        rows = memory.add(state.replay, off_policy.stored(steps, stream))
        seen = stats.update_reward(state.reward_stats, steps.reward, steps.done, hp.gamma)
        state = state.replace(stream=stream, reward_stats=seen)

        def critic_step(state, inputs):
            noise, key = inputs
            batch = memory.sample(rows, noise, hp.gamma)
            grad = jax.value_and_grad(critic_loss, has_aux=True)
            (loss, (critic_stats, q)), grads = grad(state.critic_params, state, batch, key)
            opt, critic_opt, temperature_opt = state.opt_state
            critic_params, critic_opt = stepped(optims[1], grads, critic_opt, state.critic_params)
            changed = {"critic_params": project(critic_params), "critic_stats": critic_stats}
            if config.target_networks:
                moved = optax.incremental_update(changed["critic_params"], state.target_params, hp.tau)
                changed["target_params"] = moved
            metrics = {"loss/value": loss, "value/mean": q, "grad/norm": optax.tree.norm(grads)}
            return state.replace(**changed, opt_state=[opt, critic_opt, temperature_opt]), metrics

        # Some steps of the critics, then one of policy and temperature.
        def sgd_step(state, inputs):
            state, metrics = jax.lax.scan(critic_step, state, inputs[:2])
            batch = memory.sample(rows, inputs[0][-1], hp.gamma)
            grad = jax.value_and_grad(policy_loss, has_aux=True)
            (loss, (actor_stats, log_pi)), grads = grad(state.actor_params, state, batch, inputs[2])
            opt, critic_opt, temperature_opt = state.opt_state
            moved, opt = stepped(optims[0], grads, opt, state.actor_params)
            excess = hp.entropy_scale * size - log_pi  # of the entropy
            log_temperature, last = stepped(optims[2], excess, temperature_opt, state.log_temperature)
            metrics = jax.tree.map(jnp.mean, metrics) | {"loss/policy": loss, "policy/entropy": -log_pi}
            metrics["policy/temperature"] = jnp.exp(state.log_temperature)
            changed = {"actor_params": project(moved), "actor_stats": actor_stats}
            changed |= {"params": folded(*changed.values()), "log_temperature": log_temperature}
            return state.replace(**changed, opt_state=[opt, critic_opt, last]), metrics

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
