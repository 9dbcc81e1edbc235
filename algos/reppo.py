"""REPPO: Relative Entropy Pathwise Policy Optimization, on-policy learning by the gradient of a critic Q.

    Q:      minimise  E[ cross-entropy(Q(s_t, a_t), HL-Gauss(G_t)) ]
    G_t   = r_t + gamma [ alpha H(pi(.|s')) + (1 - lambda) E[Q(s', a')] + lambda G_{t+1} ],   a' ~ pi
    pi:     minimise  E[ -(Q(s, a) + alpha H(pi(.|s))) ],  a ~ pi;  where KL > bound:  E[ beta KL ]
    alpha:  minimise  E[ alpha (H(pi(.|s)) - target) ]
    beta:   minimise  E[ beta (bound - KL) ],   KL = KL(pi_old(.|s), pi(.|s))

`pi_old` acted in the rollout, whose targets are those of `pi_old` and of the critic before the update; there
is neither a replay nor a target network. Where the divergence of a state exceeds its bound, only the
divergence is minimised. The policy learns through its sampled actions (with Discrete actions, expectations
are sums over all of them). A time limit is not a terminal state: the value and the entropy in the last
observation are used after a truncation.

Voelcker et al. 2025, https://arxiv.org/abs/2507.11019, without the auxiliary loss of their critic. Entropies
and divergences are exact here, theirs are estimated by samples; a terminal state has no entropy. Axes: `T`
num_steps, `N` num_envs, `B` steps of a minibatch.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from jaxrl import action_critics, critics, off_policy, policies, stats
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.optimizers import clipped_adam, linear_decay, stepped
from jaxrl.policies import NetworkConfig, action_masks, explore
from jaxrl.returns import lambda_returns
from jaxrl.rollout import episode_metrics, minibatches, rollout, vectorize
from jaxrl.spaces import Discrete, require_counts
from jaxrl.types import Algorithm, Env, Number, Stream
from jaxrl.widths import narrowed


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 16  # environments side by side
    num_steps: int = 32  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 8  # gradient steps of critic and policy per pass
    num_samples: int = 16  # actions that the value of an observation is the mean of; Discrete: all actions
    network: NetworkConfig = NetworkConfig(activation="silu", layer_norm=True)  # of policy and critic
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    num_atoms: int = 151  # intervals of the critic
    lowest_return: float = -100.0  # range of the critic, of discounted sums of rewards and of the entropy
    highest_return: float = 100.0  # with normalize_reward, of the normalized rewards
    greedy: bool = True  # evaluations take the most likely action instead of a sample


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(3e-4)  # of Adam, for all that is learned, at the start
    lr_decay: float = share(0.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-8)  # of Adam
    max_grad_norm: float = positive(0.5)  # clip the norms of the gradients of policy and critic
    gamma: float = share(0.99)  # discount per step
    q_lambda: float = share(0.95)  # trace of the targets: 0 one step, 1 to the end of the rollout
    temperature: float = positive(0.01)  # weight of the entropy, at the start
    entropy_scale: float = not_negative(0.5)  # of the target, -1 per number of an action; log A if Discrete
    kl_bound: float = positive(0.1)  # of the divergence from the policy that acted
    kl_coef: float = positive(0.01)  # multiplier of the divergence, at the start


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    critic_params: Any
    log_temperature: jax.Array
    log_kl_coef: jax.Array
    opt_state: Any
    stream: Stream
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """REPPO in `env`: one auto-resetting environment with a bounded Box or Discrete actions.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`, for each network.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, an empty range of returns, other actions, an
        option that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches", "num_samples")
    sizes, normalize = (config.num_envs, config.num_steps), (config.normalize_obs, config.normalize_reward)
    columns = policies.num_columns(config.network, *sizes, config.num_minibatches)
    space, discrete = env.action_space, isinstance(env.action_space, Discrete)
    policy = action_critics.soft_policy(env, config.network, torso)
    head = critics.hl_gauss(config.lowest_return, config.highest_return, config.num_atoms)
    layer_norm, outputs = config.network.layer_norm, head.num_outputs
    critic = action_critics.make(space, policy, config.network, 1, layer_norm, 0.0, outputs, torso)
    # Entropies of the policy are those of actions between their bounds: here they are between -1 and 1.
    unit = 0.0 if discrete else off_policy.log_scale(space)
    natural_entropy = np.log(space.n) if discrete else -float(np.prod(space.shape))
    envs = vectorize(policies.bounded(env, policy), config.num_envs)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        key, critic_key = jax.random.split(key)
        fields = policies.start(key, envs, policy, *sizes, *normalize, hp.gamma)
        fields["critic_params"] = critic.init(critic_key)
        logs = [jnp.log(jnp.asarray(x, jnp.float32)) for x in (hp.temperature, hp.kl_coef)]
        learned = (fields["params"], *logs), fields["critic_params"]
        fields["opt_state"] = [optimizer(hp, 0).init(x) for x in learned]
        zero = jnp.zeros((), jnp.int32)
        return TrainState(**fields, log_temperature=logs[0], log_kl_coef=logs[1], num_updates=zero)

    def expected_value(critic_params, pi, x, key):
        """E[Q(s, a)] under the policy, `[B]`: a sum over all actions if they are Discrete, else a sample."""
        if not discrete:
            return head.value(critic.value(critic_params, x, pi.sample(key))[0])
        actions = jnp.broadcast_to(jnp.arange(space.n)[:, None], (space.n, x.shape[0]))
        probabilities = jnp.exp(jax.vmap(pi.log_prob, out_axes=1)(actions))
        return (probabilities * head.value(critic.values(critic_params, x)[0])).sum(axis=1)

    def targets_of(state, hp, steps, next_mask, key):
        """The soft lambda returns G `[T, N]` of a rollout, by the networks before the update."""
        x = policy.encode(state.obs_stats, steps.next_obs)
        x, mask = jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), (x, next_mask))
        pi = off_policy.distribution(policy, state.params, x, mask)
        keys = jax.random.split(key, 1 if discrete else config.num_samples)
        q = jax.lax.map(lambda key: expected_value(state.critic_params, pi, x, key), keys).mean(axis=0)
        bonus = hp.gamma * jnp.exp(state.log_temperature) * (pi.entropy() - unit)
        bonus, q = (leaf.reshape(steps.reward.shape) for leaf in (bonus, q))
        reward = stats.scale_reward(state.reward_stats, steps.reward)
        reward = reward + jnp.where(steps.terminated, 0.0, bonus)
        return lambda_returns(reward, q, q, steps.terminated, steps.truncated, hp.gamma, hp.q_lambda)

    @jax.named_scope("loss")
    def critic_loss(critic_params, batch):
        outputs = critic.value(critic_params, batch["x"], batch["action"])[0]
        return critics.fit(head, outputs, batch["targets"]).mean(), head.value(outputs).mean()

    @jax.named_scope("loss")
    def policy_loss(learned, critic_params, hp, batch, key):
        params, log_temperature, log_kl_coef = learned
        x, mask = batch["x"], batch["mask"]
        outputs = policy.step(params, (), x, jnp.zeros(x.shape[:1], bool))[1]
        pi = policy.distribution(outputs, mask)
        q, entropy = expected_value(critic_params, pi, x, key), pi.entropy() - unit
        kl = policy.kl(batch["outputs"], outputs, mask)
        weights = jnp.exp(log_temperature), jnp.exp(log_kl_coef)
        loss, dual = losses(q, entropy, kl, *weights, hp.entropy_scale * natural_entropy, hp.kl_bound)
        metrics = {"loss/policy": loss, "policy/entropy": entropy.mean(), "policy/kl": kl.mean()}
        return loss + dual, metrics | {"policy/kl_exceeded": (kl >= hp.kl_bound).mean(dtype="float32")}

    def update(state, hp):
        key, rollout_key, target_key, shuffle_key, step_key = jax.random.split(state.key, 5)
        optim = optimizer(hp, state.num_updates)

        # Collect `[T, N]` steps, and compute their targets.
        act = explore(policy, state.params, state.obs_stats)
        stream, steps = rollout(envs, act, rollout_key, state.stream, config.num_steps)
        mask, next_mask = action_masks(steps, stream)
        targets = targets_of(state, hp, steps, next_mask, target_key)
        batch = {"x": policy.encode(state.obs_stats, steps.obs), "action": steps.action, "targets": targets}
        batch |= {"outputs": steps.extras["outputs"], "mask": mask}
        batch = jax.tree.map(lambda leaf: leaf.reshape((-1, *leaf.shape[2:])), batch)

        # Several epochs of shuffled minibatches of steps: of the critic, and of the policy that follows it.
        def sgd_step(carry, inputs):
            learned, critic_params, (opt, critic_opt) = carry
            chosen, key = inputs
            minibatch = jax.tree.map(lambda leaf: leaf[chosen], batch)
            grad = jax.value_and_grad(critic_loss, has_aux=True)
            (value_loss, q), critic_grads = grad(critic_params, minibatch)
            critic_params, critic_opt = stepped(optim, critic_grads, critic_opt, critic_params)
            grads, metrics = jax.grad(policy_loss, has_aux=True)(learned, critic_params, hp, minibatch, key)
            learned, opt = stepped(optim, grads, opt, learned)
            metrics |= {"loss/value": value_loss, "value/mean": q, "grad/norm": optax.tree.norm(critic_grads)}
            return (learned, critic_params, [opt, critic_opt]), metrics

        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        learned = state.params, state.log_temperature, state.log_kl_coef
        start, keys = (learned, state.critic_params, state.opt_state), jax.random.split(step_key, len(order))
        (learned, critic_params, opt_state), metrics = jax.lax.scan(sgd_step, start, (order, keys))
        params, log_temperature, log_kl_coef = learned

        metrics = jax.tree.map(jnp.mean, metrics) | episode_metrics(steps.info, steps.done)
        metrics |= {"policy/temperature": jnp.exp(log_temperature), "policy/kl_coef": jnp.exp(log_kl_coef)}
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        changed = policies.observe(policy, state.obs_stats, state.reward_stats, steps, hp.gamma)
        changed |= {"log_temperature": log_temperature, "log_kl_coef": log_kl_coef, "opt_state": opt_state}
        changed |= {"params": params, "critic_params": critic_params, "num_updates": state.num_updates + 1}
        return state.replace(key=key, stream=stream, **changed), metrics

    return narrowed(
        Algorithm(
            init,
            update,
            act=policies.act(policy, config.greedy),
            hparams=Hparams(),
            steps_per_update=config.num_envs * config.num_steps,
            warmup_steps=policies.warmup_steps(*sizes, *normalize),
            description=policy.description,
        )
    )


def losses(
    q: jax.Array,
    entropy: jax.Array,
    kl: jax.Array,
    temperature: jax.Array,
    kl_coef: jax.Array,
    target_entropy: Number,
    kl_bound: Number,
) -> tuple[jax.Array, jax.Array]:
    """The loss of the policy, and that of temperature and multiplier; of each, the others are constants.

    Args:
      q, entropy, kl: of the policy in each state, `[B]`.
    """
    fixed = jax.lax.stop_gradient
    policy = jnp.where(kl < kl_bound, -(q + fixed(temperature) * entropy), fixed(kl_coef) * kl)
    dual = temperature * fixed(entropy - target_entropy) + kl_coef * fixed(kl_bound - kl)
    return policy.mean(), dual.mean()


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
