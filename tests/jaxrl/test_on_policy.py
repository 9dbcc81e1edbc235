"""Common parts of on-policy algorithms: advantages, and learning from batches of any size."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, slow_except

from jaxrl import envs
from jaxrl.algos import ALGORITHMS
from jaxrl.policies import learning
from jaxrl.returns import standardize


def test_advantages_are_standardized_unless_there_is_only_one():
    advantages = np.random.default_rng(0).normal(3.0, 5.0, (4, 8)).astype(np.float32)
    ours = standardize(jnp.asarray(advantages))
    np.testing.assert_allclose(
        ours, (advantages - advantages.mean()) / advantages.std(), rtol=1e-4, atol=1e-5
    )
    for shape in [(), (1,), (1, 1)]:
        np.testing.assert_array_equal(standardize(jnp.full(shape, -2.5)), np.full(shape, -2.5))


@pytest.mark.parametrize(
    "name", slow_except(["a2c", "fixpo", "ppo", "ppo_kl", "trpo", "vmpo"], "ppo", "trpo")
)
def test_a_batch_of_one_sample_updates_the_policy(name):
    """Minibatches of one sample, or a rollout of one step where there are none: the actor's weights move."""
    module = ALGORITHMS[name]
    num_envs = 1 if name in ("a2c", "trpo") else 4
    sizes = {"num_envs": num_envs, "num_steps": 1, "num_minibatches": num_envs, "num_epochs": 1}
    config = config_of(module, **sizes, hidden_sizes=(4,), normalize_advantages=True)
    algo = module.make(envs.make("CartPole-v1"), config)
    quiet = {"ent_coef": 0.0} if hasattr(algo.hparams, "ent_coef") else {}
    hp = algo.hparams.replace(**quiet)
    before = jax.jit(algo.init)(jax.random.key(0), hp)
    after, metrics = jax.jit(algo.update)(before, hp)
    heads = [state.params["params"]["actor_head"]["kernel"] for state in (before, after)]
    assert float(jnp.abs(heads[0] - heads[1]).max()) > 1e-6
    assert all(bool(jnp.isfinite(value).all()) for value in metrics.values())


def test_a_minibatch_of_a_recurrent_policy_is_of_whole_lanes_with_their_memory():
    """Two of three environments: all five steps of each, and the memory before its first step."""
    policy = SimpleNamespace(encode=lambda obs_stats, obs: obs - obs_stats)
    obs = jnp.arange(15.0).reshape(5, 3, 1)
    batch = {"obs": obs, "first": obs[..., 0] > 3, "memory": {"carry": jnp.arange(3.0)[:, None]}}
    taken = learning.take(policy, 1.0, batch, jnp.array([2, 0]))
    np.testing.assert_array_equal(taken["x"], np.asarray(obs)[:, [2, 0]] - 1.0)
    np.testing.assert_array_equal(taken["first"], np.asarray(batch["first"])[:, [2, 0]])
    np.testing.assert_array_equal(taken["memory"]["carry"], [[2.0], [0.0]])
    assert taken.keys() == {"x", "first", "memory"}


@pytest.mark.parametrize("memory, shape", [((), (1, 15)), (jnp.zeros((3, 2)), (5, 3))])
def test_samples_keep_the_order_of_steps_for_a_policy_with_memory(memory, shape):
    """Without memory every step is a sequence of length 1."""
    steps = SimpleNamespace(
        obs=jnp.arange(15.0).reshape(5, 3), first=jnp.zeros((5, 3), bool), action=jnp.ones((5, 3))
    )
    steps.extras, steps.info = {"outputs": steps.obs * 2}, {}
    policy = SimpleNamespace(
        distribution=lambda outputs, mask: SimpleNamespace(log_prob=lambda a: outputs + a)
    )
    data = learning.samples(policy, steps, memory, advantages=steps.obs * 3)
    np.testing.assert_array_equal(data["obs"], np.arange(15.0).reshape(shape))
    np.testing.assert_array_equal(data["log_prob"], 2 * np.arange(15.0).reshape(shape) + 1)
    np.testing.assert_array_equal(data["advantages"], 3 * np.arange(15.0).reshape(shape))
    assert data["memory"] is memory
