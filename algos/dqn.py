"""DQN: deep Q-learning from a replay, with its variants up to Rainbow and implicit quantile networks.

    minimise  E[ w huber( R + discount * Q'(s', a*) - Q(s, a) ) ],   a* = argmax_a Q(s', a)

`R` is the discounted sum of n rewards, `Q'` the target network, and `a*` is chosen by `Q'` itself without
`double`. Without `prioritized` transitions are drawn uniformly, and w = 1. With another `head` than a scalar
one, the loss is that of a distribution of returns (`jaxrl.critics`). With `munchausen`, R + alpha clip(t log
pi(a|s), -1, 0) takes the place of R and t log sum_a exp(Q'(s', a) / t) that of Q'(s', a*); pi is the softmax
of Q' / t. With `noisy`, layers have learned noise: new noise for every step of acting, and for both networks
in every gradient step. A time limit is not a terminal state: the value of the last observation is used after
a truncation.

Mnih et al. 2015, https://doi.org/10.1038/nature14236; double: van Hasselt et al. 2016,
https://arxiv.org/abs/1509.06461; dueling: Wang et al. 2016, https://arxiv.org/abs/1511.06581; prioritized:
Schaul et al. 2016, https://arxiv.org/abs/1511.05952; noisy: Fortunato et al. 2018,
https://arxiv.org/abs/1706.10295; munchausen: Vieillard et al. 2020, https://arxiv.org/abs/2007.14430. Double,
dueling, prioritized and noisy with n_step = 3 and the head c51 are Rainbow: Hessel et al. 2018,
https://arxiv.org/abs/1710.02298. Axes: `T` num_steps, `N` num_envs, `B` batch_size, `A` actions, `K` outputs
per action.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import critics, off_policy, policies, replay
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.optimizers import clipped_adam, linear, linear_decay, progress, stepped
from jaxrl.policies import NetworkConfig, action_values, epsilon_greedy, value_of
from jaxrl.rollout import episode_metrics, rollout, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Stream
from jaxrl.widths import narrowed


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 8  # environments side by side
    num_steps: int = 8  # steps in each environment between two updates
    num_gradient_steps: int = 16  # gradient steps per update
    batch_size: int = 64  # transitions per gradient step
    capacity: int = 100_000  # transitions in the replay
    warmup_steps: int = 1_000  # environment steps with random actions before the first update
    n_step: int = 3  # rewards of a transition
    double: bool = True  # choose the next action by the online network, and evaluate it by the target network
    dueling: bool = False  # Q(s, a) = V(s) + A(s, a) - mean_a A(s, a), from two heads
    prioritized: bool = False  # draw transitions in proportion to their error
    noisy: bool = (
        False  # layers with learned noise, which explores; then take epsilon_start = epsilon_end = 0
    )
    munchausen: bool = False  # add the log-probability of the action to the reward; with n_step = 1
    target_every: int = 1  # updates between two steps of the target network
    # values with the Huber or the squared loss, or distributions of `num_atoms`
    head: Literal["scalar", "squared", "c51", "qr", "iqn", "hl_gauss", "two_hot"] = "scalar"
    num_atoms: int = 51  # points, quantiles or intervals of a head that is not scalar
    lowest_return: float = -100.0  # range of the returns with c51, hl_gauss and two_hot
    highest_return: float = 100.0
    network: NetworkConfig = NetworkConfig(activation="relu", layer_norm=True)  # of Q
    evaluation_epsilon: float = 0.0  # probability of a random action in evaluations
    keep_replay: Literal["auto", "yes", "no"] = "auto"  # in checkpoints; auto: if it is small


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(5e-4)  # of Adam, at the start
    lr_decay: float = share(1.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-5)  # of Adam
    max_grad_norm: float = positive(10.0)  # clip the global norm of the gradient to this
    gamma: float = share(0.99)  # discount per step
    tau: float = share(0.3)  # fraction by which the target network moves to the online network; 1: a copy
    epsilon_start: float = share(1.0)  # probability of a random action, at the start
    epsilon_end: float = share(0.05)  # and after the fraction `exploration` of the run
    exploration: float = share(0.2)  # fraction of the run over which epsilon decays linearly
    munchausen_weight: float = share(0.9)  # with munchausen: of the log-probability
    temperature: float = positive(0.03)  # with munchausen: of the softmax of Q
    priority_exponent: float = share(0.6)  # with prioritized: 0 uniform, 1 in proportion to the error
    importance_exponent: float = share(0.4)  # with prioritized: correction at the start; 1 at the end


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    target_params: Any
    opt_state: Any
    stream: Stream
    replay: Any
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """DQN in `env`: one auto-resetting environment with discrete actions, and episode statistics in `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, actions that are not discrete, an option that does not fit the spaces.
    """
    counts = "num_envs num_steps num_gradient_steps batch_size capacity warmup_steps n_step target_every"
    require_counts(config, *counts.split())
    if config.munchausen and (config.n_step > 1 or config.head not in ("scalar", "squared")):
        raise ValueError("munchausen needs n_step = 1 and a scalar or squared head")
    head = critics.make(config.head, config.lowest_return, config.highest_return, config.num_atoms)
    policy = policies.q_values(env, config.network, torso, config.dueling, head, config.noisy)
    kind = replay.prioritized if config.prioritized else replay.uniform
    sizes = config.num_envs, config.capacity, config.n_step, config.num_steps
    memory = kind(off_policy.observed(env), env.action_space, *sizes)
    envs = vectorize(env, config.num_envs)
    warmup_rollouts = off_policy.rollouts_of(config.num_steps, config.num_envs, config.warmup_steps)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        key, params_key, env_key, warmup_key = jax.random.split(key, 4)
        params = policy.init(params_key)
        stream = Stream(*envs.reset(env_key), policy.initial_memory(config.num_envs))
        at_random = epsilon_greedy(policy, params, (), 1.0)
        rollouts = config.num_steps, warmup_rollouts
        stream, rows, _ = off_policy.fill(memory, envs, at_random, warmup_key, stream, *rollouts)
        opt_state = optimizer(hp, 0).init(params)
        target_params, start = jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32)
        return TrainState(key, params, target_params, opt_state, stream, rows, (), start)

    def values(params, seen, key):
        """Q(s, .) `[B, A]` or outputs of the head, and the actions that are allowed or None."""
        obs, mask = seen
        return action_values(policy, params, (), obs, key), mask

    @jax.named_scope("loss")
    def loss(params, target_params, hp, batch, weights, keys):
        key, target_key = keys  # of the noise of both networks
        q_next, mask = values(target_params, batch.next_obs, target_key)
        chooser = values(params, batch.next_obs, key)[0] if config.double else q_next
        best = policy.distribution(chooser, mask).mode()
        following, reward = value_of(q_next, best), batch.reward
        if config.munchausen:
            pi_next = policy.distribution(q_next / hp.temperature, mask)
            following -= hp.temperature * pi_next.log_prob(best)  # the soft value, whatever the action
            q_old, mask = values(target_params, batch.obs, target_key)
            log_prob = policy.distribution(q_old / hp.temperature, mask).log_prob(batch.action)
            reward += hp.munchausen_weight * jnp.clip(hp.temperature * log_prob, -1.0, 0.0)
        following, reward = jax.lax.stop_gradient((following, reward))
        q = value_of(values(params, batch.obs, key)[0], batch.action)
        each, error = head.loss(q, reward, batch.discount, following)
        total = (weights * each).mean()
        return total, ({"loss/value": total, "value/mean": head.value(q).mean()}, error)

    def update(state, hp):
        key, rollout_key, draw_key, noise_key = jax.random.split(state.key, 4)
        now, optim = progress(state.num_updates, hp.total_updates), optimizer(hp, state.num_updates)

        # Act, at random with probability epsilon, and store the steps.
        epsilon = linear(hp.epsilon_start, hp.epsilon_end, now, hp.exploration)
        act = epsilon_greedy(policy, state.params, (), epsilon)
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        rows = memory.add(state.replay, off_policy.stored(steps, stream))

        # Gradient steps, each on a batch from the replay.
        def sgd_step(carry, drawn):
            params, opt_state, rows = carry
            drawn, noise_keys = drawn
            batch = memory.sample(rows, drawn, hp.gamma)
            weights = jnp.ones(config.batch_size)
            if config.prioritized:
                beta = hp.importance_exponent + (1.0 - hp.importance_exponent) * now
                weights = replay.importance_weights(batch.probability, beta)
            grad = jax.grad(loss, has_aux=True)
            grads, (metrics, error) = grad(params, state.target_params, hp, batch, weights, noise_keys)
            if memory.reweigh:
                priority = jax.lax.stop_gradient((error + 1e-6) ** hp.priority_exponent)
                rows = memory.reweigh(rows, batch.row, priority)
            metrics["grad/norm"] = optax.tree.norm(grads)
            params, opt_state = stepped(optim, grads, opt_state, params)
            return (params, opt_state, rows), metrics

        drawn = memory.draw(draw_key, (config.num_gradient_steps, config.batch_size))
        noise_keys = jax.random.split(noise_key, (config.num_gradient_steps, 2))
        start = state.params, state.opt_state, rows
        (params, opt_state, rows), metrics = jax.lax.scan(sgd_step, start, (drawn, noise_keys))

        due = (state.num_updates + 1) % config.target_every == 0
        target_params = optax.incremental_update(params, state.target_params, jnp.where(due, hp.tau, 0.0))
        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        rate = learning_rate(hp, state.num_updates)
        metrics |= {"policy/epsilon": epsilon, "optimizer/learning_rate": rate}
        count = state.num_updates + 1
        return TrainState(key, params, target_params, opt_state, stream, rows, (), count), metrics

    return narrowed(
        Algorithm(
            init,
            update,
            act=policies.best_action(policy, config.evaluation_epsilon),
            hparams=Hparams(),
            steps_per_update=config.num_envs * config.num_steps,
            warmup_steps=warmup_rollouts * config.num_envs * config.num_steps,
            keep=replay.keep(config.keep_replay),
            description=policy.description,
        )
    )


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
