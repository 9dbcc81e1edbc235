"""Metrics that several algorithms share, against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import objectives
from jaxrl.metrics import ratio_metrics
from jaxrl.optimizers import linear_decay

RATIO = np.array([[0.5, 0.79], [0.81, 1.0], [1.19, 1.25], [1.27, 3.0]])


@pytest.mark.parametrize(
    "params, low, high",
    [
        (objectives.ppo().params, 0.2, 0.2),
        (objectives.ppo(clip_eps=0.6).params, 0.6, 0.6),
        (objectives.asymmetric_clip().params, 0.2, 0.28),
    ],
)
def test_how_far_ratios_are_from_one(params, low, high):
    result = jax.jit(ratio_metrics)(jnp.log(RATIO), params)
    outside = np.mean(np.clip(RATIO, 1 - low, 1 + high) != RATIO)
    assert 0 < outside < 1 and result["policy/clip_fraction"] == outside
    np.testing.assert_allclose(result["policy/kl"], np.mean(RATIO - 1 - np.log(RATIO)), rtol=1e-5)
    np.testing.assert_allclose(result["policy/kl_k1"], -np.mean(np.log(RATIO)), rtol=1e-5)


def test_both_estimate_the_divergence():
    """With the frequencies of the old policy, both are the divergence itself."""
    old, new = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.5, 0.25])
    ratio = (new / old)[[0, 0, 1, 2]]
    result = ratio_metrics(jnp.log(ratio), objectives.ppo().params)
    for name in ("policy/kl", "policy/kl_k1"):
        np.testing.assert_allclose(result[name], np.sum(old * np.log(old / new)), rtol=1e-5)


@pytest.mark.parametrize("params", [objectives.dpo().params, objectives.policy_gradient().params, (), {}])
def test_without_a_clip_there_is_no_share_of_clipped_ratios(params):
    assert set(ratio_metrics(jnp.log(RATIO), params)) == {"policy/kl", "policy/kl_k1"}


def test_a_linear_decay():
    at = [float(linear_decay(2.0, 0.75, num_updates, 10.0)) for num_updates in (0, 5, 10, 20)]
    assert at == [2.0, 1.25, 0.5, 0.5]
