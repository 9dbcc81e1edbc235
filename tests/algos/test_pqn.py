"""PQN: an update by definition, in NumPy."""

import jax
import numpy as np
import pytest
from reference.returns import q_lambda

from jaxrl import envs
from jaxrl.algos import pqn
from jaxrl.policies import NetworkConfig

NETWORK = NetworkConfig(hidden_sizes=(16,), activation="relu", layer_norm=True)


def network(params, x):
    """Q(s, .): a layer, normalized to mean 0 and variance 1, then the head."""
    net = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    hidden = x @ net["torso"]["Dense_0"]["kernel"] + net["torso"]["Dense_0"]["bias"]
    hidden = (hidden - hidden.mean(axis=-1, keepdims=True)) / np.sqrt(
        hidden.var(axis=-1, keepdims=True) + 1e-6
    )
    hidden = np.maximum(
        hidden * net["torso"]["LayerNorm_0"]["scale"] + net["torso"]["LayerNorm_0"]["bias"], 0.0
    )
    return hidden @ net["Dense_0"]["kernel"] + net["Dense_0"]["bias"]


def test_the_loss_is_that_of_the_definition(monkeypatch):
    """One gradient step on all steps of a rollout, in which episodes are truncated and terminated."""
    seen = []

    def recorded(*args):
        stream, steps = rollout(*args)
        jax.debug.callback(lambda one: seen.append(jax.tree.map(np.asarray, one)), steps)
        return stream, steps

    rollout = pqn.rollout
    monkeypatch.setattr(pqn, "rollout", recorded)
    config = pqn.Config(num_envs=4, num_steps=24, num_epochs=1, num_minibatches=1, network=NETWORK)
    algo = pqn.make(envs.make("CartPole-v1", max_steps=11), config)
    hp = algo.hparams.replace(gamma=0.9, q_lambda=0.7, learning_rate=1e-2, total_updates=2.0)
    state = jax.jit(algo.init)(jax.random.key(0), hp)
    after, metrics = jax.jit(algo.update)(state, hp)
    jax.effects_barrier()
    (steps,) = seen
    assert steps.truncated.any() and steps.terminated.any()
    q = np.take_along_axis(network(state.params, steps.obs), steps.action[..., None], axis=-1)[..., 0]
    next_value = network(state.params, steps.next_obs).max(axis=-1)
    targets = q_lambda(steps.reward, next_value, steps.terminated, steps.truncated, 0.9, 0.7)
    np.testing.assert_allclose(metrics["loss/value"], 0.5 * np.square(q - targets).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["value/mean"], q.mean(), rtol=1e-4)
    for one, numbers in ((metrics, (1.0, 1e-2)), (jax.jit(algo.update)(after, hp)[1], (0.05, 5e-3))):
        np.testing.assert_allclose(
            (one["policy/epsilon"], one["optimizer/learning_rate"]), numbers, rtol=1e-5
        )


def test_other_actions_and_sizes_are_refused():
    with pytest.raises(ValueError, match="values of actions need one Discrete action space, not Box"):
        pqn.make(envs.make("Pendulum-v1"))
    with pytest.raises(ValueError, match=r"num_envs \* num_steps = 12 .*5"):
        pqn.make(envs.make("CartPole-v1"), pqn.Config(num_envs=4, num_steps=3, num_minibatches=5))
