"""Meta-learning: its derivatives against differences, its parts against definitions, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import envs
from jaxrl.algos import ppo
from jaxrl.experiments import meta
from jaxrl.experiments.meta.outer import advantages_of
from jaxrl.objectives import lpo, random_drift

NUMBERS = ("learning_rate", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")
TINY = ppo.Config(num_envs=2, num_steps=8, num_epochs=2, num_minibatches=2, hidden_sizes=(4,))
UPDATES = 3


def exactly(tree):
    """Every float as float64."""
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x,
        jax.tree.map(jnp.asarray, tree),
    )


# --- derivatives ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline():
    """Three updates by a learned objective, fresh data and the outer loss, all in float64.

    Actions are drawn from probabilities, so with enough of a change another action is drawn: a jump, which
    is no part of the derivative. The differences are so small (1e-6) that none flips; that is checked. The
    outer advantages are those of the middle: the surrogate holds them fixed. So differences are taken of
    the very function that is differentiated.
    """
    with jax.enable_x64(True):
        drift = random_drift(jax.random.key(3), width=3, scale=0.5)
        algo = ppo.make(envs.make("world/chain", max_steps=5), TINY, lpo(drift))
        start = algo.hparams.replace(learning_rate=0.02, ent_coef=0.05, total_updates=8.0, max_grad_norm=0.3)
        rule = meta.hyperparameters(start, (*NUMBERS, "objective"))
        outer = meta.surrogate(algo, rule, UPDATES)
        learner = meta.make(algo, rule, outer)
        hp = exactly(learner.hparams.replace(agent=start, ent_coef=0.01))
        init_key, key = jax.random.split(jax.random.key(1))
        agent = algo.init(init_key, hp.agent)
        agent = agent.replace(params=exactly(agent.params), opt_state=exactly(agent.opt_state))
        theta = exactly(rule.init(key, hp.agent))

        def played(theta):
            then = meta.live(algo, rule, theta, agent, hp.agent, UPDATES)[0]
            return then, *algo.collect(then, key)

        @jax.jit
        def advantages(theta):
            return advantages_of(algo, *played(theta), hp.gamma, hp.gae_lambda)

        @jax.jit
        def value(theta, advantages):
            now, then, batch = played(theta)
            loss = meta.policy_loss(algo, now, batch, advantages, hp.ent_coef)
            return loss, (batch.obs, batch.action, then.timestep.reward)

        gradient = jax.jit(jax.grad(lambda theta: outer.loss(theta, agent, hp, key)[0]))
        yield theta, advantages(theta), value, gradient(theta)


def slope(pipeline, direction, step=1e-6):
    """The central difference of the outer loss along a direction."""
    theta, advantages, value, _ = pipeline
    sides = [
        value(jax.tree.map(lambda x, d, s=s: x + s * d, theta, direction), advantages) for s in (step, -step)
    ]
    middle = value(theta, advantages)[1]
    for _, data in sides:
        assert all((a == b).all() for a, b in zip(data, middle)), "another action was drawn: take another key"
    return float(sides[0][0] - sides[1][0]) / (2 * step)


def unit(theta, name):
    nothing = jax.tree.map(jnp.zeros_like, theta)
    return nothing | {name: jax.tree.map(jnp.ones_like, theta[name])}


@pytest.mark.parametrize("name", NUMBERS)
def test_meta_gradients_of_hyperparameters_are_differences(pipeline, name):
    with jax.enable_x64(True):
        found = float(pipeline[-1][name])
        assert abs(found) > 1e-7
        np.testing.assert_allclose(found, slope(pipeline, unit(pipeline[0], name)), rtol=1e-3)


def test_meta_gradients_of_a_learned_objective_are_differences(pipeline):
    """Along random directions of all weights, and weight by weight."""
    with jax.enable_x64(True):
        theta, _, _, gradient = pipeline
        nothing = jax.tree.map(jnp.zeros_like, theta)
        weights, unravel = jax.flatten_util.ravel_pytree(theta["objective"])
        found = jax.flatten_util.ravel_pytree(gradient["objective"])[0]
        assert found.dtype == jnp.float64 and weights.size == 27
        directions = [*jax.random.normal(jax.random.key(7), (4, weights.size)), *np.eye(weights.size)]
        scale = float(jnp.abs(found).max())
        assert scale > 1e-6
        for direction in directions:
            difference = slope(pipeline, nothing | {"objective": unravel(jnp.asarray(direction))})
            np.testing.assert_allclose(found @ direction, difference, rtol=1e-3, atol=1e-5 * scale)
