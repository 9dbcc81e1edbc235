"""Off-policy MDPO: divergences, the policy's loss and the critics' targets against the paper, in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, jitted, slow_except, small
from test_off_policy import forward, layers_of, same

from jaxrl import envs, off_policy, policies, replay
from jaxrl.algos import mdpo
from jaxrl.policies import NetworkConfig

TINY = {"num_envs": 2, "hidden_sizes": (4,), "batch_size": 8, "capacity": 64, "warmup_steps": 16}
NUMBERS = {"kl_coef": 1.7, "temperature": 0.6, "critic_learning_rate": 0.0, "tau": 0.0}


def tsallis(p, q):
    """ln_q p = (p^(q - 1) - 1) / (q - 1), log p for q = 1."""
    return np.log(p) if q == 1.0 else (p ** (q - 1.0) - 1.0) / (q - 1.0)


def potential(p, q):
    """The negative Tsallis entropy of distributions `[B, A]`: sum_a p ln_q p."""
    return (p * tsallis(p, q)).sum(axis=1)


def slope(p, q):
    """Its gradient: 1 + log p for q = 1, (q p^(q - 1) - 1) / (q - 1) else."""
    return 1.0 + np.log(p) if q == 1.0 else (q * p ** (q - 1.0) - 1.0) / (q - 1.0)


def bregman(new, old, q):
    """psi(new) - psi(old) - <grad psi(old), new - old>."""
    return potential(new, q) - potential(old, q) - (slope(old, q) * (new - old)).sum(axis=1)


def test_the_second_opinion_has_the_divergences_that_are_known():
    """KL for q = 1, the squared distance for q = 2; the slope by differences."""
    rng = np.random.default_rng(0)
    new, old = (rng.dirichlet(np.ones(4), size=5) for _ in range(2))
    np.testing.assert_allclose(bregman(new, old, 1.0), (new * np.log(new / old)).sum(axis=1))
    np.testing.assert_allclose(bregman(new, old, 2.0), ((new - old) ** 2).sum(axis=1))
    for q in (0.5, 1.0, 1.4):
        step = 1e-6 * np.eye(4)[2]
        rise = (potential(old + step, q) - potential(old - step, q)) / 2e-6
        np.testing.assert_allclose(slope(old, q)[:, 2], rise, rtol=1e-5)


@pytest.mark.parametrize("q", [0.3, 1.0, 1.0001, 1.5, 2.0])
def test_the_tsallis_logarithm_is_that_of_the_definition(q):
    q, log_p = float(np.float32(q)), np.linspace(-12.0, 4.0, 33)
    expected = tsallis(np.exp(log_p), q)
    np.testing.assert_allclose(jax.jit(mdpo.log_q)(log_p, q), expected, rtol=1e-5, atol=1e-6)


def test_the_tsallis_logarithm_has_gradients_by_q_and_stays_finite():
    """By q at 1: (log p)^2 / 2. Of a forbidden action, times its probability: 0."""
    gradient = jax.grad(mdpo.log_q, argnums=(0, 1))(-3.0, 1.0)
    np.testing.assert_allclose(gradient, (1.0, 4.5), rtol=1e-6)
    for q in (0.5, 1.0, 2.0):
        assert float(jnp.exp(-1e9) * mdpo.log_q(jnp.float32(-1e9), q)) == 0.0
        assert np.isfinite(jax.grad(mdpo.log_q)(-1e9, q))


def started(env, q):
    """States before and after one update, with an old policy and targets of their own; batch and metrics."""
    algo = mdpo.make(env, config_of(mdpo, **TINY, num_gradient_steps=1, old_every=2))
    hp = algo.hparams.replace(**NUMBERS, tsallis_q=q)
    state = jax.jit(algo.init)(jax.random.key(3), hp)
    changed = jax.tree.map(lambda x: 0.5 * x + 0.1, (state.params, state.target_params))
    one = jnp.ones((), jnp.int32)  # updates: the old policy is exchanged in the first and in the third
    state = state.replace(old_params=changed[0], target_params=changed[1], num_updates=one)
    new, metrics = jax.jit(algo.update)(state, hp)
    memory = replay.uniform(off_policy.observed(env), env.action_space, 2, 64)
    _, _, draw_key, step_key = jax.random.split(state.key, 4)
    batch = memory.sample(new.replay, memory.draw(draw_key, (1, 8))[0], hp.gamma)
    keys = jax.random.split(jax.random.split(step_key, 1)[0])  # of the target's and of the policy's actions
    return state, jax.tree.map(np.asarray, batch), keys, metrics


def outputs_of(params, obs):
    return forward([params["params"]["torso"]["Dense_0"], params["params"]["Dense_0"]], np.float64(obs))


def critic(params, i):
    return layers_of(jax.tree.map(lambda leaf: leaf[i], params))


@pytest.mark.parametrize("q", slow_except([1.0, 1.5, 2.0], 1.5))
def test_the_losses_with_discrete_actions_are_those_of_the_definition(q):
    """Mirror descent on <pi, Q_1> + alpha S_q(pi), linearized at pi_k, with the divergence times c."""
    state, batch, _, metrics = started(envs.make("CartPole-v1"), q)
    c, alpha = NUMBERS["kl_coef"], NUMBERS["temperature"]

    def probabilities(params, obs):
        logits = outputs_of(params, obs)
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    def values(params, obs):
        return np.stack([forward(critic(params, i), np.float64(obs)) for i in range(2)])

    pi, following = (probabilities(state.params, obs[0]) for obs in (batch.obs, batch.next_obs))
    value = (following * values(state.target_params, batch.next_obs[0]).min(axis=0)).sum(axis=1)
    target = batch.reward + batch.discount * (value - alpha * potential(following, q))
    before = values(state.critic_params, batch.obs[0])
    error = before[:, np.arange(8), batch.action] - target
    np.testing.assert_allclose(metrics["loss/value"], 0.5 * (error**2).mean(axis=1).sum(), rtol=1e-4)

    old = probabilities(state.old_params, batch.obs[0])
    linear = (pi * (alpha * slope(old, q) - before[0])).sum(axis=1)
    # What does not depend on pi: the loss has no such part.
    constant = alpha + c * (q - 1.0) * potential(old, q)
    np.testing.assert_allclose(
        metrics["loss/policy"], (c * bregman(pi, old, q) + linear - constant).mean(), rtol=1e-4
    )
    np.testing.assert_allclose(metrics["policy/kl"], bregman(pi, old, 1.0).mean(), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(metrics["policy/entropy"], -potential(pi, 1.0).mean(), rtol=1e-4)


@pytest.mark.parametrize("q", slow_except([1.0, 1.5, 2.0], 1.0))
def test_the_losses_with_continuous_actions_are_those_of_the_definition(q):
    """Of one action for each state, whose density is that of tanh of a normal distribution."""
    env = envs.make("Pendulum-v1")
    state, batch, (next_key, action_key), metrics = started(env, q)
    policy = policies.squashed(env, NetworkConfig(hidden_sizes=(4,), activation="relu"))

    def sampled(obs, key):
        """The action that the algorithm draws; what follows from it is computed here."""
        raw = np.float64(off_policy.distribution(policy, state.params, jnp.asarray(obs)).sample(key))
        return raw, np.concatenate([np.float64(obs), np.tanh(raw)], axis=1)

    def density(params, obs, raw):
        mean, log_std = np.split(outputs_of(params, obs), 2, axis=1)
        std = np.exp(np.clip(log_std, -5.0, 2.0))
        normal = np.exp(-0.5 * ((raw - mean) / std) ** 2) / (std * np.sqrt(2.0 * np.pi))
        return (normal / (1.0 - np.tanh(raw) ** 2)).prod(axis=1)

    def values(params, x):
        return np.stack([forward(critic(params, i), x)[:, 0] for i in range(2)])

    raw, x = sampled(batch.next_obs[0], next_key)
    entropy = -tsallis(density(state.params, batch.next_obs[0], raw), q)
    value = values(state.target_params, x).min(axis=0) + NUMBERS["temperature"] * entropy
    taken = np.concatenate([np.float64(batch.obs[0]), np.tanh(np.float64(batch.action))], axis=1)
    error = values(state.critic_params, taken) - (batch.reward + batch.discount * value)
    np.testing.assert_allclose(metrics["loss/value"], 0.5 * (error**2).mean(axis=1).sum(), rtol=1e-3)

    raw, x = sampled(batch.obs[0], action_key)
    new, old = (density(params, batch.obs[0], raw) for params in (state.params, state.old_params))
    divergence = tsallis(new, q) - q * tsallis(old, q)
    soft = values(state.critic_params, x)[0] - NUMBERS["temperature"] * q * tsallis(old, q)
    loss = NUMBERS["kl_coef"] * divergence - soft
    np.testing.assert_allclose(metrics["loss/policy"], loss.mean(), rtol=1e-3)
    np.testing.assert_allclose(metrics["policy/kl"], np.log(new / old).mean(), rtol=1e-3)


def test_the_policy_becomes_the_old_one_before_every_second_update():
    algo = small("mdpo")  # old_every is 2
    hp, state = algo.hparams, jitted(algo.init)(jax.random.key(0), algo.hparams)
    for i in range(4):
        new, _ = jitted(algo.update)(state, hp)
        assert same(new.old_params, state.params if i % 2 == 0 else state.old_params)
        assert not same(new.old_params, new.params)
        state = new


def test_with_the_weight_of_the_entropy_the_divergence_makes_no_difference():
    """c = alpha and q = 1: the old policy cancels, and what is left is the loss of SAC."""
    algo = small("mdpo", "Pendulum-v1")
    state = jitted(algo.init)(jax.random.key(0), algo.hparams)
    state = state.replace(num_updates=jnp.ones((), jnp.int32))
    other = state.replace(old_params=jax.tree.map(lambda x: 0.5 * x, state.params))
    for kl_coef, cancels in ((0.2, True), (0.4, False)):
        hp = algo.hparams.replace(temperature=0.2, kl_coef=kl_coef)
        ends = [jax.tree.leaves(jitted(algo.update)(one, hp)[0].params) for one in (state, other)]
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(*ends)) == cancels


def test_counts_and_spaces_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="old_every = 0 must be at least 1"):
        mdpo.make(envs.make("Pendulum-v1"), mdpo.Config(old_every=0))
    with pytest.raises(ValueError, match="needs one Box of actions, not MultiDiscrete"):
        mdpo.make(envs.make("probe/multidiscrete"))
