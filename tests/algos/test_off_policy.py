"""SAC, TD3, DDPG and DSAC-T: targets and losses against their definitions, in NumPy, and one update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, jitted, run_command, slow_except, small, small_env

import jaxrl
from jaxrl import action_critics, envs, off_policy, policies, replay, train
from jaxrl.algos import dsac_t, sac, td3
from jaxrl.policies import NetworkConfig

PENDULUM = envs.make("Pendulum-v1")
NETWORK = NetworkConfig(hidden_sizes=(4,), activation="relu")


def relu(x):
    return np.maximum(x, 0.0)


def layers_of(params):
    return [params["params"][name] for name in sorted(params["params"])]


def forward(layers, x):
    """A network of dense layers with relu between them, in float64."""
    *hidden, last = [(np.float64(layer["kernel"]), np.float64(layer["bias"])) for layer in layers]
    for kernel, bias in hidden:
        x = relu(x @ kernel + bias)
    return x @ last[0] + last[1]


def test_critics_are_networks_of_the_observation_and_the_squashed_action():
    policy = policies.squashed(PENDULUM, NETWORK)
    critics = action_critics.make(PENDULUM.action_space, policy, NETWORK, 3)
    params = critics.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    x, action = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 1)).astype(np.float32)
    q = np.asarray(critics.value(params, x, action))
    assert q.shape == (3, 5) and len({row.tobytes() for row in q}) == 3
    joined = np.concatenate([x, np.tanh(action)], axis=1)
    for i in range(3):
        one = layers_of(jax.tree.map(lambda leaf, i=i: leaf[i], params))
        np.testing.assert_allclose(q[i], forward(one, joined)[:, 0], rtol=1e-4, atol=1e-5)


def test_dropped_units_differ_between_critics_and_keep_the_mean():
    policy = policies.squashed(PENDULUM, NETWORK)
    wide = NetworkConfig(hidden_sizes=(512,), activation="relu")
    critics = action_critics.make(PENDULUM.action_space, policy, wide, 2, dropout=0.1)
    params = jax.tree.map(lambda x: jnp.stack([x[0], x[0]]), critics.init(jax.random.key(0)))
    x, action = jnp.ones((1, 3)), jnp.ones((1, 1))
    keys = jax.random.split(jax.random.key(1), 2000)
    dropped = jax.vmap(lambda key: critics.value(params, x, action, key))(keys)[..., 0]
    assert (dropped[:, 0] != dropped[:, 1]).all()
    whole = critics.value(params, x, action)[:, 0]
    np.testing.assert_allclose(dropped.mean(axis=0), whole, atol=5.0 * float(dropped.std()) / 2000**0.5)
    with pytest.raises(ValueError, match=r"dropout = 1\.0 must be at least 0 and below 1"):
        action_critics.make(PENDULUM.action_space, policy, wide, 2, dropout=1.0)


def test_the_entropy_is_that_of_actions_between_minus_one_and_one():
    """Whatever the bounds: the density of u = tanh(x) is N(x) / (1 - u^2); Pendulum's bounds are 2 wide."""
    policy = policies.squashed(PENDULUM, NETWORK)
    outputs = jnp.array([[0.3, -0.5]])
    pi = policy.distribution(outputs)
    raw = pi.sample(jax.random.key(0))
    x = np.float64(raw)[0, 0]
    density = np.exp(-0.5 * ((x - 0.3) / np.exp(-0.5)) ** 2) / (np.exp(-0.5) * np.sqrt(2 * np.pi))
    expected = np.log(density) - np.log(1.0 - np.tanh(x) ** 2)
    actual = float(pi.log_prob(raw)[0]) + off_policy.log_scale(PENDULUM.action_space)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_the_divergence_is_that_of_the_distributions_that_act():
    """Log standard deviations are clipped to -5 .. 2: KL(N(0, e^-5), N(0.01, e^2)), in closed form."""
    policy = policies.squashed(PENDULUM, NETWORK)
    outputs, other = jnp.array([[0.0, -9.0]]), jnp.array([[0.01, 3.0]])
    ratio = np.exp(2.0 * (-5.0 - 2.0))
    expected = 0.5 * (ratio + 0.01**2 / np.exp(4.0) - 1.0 - np.log(ratio))
    np.testing.assert_allclose(policy.kl(outputs, other), [expected], rtol=1e-5)
    np.testing.assert_allclose(policy.kl(outputs, outputs.at[0, 1].set(-7.0)), [0.0], atol=1e-6)


def test_random_actions_cover_the_bounds_uniformly_and_noise_stays_within_them():
    policy = policies.squashed(PENDULUM, NETWORK, stochastic=False)
    params = policy.init(jax.random.key(0))
    inputs = ((), jax.random.key(1), jnp.zeros((20_000, 3)), jnp.ones(20_000, bool), None)
    drawn = np.sort(np.asarray(policy.bound(off_policy._uniform(PENDULUM.action_space)(*inputs)[1]))[:, 0])
    np.testing.assert_allclose(drawn, np.linspace(-2.0, 2.0, 20_000), atol=0.05)
    exact = jnp.tanh(policy.distribution(policy.step(params, (), inputs[2], inputs[3])[1]).mode())
    noisy = jnp.tanh(off_policy.with_noise(policy, params, 0.2)(*inputs)[1])
    difference = np.asarray(noisy - exact)
    np.testing.assert_allclose([difference.mean(), difference.std()], [0.0, 0.2], atol=0.01)
    wild = jnp.tanh(off_policy.with_noise(policy, params, 9.0)(*inputs)[1])
    assert float(jnp.abs(wild).max()) <= 1.0 and float(jnp.abs(wild).mean()) > 0.9


@pytest.mark.parametrize(("scale", "sign"), [(100.0, -1.0), (-3.0, 1.0)])
def test_the_temperature_falls_above_the_target_of_the_entropy_and_rises_below(scale, sign):
    """The target is -scale for one number; two steps of Adam move log alpha by at most twice its rate."""
    algo, hp = small("sac", "Pendulum-v1"), small("sac", "Pendulum-v1").hparams.replace(entropy_scale=scale)
    state = jitted(algo.init)(jax.random.key(0), hp)
    new, metrics = jitted(algo.update)(state, hp)
    assert np.sign(float(metrics["policy/entropy"]) + scale) == -sign
    moved = float(new.log_temperature - state.log_temperature)
    rate = float(hp.temperature_learning_rate)
    np.testing.assert_allclose(moved, sign * 2.0 * rate, rtol=0.2)


@pytest.mark.parametrize("name", ["sac", "td3", "ddpg", "dsac_t", "mdpo", "xqc"])
def test_targets_move_by_tau(name):
    algo = small(name, small_env(name))
    hp = algo.hparams.replace(tau=1.0)
    state = jitted(algo.init)(jax.random.key(0), hp)
    new, _ = jitted(algo.update)(state, hp)
    assert same(new.target_params, new.critic_params)
    still, _ = jitted(algo.update)(state, hp.replace(tau=0.0))
    assert same(still.target_params, state.target_params)
    assert not same(still.critic_params, state.critic_params)


def same(a, b):
    return all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def test_the_loss_of_td3_is_that_of_the_definition():
    """0.5 sum_i E[(Q_i - R - discount min_j Q'_j(s', mu'(s')))^2], without noise on these actions."""
    sizes = {"num_envs": 2, "hidden_sizes": (4,), "batch_size": 8, "capacity": 64, "warmup_steps": 16}
    config = config_of(td3, **sizes, num_gradient_steps=1, policy_every=1)
    algo = td3.make(PENDULUM, config)
    hp = algo.hparams.replace(target_noise=0.0, tau=0.0)
    first = jax.jit(algo.init)(jax.random.key(3), hp)
    # Targets that differ from the critics.
    state = first.replace(target_params=jax.tree.map(lambda x: 0.5 * x + 0.1, first.target_params))
    new, metrics = jax.jit(algo.update)(state, hp)
    memory = replay.uniform(off_policy.observed(PENDULUM), PENDULUM.action_space, 2, 64)
    draw_key = jax.random.split(state.key, 4)[2]
    noise = memory.draw(draw_key, (1, 1, 8))[0, 0]
    batch = jax.tree.map(np.float64, memory.sample(new.replay, noise, hp.gamma))
    obs, following = batch.obs[0], batch.next_obs[0]
    torso, head = first.params["params"]["torso"]["Dense_0"], first.params["params"]["Dense_0"]
    action = np.tanh(forward([torso, head], following))

    def q(params, obs, action):
        ones = [layers_of(jax.tree.map(lambda leaf, i=i: leaf[i], params)) for i in range(2)]
        return np.stack([forward(one, np.concatenate([obs, action], axis=1))[:, 0] for one in ones])

    target = batch.reward + batch.discount * q(state.target_params, following, action).min(axis=0)
    error = q(first.critic_params, obs, np.tanh(batch.action)) - target
    np.testing.assert_allclose(metrics["loss/value"], 0.5 * (error**2).mean(axis=1).sum(), rtol=1e-4)


def test_the_loss_of_discrete_sac_is_that_of_the_definition():
    """The value of s' is sum_a pi(a) (min_j Q'_j(a) - alpha log pi(a)): Christodoulou 2019, equation 10."""
    env = envs.make("CartPole-v1")
    sizes = {"num_envs": 2, "hidden_sizes": (4,), "batch_size": 8, "capacity": 64, "warmup_steps": 16}
    algo = sac.make(env, config_of(sac, **sizes, num_gradient_steps=1))
    hp = algo.hparams.replace(temperature=0.7)
    first = jax.jit(algo.init)(jax.random.key(3), hp)
    state = first.replace(target_params=jax.tree.map(lambda x: 0.5 * x + 0.1, first.target_params))
    new, metrics = jax.jit(algo.update)(state, hp)
    memory = replay.uniform(off_policy.observed(env), env.action_space, 2, 64)
    noise = memory.draw(jax.random.split(state.key, 4)[2], (1, 8))[0]
    batch = jax.tree.map(np.asarray, memory.sample(new.replay, noise, hp.gamma))

    def q(params, obs):
        ones = [layers_of(jax.tree.map(lambda leaf, i=i: leaf[i], params)) for i in range(2)]
        return np.stack([forward(one, np.float64(obs)) for one in ones])

    torso, head = first.params["params"]["torso"]["Dense_0"], first.params["params"]["Dense_0"]
    logits = forward([torso, head], np.float64(batch.next_obs[0]))
    pi = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    value = (pi * (q(state.target_params, batch.next_obs[0]).min(axis=0) - 0.7 * np.log(pi))).sum(axis=1)
    chosen = q(first.critic_params, batch.obs[0])[:, np.arange(8), batch.action]
    error = chosen - (batch.reward + batch.discount * value)
    np.testing.assert_allclose(metrics["loss/value"], 0.5 * (error**2).mean(axis=1).sum(), rtol=1e-4)


def test_the_gradients_of_dsac_t_are_those_of_the_definition():
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(2, 6)), rng.uniform(0.2, 2.0, (2, 6))
    y, y_z = rng.normal(size=6), 4.0 * rng.normal(size=6)
    omega, b, eps = np.array([0.5, 2.0]), np.array([0.8, 3.0]), 0.1
    of_mean, of_std = action_critics.normal_gradients(*map(jnp.asarray, (mean, std, y, y_z, omega, b)), eps)
    for i in range(2):
        for j in range(6):
            clipped = max(mean[i, j] - b[i], min(mean[i, j] + b[i], y_z[j]))
            by_mean = (omega[i] + eps) * (y[j] - mean[i, j]) / (std[i, j] ** 2 + eps)
            by_std = (
                ((clipped - mean[i, j]) ** 2 - std[i, j] ** 2) / (std[i, j] ** 3 + eps) * (omega[i] + eps)
            )
            np.testing.assert_allclose([of_mean[i, j], of_std[i, j]], [by_mean, by_std], rtol=1e-4, atol=1e-6)


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="num_target_critics = 3 must be at most num_critics = 2"):
        sac.make(PENDULUM, sac.Config(num_target_critics=3))
    with pytest.raises(ValueError, match="a squashed policy needs one Box of actions, not Discrete"):
        td3.make(envs.make("CartPole-v1"))
    with pytest.raises(ValueError, match="num_gradient_steps = 3"):
        dsac_t.make(PENDULUM, dsac_t.Config(num_gradient_steps=3))


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"num_critics": 5, "num_target_critics": 2}, {"dropout": 0.1}])
def test_subsets_of_critics_and_dropout_learn(options):
    """REDQ and DroQ run through the same program: parameters change and stay finite."""
    algo = small("sac", "Pendulum-v1", **options)
    state = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    for _ in range(3):
        state, metrics = jitted(algo.update)(state, algo.hparams)
    assert all(bool(jnp.isfinite(value)) for value in metrics.values())
    assert jax.tree.leaves(state.critic_params)[0].shape[0] == options.get("num_critics", 2)


@pytest.mark.parametrize("name", slow_except(["sac", "td3"], "sac"))
def test_a_run_is_evaluated_and_exported(name, tmp_path):
    """The policy file is compared with `act` when it is written, and not written if they differ."""
    words = f"train {name} Pendulum-v1 --steps 64 --seeds 2 --intervals 2 --eval-episodes 0".split()
    words += ["--warmup-steps", "16", "--batch-size", "4", "--capacity", "64", "--hidden-sizes", "4"]
    status, output = run_command(*words, "--out", tmp_path / "run")
    assert status == 0, output
    policy = jaxrl.load(tmp_path / "run")
    action = policy(np.array([1.0, 0.0, 0.5], np.float32))
    assert action.shape == (1,) and abs(float(action[0])) <= 2.0
    status, output = run_command("export", tmp_path / "run", "--format", "c", "--out", tmp_path / "policy.c")
    assert status == 0 and "tanh" in (tmp_path / "policy.c").read_text(), output


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac", "td3", "ddpg", "dsac_t", "mdpo"])
def test_a_population_does_not_copy_its_replays(name):
    """Its program needs less temporary memory than a tenth of them."""
    algo = train.population(small(name, "Pendulum-v1", capacity=100_000))
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    state = jax.eval_shape(algo.init, keys, algo.hparams)
    zeros = train.no_totals(algo.update, state, algo.hparams)
    hp = jax.tree.map(jnp.float32, algo.hparams)
    program = train.program(algo.update).lower(state, zeros, hp, jnp.int32(3)).compile()
    size = replay.keeping.num_bytes(state)
    assert size > 4 * 100_000 * 16
    assert program.memory_analysis().temp_size_in_bytes < size / 10
