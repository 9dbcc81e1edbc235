"""The meta-learner: an algorithm that wraps another one and improves the rule that trains its agents.

    theta <- Adam( mean over agents of d loss(theta, agent) / d theta )

One update consists of a few updates of every agent with the same `theta`, followed by one step of `theta`.
Agents are at different stages of their training, so `theta` learns from new and from trained agents at the
same time. Axes: `P` agents.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrl import train
from jaxrl.meta.outer import Outer, finite_or_zero
from jaxrl.meta.rules import Rule
from jaxrl.spaces import require_counts
from jaxrl.types import Algorithm


@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings; another value compiles another program."""

    num_agents: int = 8  # agents that train in parallel
    lifetime: int = 0  # updates after which an agent is reinitialized; 0: never


@struct.dataclass
class Hparams:
    """Traced hyperparameters; `agent` has those of the agents, at which a rule starts."""

    agent: Any
    learning_rate: float = 1e-2  # of Adam, for theta
    max_grad_norm: float = 1.0  # larger meta-gradients are scaled to this norm
    gamma: float = 0.99  # discount of the outer loss
    gae_lambda: float = 0.95  # GAE lambda of its advantages
    ent_coef: float = 0.0  # entropy bonus of the outer loss


@struct.dataclass
class TrainState:
    """Everything that changes: `agents` are states of the algorithm `[P, ...]`, `age` their updates `[P]`."""

    key: jax.Array
    theta: Any
    opt_state: Any
    agents: Any
    age: jax.Array
    num_updates: jax.Array


def make(algo: Algorithm, rule: Rule, outer: Outer, config: Config = Config()) -> Algorithm:
    """An algorithm that improves `rule` while its agents train with it; `act` is that of the first agent.

    Agents whose meta-gradient is not finite are ignored in that step; `meta/dead/count` is their number.

    Raises:
      ValueError: fewer than 1 agent, a lifetime that is not a multiple of the updates per meta-update, or an
        algorithm with data.
    """
    if algo.data_args:
        raise ValueError("agents of a meta-learner collect their data: Algorithm.data is not supported")
    require_counts(config, "num_agents")
    if config.lifetime < 0 or config.lifetime % outer.num_updates:
        raise ValueError(
            f"lifetime = {config.lifetime} must be a multiple of {outer.num_updates}, the updates between "
            f"two steps of theta, or 0 for agents that are never reinitialized"
        )

    def optimizer(hp):
        return optax.chain(optax.clip_by_global_norm(hp.max_grad_norm), optax.adam(hp.learning_rate))

    def begin(keys, hp):
        return train.over_agents(algo.init, (0, None))(keys, hp.agent)

    def init(key, hp):
        key, theta_key, agents_key = jax.random.split(key, 3)
        theta = rule.init(theta_key, hp.agent)
        # As if they had started one after the other: their first lifetimes are shorter.
        blocks = config.lifetime // outer.num_updates
        age = outer.num_updates * (jnp.arange(config.num_agents) * blocks // config.num_agents)
        return TrainState(
            key=key,
            theta=theta,
            opt_state=optimizer(hp).init(theta),
            agents=begin(jax.random.split(agents_key, config.num_agents), hp),
            age=age.astype(jnp.int32),
            num_updates=jnp.zeros((), jnp.int32),
        )

    def learn(theta, agent, key, hp):
        (loss, (agent, metrics)), grads = jax.value_and_grad(outer.loss, has_aux=True)(theta, agent, hp, key)
        grads, finite = finite_or_zero(grads)
        return agent, grads, metrics | {"meta/loss": loss, "meta/dead/count": 1.0 - finite}

    def update(state, hp):
        key, outer_key, birth_key = jax.random.split(state.key, 3)
        keys = jax.random.split(outer_key, config.num_agents)
        learn_all = train.over_agents(learn, (None, 0, 0, None))
        agents, grads, metrics = learn_all(state.theta, state.agents, keys, hp)
        grads = jax.tree.map(lambda g: g.mean(axis=0), grads)
        updates, opt_state = optimizer(hp).update(grads, state.opt_state, state.theta)
        age = state.age + outer.num_updates
        if config.lifetime:
            over = age >= config.lifetime
            fresh = begin(jax.random.split(birth_key, config.num_agents), hp)
            agents = jax.vmap(lambda o, *pair: jax.tree.map(lambda a, b: jnp.where(o, a, b), *pair))(
                over, fresh, agents
            )
            age = jnp.where(over, 0, age)
        metrics = {name: _over_agents(name, value) for name, value in metrics.items()}
        metrics["meta/grad_norm"] = optax.tree.norm(grads)
        state = state.replace(
            key=key,
            theta=optax.apply_updates(state.theta, updates),
            opt_state=opt_state,
            agents=agents,
            age=age,
            num_updates=state.num_updates + 1,
        )
        return state, metrics

    def act(state, memory, key, obs, first, action_mask=None):
        return algo.act(jax.tree.map(lambda x: x[0], state.agents), memory, key, obs, first, action_mask)

    steps = outer.num_rollouts * config.num_agents * algo.steps_per_update
    warmup_steps = config.num_agents * algo.warmup_steps  # of the first lifetimes
    return Algorithm(init, update, act, Hparams(agent=algo.hparams), steps, warmup_steps)


def _over_agents(name, value):
    return value.sum(axis=0) if name.endswith(("_sum", "/count")) else value.mean(axis=0)
