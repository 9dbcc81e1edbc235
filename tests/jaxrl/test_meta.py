"""Meta-learning: derivatives against differences, parts against definitions, and a learning test."""

import json
import shutil
from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import jitted, run_command
from reference import returns as slow
from test_contract import avals, bits

from jaxrl import checkpoint, envs, logger, meta, train
from jaxrl.algos import ppo
from jaxrl.envs.check import check_env
from jaxrl.meta.outer import advantages_of
from jaxrl.objectives import lpo, random_drift
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import Box

NUMBERS = ("learning_rate", "gamma", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")
TINY = ppo.Config(
    num_envs=2, num_steps=8, num_epochs=2, num_minibatches=2, network=NetworkConfig(hidden_sizes=(4,))
)
UPDATES = 3


def exactly(tree):
    """Every float as float64."""
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x,
        jax.tree.map(jnp.asarray, tree),
    )


# --- derivatives ---------------------------------------------------------------------------------


@cache
def tiny():
    """An agent of float64 that learns by a learned objective, its rule and the key of its fresh data."""
    drift = random_drift(jax.random.key(3), width=3, scale=0.5)
    algo = ppo.make(envs.make("world/chain", max_steps=5), TINY, lpo(drift))
    start = algo.hparams.replace(learning_rate=0.02, ent_coef=0.05, total_updates=8.0, max_grad_norm=0.3)
    rule = meta.hyperparameters(start, (*NUMBERS, "objective"))
    hp = exactly(meta.Hparams(agent=start, ent_coef=0.01))
    init_key, key = jax.random.split(jax.random.key(1))
    agent = jax.jit(algo.init)(init_key, hp.agent)
    agent = agent.replace(params=exactly(agent.params), opt_state=exactly(agent.opt_state))
    return algo, rule, hp, agent, exactly(rule.init(key, hp.agent)), key


@pytest.fixture(scope="module")
def pipeline():
    """Three updates by a learned objective, fresh data and the outer loss, all in float64.

    Actions are sampled, so a sufficient change of a parameter changes an action: a jump, which is not part of
    the derivative. The differences are so small (1e-6) that no action changes; this is checked. The outer
    advantages are those at the unchanged parameters, because the surrogate treats them as constants. So the
    differences are those of the function that is differentiated.
    """
    with jax.enable_x64(True):
        algo, rule, hp, agent, theta, key = tiny()
        outer = meta.surrogate(algo, rule, UPDATES)

        def played(theta):
            then = meta.train_agent(algo, rule, theta, agent, hp.agent, UPDATES)[0]
            return then, *algo.collect(then, key)

        @jax.jit
        def value(theta, advantages):
            now, then, batch = played(theta)
            loss = meta.policy_loss(algo, now, batch, advantages, hp.ent_coef)
            agent_advantages = advantages_of(algo, now, then, batch, hp.gamma, hp.gae_lambda)
            return loss, (batch.obs, batch.action, then.stream.timestep.reward), agent_advantages

        *_, advantages = value(theta, jnp.zeros((TINY.num_steps, TINY.num_envs)))
        gradient = jax.jit(jax.grad(lambda theta: outer.loss(theta, agent, hp, key)[0]))
        yield theta, advantages, value, gradient(theta)


def slope(pipeline, direction, step=1e-6):
    """The central difference of the outer loss along a direction."""
    theta, advantages, value, _ = pipeline
    sides = [
        value(jax.tree.map(lambda x, d, s=s: x + s * d, theta, direction), advantages) for s in (step, -step)
    ]
    middle = value(theta, advantages)[1]
    for _, data, _ in sides:
        assert all((a == b).all() for a, b in zip(data, middle)), "another action was drawn: take another key"
    return float(sides[0][0] - sides[1][0]) / (2 * step)


def unit(theta, name):
    nothing = jax.tree.map(jnp.zeros_like, theta)
    return nothing | {name: jax.tree.map(jnp.ones_like, theta[name])}


@pytest.mark.parametrize("name", NUMBERS)
def test_meta_gradients_of_hyperparameters_are_differences(pipeline, name):
    with jax.enable_x64(True):
        result = float(pipeline[-1][name])
        assert abs(result) > 1e-7
        np.testing.assert_allclose(
            result, slope(pipeline, unit(pipeline[0], name)), rtol=1e-4
        )  # observed: 2e-7


def test_meta_gradients_of_a_learned_objective_are_differences(pipeline):
    """Along random directions of all weights, and weight by weight."""
    with jax.enable_x64(True):
        theta, _, _, gradient = pipeline
        nothing = jax.tree.map(jnp.zeros_like, theta)
        weights, unravel = jax.flatten_util.ravel_pytree(theta["objective"])
        result = jax.flatten_util.ravel_pytree(gradient["objective"])[0]
        assert result.dtype == jnp.float64 and weights.size == 27
        directions = [*jax.random.normal(jax.random.key(7), (4, weights.size)), *np.eye(weights.size)]
        scale = float(jnp.abs(result).max())
        assert scale > 1e-6
        for direction in directions:
            difference = slope(pipeline, nothing | {"objective": unravel(jnp.asarray(direction))})
            np.testing.assert_allclose(result @ direction, difference, rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.slow
def test_bootstrapped_meta_gradients_are_differences(pipeline_of_target):
    """With the teacher and the states held fixed, which is what is differentiated."""
    with jax.enable_x64(True):
        theta, distance, gradient = pipeline_of_target
        for name in ("learning_rate", "ent_coef", "objective"):
            direction = unit(theta, name)
            sides = [
                distance(jax.tree.map(lambda x, d, s=s: x + s * d, theta, direction)) for s in (1e-6, -1e-6)
            ]
            result = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction))))
            assert abs(result) > 1e-7
            np.testing.assert_allclose(result, (sides[0] - sides[1]) / 2e-6, rtol=1e-3)


@pytest.fixture(scope="module")
def pipeline_of_target():
    with jax.enable_x64(True):
        algo, rule, hp, agent, theta, key = tiny()
        outer = meta.bootstrap(algo, rule, envs.make("world/chain").action_space, 2, 2)

        def after(state, num_updates, ent_coef=None):
            hp_t = rule.hparams(theta, state, hp.agent)
            hp_t = hp_t if ent_coef is None else hp_t.replace(ent_coef=ent_coef)
            for _ in range(num_updates):
                state, _ = update(state, hp_t)
            return state

        update = jax.jit(algo.update)
        later, batch = algo.collect(after(agent, 3), key)  # K + L - 1 updates
        teacher = after(later, 1, 0.0)

        @jax.jit
        def distance(theta):
            pupil, _ = meta.train_agent(algo, rule, theta, agent, hp.agent, 2)
            return meta.divergence(algo, teacher, pupil, batch, 2).mean()

        loss = jax.jit(jax.value_and_grad(lambda theta: outer.loss(theta, agent, hp, key), has_aux=True))
        (value, (left, _)), gradient = loss(theta)
        np.testing.assert_allclose(value, distance(theta), rtol=1e-9)
        for a, b in zip(jax.tree.leaves(left.params), jax.tree.leaves(later.params)):
            np.testing.assert_allclose(a, b, atol=1e-12)  # the agent continues from K + L - 1
        yield theta, distance, gradient


# --- parts -----------------------------------------------------------------------------------------


@cache
def small(memory_size=0, name="world/chain"):
    config = ppo.Config(
        num_envs=4,
        num_steps=8,
        num_minibatches=2,
        network=NetworkConfig(hidden_sizes=(8,), memory_size=memory_size),
    )
    return ppo.make(envs.make(name, max_steps=5), config)


@pytest.mark.parametrize("memory_size", [0, 4])
def test_the_outer_loss_matches_its_definition(memory_size):
    algo = small(memory_size)
    agent = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    then, batch = jax.jit(algo.collect)(agent, jax.random.key(1))
    output = algo.evaluate_actions(agent, batch)
    result = advantages_of(algo, agent, then, batch, 0.9, 0.8)
    # One more step of the environment: the value of the next observation, unless the episode has ended.
    later = algo.evaluate_actions(agent, algo.collect(then, jax.random.key(2))[1]).value[0]
    value = np.asarray(output.value, np.float64)
    next_value = np.concatenate([value[1:], np.asarray(later)[None]])
    ended = np.asarray(batch.done)
    assert ended.any() and not ended.all()
    expected = slow.gae(np.asarray(batch.reward), value, next_value, ended, 0 * ended, 0.9, 0.8)
    # At a time limit, the definition above has no next value: exclude the steps before it as well.
    whole = np.cumsum(ended[::-1], axis=0)[::-1] == 0
    assert whole.any()
    np.testing.assert_allclose(np.asarray(result)[whole], expected[whole], rtol=1e-4, atol=1e-5)
    loss = meta.policy_loss(algo, agent, batch, result, 0.1)
    expected = -np.mean(np.asarray(output.log_prob) * np.asarray(result)) - 0.1 * np.mean(output.entropy)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.slow
def test_sums_and_counts_of_a_bootstrapped_update_are_of_all_its_updates():
    """Of K = 1 update and the L - 1 = 3 after it; means are weighted, totals are added."""
    algo = small()
    rule = meta.hyperparameters(algo.hparams, ("learning_rate",))
    outer = meta.bootstrap(algo, rule, envs.make("world/chain").action_space, 1, 4)
    hp = meta.Hparams(agent=algo.hparams)
    agent = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    theta = rule.init(jax.random.key(1), algo.hparams)
    _, (_, metrics) = jax.jit(outer.loss)(theta, agent, hp, jax.random.key(2))
    live = jax.jit(partial(meta.train_agent, algo, rule), static_argnums=3)
    then, first = live(theta, agent, hp.agent, 1)
    _, more = live(theta, then, hp.agent, 3)
    for name in ("episode/count", "episode/return_sum", "episode/length_sum"):
        np.testing.assert_allclose(metrics[name], first[name] + more[name], rtol=1e-5)
    np.testing.assert_allclose(
        metrics["loss/value"], (first["loss/value"] + 3 * more["loss/value"]) / 4, rtol=1e-4
    )


def test_the_divergence_is_a_sum_over_actions():
    algo = small()
    states = [jax.jit(algo.init)(jax.random.key(seed), algo.hparams) for seed in (0, 1)]
    _, batch = algo.collect(states[0], jax.random.key(2))
    log_p, log_q = (
        np.stack(
            [algo.evaluate_actions(s, batch.replace(action=0 * batch.action + a)).log_prob for a in range(2)],
            -1,
        )
        for s in states
    )
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1.0, rtol=1e-5)
    expected = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    result = meta.divergence(algo, *states, batch, 2)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert (result > 0.0).all()
    np.testing.assert_allclose(meta.divergence(algo, states[0], states[0], batch, 2), 0.0, atol=1e-7)


def test_no_gradient_passes_through_an_action():
    """A Gaussian sample is the mean plus noise; as data, it must not depend on the mean."""
    algo = small(name="probe/action-continuous")
    agent = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    _, held = algo.collect(agent, jax.random.key(1))

    def log_prob(params, batch=None):
        changed = agent.replace(params=params)
        return algo.evaluate_actions(
            changed, algo.collect(changed, jax.random.key(1))[1] if batch is None else batch
        ).log_prob.sum()

    fresh, fixed = jax.grad(log_prob)(agent.params), jax.grad(log_prob)(agent.params, held)
    for a, b in zip(jax.tree.leaves(fresh), jax.tree.leaves(fixed)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(fixed)) > 0.1


def test_an_unroll_matches_as_many_updates():
    algo = small()
    rule = meta.hyperparameters(algo.hparams, ("learning_rate",))
    agent = jax.jit(algo.init)(jax.random.key(0), algo.hparams)
    theta = rule.init(jax.random.key(1), algo.hparams)
    then, metrics = jax.jit(lambda theta: meta.train_agent(algo, rule, theta, agent, algo.hparams, 3))(theta)
    state, seen = agent, []
    for _ in range(3):
        state, one = jax.jit(algo.update)(state, algo.hparams)
        seen.append(one)
    for a, b in zip(jax.tree.leaves(then.params), jax.tree.leaves(state.params)):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert int(then.num_updates) == 3
    np.testing.assert_allclose(metrics["episode/count"], sum(m["episode/count"] for m in seen))
    np.testing.assert_allclose(metrics["loss/value"], np.mean([m["loss/value"] for m in seen]), rtol=1e-4)


def test_hyperparameters_survive_the_unconstrained_transform():
    start = lpo().params
    hp = small().hparams.replace(ent_coef=0.03, gamma=0.97)
    names = ("learning_rate", "gamma", "ent_coef", "objective.clip_eps")
    rule = meta.hyperparameters(hp, names)
    theta = rule.init(jax.random.key(0), hp)
    np.testing.assert_allclose(theta["gamma"], np.log(0.97 / 0.03), rtol=1e-5)
    np.testing.assert_allclose(theta["ent_coef"], np.log(0.03), rtol=1e-5)
    back = meta.by_name(rule.hparams(theta, None, hp))
    for name, value in meta.by_name(hp).items():
        if name != "objective":
            np.testing.assert_allclose(back[name], value, rtol=1e-4)
    far = rule.hparams({name: jnp.float32(x) for name, x in zip(names, (-3.0, 5.0, 2.0, -9.0))}, None, hp)
    assert 0.0 < far.gamma < 1.0 and far.learning_rate > 0.0 and far.objective.clip_eps > 0.0
    weights = meta.hyperparameters(hp.replace(objective=start), ("objective",))
    free = weights.init(jax.random.key(0), hp.replace(objective=start))
    np.testing.assert_array_equal(free["objective"].hidden, start.hidden)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda hp: meta.hyperparameters(hp, ("gama",)), "unknown hyperparameter 'gama'; the nearest: gamma"),
        (lambda hp: meta.hyperparameters(hp, ()), "names of hyperparameters are missing"),
        (
            lambda hp: meta.hyperparameters(hp.replace(gamma=1.0), ("gamma",)),
            "between 0 and 1, ends excluded",
        ),
        (lambda hp: meta.hyperparameters(hp.replace(ent_coef=0.0), ("ent_coef",)), "to start above 0"),
        (lambda hp: meta.entropy_net(2, start=1.5), "start = 1.5 must lie between 0 and 1"),
        (lambda hp: meta.surrogate(small(), None, 0), "unroll = 0 must be at least 1"),
        (lambda hp: meta.bootstrap(small(), None, Box(0, 1, (2,))), "needs a Discrete action space"),
        (lambda hp: meta.surrogate(small()._replace(collect=None), None), "needs `collect` and `evaluate"),
        (lambda hp: meta.make(small(), None, OUTER, meta.Config(8, 10)), "lifetime = 10 must be a multiple"),
        (lambda hp: meta.make(small(), None, OUTER, meta.Config(0)), "num_agents"),
    ],
)
def test_invalid_arguments_are_rejected(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(small().hparams)
    assert "\n" not in str(caught.value)


def test_recent_reward_is_a_moving_average_over_episodes():
    env = meta.recent_reward(envs.make("world/chain", max_steps=3), windows=(2, 10))
    check_env(env)
    state, timestep = jax.jit(env.reset)(jax.random.key(0))
    expected, seen = np.zeros(2), 0.0
    for key in jax.random.split(jax.random.key(1), 20):
        state, timestep = jax.jit(env.step)(key, state, jnp.int32(0))
        expected += (float(timestep.reward) - expected) / np.array([2.0, 10.0])
        seen += abs(float(timestep.reward))
        np.testing.assert_allclose(timestep.info["recent_reward"], expected, rtol=1e-5, atol=1e-7)
    assert seen > 0.0


def test_the_entropy_net_starts_at_start_and_depends_on_reward():
    rule = meta.entropy_net(2, start=0.2, width=3, scale=4.0)
    algo = small()
    theta = rule.init(jax.random.key(0), algo.hparams)

    def coefficient(theta, rewards):
        info = {"recent_reward": jnp.asarray(rewards)}
        agent = SimpleNamespace(stream=SimpleNamespace(timestep=SimpleNamespace(info=info)))
        return float(rule.hparams(theta, agent, algo.hparams).ent_coef)

    for reward in (-0.1, 0.3):
        np.testing.assert_allclose(coefficient(theta, [[reward, 0.0]]), 0.2, rtol=1e-5)
    theta["out"] = jnp.array([1.0, -2.0, 0.5])
    rewards = np.array([[0.1, -0.2], [0.3, 0.1]])
    x = 4.0 * rewards.mean(axis=0)
    features = np.maximum(x @ np.asarray(theta["hidden"]), 0.0)
    expected = 1.0 / (1.0 + np.exp(-(features @ theta["out"] + theta["last"])))
    np.testing.assert_allclose(coefficient(theta, rewards), expected, rtol=1e-5)
    assert coefficient(theta, rewards) != coefficient(theta, 0.0 * rewards)


# --- the learner -------------------------------------------------------------------------------------


OUTER = meta.Outer(None, num_updates=4, num_rollouts=5)


@cache
def learner(kind="surrogate"):
    """A small meta-learner; lifetimes of two meta-updates."""
    algo = small()
    rule = meta.hyperparameters(algo.hparams, ("learning_rate", "ent_coef"))
    space = envs.make("world/chain").action_space
    outer = meta.surrogate(algo, rule, 2) if kind == "surrogate" else meta.bootstrap(algo, rule, space, 1, 2)
    return meta.make(algo, rule, outer, meta.Config(num_agents=2, lifetime=4))


@pytest.mark.parametrize("kind", ["surrogate", pytest.param("bootstrap", marks=pytest.mark.slow)])
def test_a_meta_learner_is_an_algorithm(kind, tmp_path):
    """Its state is a fixed point; 3 updates, save, restore and 2 more give the bits of 5."""
    algo = learner(kind)
    hp = jax.tree.map(jnp.float32, algo.hparams)
    begin = jax.jit(algo.init)
    state = begin(jax.random.key(0), hp)
    zeros = train.no_totals(algo.update, state, hp)
    advance = train.program(algo.update)
    whole, totals = advance(begin(jax.random.key(0), hp), zeros, hp, 5)
    assert avals(state) == avals(whole) and not any(weak for _, _, weak in avals(whole))
    half, _ = advance(begin(jax.random.key(0), hp), zeros, hp, 3)
    checkpoint.save(tmp_path, 3, half)
    restored, _ = checkpoint.restore(tmp_path, jax.eval_shape(begin, jax.random.key(0), hp))
    assert bits(advance(restored, zeros, hp, 2)[0]) == bits(whole)
    other, _ = advance(begin(jax.random.key(1), hp), zeros, hp, 5)
    assert bits(other.theta) != bits(whole.theta)
    assert all(bool(jnp.isfinite(x)) for x in totals.values()) and float(totals["meta/dead/count"]) == 0.0
    rollouts = 3  # two updates and a look, or two and the one to match
    assert algo.steps_per_update == rollouts * 2 * small().steps_per_update
    # Lifetimes of 4 updates: one agent started in the middle, so they are reinitialized in turn.
    assert state.age.tolist() == [0, 2] and whole.age.tolist() == [2, 0]
    assert whole.agents.num_updates.tolist() == whole.age.tolist()
    first = algo.act(whole, (), jax.random.key(0), jnp.eye(5), jnp.zeros(5, bool))[1]
    assert first.shape == (5,)


@pytest.mark.slow
def test_meta_learners_side_by_side_are_those_alone():
    algo = learner()
    hp = jax.tree.map(jnp.float32, algo.hparams)
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    begin = jax.jit(algo.init)
    starts = [begin(key, hp) for key in keys]
    together = jax.jit(jax.vmap(algo.update, (0, None)))
    states = jax.tree.map(lambda *x: jnp.stack(x), *starts)
    alone = starts[1]
    for _ in range(3):
        states, _ = together(states, hp)
        alone, _ = jitted(algo.update)(alone, hp)
    for a, b in zip(jax.tree.leaves(states.theta), jax.tree.leaves(alone.theta)):
        np.testing.assert_allclose(a[1], b, rtol=1e-4)


def test_a_diverged_agent_does_not_contribute():
    algo = learner()
    hp = jax.tree.map(jnp.float32, algo.hparams)
    state = jax.jit(algo.init)(jax.random.key(0), hp)
    zeros = train.no_totals(algo.update, state, hp)
    nan_params = jax.tree.map(lambda x: x.at[0].set(jnp.nan), state.agents.params)
    state = state.replace(agents=state.agents.replace(params=nan_params))
    then, metrics = train.program(algo.update)(state, zeros, hp, 1)
    assert float(metrics["meta/dead/count"]) == 1.0
    assert all(bool(jnp.isfinite(x)) for x in jax.tree.leaves(then.theta))
    assert float(metrics["meta/grad_norm"]) > 0.0


@pytest.mark.slow
def test_a_meta_learned_learning_rate_grows_and_improves_agents():
    """With 1e-4 nothing is learned in a lifetime of 8 updates. After 40 meta-updates agents solve it."""
    config = ppo.Config(
        num_envs=8, num_steps=8, num_epochs=2, num_minibatches=2, network=NetworkConfig(hidden_sizes=(8,))
    )
    algo = ppo.make(envs.make("probe/action-from-obs"), config)
    start = algo.hparams.replace(learning_rate=1e-4, lr_decay=0.0, total_updates=8.0)
    rule = meta.hyperparameters(start, ("learning_rate",))
    algo_over = meta.make(algo, rule, meta.surrogate(algo, rule, 2), meta.Config(num_agents=4, lifetime=8))
    hp = algo_over.hparams.replace(agent=start, learning_rate=0.2)
    state, _ = jax.jit(partial(train.run, algo_over, num_updates=40))(jax.random.key(0), hp)
    learned = rule.hparams(state.theta, None, start)
    assert float(learned.learning_rate) > 2e-3

    def last(hp, key):
        _, metrics = train.run(algo, key, hp, 8)
        return metrics["episode/return_sum"][-2:].sum() / metrics["episode/count"][-2:].sum()

    keys = jax.vmap(jax.random.key)(100 + jnp.arange(8))
    judge = jax.jit(jax.vmap(last, (None, 0)))
    before, after = (judge(jax.tree.map(jnp.float32, params), keys) for params in (start, learned))
    assert float(before.mean()) < 0.2 < 0.5 < float(after.mean())


# --- the experiments ---------------------------------------------------------------------------------


TUNE = "meta tune --env probe/action --names learning_rate --updates 4 --seeds 2 --fresh 2 --lifetime 4"
TUNE += " --unroll 2 --rates 1e-2 --save-every-seconds 0"


def test_a_killed_experiment_resumes_to_the_same_result(tmp_path):
    """As after a kill between the last row and its checkpoint: the folder without the end."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    status, output = run_command(*TUNE.split(), "--out", whole)
    assert status == 0 and "\n  difference " in output and "\n  learning_rate: " in output, output
    result = json.loads((whole / "result.json").read_text())
    assert len(result["learned"]) == len(result["values"]["learning_rate"]) == 2
    shutil.copytree(whole, killed)
    (killed / "result.json").unlink()
    steps = sorted((killed / "learning" / "checkpoints").glob("step_*"))
    assert [path.name for path in steps[-2:]] == ["step_00000003", "step_00000004"]
    shutil.rmtree(steps[-1])
    status, output = run_command("report", killed)
    assert status == 2 and f"continue with `jaxrl resume {killed}`" in output
    status, output = run_command("resume", killed)
    assert status == 0 and "continuing after 3 of 4 updates" in output, output
    again = json.loads((killed / "result.json").read_text())
    for name in ("start", "learned", "rates", "values", "dead"):
        assert again[name] == result[name], name
    rows = [logger.read_jsonl(path / "learning" / "metrics.jsonl") for path in (whole, killed)]
    assert [row["episode/return"] for row in rows[0]] == [row["episode/return"] for row in rows[1]]
    assert run_command("report", killed, "--out", tmp_path / "r.md")[0] == 0
    assert "| difference | " in (tmp_path / "r.md").read_text()
    assert run_command("plot", killed)[0] == 0 and (killed / "curves.png").exists()
    status, output = run_command("evaluate", killed)
    assert status == 2 and "which has no policy" in output and output.count("\n") == 1
    status, output = run_command(*TUNE.split(), "--out", whole)
    assert status == 2 and "is taken" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "meta needs an experiment, tune or two-colours"),
        ("tun", "unknown experiment 'tun'; the nearest: tune"),
        ("tune --seeds 1", "seeds must be at least 2"),
        ("tune --names gama", "unknown hyperparameter 'gama'"),
        ("tune --env Catch", "unknown environment 'Catch'"),
        ("tune --objective dppo", "unknown objective 'dppo'"),
        ("tune --out result.json", "is the folder of result.json"),
        ("two-colours --steps 20 --methods fixed", "steps = 20 are too few: at least 640"),
    ],
)
def test_invalid_experiments_are_refused_in_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output = run_command("meta", *words.split())
    assert status == 2 and message in output and output.count("\n") == 1, output
    assert not list(tmp_path.iterdir())


def test_methods_that_are_complete_are_not_trained_again(tmp_path, monkeypatch):
    """Each method of two colours is a stage with a file."""
    from jaxrl.experiments.studies.meta import two_colours

    trained = []

    def curves(algo, keys, hp, steps, agent_of, hp_axis=None):
        trained.append(steps)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return np.random.default_rng(0).random((len(keys), two_colours.PARTS))

    monkeypatch.setattr(two_colours, "reward_curves", curves)
    path = tmp_path / "colours"
    words = "meta two-colours --steps 90000 --seeds 2 --fixed 0.1 --methods fixed meta-gradients --out"
    status, output = run_command(*words.split(), path)
    assert status == 130 and f"jaxrl resume {path}" in output
    status, output = run_command("resume", path)
    assert status == 0 and len(trained) == 3, output
    table = output[output.index("Mean reward") :].splitlines()
    assert [line.split("  ")[1] for line in table[2:4]] == ["fixed 0.1", "meta-gradients"]


@pytest.mark.slow
@pytest.mark.parametrize("methods", ["bootstrapped", "fixed meta-gradients"])
def test_every_method_trains_in_two_colours(methods, tmp_path):
    """All use the same number of steps, including those that only the outer loss uses."""
    words = "meta two-colours --steps 5120 --period 100 --seeds 2 --fixed 0.1 --unroll 1 --target 1 --methods"
    assert run_command(*words.split(), *methods.split(), "--out", tmp_path / "c")[0] == 0
    results = json.loads((tmp_path / "c" / "result.json").read_text())["methods"]
    assert [name.removesuffix(" 0.1") for name in results] == methods.split()
    for row in results.values():
        assert len(row["curve"]) == 40 and row["life"][1] <= row["life"][0] <= row["life"][2]
        assert -1.0 < row["life"][0] < 0.28 and len(set(row["seeds"])) == 2
