"""XQC and CrossQ: one gradient step against the papers, in NumPy, and what runs are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, jitted, run_command, small

import jaxrl
from jaxrl import envs, off_policy, replay, train
from jaxrl.algos import xqc
from jaxrl.experiments import presets, spec_options

PENDULUM = envs.make("Pendulum-v1")
CROSSQ = presets.CROSSQ.config
SIZES = {"num_envs": 2, "hidden_sizes": (4,), "critic_hidden_sizes": (6,), "batch_size": 8, "capacity": 64}
SIZES |= {"warmup_steps": 16, "num_gradient_steps": 1, "policy_every": 1}
EPS = 1e-3


def normalized(norm, x, seen=None):
    mean, var = (x.mean(axis=0), x.var(axis=0)) if seen is None else (seen["mean"], seen["var"])
    return (x - mean) / np.sqrt(var + EPS) * norm["scale"] + norm.get("bias", 0.0)


def network(params, x, before_activation, stats=None):
    """A network with one hidden layer, by the statistics of the batch without `stats`."""
    seen = stats or {"Norm_0": None, "Norm_1": None}
    x = normalized(params["Norm_0"], x, seen["Norm_0"]) @ params["Dense_0"]["kernel"]
    if before_activation:
        x = np.maximum(normalized(params["Norm_1"], x, seen["Norm_1"]), 0.0)
    else:
        x = normalized(params["Norm_1"], np.maximum(x + params["Dense_0"]["bias"], 0.0), seen["Norm_1"])
    return x @ params["head"]["kernel"] + params["head"]["bias"]


def doubled(tree, i=None):
    return jax.tree.map(lambda leaf: np.float64(leaf if i is None else leaf[i]), tree)


def drawn(algo, hp, state, new):
    """The batch of the gradient step, in float64, and the key of the next actions."""
    memory = replay.uniform(off_policy.observed(PENDULUM), PENDULUM.action_space, 2, 64)
    _, _, draw_key, step_key = jax.random.split(state.key, 4)
    noise = memory.draw(draw_key, (1, 1, 8))[0, 0]
    batch = jax.tree.map(np.float64, memory.sample(new.replay, noise, hp.gamma))
    return batch, jax.random.split(step_key, (1, 2))[0, 1]


def sampled(state, obs, key, before_activation):
    """Actions between -1 and 1 by running averages, and their log-density, by its definition."""
    outputs = network(doubled(state.actor_params), obs, before_activation, doubled(state.actor_stats))
    mean, std = outputs[:, 0], np.exp(np.clip(outputs[:, 1], -5.0, 2.0))
    noise = np.float64(jax.random.normal(key, (8, 1)))[:, 0]
    action = np.tanh(mean + std * noise)
    log_density = -0.5 * noise**2 - np.log(std) - 0.5 * np.log(2.0 * np.pi) - np.log(1.0 - action**2)
    return action[:, None], log_density


def start(**options):
    """An algorithm with one gradient step, its first state and the one after an update."""
    algo = xqc.make(PENDULUM, config_of(xqc, **{**options, **SIZES}))
    hp = algo.hparams.replace(temperature=0.7, gamma=0.9)
    state = jax.jit(algo.init)(jax.random.key(3), hp)
    if state.target_params:
        state = state.replace(target_params=jax.tree.map(lambda x: 0.5 * x + 0.1, state.target_params))
    return algo, hp, state, *jax.jit(algo.update)(state, hp)


def test_the_loss_of_xqc_is_that_of_the_definition():
    """Palenicek et al. 2025: cross-entropy with the projection of r / v + discount (Z'_j - alpha log pi)."""
    algo, hp, state, new, metrics = start(num_atoms=11)
    batch, key = drawn(algo, hp, state, new)
    action, log_pi = sampled(state, batch.next_obs[0], key, True)
    joint = np.concatenate(
        [
            np.concatenate([batch.obs[0], np.tanh(batch.action)], axis=1),
            np.concatenate([batch.next_obs[0], action], axis=1),
        ]
    )
    points = np.linspace(-5.0, 5.0, 11)

    def probabilities(params, i):
        logits = network(doubled(params, i), joint, True)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    now = [probabilities(state.critic_params, i)[:8] for i in range(2)]
    following = [probabilities(state.target_params, i)[8:] for i in range(2)]
    scale = np.sqrt(float(new.reward_stats.returns.var) + 1e-8)
    loss = 0.0
    for b in range(8):
        lowest = min(range(2), key=lambda i: following[i][b] @ points)
        m = np.zeros(11)  # Bellemare et al. 2017, algorithm 1
        for z, p in zip(points, following[lowest][b]):
            target = batch.reward[b] / scale + batch.discount[b] * (z - 0.7 * log_pi[b])
            place = (np.clip(target, -5.0, 5.0) + 5.0) / 1.0
            below = min(int(place), 9)
            m[below] += p * (below + 1 - place)
            m[below + 1] += p * (place - below)
        loss -= sum(m @ np.log(now[i][b]) for i in range(2)) / 8
    np.testing.assert_allclose(metrics["loss/value"], loss, rtol=1e-4)
    for params in (new.critic_params, new.actor_params):
        for name in ("Dense_0", "head"):
            squares = np.square(np.float64(params[name]["kernel"])).sum(axis=-2)
            np.testing.assert_allclose(squares, 1.0, rtol=1e-5)


def test_the_loss_of_crossq_is_that_of_the_definition():
    """Bhatt et al. 2024: sum_i E[(Q_i - r - discount (min_j Q_j - alpha log pi))^2] / 2, Q from one pass."""
    algo, hp, state, new, metrics = start(**CROSSQ)
    assert state.target_params == state.reward_stats == ()
    batch, key = drawn(algo, hp, state, new)
    action, log_pi = sampled(state, batch.next_obs[0], key, False)
    joint = np.concatenate(
        [
            np.concatenate([batch.obs[0], np.tanh(batch.action)], axis=1),
            np.concatenate([batch.next_obs[0], action], axis=1),
        ]
    )
    q = np.stack([network(doubled(state.critic_params, i), joint, False)[:, 0] for i in range(2)])
    target = batch.reward + batch.discount * (q[:, 8:].min(axis=0) - 0.7 * log_pi)
    error = q[:, :8] - target
    np.testing.assert_allclose(metrics["loss/value"], 0.5 * np.square(error).mean(axis=1).sum(), rtol=1e-4)
    for i in range(2):  # the averages are of both halves of the batch
        average = np.float64(new.critic_stats["Norm_0"]["mean"])[i]
        np.testing.assert_allclose(average, 0.01 * joint.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_the_policy_learns_from_critics_by_running_averages():
    """Its loss is E[alpha log pi - min_i Q_i(s, a)], with critics after their step, by their averages."""
    algo, hp, state, new, metrics = start(**CROSSQ)
    batch, _ = drawn(algo, hp, state, new)
    key = jax.random.split(jax.random.split(state.key, 4)[3], (1, 2))[0, 0]
    outputs = network(doubled(state.actor_params), batch.obs[0], False)
    mean, std = outputs[:, 0], np.exp(np.clip(outputs[:, 1], -5.0, 2.0))
    noise = np.float64(jax.random.normal(key, (8, 1)))[:, 0]
    action = np.tanh(mean + std * noise)
    log_pi = -0.5 * noise**2 - np.log(std) - 0.5 * np.log(2.0 * np.pi) - np.log(1.0 - action**2)
    x = np.concatenate([batch.obs[0], action[:, None]], axis=1)
    stats = [doubled(new.critic_stats, i) for i in range(2)]
    q = [network(doubled(new.critic_params, i), x, False, stats[i])[:, 0] for i in range(2)]
    np.testing.assert_allclose(metrics["loss/policy"], (0.7 * log_pi - np.min(q, axis=0)).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["policy/entropy"], -log_pi.mean(), rtol=1e-4)


def test_rewards_are_divided_by_the_deviation_of_discounted_returns_since_the_start():
    """The warm-up included: G_t = gamma G_{t-1} + r_t, from 0 after the end of an episode."""
    _, hp, state, new, _ = start()
    steps = replay.uniform(off_policy.observed(PENDULUM), PENDULUM.action_space, 2, 64, num_steps=1)
    sums, seen = np.zeros(2), []
    for t in range(9):  # 8 steps of the warm-up and one of the update, in 2 environments; none of them an end
        rows = jnp.arange(2, dtype=jnp.int32) + 2 * t
        reward = np.float64(steps_of(steps, new.replay, rows, hp))
        sums = hp.gamma * sums + reward
        seen.extend(sums)
        if t == 7:
            np.testing.assert_allclose(state.reward_stats.returns.var, np.var(seen), rtol=1e-4)
    np.testing.assert_allclose(new.reward_stats.returns.var, np.var(seen), rtol=1e-4)
    np.testing.assert_allclose(new.reward_stats.discounted, sums, rtol=1e-4)


def steps_of(memory, rows, chosen, hp):
    """The rewards of rows of a replay, which is drawn by numbers below the rows that it holds."""
    return memory.sample(rows, chosen.astype(jnp.uint32), hp.gamma).reward


@pytest.mark.parametrize("option", ["target_networks", "weight_norm", "norm_before_activation"])
def test_each_switch_alone_runs(option):
    algo = small("xqc", **{option: False})
    state = jitted(algo.init)(jax.random.key(0), algo.hparams)
    for _ in range(2):
        state, metrics = jitted(algo.update)(state, algo.hparams)
    assert all(bool(jnp.isfinite(value)) for value in metrics.values())


def test_renormalization_begins_after_as_many_gradient_steps():
    """Until then a program with it computes the same as one without it."""
    after = {steps: small("xqc", renorm_after=steps) for steps in (0, 4, 5)}
    states = {}
    for steps, algo in after.items():
        state = jitted(algo.init)(jax.random.key(0), algo.hparams)
        for _ in range(2):  # 4 gradient steps of the critics each
            state, metrics = jitted(algo.update)(state, algo.hparams)
            states.setdefault(steps, []).append(metrics["loss/value"])
    np.testing.assert_allclose(states[4][0], states[0][0], rtol=1e-4)
    np.testing.assert_allclose(states[5][0], states[0][0], rtol=1e-4)
    assert not np.isclose(states[4][1], states[0][1], rtol=1e-4)


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="num_gradient_steps = 4 is not divisible by policy_every = 3"):
        xqc.make(PENDULUM, xqc.Config(num_gradient_steps=4))
    with pytest.raises(ValueError, match="a squashed policy needs one Box of actions, not Discrete"):
        xqc.make(envs.make("CartPole-v1"))
    with pytest.raises(ValueError, match="renorm_after = -1 must be at least 0"):
        xqc.make(PENDULUM, xqc.Config(renorm_after=-1))
    with pytest.raises(ValueError, match="unknown head 'huber'"):
        xqc.make(PENDULUM, config_of(xqc, head="huber"))


def test_crossq_is_a_preset_of_xqc(capsys):
    argv = ["xqc", "Pendulum-v1", "--preset-of", "crossq"]
    spec, chosen, _ = spec_options.parse_spec("train", spec_options.train_options, argv)
    assert spec.config.head == "squared" and spec.config.renorm_after == 100_000
    assert not (spec.config.weight_norm or spec.config.target_networks or spec.config.normalize_reward)
    assert spec.hparams.adam_b1 == 0.5 and spec.steps == 30_000
    spec_options.print_note(spec, chosen)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("variant", ["", "--preset-of crossq"])
def test_a_run_is_evaluated_exported_and_resumed(variant, tmp_path):
    """The policy file is compared with `act` when it is written, and not written if they differ."""
    words = f"train xqc Pendulum-v1 {variant} --steps 64 --seeds 2 --intervals 2 --eval-episodes 0".split()
    words += ["--warmup-steps", "16", "--batch-size", "4", "--capacity", "64", "--hidden-sizes", "4"]
    words += ["--config.critic-hidden-sizes", "4"]
    status, output = run_command(*words, "--out", tmp_path / "run")
    assert status == 0, output
    action = jaxrl.load(tmp_path / "run")(np.array([1.0, 0.0, 0.5], np.float32))
    assert action.shape == (1,) and abs(float(action[0])) <= 2.0
    for argv in (
        ("export", tmp_path / "run", "--format", "c", "--out", tmp_path / "policy.c"),
        ("evaluate", tmp_path / "run", "--episodes", "2"),
        ("resume", tmp_path / "run", "--steps", "96"),
    ):
        status, output = run_command(*argv)
        assert status == 0, output


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, CROSSQ], ids=["xqc", "crossq"])
def test_a_population_does_not_copy_its_replays(options):
    """Its program needs less temporary memory than a tenth of them."""
    algo = train.population(small("xqc", **{"capacity": 100_000, **options}))
    keys = jax.vmap(jax.random.key)(jnp.arange(4))
    state = jax.eval_shape(algo.init, keys, algo.hparams)
    zeros = train.no_totals(algo.update, state, algo.hparams)
    hp = jax.tree.map(jnp.float32, algo.hparams)
    program = train.program(algo.update).lower(state, zeros, hp, jnp.int32(3)).compile()
    assert program.memory_analysis().temp_size_in_bytes < replay.keeping.num_bytes(state) / 10
