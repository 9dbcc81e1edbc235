"""Outer losses: the quality of an agent after updates under a rule.

Each is made for an algorithm and a rule and differentiated with respect to `theta` through whole updates.
Data are treated as constants: the derivative is that of what was learned *from these samples* and ignores
that other parameters would lead to other samples, as in Xu et al. 2018, "Meta-gradient reinforcement
learning", https://arxiv.org/abs/1805.09801. Axes: `T` time, `N` environments of an agent, `A` actions.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jaxrl import train
from jaxrl.meta.rules import Rule
from jaxrl.returns import gae
from jaxrl.spaces import Discrete, Space
from jaxrl.types import Algorithm, Collect, EvaluateActions, Metrics, Number, PyTree, Transition


class Loss(Protocol):
    def __call__(
        self, theta: PyTree, agent: PyTree, hp: PyTree, key: jax.Array, /
    ) -> tuple[jax.Array, tuple[PyTree, Metrics]]:
        """`loss, (agent, metrics)` of one agent after its updates; `hp` are `learner.Hparams`."""


class Outer(NamedTuple):
    """An outer loss, and its cost."""

    loss: Loss
    num_updates: int  # updates of the agent per evaluation of the loss
    num_rollouts: int  # rollouts collected per evaluation


def train_agent(
    algo: Algorithm, rule: Rule, theta: PyTree, agent: PyTree, hp: PyTree, num_updates: int
) -> tuple[PyTree, Metrics]:
    """`num_updates` updates under a rule, differentiable with respect to `theta`.

    The backward pass recomputes every update from the state before it, so memory holds the states and the
    intermediate values of only one update, for any length of the unroll.

    Returns:
      The agent's state, and metrics as from `train.summarize`.
    """

    def update(agent, _):
        return algo.update(agent, rule.hparams(theta, agent, hp))

    update = jax.checkpoint(update, prevent_cse=False)
    agent, metrics = jax.lax.scan(update, agent, length=num_updates)
    return agent, train.summarize(jax.tree.map(lambda m: m.sum(axis=0), metrics), num_updates)


def advantages_of(
    algo: Algorithm,
    agent: PyTree,
    then: PyTree,
    batch: Transition,
    gamma: Number,
    gae_lambda: Number,
) -> jax.Array:
    """GAE of fresh transitions with the agent's critic, `[T, N]`; `then` is its state after them."""
    after = jax.tree.map(lambda m, end: jnp.concatenate([m[1:], end[None]]), batch.memory, then.stream.memory)
    led = batch.replace(obs=batch.next_obs, memory=after, first=jnp.zeros_like(batch.first))
    _, evaluate = _policy_of(algo)
    value, next_value = (evaluate(agent, b).value for b in (batch, led))
    return gae(batch.reward, value, next_value, batch.terminated, batch.truncated, gamma, gae_lambda)


def policy_loss(
    algo: Algorithm, agent: PyTree, batch: Transition, advantages: jax.Array, ent_coef: Number
) -> jax.Array:
    """`- E[log pi(a|s) A] - ent_coef E[H]`: its gradient is the policy gradient.

    `A` is a constant. `theta` affects the loss only through the parameters of the agent.
    """
    _, evaluate = _policy_of(algo)
    evaluation = evaluate(agent, batch)
    return (
        -(evaluation.log_prob * jax.lax.stop_gradient(advantages)).mean()
        - ent_coef * evaluation.entropy.mean()
    )


def surrogate(algo: Algorithm, rule: Rule, unroll: int = 4) -> Outer:
    """Meta-gradients: `unroll` updates, then the policy gradient on fresh data.

        d/dtheta   - E[ log pi_K(a|s) A ] - ent_coef E[ H(pi_K) ],     (s, a) ~ pi_K,   K = unroll

    `pi_K` depends on `theta` through all of the updates. Xu et al. 2018, https://arxiv.org/abs/1805.09801;
    with GAE on fresh data as Oh et al. 2020, https://arxiv.org/abs/2007.08794. The critic is that of the
    agent, trained with the agent's discount. If the discount is learned, use an `hp.gae_lambda` near 1, which
    depends less on the critic.
    """
    collect, _ = _policy_of(algo)
    _require_updates(unroll=unroll)

    def loss(theta, agent, hp, key):
        agent, metrics = train_agent(algo, rule, theta, agent, hp.agent, unroll)
        then, batch = collect(agent, key)
        advantages = advantages_of(algo, agent, then, batch, hp.gamma, hp.gae_lambda)
        return policy_loss(algo, agent, batch, advantages, hp.ent_coef), (then, metrics)

    return Outer(loss, unroll, unroll + 1)


def bootstrap(algo: Algorithm, rule: Rule, action_space: Space, unroll: int = 1, target: int = 8) -> Outer:
    """Bootstrapped meta-gradients: match after K updates the policy that the agent has after K + L.

        KL( pi~(.|s) || pi_K(.|s) ),     pi~ = pi_{K+L-1} after a policy gradient step without entropy bonus

    K = unroll, L = target. Only `pi_K` is differentiated; the agent continues from K + L - 1. The last,
    greedy step uses the same rollout as the agent's next update, so it costs no data.
    Flennerhag et al. 2022. https://arxiv.org/abs/2109.04504

    Args:
      action_space: Discrete, because the divergence is a sum over all actions.

    Raises:
      ValueError: another space, or a count below 1.
    """
    collect, _ = _policy_of(algo)
    _require_updates(unroll=unroll, target=target)
    if not isinstance(action_space, Discrete):
        raise ValueError(f"bootstrap sums over actions: it needs a Discrete action space, not {action_space}")

    def loss(theta, agent, hp, key):
        agent, metrics = train_agent(algo, rule, theta, agent, hp.agent, unroll)
        fixed, later = jax.lax.stop_gradient((theta, agent))
        if target > 1:
            later, more = train_agent(algo, rule, fixed, later, hp.agent, target - 1)
            both = unroll + target - 1
            means = {name: (unroll * metrics[name] + (target - 1) * more[name]) / both for name in more}
            totals = {name: metrics[name] + more[name] for name in more if train.is_total(name)}
            metrics = means | totals
        later, batch = collect(later, key)
        greedy = rule.hparams(fixed, later, hp.agent).replace(ent_coef=0.0)
        teacher, _ = algo.update(later, greedy)
        distance = divergence(algo, jax.lax.stop_gradient(teacher), agent, batch, action_space.n)
        return distance.mean(), jax.lax.stop_gradient((later, metrics))

    return Outer(loss, unroll + target - 1, unroll + target)


def divergence(
    algo: Algorithm, teacher: PyTree, agent: PyTree, batch: Transition, num_actions: int
) -> jax.Array:
    """KL(teacher || agent) in the states of `batch`, `[T, N]`: sum_a p(a|s) (log p(a|s) - log q(a|s))."""
    _, evaluate = _policy_of(algo)

    def log_probs(state):
        def of(action):
            return evaluate(state, batch.replace(action=jnp.full_like(batch.action, action))).log_prob

        return jax.vmap(of)(jnp.arange(num_actions))

    log_p, log_q = log_probs(teacher), log_probs(agent)
    return (jnp.exp(log_p) * (log_p - log_q)).sum(axis=0)


def _policy_of(algo: Algorithm) -> tuple[Collect, EvaluateActions]:
    if algo.collect is None or algo.evaluate_actions is None:
        raise ValueError("an outer loss needs `collect` and `evaluate_actions` of its algorithm, like ppo's")
    return algo.collect, algo.evaluate_actions


def _require_updates(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} = {count} must be at least 1")


def finite_or_zero(tree: PyTree) -> tuple[PyTree, jax.Array]:
    """The tree, or zeros if one of its numbers is not finite, and whether all were."""
    finite = jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()
    return jax.tree.map(lambda x: jnp.where(finite, x, 0.0), tree), finite
