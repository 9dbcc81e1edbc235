"""Tabular agents in random MDPs: a family in which training is short and its result is known exactly.

A Garnet MDP is drawn, an agent with a table of logits and one of values is trained with a policy objective,
and the value of its final policy is computed exactly. So the only noise of a score is that of the training,
it does not saturate, and the number of tasks is unlimited.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxrl.discovery.family import Family
from jaxrl.envs.worlds import garnet, tabular
from jaxrl.fields import log_scale, not_negative, share
from jaxrl.returns import gae


@dataclasses.dataclass(frozen=True)
class Config:
    """Static settings; another value compiles another program."""

    num_states: int = 32  # of an MDP
    num_actions: int = 4  # in each state
    density: float = 0.06  # fraction of state-action pairs that have a reward
    gamma: float = share(0.95)  # discount
    num_envs: int = 8  # parallel copies of the MDP
    num_steps: int = 16  # steps of each copy per update
    num_updates: int = 12  # updates of a training
    num_epochs: int = 8  # gradient steps per update, each over all samples


@struct.dataclass
class Hparams:
    """Traced hyperparameters."""

    learning_rate: float = not_negative(0.16)  # of the logits, by Adam
    value_learning_rate: float = 0.1  # of the values, by Adam
    lr_decay: float = share(0.0)  # fraction by which learning_rate decays linearly
    gae_lambda: float = share(0.95)  # trace of the advantage estimator
    ent_coef: float = log_scale(0.0)  # weight of the entropy bonus


@struct.dataclass
class Task:
    """An MDP, and the returns of its optimal and of the uniform policy."""

    mdp: tabular.Tabular
    best: jax.Array
    random: jax.Array


def family(config: Config, hp: Hparams) -> Family:
    """Agents with these hyperparameters; a score of 0 is the uniform policy, 1 the optimal policy."""

    def score(apply, params, hp, task, key):
        return run(apply, params, hp, task, key, config)

    steps = config.num_envs * config.num_steps * config.num_updates
    return Family("tabular", lambda key: draw(key, config), score, hp, steps)


def draw(key, config: Config) -> Task:
    """A random MDP with the returns of its optimal and of the uniform policy."""
    mdp = garnet.mdp(key, config.num_states, config.num_actions, density=config.density)
    best = tabular.optimal_return(mdp, config.gamma)
    return Task(mdp, best, tabular.policy_return(mdp, tabular.uniform_policy(mdp), config.gamma))


def run(apply, params: Any, hp: Hparams, task: Task, key, config: Config) -> jax.Array:
    """The score of an agent trained with an objective; 0 in an MDP without rewards."""
    start_key, run_key = jax.random.split(key)
    follow = jnp.cumsum(task.mdp.transition, axis=-1)
    tables = jnp.zeros((config.num_states, config.num_actions)), jnp.zeros(config.num_states)
    adam = optax.scale_by_adam()
    moments = tuple(adam.init(table) for table in tables)
    state = jax.random.randint(start_key, (config.num_envs,), 0, config.num_states)

    def update(carry, now):
        number, key = now
        tables, moments, state = carry
        progress = number / config.num_updates
        state, batch = _collect(tables, task, follow, state, key, hp, config)

        def epoch(carry, _):
            (logits, values), moments = carry
            up = jax.grad(_surrogate)(logits, apply, params, hp, batch, progress)
            down = jax.grad(_error)(values, batch)
            step, moment = adam.update(up, moments[0])
            fall, its = adam.update(down, moments[1])
            rate = hp.learning_rate * (1.0 - hp.lr_decay * progress)
            return ((logits + rate * step, values - hp.value_learning_rate * fall), (moment, its)), None

        (tables, moments), _ = jax.lax.scan(epoch, (tables, moments), length=config.num_epochs)
        return (tables, moments, state), None

    keys = jax.random.split(run_key, config.num_updates)
    numbers = jnp.arange(config.num_updates)
    (tables, _, _), _ = jax.lax.scan(update, (tables, moments, state), (numbers, keys))
    worth = tabular.policy_return(task.mdp, jax.nn.softmax(tables[0]), config.gamma)
    return (worth - task.random) / jnp.maximum(task.best - task.random, 1e-6)


def _collect(tables, task, follow, state, key, hp, config):
    """Collects samples `[T, N]`; the MDP never terminates. Returns the last states and the samples."""
    logits, values = tables
    act = jnp.cumsum(jax.nn.softmax(logits), axis=-1)
    uniform = jax.random.uniform(key, (config.num_steps, 2, config.num_envs))

    def step(state, uniform):
        action = _draw(act[state], uniform[0])
        return _draw(follow[state, action], uniform[1]), (state, action)

    last, (seen, action) = jax.lax.scan(step, state, uniform)
    value, following = values[seen], values[jnp.concatenate([seen[1:], last[None]])]
    never = jnp.zeros(seen.shape, bool)
    reward = task.mdp.reward[seen, action]
    advantages = gae(reward, value, following, never, never, config.gamma, hp.gae_lambda)
    return last, {
        "state": seen,
        "action": action,
        "log_prob": jax.nn.log_softmax(logits)[seen, action],
        "advantages": (advantages - advantages.mean()) / (advantages.std() + 1e-8),
        "targets": advantages + value,
    }


def _draw(cumulative, uniform):
    """Samples from cumulative probabilities `[N, E]` with uniform numbers `[N]`."""
    picked = (uniform[:, None] >= cumulative).sum(axis=-1)
    return jnp.minimum(picked, cumulative.shape[-1] - 1)


def _surrogate(logits, apply, params, hp, batch, progress):
    log_probs = jax.nn.log_softmax(logits)
    log_ratio = log_probs[batch["state"], batch["action"]] - batch["log_prob"]
    entropy = -(jnp.exp(log_probs) * log_probs).sum(axis=-1)[batch["state"]]
    surrogate = apply(params, log_ratio, batch["advantages"], progress)
    return surrogate.mean() + hp.ent_coef * entropy.mean()


def _error(values, batch):
    return 0.5 * jnp.square(values[batch["state"]] - batch["targets"]).mean()
