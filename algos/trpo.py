"""TRPO: Trust Region Policy Optimization, a natural gradient step with a backtracking line search.

    maximise  L = E[ r A ]   subject to   D = E[ KL(pi_old(.|s), pi(.|s)) ] <= max_kl
    x = (F + damping I)^-1 g,   g = dL/dparams,   F = d^2 D/dparams^2, both at pi_old
    params <- params + b^i sqrt(2 max_kl / x.(F + damping I)x) x

`i` is the first of 0, 1, ... for which L has increased and D <= max_kl; if there is none, the policy is not
changed. x is computed by conjugate gradients, which need only products with F. The divergence is exact,
r = pi(a|s) / pi_old(a|s), A = GAE(gamma, gae_lambda) with mean 0 and variance 1. The value function, a
separate network, is trained with Adam. Schulman et al. 2015, https://arxiv.org/abs/1502.05477. Axes: `T`
num_steps, `N` num_envs.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree

from jaxrl import policies
from jaxrl.fields import explains_unknown, not_negative, positive, share
from jaxrl.on_policy import algorithm, collect_batch
from jaxrl.optimizers import clipped_adam, conjugate_gradient, linear_decay, stepped
from jaxrl.policies import NetworkConfig, divergence, take, unroll
from jaxrl.returns import standardize
from jaxrl.rollout import minibatches, vectorize
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm, Env, PyTree, Stream


@explains_unknown
@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings: counts, shapes and switches; another value compiles another program."""

    num_envs: int = 8  # environments side by side
    num_steps: int = 128  # steps in each environment between two updates
    num_epochs: int = 10  # passes of the value function over the steps of an update
    num_minibatches: int = 8  # gradient steps of the value function per pass
    cg_iterations: int = 10  # iterations of conjugate gradients, for the direction of the policy's step
    max_backtracks: int = 10  # number of shorter steps that are tried
    network: NetworkConfig = NetworkConfig()  # of the policy and the value function
    normalize_obs: bool = False  # by running mean and variance, frozen within an update
    normalize_reward: bool = False  # by the running scale of the discounted return
    greedy: bool = True  # evaluate with the most likely action instead of a draw


@explains_unknown
@struct.dataclass
class Hparams:
    """Traced hyperparameters: they can vary in a population, or be evolved."""

    max_kl: float = positive(0.01)  # maximum of the mean divergence of the new policy from the old one
    damping: float = not_negative(0.1)  # added to the diagonal of the Fisher matrix
    backtrack: float = share(0.8)  # factor by which a rejected step is multiplied
    learning_rate: float = not_negative(1e-3)  # of the value function's Adam, at the start
    lr_decay: float = share(1.0)  # fraction by which the rate decays linearly over the run; 0: constant
    total_updates: float = float("inf")  # updates until decays end; inf: as many as the run has
    adam_eps: float = positive(1e-5)  # of Adam
    max_grad_norm: float = positive(0.5)  # clip the global norm of the gradient to this
    gamma: float = share(0.99)  # discount per step
    gae_lambda: float = share(0.95)  # trace of the advantage estimator: 0 one step, 1 to the episode's end


@struct.dataclass
class TrainState:
    """Everything that a run changes."""

    key: jax.Array
    params: Any
    opt_state: Any
    stream: Stream
    obs_stats: Any
    reward_stats: Any
    num_updates: jax.Array


def make(env: Env, config: Config = Config(), torso: nn.Module | None = None) -> Algorithm:
    """TRPO in `env`: one auto-resetting environment with episode statistics in its `info`.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of `config.network.torso`.

    Raises:
      ValueError: a count below 1, a batch that is not divisible, an option that does not fit the spaces.
    """
    require_counts(
        config, "num_envs", "num_steps", "num_epochs", "num_minibatches", "cg_iterations", "max_backtracks"
    )
    # Separate torsos: otherwise a step of the value function could move the policy out of its trust region.
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
        opt_state = optimizer(hp, 0).init(split(fields["params"])[1])
        return TrainState(**fields, opt_state=opt_state, num_updates=jnp.zeros((), jnp.int32))

    def gain(batch, outputs):
        """`L(pi) - L(pi_old)`."""
        log_ratio = (
            policy.distribution(outputs, batch.get("action_mask")).log_prob(batch["action"])
            - batch["log_prob"]
        )
        return (jnp.expm1(log_ratio) * standardize(batch["advantages"])).mean()

    def policy_step(params, hp, batch):
        """The parameters after the step, and the result of its line search."""
        actor, critic = split(params)
        start, unravel = ravel_pytree(actor)

        def outputs_of(vector):
            return unroll(policy, joined(unravel(vector), critic), batch)[0]

        # F = J' H J: at pi_old the gradient of D is zero, so only its Hessian H in the outputs contributes.
        outputs, jvp = jax.linearize(outputs_of, start)
        vjp = jax.linear_transpose(jvp, start)
        slope = jax.grad(lambda outputs: divergence(policy, batch, outputs).mean())

        def fisher(vector):
            return vjp(jax.jvp(slope, (batch["outputs"],), (jvp(vector),))[1])[0] + hp.damping * vector

        (gradient,) = vjp(jax.grad(lambda outputs: gain(batch, outputs))(outputs))
        direction = conjugate_gradient(fisher, gradient, config.cg_iterations)
        curvature = jnp.maximum(direction @ fisher(direction), 1e-12)
        step = jnp.sqrt(2.0 * hp.max_kl / curvature) * direction
        # The accepted length is constant almost everywhere, so no gradient passes through the search.
        constant = jax.lax.stop_gradient((critic, hp, batch, start, step))
        accepted, share, kl, better = search(unravel, *constant)
        metrics = {"policy/kl": kl, "policy/gain": better, "policy/accepted": accepted, "policy/share": share}
        moved = unravel(start + jnp.where(accepted > 0.0, share * step, 0.0))
        return joined(moved, critic), metrics

    @jax.named_scope("search")
    def search(unravel, critic, hp, batch, start, step):
        """Whether a step was accepted, its length as a fraction of `step`, its divergence and its gain."""

        def attempt(share):
            outputs, _ = unroll(policy, joined(unravel(start + share * step), critic), batch)
            return divergence(policy, batch, outputs).mean(), gain(batch, outputs)

        def holds(kl, better):
            return (kl <= hp.max_kl) & (better > 0.0)

        def shorter(carry):
            i, share, _, _ = carry
            share = share * hp.backtrack
            return i + 1, share, *attempt(share)

        def goes_on(carry):
            i, _, kl, better = carry
            return ~holds(kl, better) & (i < config.max_backtracks)

        one = jnp.ones((), start.dtype)
        _, share, kl, better = jax.lax.while_loop(goes_on, shorter, (0, one, *attempt(one)))
        accepted = holds(kl, better)
        return tuple(jnp.where(accepted, x, 0.0) for x in (one, share, kl, better))

    def value_loss(critic, actor, batch):
        return 0.5 * jnp.square(unroll(policy, joined(actor, critic), batch)[1] - batch["targets"]).mean()

    def update(state, hp):
        key, rollout_key, shuffle_key = jax.random.split(state.key, 3)
        optim = optimizer(hp, state.num_updates)
        discounts = hp.gamma, hp.gae_lambda
        after, batch, played = collect_batch(policy, envs, state, rollout_key, config.num_steps, *discounts)
        whole = take(policy, state.obs_stats, batch)
        params, step_metrics = policy_step(state.params, hp, whole)
        actor, critic = split(params)

        def value_step(carry, chosen):
            critic, opt_state = carry
            minibatch = take(policy, state.obs_stats, batch, chosen)
            loss, grads = jax.value_and_grad(jax.named_scope("loss")(value_loss))(critic, actor, minibatch)
            metrics = {"loss/value": loss, "grad/norm": optax.tree.norm(grads)}
            return stepped(optim, grads, opt_state, critic), metrics

        order = minibatches(shuffle_key, columns, config.num_epochs, config.num_minibatches)
        (critic, opt_state), metrics = jax.lax.scan(value_step, (critic, state.opt_state), order)
        old = policy.distribution(whole["outputs"], whole.get("action_mask"))
        step_metrics["policy/entropy"] = old.entropy().mean()
        metrics = jax.tree.map(jnp.mean, metrics) | step_metrics | played
        metrics["optimizer/learning_rate"] = learning_rate(hp, state.num_updates)
        params = joined(actor, critic)
        state = TrainState(key, params, opt_state, **after, num_updates=state.num_updates + 1)
        return state, metrics

    return algorithm(init, update, Hparams(), policy, envs, *sizes, *normalize, config.greedy)


def split(params: PyTree) -> tuple[PyTree, PyTree]:
    """The parameters of the policy and those of the value function."""
    of: tuple[dict[str, PyTree], dict[str, PyTree]] = ({}, {})
    for name, value in params["params"].items():
        of[name.startswith("critic")][name] = value
    return of


def joined(actor: PyTree, critic: PyTree) -> PyTree:
    """The parameters of the whole network."""
    return {"params": actor | critic}


if __name__ == "__main__":
    import sys

    from jaxrl.experiments import cli

    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))
