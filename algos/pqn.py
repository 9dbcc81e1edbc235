"""PQN: Parallelised Q-Network, Q-learning from rollouts, without a replay and without a target network.

    minimise  E[ 1/2 (Q(s_t, a_t) - G_t)^2 ]
    G_t = r_t + gamma [ lambda G_{t+1} + (1 - lambda) max_a Q(s_{t+1}, a) ]

Layer normalization, which bounds the influence of one update on other states, replaces the target network;
many environments replace the replay. The targets are those of the network before the update, with lambda = 0
at the end of a rollout. Gallici et al. 2025, https://arxiv.org/abs/2407.04811. A time limit is not a terminal
state: the value of the last observation is used after a truncation. Axes: `T` num_steps, `N` num_envs,
`A` actions, `B` steps of a minibatch.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import policies
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.optimizers import clipped_radam, linear, linear_decay, progress, stepped
from jaxrl.policies import NetworkConfig, action_masks, action_values, epsilon_greedy, value_of
from jaxrl.returns import lambda_returns
from jaxrl.rollout import episode_metrics, minibatches, rollout, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Stream
from jaxrl.widths import narrowed


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 16  # environments side by side
    num_steps: int = 32  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 8  # gradient steps per pass
    network: NetworkConfig = NetworkConfig(activation="relu", layer_norm=True)  # of Q
    evaluation_epsilon: float = 0.0  # probability of a random action in evaluations


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(1e-3)  # of RAdam, at the start
    lr_decay: float = share(1.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-8)  # of RAdam
    max_grad_norm: float = positive(10.0)  # clip the global norm of the gradient to this
    gamma: float = share(0.99)  # discount per step
    q_lambda: float = share(0.65)  # trace of the targets: 0 one step, 1 to the end of the rollout
    epsilon_start: float = share(1.0)  # probability of a random action, at the start
    epsilon_end: float = share(0.05)  # and after the fraction `exploration` of the run
    exploration: float = share(0.1)  # fraction of the run over which epsilon decays linearly


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    opt_state: Any
    stream: Stream
    obs_stats: tuple[()]  # observations are not normalized
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """PQN in `env`: one auto-resetting environment with discrete actions, and episode statistics in `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, actions that are not discrete, an option
        that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches")
    policy = policies.q_values(env, config.network, torso)
    sizes = config.num_envs, config.num_steps
    columns = policies.num_columns(config.network, *sizes, config.num_minibatches)
    envs = vectorize(env, config.num_envs)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_radam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        key, params_key, env_key = jax.random.split(key, 3)
        params = policy.init(params_key)
        stream = Stream(*envs.reset(env_key), policy.initial_memory(config.num_envs))
        opt_state = optimizer(hp, 0).init(params)
        return TrainState(key, params, opt_state, stream, (), jnp.zeros((), jnp.int32))

    @jax.named_scope("loss")
    def loss(params, batch):
        q = value_of(action_values(policy, params, (), batch["obs"]), batch["action"])
        total = 0.5 * jnp.square(q - batch["targets"]).mean()
        return total, {"loss/value": total, "value/mean": q.mean()}

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        now, optim = progress(state.num_updates, hp.total_updates), optimizer(hp, state.num_updates)

        # Collect `[T, N]` steps, at random with probability epsilon, and compute their targets.
        epsilon = linear(hp.epsilon_start, hp.epsilon_end, now, hp.exploration)
        act = epsilon_greedy(policy, state.params, (), epsilon)
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        next_q = action_values(policy, state.params, (), steps.next_obs)
        _, next_mask = action_masks(steps, stream)
        next_value = value_of(next_q, policy.distribution(next_q, next_mask).mode())
        ended = steps.terminated, steps.truncated
        targets = lambda_returns(steps.reward, next_value, next_value, *ended, hp.gamma, hp.q_lambda)
        batch = {"obs": steps.obs, "action": steps.action, "targets": targets}
        batch = jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), batch)

        # Several epochs of shuffled minibatches of steps.
        def sgd_step(carry, chosen):
            params, opt_state = carry
            minibatch = jax.tree.map(lambda leaf: leaf[chosen], batch)
            grads, metrics = jax.grad(loss, has_aux=True)(params, minibatch)
            metrics["grad/norm"] = optax.tree.norm(grads)
            return stepped(optim, grads, opt_state, params), metrics

        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        (params, opt_state), metrics = jax.lax.scan(sgd_step, (state.params, state.opt_state), order)

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        rate = learning_rate(hp, state.num_updates)
        metrics |= {"policy/epsilon": epsilon, "optimizer/learning_rate": rate}
        return TrainState(key, params, opt_state, stream, (), state.num_updates + 1), metrics

    return narrowed(
        Algorithm(
            init,
            update,
            act=policies.best_action(policy, config.evaluation_epsilon),
            hparams=Hparams(),
            steps_per_update=config.num_envs * config.num_steps,
            description=policy.description,
        )
    )


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
