"""The exact mirror step: on random finite MDPs, with exact advantages, no drift lowers the return.

Kuba et al. 2022, https://arxiv.org/abs/2201.02373. A step looks for a policy whose mirror objective is not
below that of the old one, in every state:

    F(s) = E_{a ~ pi_old}[ L(r, A) ] = E_{a ~ pi}[ A ] - D(s) >= 0,      D(s) = E_{a ~ pi_old}[ f(r, A) ]

By the performance difference lemma V_pi - V_old = (I - gamma P_pi)^-1 E_{a ~ pi}[A] = (...)^-1 (F + D), and
that matrix has no negative entry: if f >= 0, then V rises in every state, by at least the discounted
drift. An F that is good on average only is not enough: the new policy visits other states. So the ascent is
accepted or taken back state by state; how states are weighted (the occupancy d, nu over beta) then cancels.
f >= 0 alone keeps V from falling; that f is flat at r = 1 is what lets an imperfect policy move at all.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import OPTIMIZED, slow_except

from jaxrl.objectives import NOT_DRIFTS, OBJECTIVES, chi_square, lpo, random_drift, ta_lpo
from jaxrl.types import Objective

MDPS, STATES, ACTIONS, GAMMA = 1000, 5, 3, 0.9
STEPS = 60  # of gradient ascent; a step that would lower F is rejected and halved
LEARNED = {"lpo": lpo, "ta_lpo": ta_lpo}
VALID = [*(name for name in OBJECTIVES if name not in NOT_DRIFTS), *LEARNED]


@cache
def mdps():
    """Transitions `[W, S, A, S]`, rewards `[W, S, A]` and old policies `[W, S, A]`, in float64."""
    draw = np.random.default_rng(0)
    transition = draw.dirichlet(np.full(STATES, 0.3), (MDPS, STATES, ACTIONS))
    reward = draw.normal(size=(MDPS, STATES, ACTIONS))
    logits = 1.5 * draw.normal(size=(MDPS, STATES, ACTIONS))
    return transition, reward, np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def discounted(policy, reward):
    """(I - gamma P_pi)^-1 applied to a number per state, `[W, S]`."""
    chain = np.einsum("wsa,wsat->wst", policy, mdps()[0])
    return np.linalg.solve(np.eye(STATES) - GAMMA * chain, reward[..., None])[..., 0]


def value(policy):
    return discounted(policy, (policy * mdps()[1]).sum(axis=-1))


def advantages(policy):
    transition, reward, _ = mdps()
    v = value(policy)
    return reward + GAMMA * np.einsum("wsat,wt->wsa", transition, v) - v[..., None]


def mirror_step(objective: Objective, params=None):
    """The new policy `[W, S, A]`, its F `[W, S]`, and the drift D `[W, S]`.

    The ascent starts at the old policy and near every action, and the best result is used: from the old
    policy alone, every objective would follow the policy gradient, and no invalid one would be detected.
    Progress increases from 0 in the first MDP to 1 in the last.

    Args:
      params: with an axis `[W]`; by default those of the objective.
    """
    old = mdps()[2]
    with jax.enable_x64(True):
        log_old, adv, progress = jnp.log(old), jnp.asarray(advantages(old)), jnp.linspace(0.0, 1.0, MDPS)
        surrogate = jax.vmap(objective.apply, (None if params is None else 0, 0, 0, 0))
        params = objective.params if params is None else params
        corners = jnp.broadcast_to(4.0 * jnp.eye(ACTIONS)[:, None, None], (ACTIONS, *old.shape))
        starts = jnp.concatenate([log_old[None], corners])

        def mirror(logits):
            log_ratio = jax.nn.log_softmax(logits) - log_old
            return (old * surrogate(params, log_ratio, adv, progress)).sum(axis=-1)

        def step(_, carry):
            logits, rate = carry
            gradient = jax.grad(lambda x: mirror(x).sum())(logits)
            tried = logits + rate[..., None] * gradient
            better = mirror(tried) >= mirror(logits)
            return jnp.where(better[..., None], tried, logits), rate * jnp.where(better, 1.5, 0.5)

        @partial(jax.jit, compiler_options=OPTIMIZED)
        @jax.vmap
        def ascend(logits):
            logits, _ = jax.lax.fori_loop(0, STEPS, step, (logits, jnp.full((MDPS, STATES), 1.0)))
            return jax.nn.softmax(logits), mirror(logits)

        ends, result = (np.asarray(x) for x in ascend(starts))
    best = result.argmax(axis=0)
    new = np.take_along_axis(ends, best[None, ..., None], axis=0)[0]
    assert new.dtype == np.float64
    return new, result.max(axis=0), (new * np.asarray(adv)).sum(axis=-1) - result.max(axis=0)


def step_of(name):
    if name not in LEARNED:
        return mirror_step(OBJECTIVES[name]())
    keys = jax.random.split(jax.random.key(0), MDPS)
    nets = jax.vmap(lambda key: random_drift(key, name == "ta_lpo", width=16, scale=0.5))(keys)
    nets = jax.tree.map(lambda x: np.asarray(x, np.float64), nets)
    return mirror_step(LEARNED[name](), nets)


def gain_of(new):
    """The increase of the value of each state over that under the old policy, `[W, S]`."""
    return value(new) - value(mdps()[2])


def test_advantages_match_their_definition():
    """By summing discounted rewards forwards instead of solving for them."""
    transition, reward, policy = (x[:3] for x in mdps())
    v = np.zeros((3, STATES))
    for _ in range(300):
        v = (policy * (reward + GAMMA * np.einsum("wsat,wt->wsa", transition, v))).sum(axis=-1)
    expected = reward + GAMMA * np.einsum("wsat,wt->wsa", transition, v) - v[..., None]
    np.testing.assert_allclose(advantages(mdps()[2])[:3], expected, atol=1e-10)


@pytest.mark.parametrize("name", slow_except(VALID, "ppo", "dpo", "mdpo", *LEARNED))
def test_no_exact_step_with_a_drift_lowers_the_value_of_any_state(name):
    new, mirror, drift = step_of(name)
    gain = gain_of(new)
    np.testing.assert_allclose(gain, discounted(new, mirror + drift), rtol=1e-6, atol=1e-9)  # the lemma
    assert mirror.min() >= -1e-9 and drift.min() >= -1e-9
    assert gain.min() >= -1e-9
    assert (gain - discounted(new, drift)).min() >= -1e-9
    # The test is not vacuous: every MDP improves, and drifts have an effect.
    assert gain.mean(axis=1).min() > 1e-6 and np.median(gain) > 0.5
    assert drift.max() > 0.1 or name == "policy_gradient"


def test_a_negative_drift_lowers_the_return():
    """If distance is rewarded, the policy moves away, whatever the advantages are."""
    new, mirror, drift = mirror_step(chi_square(coef=-5.0))
    assert mirror.min() >= 0.0 and drift.min() < -1.0
    lower = gain_of(new).mean(axis=1) < -1e-9
    assert 0.3 < lower.mean() < 0.7  # observed: 0.48


def test_a_drift_with_a_slope_against_the_advantage_lowers_the_return():
    def apply(params, log_ratio, adv, progress):
        return jnp.exp(log_ratio) * adv - 2.0 * (jnp.exp(log_ratio) - 1.0) * adv

    new, mirror, _ = mirror_step(Objective(None, apply))
    assert mirror.min() >= -1e-9
    assert (gain_of(new) < 0.0).all()


def test_a_drift_with_a_slope_can_stop_improvement():
    """f = 10 |r - 1| is never negative, so nothing gets worse, but nothing improves either."""

    def apply(params, log_ratio, adv, progress):
        ratio = jnp.exp(log_ratio)
        return ratio * adv - 10.0 * jnp.abs(ratio - 1.0)

    new, _, _ = mirror_step(Objective(None, apply))
    np.testing.assert_allclose(new, mdps()[2], atol=1e-12)
    assert gain_of(step_of("policy_gradient")[0]).mean(axis=1).min() > 1.0


def test_a_bound_without_a_drift_can_lower_the_return():
    """The dual clip ignores bad actions beyond a ratio: with a low one, the return of some MDP decreases."""
    new, mirror, drift = mirror_step(OBJECTIVES["dual_clip"](dual_clip=1.3))
    assert mirror.min() >= 0.0 and drift.min() < -0.1
    assert gain_of(new).min() < -1.0
