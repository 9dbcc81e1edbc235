"""Behaviour cloning: an algorithm that learns from data alone, for the tests of `Algorithm.data`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from jaxrl import policies
from jaxrl.policies import NetworkConfig
from jaxrl.types import Algorithm, PyTree


@struct.dataclass
class Hparams:
    learning_rate: float = 0.1


@struct.dataclass
class TrainState:
    key: jax.Array
    params: PyTree
    opt_state: PyTree


def transitions(size, seed=0):
    """Random actions in `probe/action-from-obs`, and their rewards."""
    rng = np.random.default_rng(seed)
    obs, action = rng.choice([-1.0, 1.0], (size, 1)).astype(np.float32), rng.integers(0, 2, size, np.int32)
    return {"obs": obs, "action": action, "reward": np.where(action, obs[:, 0], -obs[:, 0])}


def make(env, data, batch_size=8):
    """Imitates the actions that were rewarded."""
    policy = policies.actor(env, NetworkConfig(hidden_sizes=(4,)))

    def init(key, hp, data):
        key, params_key = jax.random.split(key)
        params = policy.init(params_key)
        return TrainState(key, params, optax.adam(hp.learning_rate).init(params))

    def update(state, hp, data):
        key, batch_key = jax.random.split(state.key)
        rows = jax.random.randint(batch_key, (batch_size,), 0, data["action"].shape[0])
        batch = jax.tree.map(lambda column: column[rows], data)

        def loss(params):
            _, outputs = policy.step(params, (), policy.encode((), batch["obs"]), jnp.ones(batch_size, bool))
            log_prob = policy.distribution(outputs).log_prob(batch["action"])
            return -(log_prob * jnp.maximum(batch["reward"], 0.0)).mean()

        value, grads = jax.value_and_grad(loss)(state.params)
        updates, opt_state = optax.adam(hp.learning_rate).update(grads, state.opt_state)
        return TrainState(key, optax.apply_updates(state.params, updates), opt_state), {"loss/policy": value}

    def act(state, memory, key, obs, first, action_mask=None):
        memory, outputs = policy.step(state.params, memory, policy.encode((), obs), first)
        return memory, policy.bound(policy.distribution(outputs).mode())

    return Algorithm(init, update, act, Hparams(), steps_per_update=0, data=data)
