"""Trust regions and their formulas: TRPO, FixPO, V-MPO, the adaptive penalty; A2C."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, slow_except, small
from jax.flatten_util import ravel_pytree
from reference import distributions as slow
from reference import returns as slow_returns
from scipy import optimize, special, stats

from jaxrl import envs, policies
from jaxrl import stats as running
from jaxrl.algos import ALGORITHMS, fixpo, ppo_kl, trpo, vmpo
from jaxrl.optimizers import conjugate_gradient
from jaxrl.returns import gae
from jaxrl.rollout import minibatches, rollout, vectorize
from jaxrl.spaces import Box

SIZES = {"num_envs": 4, "num_steps": 32, "hidden_sizes": (16,), "num_epochs": 4, "num_minibatches": 4}


def agent_of(env, config):
    """The parts of an algorithm, for updates by hand: its policy, and functions for its rollouts."""
    policy = policies.actor_critic(env, config.network)
    many = vectorize(policies.bounded(env, policy), config.num_envs)

    def experience(state, key, gamma, gae_lambda):
        acting = policies.explore(policy, state.params, state.obs_stats)
        stream, steps = rollout(many, acting, key, state.stream, config.num_steps)
        value, next_value = policies.values(policy, state.params, state.obs_stats, steps, stream.memory)
        reward = running.scale_reward(state.reward_stats, steps.reward)
        advantages = gae(reward, value, next_value, steps.terminated, steps.truncated, gamma, gae_lambda)
        estimates = {"value": value, "advantages": advantages, "targets": advantages + value}
        return policies.samples(policy, steps, state.stream.memory, **estimates)

    def order(key, num_epochs):
        return minibatches(key, config.num_envs * config.num_steps, num_epochs, config.num_minibatches)

    return SimpleNamespace(
        experience=experience,
        minibatches=order,
        batch=lambda state, data, columns=None: policies.take(policy, state.obs_stats, data, columns),
        evaluate=partial(policies.unroll, policy),
        distribution=lambda batch, outputs: policy.distribution(outputs, batch.get("action_mask")),
        kl=partial(policies.divergence, policy),
    )


def recorded_update(agent, algo, state, hp):
    """An update, and its rollout: the algorithm splits its key into three."""
    rollout_key = jax.random.split(state.key, 3)[1]
    data = agent.experience(state, rollout_key, hp.gamma, hp.gae_lambda)
    batch = agent.batch(state, data)
    new, metrics = algo.update(state, hp)
    return new, (batch, agent.evaluate(new.params, batch)[0], metrics)


def history(name, env_name, num_updates, hparams, **changes):
    """Batches, outputs of the new policies and metrics of three training runs, concatenated `[3 U, ...]`.

    A garnet is a different random MDP in each.
    """
    module = ALGORITHMS[name]
    config = config_of(module, **{**SIZES, **changes})

    @jax.jit
    @jax.vmap
    def train(seed):
        env = envs.make(env_name, **({"seed": seed} if env_name == "world/garnet" else {}))
        algo, agent = module.make(env, config), agent_of(env, config)
        hp = algo.hparams.replace(total_updates=float(num_updates), **hparams)
        step = lambda state, _: recorded_update(agent, algo, state, hp)  # noqa: E731
        return jax.lax.scan(step, algo.init(jax.random.key(seed), hp), length=num_updates)[1]

    flat = jax.tree.map(lambda x: np.asarray(x).reshape((-1, *x.shape[2:])), train(jnp.arange(3)))
    return envs.make(env_name).action_space, flat


def divergences(space, old, new):
    """KL(old || new) `[U, B]` in float64."""
    old, new = (np.asarray(x, np.float64)[:, 0] for x in (old, new))
    if isinstance(space, Box):
        (mean_p, log_p), (mean_q, log_q) = (np.split(x, 2, axis=-1) for x in (old, new))
        return slow.gaussian_kl(mean_p, np.exp(log_p), mean_q, np.exp(log_q))
    ends = np.cumsum(getattr(space, "nvec", ()))[:-1].astype(int)
    parts = zip(np.split(old, ends, axis=-1), np.split(new, ends, axis=-1))
    return sum(slow.categorical_kl(slow.categorical(p), slow.categorical(q)) for p, q in parts)


def log_probs(space, outputs, action):
    """`[U, B]` in float64."""
    outputs, action = np.asarray(outputs, np.float64)[:, 0], action[:, 0]
    if isinstance(space, Box):
        mean, log_std = np.split(outputs, 2, axis=-1)
        return stats.norm.logpdf(action, mean, np.exp(log_std)).sum(-1)
    ends = np.cumsum(getattr(space, "nvec", ()))[:-1].astype(int)
    parts = np.split(outputs, ends, axis=-1)
    chosen = [action] if len(parts) == 1 else np.moveaxis(action, -1, 0)
    return sum(
        np.take_along_axis(special.log_softmax(part, axis=-1), a[..., None], -1)[..., 0]
        for part, a in zip(parts, chosen)
    )


# ---------------------------------------------------------------------------------------------------
# TRPO


@pytest.mark.parametrize("env_name", slow_except(["Pendulum-v1", "world/garnet"], "world/garnet"))
def test_every_step_of_trpo_is_in_its_region_and_better(env_name):
    """By densities and divergences in float64."""
    space, (batch, outputs, metrics) = history("trpo", env_name, 40, {"max_kl": 0.05})
    kl = divergences(space, batch["outputs"], outputs).mean(-1)
    log_ratio = log_probs(space, outputs, batch["action"]) - log_probs(
        space, batch["outputs"], batch["action"]
    )
    advantages = batch["advantages"][:, 0].astype(np.float64)
    advantages -= advantages.mean(-1, keepdims=True)
    gain = (np.expm1(log_ratio) * advantages).mean(-1)
    accepted = metrics["policy/accepted"] == 1.0
    assert kl.max() <= 0.05 * (1 + 1e-3)
    assert (gain[accepted] > 0.0).all()
    assert accepted.sum() >= 100 and kl.max() > 0.02
    np.testing.assert_allclose(metrics["policy/kl"][accepted], kl[accepted], rtol=1e-2, atol=1e-5)
    np.testing.assert_allclose(kl[~accepted], 0.0, atol=1e-6)


def test_a_failed_line_search_leaves_the_policy_of_trpo_unchanged():
    """Bit for bit. Long steps, and attempts that are no shorter: in some updates none is accepted."""
    algo = trpo.make(envs.make("CartPole-v1"), config_of(trpo, **SIZES, max_backtracks=1))
    hp = algo.hparams.replace(max_kl=2.0, backtrack=1.0)  # of 6 seeds, each accepts 5 to 18 of 30

    @jax.jit
    def train(key):
        def step(state, _):
            new, metrics = algo.update(state, hp)
            before, after = (trpo.split(s.params) for s in (state, new))
            return new, (metrics, jax.tree.map(lambda a, b: (a == b).all(), before, after))

        return jax.lax.scan(step, algo.init(key, hp), length=30)[1]

    metrics, (actor_same, critic_same) = train(jax.random.key(0))
    accepted = np.asarray(metrics["policy/accepted"]) == 1.0
    assert 3 <= accepted.sum() <= 27
    actor_same, critic_same = (np.all(jax.tree.leaves(same), axis=0) for same in (actor_same, critic_same))
    np.testing.assert_array_equal(actor_same, ~accepted)
    assert not critic_same.any()
    for name in ("policy/kl", "policy/gain", "policy/share"):
        assert (np.asarray(metrics[name])[~accepted] == 0.0).all()


def test_the_step_of_trpo_is_the_natural_gradient():
    """Against the dense Hessian of the divergence, solved by NumPy; and the divergence is its square."""
    env = envs.make("Pendulum-v1")
    config = config_of(trpo, **{**SIZES, "hidden_sizes": (4,)}, cg_iterations=60)
    algo, agent = trpo.make(env, config), agent_of(env, config)
    hp = algo.hparams.replace(max_kl=1e-3)
    state = jax.jit(algo.init)(jax.random.key(3), hp)
    new, (batch, _, metrics) = jax.jit(partial(recorded_update, agent, algo))(state, hp)
    actor, critic = trpo.split(state.params)
    start, unravel = ravel_pytree(actor)

    def outputs(vector):
        return agent.evaluate(trpo.joined(unravel(vector), critic), batch)[0]

    def surrogate(vector):
        pi = agent.distribution(batch, outputs(vector))
        advantages = batch["advantages"] - batch["advantages"].mean()
        ratio = jnp.exp(pi.log_prob(batch["action"]) - batch["log_prob"])
        return (ratio * advantages / advantages.std()).mean()

    def divergence(vector):
        return agent.kl(batch, outputs(vector)).mean()

    fisher = np.asarray(jax.jit(jax.hessian(divergence))(start), np.float64)
    damped = fisher + float(hp.damping) * np.eye(len(start))
    direction = np.linalg.solve(damped, np.asarray(jax.jit(jax.grad(surrogate))(start), np.float64))
    step = np.sqrt(2 * float(hp.max_kl) / (direction @ damped @ direction)) * direction
    taken = np.asarray(ravel_pytree(trpo.split(new.params)[0])[0] - start) / float(metrics["policy/share"])
    np.testing.assert_allclose(taken, step, rtol=1e-2, atol=2e-3 * np.abs(step).max())
    # The Fisher matrix is the curvature of the divergence: by finite differences of that.
    far = 0.3 * step
    both = [float(jax.jit(divergence)(start + sign * far.astype(np.float32))) for sign in (1, -1)]
    assert np.mean(both) == pytest.approx(0.5 * far @ fisher @ far, rel=0.03)


@pytest.mark.parametrize("size", [1, 5, 30])
def test_conjugate_gradients_solve(size):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size))
    matrix, b = root @ root.T + np.eye(size), rng.normal(size=size)
    solve = jax.jit(lambda m, b, n: conjugate_gradient(lambda v: m @ v, b, n), static_argnums=2)
    expected = np.linalg.solve(matrix, b)
    matrix, b = jnp.asarray(matrix, jnp.float32), jnp.asarray(b, jnp.float32)
    np.testing.assert_allclose(solve(matrix, b, 2 * size + 2), expected, rtol=1e-3, atol=1e-4)
    if size > 5:  # and few iterations come near: each the best in its Krylov space
        errors = [np.linalg.norm(solve(matrix, b, n) - expected) for n in (1, 10, 30)]
        assert errors == sorted(errors, reverse=True)


def test_conjugate_gradients_stay_at_a_solution():
    solve = jax.jit(jax.grad(lambda b: conjugate_gradient(lambda v: 2.0 * v, b, 8).sum()))
    np.testing.assert_allclose(solve(jnp.array([1.0, -2.0])), 0.5, rtol=1e-6)
    assert np.isfinite(solve(jnp.zeros(2))).all()


# ---------------------------------------------------------------------------------------------------
# FixPO


@pytest.mark.parametrize("env_name", slow_except(["Pendulum-v1", "probe/multidiscrete"], "Pendulum-v1"))
def test_no_state_leaves_the_region_of_fixpo(env_name):
    """Large steps and a slow multiplier: the second phase has to bring states back."""
    hparams = {"max_kl": 0.02, "learning_rate": 1e-2, "kl_coef": 0.0, "kl_margin": 1.0}
    space, (batch, outputs, metrics) = history("fixpo", env_name, 40, hparams)
    worst = divergences(space, batch["outputs"], outputs).max(-1)
    assert worst.max() <= 0.02 * (1 + 1e-3)
    kept = metrics["fallback/count"] == 0.0
    np.testing.assert_allclose(metrics["policy/kl_max"][kept], worst[kept], rtol=1e-2, atol=1e-5)
    assert metrics["fixup/count"].sum() > 0 and kept.mean() > 0.8 and worst.max() > 0.01


def test_fixpo_falls_back_to_the_previous_policy():
    """A region so small that one corrective step cannot reach it."""
    algo = fixpo.make(envs.make("CartPole-v1"), config_of(fixpo, **SIZES, max_fixups=1))
    hp = algo.hparams.replace(max_kl=1e-9, learning_rate=1e-2)
    state = jax.jit(algo.init)(jax.random.key(0), hp)
    new, metrics = jax.jit(algo.update)(state, hp)
    assert metrics["fallback/count"] == metrics["fixup/count"] == 1.0 and metrics["policy/kl_max"] == 0.0
    for before, after in zip(jax.tree.leaves(state.params), jax.tree.leaves(new.params)):
        np.testing.assert_array_equal(before, after)


# ---------------------------------------------------------------------------------------------------
# Multipliers, against loops that are written from the definitions


def replayed(name, env_name, hparams, loss, after_step, start):
    """One update by hand: `loss(agent, params, hp, carry, batch)`, then `carry = after_step(...)`."""
    env, module = envs.make(env_name), ALGORITHMS[name]
    config = config_of(module, **{**SIZES, "num_epochs": 2, "num_minibatches": 2})
    algo, agent = module.make(env, config), agent_of(env, config)
    hp = algo.hparams.replace(learning_rate=1e-2, lr_decay=0.0, max_grad_norm=1e9, **hparams)
    state = jax.jit(algo.init)(jax.random.key(2), hp)
    _, rollout_key, shuffle_key = jax.random.split(state.key, 3)
    data = jax.jit(agent.experience)(state, rollout_key, hp.gamma, hp.gae_lambda)
    slope = jax.jit(jax.grad(lambda params, carry, batch: loss(agent, params, hp, carry, batch)))
    params, carry, moments = state.params, start, None
    for number, columns in enumerate(agent.minibatches(shuffle_key, config.num_epochs), 1):
        batch = agent.batch(state, data, columns)
        new_outputs = jax.jit(agent.evaluate)(params, batch)[0]
        grads, unravel = ravel_pytree(slope(params, carry, batch))
        carry = after_step(env.action_space, hp, carry, batch, new_outputs, number)
        step, moments = adam(np.asarray(grads, np.float64), moments, number, hp.adam_eps)
        params = jax.tree.map(jnp.add, params, unravel(jnp.asarray(-1e-2 * step, jnp.float32)))
    new, metrics = jax.jit(algo.update)(state, hp)
    return params, carry, new, metrics


def adam(gradient, moments, number, eps=1e-8):
    """The direction of Adam's step. Kingma and Ba 2014. https://arxiv.org/abs/1412.6980"""
    m, v = moments or (0.0, 0.0)
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    return m / (1 - 0.9**number) / (np.sqrt(v / (1 - 0.999**number)) + eps), (m, v)


def value_loss(value, batch):
    return 0.5 * ((value - batch["targets"]) ** 2).mean()


def unit(x):
    return (x - x.mean()) / x.std()


def close(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_fixpo_and_its_multiplier_by_hand():
    def loss(agent, params, hp, carry, batch):
        outputs, value = agent.evaluate(params, batch)
        pi = agent.distribution(batch, outputs)
        ratio = jnp.exp(pi.log_prob(batch["action"]) - batch["log_prob"])
        penalty = carry[0] * agent.kl(batch, outputs).mean()
        gained = (ratio * unit(batch["advantages"])).mean() + hp.ent_coef * pi.entropy().mean()
        return penalty - gained + hp.vf_coef * value_loss(value, batch)

    def after_step(space, hp, carry, batch, outputs, number):
        coef, moments = carry
        worst = divergences(space, batch["outputs"][None], outputs[None]).max()
        step, moments = adam(hp.max_kl - hp.kl_margin * worst, moments, number)
        return max(coef - hp.kl_coef_lr * step, 0.0), moments

    hparams = {"max_kl": 0.05, "kl_margin": 2.0, "kl_coef_lr": 0.3, "ent_coef": 0.01}
    params, (coef, _), new, metrics = replayed("fixpo", "CartPole-v1", hparams, loss, after_step, (1.0, None))
    assert metrics["fixup/count"] == 0.0
    assert coef == pytest.approx(float(new.kl_coef), rel=1e-3) and abs(coef - 1.0) > 0.1
    close(new.params, params)


def test_vmpo_and_its_multipliers_by_hand():
    """Continuous actions: means and standard deviations have a divergence and a multiplier each."""

    def loss(agent, params, hp, carry, batch):
        outputs, value = agent.evaluate(params, batch)
        pi = agent.distribution(batch, outputs)
        eta, alpha, alpha_std = carry[0]
        advantages = unit(batch["advantages"])[0]
        best = jnp.argsort(-advantages)[: len(advantages) // 2]
        psi = jnp.exp(advantages[best] / eta) / jnp.exp(advantages[best] / eta).sum()
        likelihood = (psi * pi.log_prob(batch["action"])[0][best]).sum()
        (mean_p, log_p), (mean, log_std) = (jnp.split(x, 2, axis=-1) for x in (batch["outputs"], outputs))
        kl = (0.5 * ((mean - mean_p) / jnp.exp(log_p)) ** 2).mean()
        kl_std = (log_std - log_p + 0.5 * jnp.exp(2 * (log_p - log_std)) - 0.5).mean()
        return alpha * kl + alpha_std * kl_std - likelihood + hp.vf_coef * value_loss(value, batch)

    def after_step(space, hp, carry, batch, outputs, number):
        multipliers, moments = carry
        old, new = (np.asarray(x, np.float64)[None] for x in (batch["outputs"], outputs))
        mixed = [np.concatenate([a[..., :1], b[..., 1:]], -1) for a, b in ((new, old), (old, new))]
        kls = [divergences(space, old, x).mean() for x in mixed]
        best = np.sort(unit(np.asarray(batch["advantages"], np.float64)[0]))[::-1]
        best = best[: len(best) // 2]

        def temperature_loss(eta):
            return eta * hp.eps_eta + eta * np.log(np.mean(np.exp(best / eta)))

        eta = multipliers[0]
        slope = (temperature_loss(eta + 1e-5) - temperature_loss(eta - 1e-5)) / 2e-5
        gradient = np.array([slope, hp.eps_alpha - kls[0], hp.eps_alpha_std - kls[1]])
        step, moments = adam(gradient, moments, number)
        return np.maximum(multipliers - hp.multiplier_lr * step, 1e-8), moments

    start = (np.array([1.0, 0.5, 0.5]), None)
    hparams = {"alpha": 0.5, "multiplier_lr": 0.1, "eps_alpha": 1e-3, "eps_alpha_std": 1e-3}
    params, (multipliers, _), new, _ = replayed("vmpo", "Pendulum-v1", hparams, loss, after_step, start)
    ours = [new.multipliers[name] for name in ("eta", "alpha", "alpha_std")]
    np.testing.assert_allclose(ours, multipliers, rtol=5e-3)
    close(new.params, params)


def test_the_temperature_of_vmpo_bounds_the_divergence_of_its_weights():
    """At the minimum of its loss, KL(psi || equal weights) is eps_eta, by duality."""
    advantages = np.random.default_rng(0).normal(size=64).astype(np.float32)
    for eps in (0.01, 0.1, 0.5):

        def loss(eta, eps=eps):
            return eta * (eps + float(vmpo.weigh(jnp.asarray(advantages), eta)[1]))

        eta = optimize.minimize_scalar(loss, bounds=(0.05, 50.0), method="bounded").x
        psi = np.asarray(vmpo.weigh(jnp.asarray(advantages), eta)[0], np.float64)
        assert (psi > 0).sum() == 32 and psi[advantages < np.median(advantages)].sum() == 0.0
        assert np.sum(psi[psi > 0] * np.log(32 * psi[psi > 0])) == pytest.approx(eps, rel=0.03)


def test_the_penalty_doubles_and_halves():
    """Schulman et al. 2017, section 4: outside of a factor of 1.5 around the target."""
    for kl, factor in ((0.0, 0.5), (0.0066, 0.5), (0.0067, 1.0), (0.0149, 1.0), (0.0151, 2.0), (9.0, 2.0)):
        assert float(ppo_kl.adapted(3.0, kl, 0.01)) == pytest.approx(3.0 * factor)
    assert float(ppo_kl.adapted(1e-6, 0.0, 0.01)) == pytest.approx(1e-6)
    assert float(ppo_kl.adapted(1e6, 1.0, 0.01)) == pytest.approx(1e6)


@pytest.mark.slow
def test_the_adaptive_penalty_keeps_the_divergence_near_its_target():
    """From a coefficient that is far too small: it adapts until the exact divergence reaches its target."""
    hparams = {"learning_rate": 1e-2, "lr_decay": 0.0, "kl_coef": 1e-3, "kl_target": 0.01}
    space, (batch, outputs, metrics) = history("ppo_kl", "world/garnet", 60, hparams)
    kl = divergences(space, batch["outputs"], outputs).mean(-1)[:60]
    np.testing.assert_allclose(metrics["policy/kl"][:60], kl, rtol=1e-2, atol=1e-6)
    assert kl[:5].max() > 0.03 and 0.002 < kl[-30:].mean() < 0.03
    expected, coef = [], 1e-3
    for value in kl:
        coef = np.clip(coef * (2.0 if value > 0.015 else 0.5 if value < 0.01 / 1.5 else 1.0), 1e-6, 1e6)
        expected.append(coef)
    np.testing.assert_allclose(metrics["policy/kl_coef"][:60], expected, rtol=1e-4)


# ---------------------------------------------------------------------------------------------------
# A2C


@pytest.mark.parametrize("baseline", [True, False], ids=["a2c", "reinforce"])
def test_the_gradient_of_a2c_weighs_actions_by_advantages_or_returns(baseline):
    """By hand, from rewards; without a baseline and trace 1, by discounted sums to the episode's end."""
    env = envs.make("probe/action-from-obs")
    module = ALGORITHMS["a2c"]
    config = config_of(module, num_envs=4, num_steps=16, hidden_sizes=(8,), baseline=baseline)
    algo, agent = module.make(env, config), agent_of(env, config)
    hp = algo.hparams.replace(gae_lambda=1.0, max_grad_norm=1e9, vf_coef=0.0, ent_coef=0.0, lr_decay=0.0)
    state = jax.jit(algo.init)(jax.random.key(0), hp)
    data = jax.jit(agent.experience)(state, jax.random.split(state.key)[1], hp.gamma, hp.gae_lambda)
    batch = agent.batch(state, data)
    reward = np.where(batch["action"] == (batch["x"][..., 0] > 0), 1.0, -1.0).T  # one step per episode
    zeros, ends = np.zeros_like(reward), np.ones_like(reward, bool)
    weights = slow_returns.lambda_returns(reward, zeros, ends, ~ends, float(hp.gamma), 1.0).T
    weights = weights - np.asarray(batch["value"]) if baseline else weights

    def loss(params):
        log_prob = agent.distribution(batch, agent.evaluate(params, batch)[0]).log_prob(batch["action"])
        return -(weights * log_prob).mean()

    grads = jax.jit(jax.grad(loss))(state.params)
    moved = jax.tree.map(lambda new, old: new - old, jax.jit(algo.update)(state, hp)[0].params, state.params)
    steps = jax.tree.map(lambda g: -hp.learning_rate * g / (jnp.abs(g) + hp.adam_eps), grads)
    for ours, theirs in zip(jax.tree.leaves(moved), jax.tree.leaves(steps)):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(grads)) > 1e-3


@pytest.mark.parametrize("name", ["a2c", "fixpo", "ppo_kl", "trpo", "vmpo"])
def test_counts_and_batches_are_checked(name):
    module, env = ALGORITHMS[name], envs.make("CartPole-v1")
    with pytest.raises(ValueError, match="num_steps = 0 must be at least 1"):
        module.make(env, module.Config(num_steps=0))
    with pytest.raises(ValueError, match="squash requires continuous actions"):
        module.make(env, config_of(module, squash=True))
    if name != "a2c":
        with pytest.raises(ValueError, match="is not divisible by num_minibatches = 7"):
            module.make(env, module.Config(num_minibatches=7))
    assert small(name).hparams.learning_rate == 1e-2


def test_fixpo_recovers_from_an_update_that_diverged():
    """The policy was kept; with a NaN multiplier it would be kept forever."""
    algo = small("fixpo")
    update = jax.jit(algo.update)
    state = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    broken, metrics = update(state, algo.hparams.replace(learning_rate=1e30, max_grad_norm=1e30))
    assert not np.isfinite(metrics["loss/policy"]) and metrics["fallback/count"] == 1.0
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((broken.params, broken.kl_coef)))
    later, metrics = update(broken, algo.hparams)
    assert np.isfinite(metrics["loss/policy"])
    moved = ravel_pytree(broken.params)[0] != ravel_pytree(later.params)[0]
    assert moved.any() or metrics["fallback/count"] == 1.0
