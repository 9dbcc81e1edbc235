"""FixPO: penalised policy optimisation whose trust region is then repaired until every state is inside.

    1. minimise  -E[ r A ] + c E[ KL ] + vf_coef E[ 1/2 (V(s) - G)^2 ] - ent_coef E[ H(pi(.|s)) ]  in
       minibatches; after each, c follows its own loss  c (max_kl - kl_margin max_s KL), never below 0
    2. "fix-up": while max_s KL > max_kl over all steps of the update: a gradient step down E[ KL ]

KL = KL(pi_old(.|s), pi(.|s)), exact; r = pi(a|s) / pi_old(a|s), A = GAE(gamma, gae_lambda), G = A + V_old(s).
Zentner et al. 2023, "Guaranteed Trust Region Optimization via Two-Phase KL Penalization",
https://arxiv.org/abs/2312.05405. Here the fix-up sees all steps at once, after the last pass, by an Adam that
starts anew, and if it has not come to its end after `max_fixups` steps, parameters and optimizer are those
before the update: the region holds always. Axes: `T` num_steps, `N` num_envs.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from jaxrl import on_policy
from jaxrl.optimizers import clipped_adam, progress
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env
from jaxrl.widths import narrowed


@dataclasses.dataclass(frozen=True)
class Config:
    """What compiles: counts, shapes and switches."""

    num_envs: int = 4  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 4  # passes over the steps of an update
    num_minibatches: int = 4  # gradient steps per pass
    max_fixups: int = 64  # gradient steps of the second phase, at most
    torso: Literal["auto", "mlp", "cnn"] = "auto"  # before the heads; auto: a CNN for images, else an MLP
    hidden_sizes: tuple[int, ...] = (64, 64)  # units of the MLP, or of the layers after the convolution
    activation: Literal["tanh", "relu", "silu", "gelu", "elu"] = "tanh"  # between the layers
    shared_torso: bool = False  # one network for policy and value, up to the heads
    memory_size: int = 0  # units of a GRU after the torso (minibatches are then environments); 0: none
    init_log_std: float = 0.0  # log standard deviation of continuous actions at the start
    squash: bool = False  # tanh-squash continuous actions into their bounds instead of cutting them off
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    normalize_advantages: bool = True  # to mean 0 and variance 1, in each minibatch
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@struct.dataclass
class Hparams:
    """What is traced: vary it in a population, differentiate by it, evolve it."""

    learning_rate: float = 2.5e-4  # of Adam, at the start
    lr_decay: float = 1.0  # share of the learning rate that is gone at the end, linearly; 0: constant
    total_updates: float = 977.0  # updates from progress 0 to 1, for all that is annealed
    adam_eps: float = 1e-5  # of Adam
    max_grad_norm: float = 0.5  # a longer gradient, over all parameters at once, is scaled back to this
    gamma: float = 0.99  # discount per step
    gae_lambda: float = 0.95  # trace of the advantage estimator: 0 one step, 1 to the episode's end
    vf_coef: float = 0.5  # weight of the value loss
    ent_coef: float = 0.01  # weight of the entropy bonus
    max_kl: float = 0.5  # divergence of the new policy from the old one, at most, in every state
    kl_margin: float = 3.0  # the first phase aims at so much less: max_kl / kl_margin
    kl_coef: float = 1.0  # the coefficient of the divergence at the start
    kl_coef_lr: float = 0.05  # learning rate of its Adam


@struct.dataclass
class TrainState:
    """All that a run changes; `env_state`, `timestep` and `memory` have axes `[N, ...]`."""

    key: jax.Array
    params: Any
    opt_state: Any
    kl_coef: jax.Array
    kl_opt_state: Any
    env_state: Any
    timestep: Any
    memory: Any
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """FixPO in `env`: one environment that resets itself and has episode statistics in its `info`.

    Args:
      torso: a flax module of your own, `[..., *obs] -> [..., F]`, instead of `config.torso`.

    Raises:
      ValueError: a count below 1, a batch that does not divide, an option that does not fit the spaces.
    """
    counts = ("num_envs", "num_steps", "num_epochs", "num_minibatches", "max_fixups")
    require_counts(config, *counts)
    agent = on_policy.make(env, torso, **vars(config))

    def optimizer(hp, num_updates):
        learning_rate = hp.learning_rate * (1.0 - hp.lr_decay * progress(num_updates, hp.total_updates))
        return clipped_adam(learning_rate, hp.adam_eps, hp.max_grad_norm)

    def init(key, hp):
        fields = agent.begin(key, hp.gamma)
        kl_coef = jnp.asarray(hp.kl_coef, jnp.float32)
        return TrainState(
            **fields,
            opt_state=optimizer(hp, 0).init(fields["params"]),
            kl_coef=kl_coef,
            kl_opt_state=optax.adam(hp.kl_coef_lr).init(kl_coef),
            num_updates=jnp.zeros((), jnp.int32),
        )

    def loss(params, hp, kl_coef, batch):
        outputs, value = agent.evaluate(params, batch)
        pi = agent.distribution(batch, outputs)
        ratio = jnp.exp(pi.log_prob(batch["action"]) - batch["log_prob"])
        advantages = batch["advantages"]
        if config.normalize_advantages:
            advantages = on_policy.standardize(advantages)
        kl, entropy = agent.kl(batch, outputs), pi.entropy().mean()
        policy_loss = -(ratio * advantages).mean() + kl_coef * kl.mean()
        value_loss = on_policy.half_square(value, batch["targets"])
        total = policy_loss + hp.vf_coef * value_loss - hp.ent_coef * entropy
        metrics = {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": entropy}
        return total, (metrics, kl.max())

    @jax.named_scope("fixup")
    def fixup(params, hp, batch, num_updates):
        """Parameters inside the region if they get there, how many steps it took, mean and largest KL."""
        optim = optimizer(hp, num_updates)

        @partial(jax.value_and_grad, has_aux=True)
        def divergence(params):
            kl = agent.kl(batch, agent.evaluate(params, batch)[0])
            return kl.mean(), kl.max()

        def outside(carry):
            count, _, _, ((_, worst), _) = carry
            return ~(worst <= hp.max_kl) & (count < config.max_fixups)  # a nan is outside, too

        def back(carry):
            count, params, opt_state, (_, grads) = carry
            updates, opt_state = optim.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            return count + 1, params, opt_state, divergence(params)

        start = (jnp.zeros((), jnp.int32), params, optim.init(params), divergence(params))
        count, params, _, (told, _) = jax.lax.while_loop(outside, back, start)
        return params, count, *told

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        optim, kl_optim = optimizer(hp, state.num_updates), optax.adam(hp.kl_coef_lr)
        fields, data, seen = agent.experience(state, rollout_key, hp.gamma, hp.gae_lambda)

        def sgd_step(carry, columns):
            params, opt_state, kl_coef, kl_opt_state = carry
            minibatch = agent.batch(state, data, columns)
            grad = jax.grad(jax.named_scope("loss")(loss), has_aux=True)
            grads, (metrics, worst) = grad(params, hp, kl_coef, minibatch)
            metrics["grad/norm"] = optax.tree.norm(grads)
            updates, opt_state = jax.named_scope("optimizer")(optim.update)(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            step, kl_opt_state = kl_optim.update(hp.max_kl - hp.kl_margin * worst, kl_opt_state)
            return (params, opt_state, jnp.maximum(kl_coef + step, 0.0), kl_opt_state), metrics

        start = (state.params, state.opt_state, state.kl_coef, state.kl_opt_state)
        minibatches = agent.minibatches(shuffle_key, config.num_epochs)
        carry, metrics = jax.lax.scan(sgd_step, start, minibatches)
        params, opt_state, kl_coef, kl_opt_state = carry
        # Like the policy, the multiplier comes back from numbers that are none.
        known, before = jnp.isfinite(kl_coef), (state.kl_coef, state.kl_opt_state)
        kl_coef, kl_opt_state = jax.tree.map(partial(jnp.where, known), (kl_coef, kl_opt_state), before)
        whole = agent.batch(state, data)
        # A loop of unknown length has no gradient: to that of an update, this phase is a constant shift.
        constant = jax.lax.stop_gradient((params, hp, whole, state.num_updates))
        fixed, count, kl, worst = fixup(*constant)
        inside = worst <= hp.max_kl
        params = jax.tree.map(partial(through, inside), fixed, params, state.params)
        opt_state = jax.tree.map(lambda new, old: jnp.where(inside, new, old), opt_state, state.opt_state)
        fields |= {"key": key, "params": params, "opt_state": opt_state}
        state = state.replace(**fields, kl_coef=kl_coef, kl_opt_state=kl_opt_state)
        metrics = jax.tree.map(jnp.mean, metrics) | seen
        metrics |= {"policy/kl": jnp.where(inside, kl, 0.0), "policy/kl_max": jnp.where(inside, worst, 0.0)}
        metrics |= {"fixup/count": count.astype(jnp.float32), "fallback/count": 1.0 - inside}
        metrics["policy/kl_coef"] = kl_coef
        return state.replace(num_updates=state.num_updates + 1), metrics

    steps_per_update = config.num_envs * config.num_steps
    return narrowed(Algorithm(init, update, agent.act, Hparams(), steps_per_update, agent.warmup_steps))


def through(inside, fixed, learned, before):
    """`fixed` with the gradient of `learned`, or `before`."""
    return jnp.where(inside, fixed + (learned - jax.lax.stop_gradient(learned)), before)
