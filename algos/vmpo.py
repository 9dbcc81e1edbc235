"""V-MPO: on-policy Maximum a Posteriori Policy Optimization, a weighted likelihood of the better actions.

    params:       minimise  - sum_i psi_i log pi(a_i|s_i) + sum_k alpha_k D_k + vf_coef E[ 1/2 (V(s) - G)^2 ]
    eta, alpha:   minimise  eta eps_eta + eta log mean_i exp(A_i / eta) + sum_k alpha_k (eps_k - D_k)
    psi = softmax(A / eta);  i: where A is at or above the median of a minibatch

`D_1` is E[ KL(pi_old(.|s), pi(.|s)) ] with the standard deviations of pi_old, `D_2` that with its means (0
for discrete actions). The temperature eta and the multipliers alpha_k are trained with a separate Adam and
stay above 1e-8. Song et al. 2019, https://arxiv.org/abs/1909.12238. Here A = GAE(gamma, gae_lambda), G = A +
V_old(s), and pi_old is the policy of the rollout, in all epochs. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import distributions, policies
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.on_policy import algorithm, collect_batch
from jaxrl.optimizers import clipped_adam, linear_decay, stepped
from jaxrl.policies import NetworkConfig, divergence, take, unroll
from jaxrl.returns import standardize
from jaxrl.rollout import minibatches, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, Number, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 4  # gradient steps per pass
    network: NetworkConfig = NetworkConfig()  # of the policy and the value function
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    normalize_advantages: bool = True  # to mean 0 and variance 1, in each minibatch
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    learning_rate: float = not_negative(2.5e-4)  # of Adam, at the start
    lr_decay: float = share(1.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-5)  # of Adam
    max_grad_norm: float = positive(0.5)  # clip the global norm of the gradient to this
    gamma: float = share(0.99)  # discount per step
    gae_lambda: float = share(0.95)  # trace of the advantage estimator: 0 one step, 1 to the episode's end
    vf_coef: float = not_negative(0.5)  # weight of the value loss
    eps_eta: float = positive(0.1)  # limit of the divergence of the weights from uniform ones
    eps_alpha: float = positive(0.01)  # limit that alpha_1 enforces on D_1: discrete actions, means
    eps_alpha_std: float = positive(1e-3)  # limit that alpha_2 enforces on D_2: standard deviations
    eta: float = positive(1.0)  # initial temperature
    alpha: float = positive(1.0)  # initial value of both multipliers
    multiplier_lr: float = not_negative(1e-2)  # learning rate of the temperature and the multipliers


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    opt_state: Any
    multipliers: Any
    multiplier_opt_state: Any
    stream: Stream
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """V-MPO in `env`: one auto-resetting environment with episode statistics in its `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, an option that does not fit the spaces.
    """
    require_counts(config, "num_envs", "num_steps", "num_epochs", "num_minibatches")
    sizes = config.num_envs, config.num_steps
    normalize = config.normalize_obs, config.normalize_reward
    columns = policies.num_columns(config.network, *sizes, config.num_minibatches)
    policy = policies.actor_critic(env, config.network, torso)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)
    num_outputs = distributions.num_outputs(env.action_space)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = policies.start(key, envs, policy, *sizes, *normalize, hp.gamma)
        start = {"eta": hp.eta, "alpha": hp.alpha, "alpha_std": hp.alpha}
        multipliers = jax.tree.map(lambda x: jnp.maximum(jnp.asarray(x, jnp.float32), 1e-8), start)
        return TrainState(
            **fields,
            opt_state=optimizer(hp, 0).init(fields["params"]),
            multipliers=multipliers,
            multiplier_opt_state=optax.adam(hp.multiplier_lr).init(multipliers),
            num_updates=jnp.zeros((), jnp.int32),
        )

    def divergences(batch, outputs):
        """`D_1` and `D_2`."""
        old, new = (jnp.split(x, [num_outputs], axis=-1) for x in (batch["outputs"], outputs))
        mixed = [new[0], old[1]], [old[0], new[1]]
        return tuple(divergence(policy, batch, jnp.concatenate(parts, axis=-1)).mean() for parts in mixed)

    def loss(params, multipliers, hp, batch):
        outputs, value = unroll(policy, params, batch)
        pi = policy.distribution(outputs, batch.get("action_mask"))
        weights, _ = weigh(batch["advantages"], multipliers["eta"])
        policy_loss = -(weights * pi.log_prob(batch["action"])).sum()
        kl, kl_std = divergences(batch, outputs)
        penalty = multipliers["alpha"] * kl + multipliers["alpha_std"] * kl_std
        value_loss = 0.5 * jnp.square(value - batch["targets"]).mean()
        entropy = pi.entropy().mean()
        metrics = {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": entropy}
        metrics |= {"policy/kl": kl, "policy/kl_std": kl_std}
        return policy_loss + penalty + hp.vf_coef * value_loss, metrics

    def dual(multipliers, hp, advantages, kl, kl_std):
        eta, alpha, alpha_std = (multipliers[name] for name in ("eta", "alpha", "alpha_std"))
        held = alpha * (hp.eps_alpha - kl) + alpha_std * (hp.eps_alpha_std - kl_std)
        return eta * (hp.eps_eta + weigh(advantages, eta)[1]) + held

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        optim, multiplier_optim = optimizer(hp, state.num_updates), optax.adam(hp.multiplier_lr)
        discounts = hp.gamma, hp.gae_lambda
        after, batch, played = collect_batch(policy, envs, state, rollout_key, config.num_steps, *discounts)

        def sgd_step(carry, chosen):
            params, opt_state, multipliers, multiplier_opt_state = carry
            minibatch = take(policy, state.obs_stats, batch, chosen)
            if config.normalize_advantages:
                minibatch["advantages"] = standardize(minibatch["advantages"])
            grad = jax.grad(jax.named_scope("loss")(loss), has_aux=True)
            grads, metrics = grad(params, multipliers, hp, minibatch)
            inputs = minibatch["advantages"], metrics["policy/kl"], metrics["policy/kl_std"]
            dual_grads = jax.grad(dual)(multipliers, hp, *inputs)
            metrics["grad/norm"] = optax.tree.norm(grads)
            params, opt_state = stepped(optim, grads, opt_state, params)
            updates, multiplier_opt_state = multiplier_optim.update(dual_grads, multiplier_opt_state)
            multipliers = optax.apply_updates(multipliers, updates)
            multipliers = jax.tree.map(lambda x: jnp.maximum(x, 1e-8), multipliers)
            return (params, opt_state, multipliers, multiplier_opt_state), metrics

        names = ("params", "opt_state", "multipliers", "multiplier_opt_state")
        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        start = tuple(getattr(state, name) for name in names)
        carry, metrics = jax.lax.scan(sgd_step, start, order)
        fields = {"key": key, **dict(zip(names, carry)), **after}
        metrics = jax.tree.map(jnp.mean, metrics) | played
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        state = state.replace(**fields, num_updates=state.num_updates + 1)
        metrics |= {f"policy/{name}": value for name, value in state.multipliers.items()}
        return state, metrics

    return algorithm(init, update, Hparams(), policy, envs, *sizes, *normalize, config.greedy)


def weigh(advantages: jax.Array, eta: Number) -> tuple[jax.Array, jax.Array]:
    """psi in the shape of `advantages`, 0 below their median, and log mean exp(A / eta) over the others."""
    better = advantages >= jnp.median(advantages)
    logits = jnp.where(better, advantages / eta, -jnp.inf)
    total = jax.nn.logsumexp(logits)
    return jnp.exp(logits - total), total - jnp.log(better.sum())


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
