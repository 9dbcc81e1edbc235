"""PPO with critics that learn distributions of values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import slow_except

from jaxrl import envs, train
from jaxrl.algos import ppo
from jaxrl.policies import NetworkConfig

SMALL = {"num_envs": 4, "num_steps": 8, "num_epochs": 2, "num_minibatches": 2}
SMALL |= {"network": NetworkConfig(hidden_sizes=(8,))}


@pytest.mark.parametrize("critic", slow_except(["c51", "qr", "hl_gauss", "two_hot"], "hl_gauss"))
def test_the_mean_of_a_critic_is_the_discounted_return(critic):
    """An endless reward of 1 that is truncated after 2 steps has the value 1 / (1 - gamma), here 2."""
    config = ppo.Config(**SMALL, critic=critic, num_atoms=13, lowest_return=-2.0, highest_return=4.0)
    algo = ppo.make(envs.make("probe/truncation", max_steps=2), config)
    hp = algo.hparams.replace(gamma=0.5, learning_rate=1e-2, lr_decay=0.9)

    def values(key):
        state, metrics = train.run(algo, key, hp, 200)
        _, steps = algo.collect(state, key)
        return algo.evaluate_actions(state, steps).value, metrics["loss/value"]

    values, losses = jax.jit(values)(jax.random.key(0))
    np.testing.assert_allclose(values, np.full((8, 4), 2.0), atol=0.1)
    assert bool(jnp.isfinite(losses).all()) and losses[-1] < losses[0]


def test_a_clipped_value_is_a_number():
    env = envs.make("CartPole-v1")
    with pytest.raises(ValueError, match="clip_value needs a scalar head or critic: leave clip_value out"):
        ppo.make(env, ppo.Config(clip_value=True, critic="hl_gauss"))
    with pytest.raises(ValueError, match="num_atoms = 1 values"):
        ppo.make(env, ppo.Config(critic="two_hot", num_atoms=1))
    with pytest.raises(ValueError, match="this critic needs values of actions, as dqn has"):
        ppo.make(env, ppo.Config(critic="iqn"))
