"""REPPO: an update by definition, in NumPy, and what it learns."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, jitted, run_command, slow_except, small
from reference.critics import histogram

import jaxrl
from jaxrl import action_critics, critics, envs, policies, train
from jaxrl.algos import reppo, sac
from jaxrl.evaluate import evaluate
from jaxrl.policies import NetworkConfig

NETWORK = NetworkConfig(hidden_sizes=(4,), activation="relu")
LOW, HIGH, ATOMS = -30.0, 30.0, 21


def layers(params):
    """Kernels and biases in float64, in the order in which they are applied."""
    params = params["params"]
    parts = [*params.get("torso", {}).values()] + [params[k] for k in sorted(params) if k != "torso"]
    return [(np.float64(one["kernel"]), np.float64(one["bias"])) for one in parts]


def softmax(x):
    exponential = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponential / exponential.sum(axis=-1, keepdims=True)


def forward(layers, x):
    """A network of dense layers with relu between them."""
    *hidden, (kernel, bias) = layers
    for weights, shift in hidden:
        x = np.maximum(x @ weights + shift, 0.0)
    return x @ kernel + bias


def first_critic(params):
    return layers(jax.tree.map(lambda leaf: leaf[0], params))


MIDDLES = np.linspace(LOW, HIGH, ATOMS + 1)[:-1] + (HIGH - LOW) / ATOMS / 2.0


def soft_lambda_returns(reward, q, entropy, terminated, truncated, gamma, trace, temperature):
    """G_t = r_t + gamma [alpha H(s') + (1 - lambda) Q(s', pi) + lambda G_{t+1}], from the end backwards.

    Voelcker et al. 2025, https://arxiv.org/abs/2507.11019, section 4. After a termination there is no future;
    after a truncation, and at the end of the rollout, it is that of the last observation alone.
    """
    targets = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        for t in reversed(range(reward.shape[0])):
            if terminated[t, n]:
                targets[t, n] = reward[t, n]
                continue
            future = q[t, n]
            if not truncated[t, n] and t + 1 < reward.shape[0]:
                future = trace * targets[t + 1, n] + (1.0 - trace) * q[t, n]
            targets[t, n] = reward[t, n] + gamma * (temperature * entropy[t, n] + future)
    return targets


def cross_entropy(outputs, targets):
    """The mean over `[T, N]` of that of histograms around the targets, for outputs `[T, N, K]`."""
    edges, width = np.linspace(LOW, HIGH, ATOMS + 1), (HIGH - LOW) / ATOMS
    each = [
        -(histogram(edges, target, 0.75 * width) * np.log(softmax(one))).sum()
        for one, target in zip(outputs.reshape(-1, ATOMS), np.clip(targets, LOW, HIGH).reshape(-1))
    ]
    return np.mean(each)


def updated(monkeypatch, env, num_samples):
    """A state, the steps of its rollout, and the metrics of an update with one gradient step on all."""
    seen, rollout = [], reppo.rollout

    def recorded(*args):
        stream, steps = rollout(*args)
        jax.debug.callback(lambda one: seen.append(jax.tree.map(np.asarray, one)), steps)
        return stream, steps

    monkeypatch.setattr(reppo, "rollout", recorded)
    sizes = {"num_envs": 4, "num_steps": 24, "num_epochs": 1, "num_minibatches": 1, "network": NETWORK}
    sizes |= {"lowest_return": LOW, "highest_return": HIGH, "num_atoms": ATOMS}
    algo = reppo.make(env, reppo.Config(**sizes, num_samples=num_samples))
    hp = algo.hparams.replace(gamma=0.9, q_lambda=0.7, temperature=1.5)
    state = jax.jit(algo.init)(jax.random.key(1), hp)
    _, metrics = jax.jit(algo.update)(state, hp)
    jax.effects_barrier()
    (steps,) = seen
    return state, steps, metrics


def test_the_loss_of_the_critic_of_discrete_actions_is_that_of_the_definition(monkeypatch):
    """Expectations under the policy are sums; episodes are truncated and terminated."""
    state, steps, metrics = updated(monkeypatch, envs.make("CartPole-v1", max_steps=11), 1)
    assert steps.truncated.any() and steps.terminated.any()

    def outputs(obs):
        return forward(first_critic(state.critic_params), obs).reshape(*obs.shape[:-1], 2, ATOMS)

    pi = softmax(forward(layers(state.params), steps.next_obs))
    q = (pi * (softmax(outputs(steps.next_obs)) @ MIDDLES)).sum(-1)
    entropy, ended = -(pi * np.log(pi)).sum(-1), (steps.terminated, steps.truncated)
    targets = soft_lambda_returns(steps.reward, q, entropy, *ended, 0.9, 0.7, 1.5)
    taken = np.take_along_axis(outputs(steps.obs), steps.action[..., None, None], axis=-2)[..., 0, :]
    np.testing.assert_allclose(metrics["loss/value"], cross_entropy(taken, targets), rtol=1e-4)
    np.testing.assert_allclose(metrics["value/mean"], (softmax(taken) @ MIDDLES).mean(), rtol=1e-3)


def test_the_loss_of_the_critic_of_a_box_is_that_of_the_definition(monkeypatch):
    """Expectations are integrals over a normal distribution, here by quadrature; actions are tanh of it."""
    state, steps, metrics = updated(monkeypatch, envs.make("Pendulum-v1", max_steps=7), 4096)
    assert steps.truncated.any() and not steps.terminated.any()
    points = np.linspace(-6.0, 6.0, 601)
    weights = np.exp(-0.5 * points**2)
    weights = weights / weights.sum()

    def outputs(obs, raw):
        return forward(first_critic(state.critic_params), np.concatenate([obs, np.tanh(raw)], axis=-1))

    mean, log_std = np.split(forward(layers(state.params), np.float64(steps.next_obs)), 2, axis=-1)
    log_std = np.clip(log_std, -5.0, 2.0)
    raw = mean + np.exp(log_std) * points  # [T, N, points]
    each = [softmax(outputs(steps.next_obs, raw[..., i : i + 1])) @ MIDDLES for i in range(len(points))]
    q = np.tensordot(weights, each, axes=1)
    # The density of u = tanh(x), between -1 and 1, is N(x) / (1 - u^2).
    log_density = -0.5 * points**2 - log_std - 0.5 * np.log(2 * np.pi) + 2.0 * np.log(np.cosh(raw))
    entropy, ended = -(log_density @ weights), (steps.terminated, steps.truncated)
    targets = soft_lambda_returns(steps.reward, q, entropy, *ended, 0.9, 0.7, 1.5)
    loss = cross_entropy(outputs(steps.obs, steps.action), targets)
    np.testing.assert_allclose(metrics["loss/value"], loss, rtol=1e-3)
    without = soft_lambda_returns(steps.reward, q, 0.0 * entropy, *ended, 0.9, 0.7, 1.5)
    assert abs(cross_entropy(outputs(steps.obs, steps.action), without) - loss) > 0.01 * loss


def test_beyond_its_bound_only_the_divergence_of_a_state_is_minimised():
    """Losses and their gradients, in the states with KL below 0.1 and in those above."""
    rng = np.random.default_rng(0)
    q, entropy, kl = rng.normal(size=7), rng.normal(size=7), np.array([0, 0.05, 0.09, 0.11, 0.2, 3.0, 0.01])
    alpha, beta, target, bound = 0.3, 0.7, -0.5, 0.1
    below = np.array([True, True, True, False, False, False, True])
    arguments = tuple(jnp.float32(x) for x in (q, entropy, kl, alpha, beta))
    policy, dual = reppo.losses(*arguments, target, bound)
    expected = np.where(below, -(q + alpha * entropy), beta * kl).mean()
    np.testing.assert_allclose(policy, expected, rtol=1e-5)
    excess, slack = (entropy - target).mean(), (bound - kl).mean()
    np.testing.assert_allclose(dual, alpha * excess + beta * slack, rtol=1e-5)
    grad = jax.grad(lambda *x: sum(reppo.losses(*x, target, bound)), argnums=(0, 1, 2, 3, 4))
    by_q, by_entropy, by_kl, by_alpha, by_beta = grad(*arguments)
    np.testing.assert_allclose(by_q, -1.0 * below / 7.0, rtol=1e-5)
    np.testing.assert_allclose(by_entropy, -alpha * below / 7.0, rtol=1e-5)
    np.testing.assert_allclose(by_kl, beta * ~below / 7.0, rtol=1e-5)
    np.testing.assert_allclose([by_alpha, by_beta], [excess, slack], rtol=1e-5)


def adam(gradients, rate, eps=1e-8):
    """The sum of the steps of Adam for these gradients. Kingma and Ba 2015, https://arxiv.org/abs/1412.6980."""
    total = m = v = 0.0
    for t, gradient in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        total -= rate * m / (1.0 - 0.9**t) / (np.sqrt(v / (1.0 - 0.999**t)) + eps)
    return total


@pytest.mark.parametrize(("bound", "entropy_scale"), [(1e-6, -5.0), (10.0, 5.0)])
def test_temperature_and_multiplier_follow_the_entropy_and_the_divergence(bound, entropy_scale):
    """Two gradient steps: by alpha (H - target) for log alpha, by beta (bound - KL) for log beta."""
    changes = {"kl_bound": bound, "entropy_scale": entropy_scale, "max_grad_norm": 1e9, "lr_decay": 0.0}
    means = []
    for num_epochs in (1, 2):
        algo = small("reppo", "Pendulum-v1", num_epochs=num_epochs, num_minibatches=1)
        hp = algo.hparams.replace(**changes, temperature=0.2, kl_coef=0.7)
        state = jitted(algo.init)(jax.random.key(0), hp)
        new, metrics = jitted(algo.update)(state, hp)
        means.append([float(metrics[name]) for name in ("policy/entropy", "policy/kl")])
    entropies, divergences = ((one, 2.0 * both - one) for one, both in zip(*means))
    assert divergences[0] == 0.0 < divergences[1]  # the first step starts from the policy that acted
    target, rate = -entropy_scale, float(hp.learning_rate)
    assert (np.array(entropies) > target).all() == (entropy_scale > 0.0)
    for start, end, value, excess in (
        (state.log_temperature, new.log_temperature, 0.2, np.array(entropies) - target),
        (state.log_kl_coef, new.log_kl_coef, 0.7, bound - np.array(divergences)),
    ):
        first = value * excess[0]
        second = value * np.exp(adam([first], rate)) * excess[1]
        np.testing.assert_allclose(end - start, adam([first, second], rate), rtol=2e-3)


def test_a_bound_keeps_the_policy_near_the_one_that_acted():
    moved = []
    for bound in (1e-4, 1e9):
        algo = small("reppo", "Pendulum-v1", num_epochs=16)
        hp = algo.hparams.replace(kl_bound=bound, kl_coef=10.0, max_grad_norm=1e9)
        _, metrics = jitted(algo.update)(jitted(algo.init)(jax.random.key(0), hp), hp)
        moved.append((float(metrics["policy/kl"]), float(metrics["policy/kl_exceeded"])))
    assert moved[0][0] < 0.2 * moved[1][0] and moved[0][1] > 0.2 and moved[1][1] == 0.0, moved


@pytest.mark.parametrize("max_steps", slow_except([1, 8], 8))
def test_values_bootstrap_at_a_time_limit(max_steps):
    """The endless probe with reward 1, truncated after a few steps: Q = 1 / (1 - gamma), to 5 %."""
    env, network = envs.make("probe/truncation", max_steps=max_steps), NetworkConfig(hidden_sizes=(16,))
    config = reppo.Config(num_steps=16, num_atoms=41, lowest_return=0.0, highest_return=20.0, network=network)
    algo = reppo.make(env, config)
    hp = algo.hparams.replace(learning_rate=1e-2, lr_decay=0.9, gamma=0.9, temperature=1e-9)
    hp = hp.replace(total_updates=150.0)
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    states, _ = jax.jit(jax.vmap(lambda key: train.run(algo, key, hp, 150)))(keys)
    head, policy = critics.hl_gauss(0.0, 20.0, 41), policies.actor(env, network)
    critic = action_critics.make(env.action_space, policy, network, 1, num_outputs=41)
    q = jax.vmap(lambda params: head.value(critic.values(params, jnp.ones((1, 1)))))(states.critic_params)
    assert q.shape == (4, 1, 1, 2)
    np.testing.assert_allclose(q, 10.0, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "best"), [("action", 1.0), ("action-from-obs", 1.0), ("action-mask", 4.0)])
def test_discrete_actions_are_learned(name, best):
    env = envs.make(f"probe/{name}")
    config = config_of(reppo, num_steps=16, hidden_sizes=(16,), lowest_return=-5.0, highest_return=5.0)
    algo = reppo.make(env, config)
    hp = algo.hparams.replace(learning_rate=1e-2, lr_decay=0.9, gamma=0.9, total_updates=60.0)
    state, _ = jax.jit(partial(train.run, algo, num_updates=60))(jax.random.key(0), hp)
    returns = evaluate(env, partial(algo.act, state), (), jax.random.key(1), 64).returns
    np.testing.assert_allclose(returns.mean(), best, atol=0.05)


def test_distributions_of_the_values_of_discrete_actions():
    """Of each action `K` outputs: those of the action that is given are `value`."""
    env = envs.make("CartPole-v1")
    policy = policies.actor(env, NETWORK)
    critic = action_critics.make(env.action_space, policy, NETWORK, 3, num_outputs=5)
    params, action = critic.init(jax.random.key(0)), jnp.array([0, 1, 1, 0])
    x = jax.random.normal(jax.random.key(1), (4, 4))
    values, value = critic.values(params, x), critic.value(params, x, action)
    assert values.shape == (3, 4, 2, 5) and value.shape == (3, 4, 5)
    for i, one in enumerate(action):
        np.testing.assert_array_equal(value[:, i], values[:, i, one])


def test_options_that_do_not_fit_are_refused():
    for module in (reppo, sac):
        with pytest.raises(ValueError, match="memory_size = 8 has no effect here"):
            module.make(envs.make("CartPole-v1"), config_of(module, memory_size=8))
    with pytest.raises(ValueError, match=r"num_envs \* num_steps = 12 .*5"):
        reppo.make(envs.make("Pendulum-v1"), reppo.Config(num_envs=4, num_steps=3, num_minibatches=5))
    with pytest.raises(ValueError, match="a squashed policy needs one Box of actions, not MultiDiscrete"):
        reppo.make(envs.make("probe/multidiscrete"))
    with pytest.raises(ValueError, match="num_samples"):
        reppo.make(envs.make("Pendulum-v1"), reppo.Config(num_samples=0))


def test_a_run_is_evaluated_and_exported(tmp_path):
    """The policy file is compared with `act` when it is written, and not written if they differ."""
    words = "train reppo Pendulum-v1 --steps 64 --seeds 2 --eval-episodes 0 --intervals"
    sizes = "2 --num-envs 2 --num-steps 8 --num-minibatches 2 --hidden-sizes 4 --num-epochs"
    status, output = run_command(*f"{words} {sizes} 1".split(), "--out", tmp_path / "run")
    assert status == 0, output
    action = jaxrl.load(tmp_path / "run")(np.array([1.0, 0.0, 0.5], np.float32))
    assert action.shape == (1,) and abs(float(action[0])) <= 2.0
