"""FixPO: penalised policy optimisation, then steps that reduce the KL until every state is within the limit.

    1. minimise  -E[ r A ] + c E[ KL ] + vf_coef E[ 1/2 (V(s) - G)^2 ] - ent_coef E[ H(pi(.|s)) ]  in
       minibatches; after each, c follows its own loss  c (max_kl - kl_margin max_s KL), never below 0
    2. "fix-up": while max_s KL > max_kl over all steps of the update: a gradient step down E[ KL ]

KL = KL(pi_old(.|s), pi(.|s)), exact; r = pi(a|s) / pi_old(a|s), A = GAE(gamma, gae_lambda), G = A + V_old(s).
Zentner et al. 2023, "Guaranteed Trust Region Optimization via Two-Phase KL Penalization",
https://arxiv.org/abs/2312.05405. Here the fix-up uses all steps at once, after the last pass, with a newly
initialized Adam. If it has not succeeded after `max_fixups` steps, parameters and optimizer are restored to
those before the update, so that the limit always holds. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import policies
from jaxrl.fields import explains_unknown, log_scale, not_negative, positive, share
from jaxrl.on_policy import algorithm, collect_batch
from jaxrl.optimizers import clipped_adam, linear_decay, stepped
from jaxrl.policies import NetworkConfig, divergence, take, unroll
from jaxrl.returns import standardize
from jaxrl.rollout import minibatches, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, PyTree, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 4  # gradient steps per pass
    max_fixups: int = 64  # maximum number of gradient steps in the second phase
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
    ent_coef: float = log_scale(0.01)  # weight of the entropy bonus
    max_kl: float = positive(0.5)  # maximum divergence of the new policy from the old one, in every state
    kl_margin: float = positive(3.0)  # the first phase aims at a smaller limit: max_kl / kl_margin
    kl_coef: float = not_negative(1.0)  # initial coefficient of the divergence
    kl_coef_lr: float = not_negative(0.05)  # learning rate of that coefficient, with Adam


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    opt_state: Any
    kl_coef: jax.Array
    kl_opt_state: Any
    stream: Stream
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """FixPO in `env`: one auto-resetting environment with episode statistics in its `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, an option that does not fit the spaces.
    """
    counts = ("num_envs", "num_steps", "num_epochs", "num_minibatches", "max_fixups")
    require_counts(config, *counts)
    sizes = config.num_envs, config.num_steps
    normalize = config.normalize_obs, config.normalize_reward
    columns = policies.num_columns(config.network, *sizes, config.num_minibatches)
    policy = policies.actor_critic(env, config.network, torso)
    envs = vectorize(policies.bounded(env, policy), config.num_envs)

    def learning_rate(hp, num_updates):
        return linear_decay(hp.learning_rate, hp.lr_decay, num_updates, hp.total_updates)

    def optimizer(hp, num_updates):
        return clipped_adam(learning_rate(hp, num_updates), hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = policies.start(key, envs, policy, *sizes, *normalize, hp.gamma)
        kl_coef = jnp.asarray(hp.kl_coef, jnp.float32)
        return TrainState(
            **fields,
            opt_state=optimizer(hp, 0).init(fields["params"]),
            kl_coef=kl_coef,
            kl_opt_state=optax.adam(hp.kl_coef_lr).init(kl_coef),
            num_updates=jnp.zeros((), jnp.int32),
        )

    def loss(params, hp, kl_coef, batch):
        outputs, value = unroll(policy, params, batch)
        pi = policy.distribution(outputs, batch.get("action_mask"))
        ratio = jnp.exp(pi.log_prob(batch["action"]) - batch["log_prob"])
        advantages = batch["advantages"]
        if config.normalize_advantages:
            advantages = standardize(advantages)
        kl, entropy = divergence(policy, batch, outputs), pi.entropy().mean()
        policy_loss = -(ratio * advantages).mean() + kl_coef * kl.mean()
        value_loss = 0.5 * jnp.square(value - batch["targets"]).mean()
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        metrics = {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": entropy}
        return total, (metrics, kl.max())

    @jax.named_scope("fixup")
    def fixup(params, hp, batch, num_updates):
        """The parameters after the second phase, the number of steps taken, and the mean and largest KL."""
        optim = optimizer(hp, num_updates)

        @partial(jax.value_and_grad, has_aux=True)
        def divergences(params):
            kl = divergence(policy, batch, unroll(policy, params, batch)[0])
            return kl.mean(), kl.max()

        def outside(carry):
            count, _, _, ((_, worst), _) = carry
            return ~(worst <= hp.max_kl) & (count < config.max_fixups)  # nan counts as outside

        def back(carry):
            count, params, opt_state, (_, grads) = carry
            updates, opt_state = optim.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            return count + 1, params, opt_state, divergences(params)

        start = (jnp.zeros((), jnp.int32), params, optim.init(params), divergences(params))
        count, params, _, (divergence_now, _) = jax.lax.while_loop(outside, back, start)
        return params, count, *divergence_now

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        optim, kl_optim = optimizer(hp, state.num_updates), optax.adam(hp.kl_coef_lr)
        discounts = hp.gamma, hp.gae_lambda
        after, batch, played = collect_batch(policy, envs, state, rollout_key, config.num_steps, *discounts)

        def sgd_step(carry, chosen):
            params, opt_state, kl_coef, kl_opt_state = carry
            minibatch = take(policy, state.obs_stats, batch, chosen)
            grad = jax.grad(jax.named_scope("loss")(loss), has_aux=True)
            grads, (metrics, worst) = grad(params, hp, kl_coef, minibatch)
            metrics["grad/norm"] = optax.tree.norm(grads)
            params, opt_state = stepped(optim, grads, opt_state, params)
            step, kl_opt_state = kl_optim.update(hp.max_kl - hp.kl_margin * worst, kl_opt_state)
            return (params, opt_state, jnp.maximum(kl_coef + step, 0.0), kl_opt_state), metrics

        start = (state.params, state.opt_state, state.kl_coef, state.kl_opt_state)
        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        carry, metrics = jax.lax.scan(sgd_step, start, order)
        params, opt_state, kl_coef, kl_opt_state = carry
        # If the multiplier is not finite, it is restored, as the policy is.
        known, before = jnp.isfinite(kl_coef), (state.kl_coef, state.kl_opt_state)
        kl_coef, kl_opt_state = jax.tree.map(partial(jnp.where, known), (kl_coef, kl_opt_state), before)
        whole = take(policy, state.obs_stats, batch)
        # `while_loop` has no reverse-mode gradient: in that of an update this phase is a constant shift.
        constant = jax.lax.stop_gradient((params, hp, whole, state.num_updates))
        fixed, count, kl, worst = fixup(*constant)
        inside = worst <= hp.max_kl
        params = jax.tree.map(partial(through, inside), fixed, params, state.params)
        opt_state = jax.tree.map(lambda new, old: jnp.where(inside, new, old), opt_state, state.opt_state)
        fields = {"params": params, "opt_state": opt_state, "kl_coef": kl_coef, "kl_opt_state": kl_opt_state}
        fields |= {"key": key, **after, "num_updates": state.num_updates + 1}
        metrics = jax.tree.map(jnp.mean, metrics) | played
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        metrics |= {"policy/kl": jnp.where(inside, kl, 0.0), "policy/kl_max": jnp.where(inside, worst, 0.0)}
        metrics |= {"fixup/count": count.astype(jnp.float32), "fallback/count": 1.0 - inside}
        metrics["policy/kl_coef"] = kl_coef
        return TrainState(**fields), metrics

    return algorithm(init, update, Hparams(), policy, envs, *sizes, *normalize, config.greedy)


def through(inside: jax.Array, fixed: PyTree, learned: PyTree, before: PyTree) -> PyTree:
    """`fixed` with the gradient of `learned`, or `before`."""
    return jnp.where(inside, fixed + (learned - jax.lax.stop_gradient(learned)), before)


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
