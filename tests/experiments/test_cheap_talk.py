"""Cheap talk: messages only extend the observation, and evolution optimizes the chosen goal."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, run_command

from jaxrl import envs, logger, loop
from jaxrl.envs.wrappers import cheap_talk, flatten_obs
from jaxrl.experiments import folders
from jaxrl.experiments.studies.talk import game as talk
from jaxrl.experiments.studies.talk.evolution import evolution
from jaxrl.spaces import Discrete
from jaxrl.statistics import across_tasks

SMALL = {"steps": 512, "generations": 2, "candidates": 4, "victims": 1, "messages": 3, "hidden": 4}
WORDS = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]


def setting(**changes):
    given = {"environment": "CartPole-v1", "mode": "harm", **SMALL, "std": 0.5, "goals": 2, "seed": 0}
    return talk.Setting(**{**given, **changes})


# --- the wrapper ----------------------------------------------------------------------------------


def test_messages_depend_on_the_observation_and_change_nothing_else():
    env = envs.make("CartPole-v1", max_steps=5)
    talk_env = cheap_talk(env, lambda obs: jnp.stack([10.0 * obs[2], -obs[0]]), 2)
    space = talk_env.observation_space
    assert space.shape == (6,)
    np.testing.assert_array_equal(space.low[4:], [-1, -1])
    np.testing.assert_array_equal(space.high[:4], env.observation_space.high)
    key = jax.random.key(3)
    (state, plain), (other, talked) = env.reset(key), talk_env.reset(key)
    for number in range(12):  # across the ends of two episodes
        for name in ("obs", "next_obs"):
            obs, with_talk = np.asarray(getattr(plain, name)), np.asarray(getattr(talked, name))
            np.testing.assert_array_equal(with_talk[:4], obs)
            np.testing.assert_allclose(with_talk[4:], np.tanh([10 * obs[2], -obs[0]]), rtol=1e-5, atol=1e-7)
        for name in ("reward", "terminated", "truncated", "first"):
            assert getattr(plain, name) == getattr(talked, name)
        step_key = jax.random.fold_in(key, number)
        state, plain = env.step(step_key, state, number % 2)
        other, talked = talk_env.step(step_key, other, number % 2)


def test_adversaries_are_lanes():
    env = envs.make("CartPole-v1")
    weights = jnp.array([[[0.0]], [[1.0]], [[5.0]]]) * jnp.ones((4, 1))

    def first(matrix):
        return cheap_talk(env, lambda obs: obs @ matrix, 1).reset(jax.random.key(0))[1].obs

    result = jax.vmap(first)(weights)
    np.testing.assert_array_equal(result[:, :4], np.tile(result[0, :4], (3, 1)))
    np.testing.assert_allclose(result[:, 4], np.tanh(np.array([0, 1, 5]) * result[0, :4].sum()), rtol=1e-5)


def test_unsupported_observations_are_rejected():
    env = envs.make("CartPole-v1")
    with pytest.raises(ValueError, match="apply flatten_obs first"):
        cheap_talk(env._replace(observation_space=Discrete(3)), lambda obs: obs, 1)
    with pytest.raises(ValueError, match="num_messages must be a positive integer, not 0"):
        cheap_talk(env, lambda obs: obs, 0)
    with pytest.raises(AssertionError):
        cheap_talk(env, lambda obs: obs, 2).reset(jax.random.key(0))


# --- the adversary --------------------------------------------------------------------------------


def test_the_message_is_computed_by_two_layers():
    params = talk.speaker(jax.random.key(0), 5, 7, 3)
    inputs = np.random.default_rng(0).normal(size=5).astype(np.float32)
    hidden = [
        np.tanh(sum(inputs[i] * params.hidden[i, j] for i in range(5)) + params.hidden_bias[j])
        for j in range(7)
    ]
    expected = [sum(hidden[j] * params.out[j, m] for j in range(7)) + params.out_bias[m] for m in range(3)]
    np.testing.assert_allclose(talk.say(params, inputs), expected, rtol=1e-4, atol=1e-6)


def test_goals_are_where_a_body_can_be():
    for name, goal in talk.GOALS.items():
        env = flatten_obs(envs.make(name))
        obs = env.reset(jax.random.key(0))[1].obs
        wanted = jax.vmap(goal.draw)(jax.random.split(jax.random.key(1), 256))
        assert wanted.shape == (256, goal.size) and goal.position(obs).shape == (goal.size,)
        assert wanted.std() > 0.4
    cos, sin = np.cos([0.3, -1.0]), np.sin([0.3, -1.0])
    hand = talk.GOALS["Reacher-misc"].position(jnp.array([*cos, *sin, 0, 0, 0, 0]))
    np.testing.assert_allclose(hand, [cos.sum(), sin.sum()], rtol=1e-6)


def test_distances_measure_how_far_a_policy_stays_from_its_goal():
    env = envs.make("CartPole-v1")
    position = talk.GOALS["CartPole-v1"].position

    def mean_distance(goal):
        result = talk.distances(
            env,
            lambda memory, key, obs, first, mask: (memory, jnp.ones(1, jnp.int32)),
            (),
            jax.random.key(0),
            lambda obs: talk._distance(position, jnp.array([goal]), obs),
        )
        assert result.shape == (talk.STEERED_STEPS // 2,)
        return float(result.mean())

    # Pushed to the right it falls within ten steps, not far from where it began.
    assert 0 < mean_distance(0.0) < 0.2 < 0.8 < mean_distance(1.0) < 1.2


# --- evolution ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_evolution_maximizes_or_minimizes_as_the_sign_asks(sign):
    def score(x, key):
        return -jnp.square(x - 1.0).sum() + 0.01 * jax.random.normal(key)

    game = talk.Game(lambda key: jnp.zeros(3), jnp.zeros(3), score, sign)
    init, step = evolution(game, setting(candidates=16, victims=2))
    state = init()
    for _ in range(25):
        state, result = step(state)
    assert result.shape == (16,) and int(state.generation) == 25
    change = float(score(state.es.mean, jax.random.key(0))) + 3.0
    assert change > 2.0 if sign > 0 else change < -2.0


def test_an_adversary_that_causes_nan_gets_the_worst_score():
    """Scores are NaN below 0: evolution avoids that region, although smaller values are better."""

    def score(x, key):
        return jnp.where(x[0] < 0.0, jnp.nan, -x[0])

    game = talk.Game(lambda key: jnp.full(1, 2.0), jnp.zeros(1), score, 1.0)
    init, step = evolution(game, setting(candidates=16, victims=1))
    state = init()
    for _ in range(80):
        state, _ = step(state)
    assert 0.0 < float(state.es.mean[0]) < 1.0


def test_keys_are_shared_by_candidates_and_new_in_every_generation():
    game = talk.Game(lambda key: jnp.zeros(1), jnp.zeros(1), lambda x, key: jax.random.uniform(key), 1.0)
    init, step = evolution(game, setting(candidates=4, victims=2))
    state = init()
    state, first = step(state)
    _, second = step(state)
    assert len(set(np.asarray(first).tolist())) == len(set(np.asarray(second).tolist())) == 1
    assert first[0] != second[0]


# --- the command ----------------------------------------------------------------------------------


def test_a_stopped_evolution_resumes_to_the_same_result(tmp_path, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    status, output = run_command("talk", "CartPole-v1", *WORDS, "--out", whole)
    assert status == 0 and "harm on CartPole-v1: return while training" in output, output

    class AfterOne:
        def __enter__(self):
            self.asked = 0
            return self

        def __exit__(self, *_):
            pass

        def __call__(self):
            self.asked += 1
            return self.asked > 1

    with monkeypatch.context() as patch:
        patch.setattr(loop, "interruptible", AfterOne)
        status, output = run_command("talk", "CartPole-v1", *WORDS, "--out", stopped)
    assert status == 130 and f"jaxrl resume {stopped}" in output
    status, output = run_command("resume", stopped)
    assert status == 0, output
    rows = [logger.read_jsonl(path / "metrics.jsonl") for path in (whole, stopped)]
    assert rows[0] == rows[1] and len(rows[0]) == 2
    scores = [json.loads((path / "result.json").read_text())["scores"] for path in (whole, stopped)]
    assert scores[0] == scores[1]
    assert {name: len(values) for name, values in scores[0].items()} == dict.fromkeys(
        ("evolved", "random", "silent"), 8
    )
    status, shown = run_command("report", whole)
    assert status == 0 and "\n".join(shown.splitlines()[:-1]) in output  # as after resuming the other
    assert "harm on CartPole-v1" in (whole / "report.html").read_text()
    assert run_command("plot", whole)[0] == 0 and (whole / "curves.png").exists()
    status, output = run_command("evaluate", whole)
    assert status == 2 and f"which has no policy; its result: `jaxrl report {whole}`" in output
    status, output = run_command("talk", "CartPole-v1", *WORDS, "--out", whole)
    assert status == 2 and "is taken" in output
    before = (whole / "metrics.jsonl").stat().st_ino, (whole / "metrics.jsonl").read_text()
    with folders.claim(whole):  # the refused process has not changed the files of the running one
        status, output = run_command("resume", whole)
    assert status == 2 and "another process trains" in output
    assert ((whole / "metrics.jsonl").stat().st_ino, (whole / "metrics.jsonl").read_text()) == before
    kept = json.loads((stopped / "talk.json").read_text())
    kept["setting"]["std"] = None
    (stopped / "talk.json").write_text(json.dumps(kept))
    status, output = run_command("resume", stopped)
    assert status == 2 and "setting.std must be a number, not None" in output and output.count("\n") == 1


def test_the_docs_match_the_records():
    root = ROOT
    page = (root / "docs/objectives.md").read_text()
    lines = (root / "experiments/results/cheap-talk.jsonl").read_text().splitlines()
    assert len(lines) == 3
    for one in map(json.loads, lines):
        for values in one["scores"].values():
            estimate = across_tasks([values])
            assert f"{estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})" in page


@pytest.mark.slow
def test_control_is_measured_by_distances(tmp_path):
    path = tmp_path / "control"
    status, output = run_command(
        "talk", "Pendulum-v1", *WORDS, "--mode", "control", "--steps", 1024, "--out", path
    )
    assert status == 0 and "minus the distance to goals" in output, output
    scores = json.loads((path / "result.json").read_text())["scores"]
    assert all(-2.0 <= x <= 0.0 for values in scores.values() for x in values)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("CartPole", "unknown environment 'CartPole'"),
        ("Acrobot-v1 --mode control", "unknown environment with goals 'Acrobot-v1'"),
        ("CartPole-v1 --mode hurt", "hurt"),
        ("CartPole-v1 --candidates 5", "candidates = 5 must be even"),
        ("CartPole-v1 --std 0", "std = 0.0"),
        ("CartPole-v1 --seed -1", "seed = -1"),
        ("CartPole-v1 --victims 0", "victims = 0"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output = run_command("talk", *words.split())
    assert status == 2 and message in output, output
    assert output.startswith("jaxrl: error: ") and output.count("\n") == 1
    assert not list(tmp_path.iterdir())
