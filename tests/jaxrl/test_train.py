"""Grids, and runs over them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import small

from jaxrl import objectives, train


def test_grid_varies_the_given_values_and_repeats_the_rest():
    hparams = small("ppo").hparams
    rates = np.array([1e-4, 1e-3, 1e-2], np.float32)
    hp = train.grid(hparams, learning_rate=rates, gamma=jnp.array([0.9, 0.95, 0.99]))
    np.testing.assert_array_equal(hp.learning_rate, rates)
    np.testing.assert_array_equal(hp.vf_coef, np.full(3, hparams.vf_coef, np.float32))
    assert all(leaf.shape == (3,) for leaf in jax.tree.leaves(hp))


def test_grid_varies_parameters_of_the_objective():
    objective = objectives.ppo(clip_eps=np.array([0.1, 0.2, 0.3])).params
    hp = train.grid(small("ppo").hparams, objective=objective, gamma=[0.9, 0.95, 0.99])
    assert hp.objective.clip_eps.shape == hp.gamma.shape == (3,)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"learning_rat": [1.0]}, "unknown hyperparameter 'learning_rat'"),
        ({}, "axes of one length"),
        ({"gamma": 0.9}, "axes of one length"),
        ({"gamma": [0.9, 0.8], "vf_coef": [1.0]}, "axes of one length"),
    ],
)
def test_grid_rejects_invalid_axes(axes, message):
    with pytest.raises(ValueError, match=message):
        train.grid(small("ppo").hparams, **axes)


def test_a_sweep_is_vmap_over_run():
    """Lanes of one program differ only in their learning rate; a rate of 0 learns nothing."""
    algo = small("ppo")
    keys = jnp.broadcast_to(jax.random.key(0), (3,))
    hp = train.grid(algo.hparams, learning_rate=jnp.array([0.0, 1e-3, 1e-2]))
    state, metrics = jax.jit(jax.vmap(partial(train.run, algo, num_updates=2)))(keys, hp)
    start = jax.jit(algo.init)(keys[0], algo.hparams)
    pairs = list(zip(jax.tree.leaves(state.params), jax.tree.leaves(start.params)))
    moved = [sum(float(jnp.abs(a[i] - b).sum()) for a, b in pairs) for i in range(3)]
    # Not 0.0: a batched start is summed in another order than that of an agent alone.
    assert moved[0] < 1e-6 < 1e-3 < moved[1] < moved[2]
    assert metrics["loss/value"].shape == (3, 2)


def test_summarize_adds_sums_and_counts_and_averages_the_rest():
    totals = {"loss/policy": jnp.array(6.0), "episode/count": jnp.array(6.0), "x/y_sum": jnp.array(6.0)}
    assert {k: float(v) for k, v in train.summarize(totals, 3).items()} == {
        "loss/policy": 2.0,
        "episode/count": 6.0,
        "x/y_sum": 6.0,
    }
