"""The behaviour suite's experiments and scores, against bsuite 0.3.6 where it is installed."""

import importlib.util
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs.behaviour import ENTRIES, common, experiments, scoring

EXPERIMENTS = sorted(experiments.EXPERIMENTS)
LOGGED = scoring.is_logged(np.arange(1, 10_001))

# bsuite's analysis draws with plotnine and reads with a pandas of before 2.0; neither is needed for scores.
BSUITE = """
import json, sys
from unittest import mock
for name in ("plotnine", "matplotlib", "matplotlib.style", "matplotlib.pyplot", "skimage", "termcolor"):
    sys.modules[name] = mock.MagicMock()
import pandas as pd
pd.Series.append = lambda self, other: pd.concat([self, other])
import bsuite
from bsuite import sweep
from bsuite.experiments import summary_analysis
from bsuite.utils.wrappers import _logarithmic_logging
"""


def bsuite(code, given=None):
    """The JSON that code prints in a separate process; `given` is its input."""
    for name in ("bsuite", "dm_env", "immutabledict", "pandas"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BSUITE + code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- against the original ---------------------------------------------------------------------


def test_the_sweep_matches_the_original():
    theirs = bsuite("""
print(json.dumps({i: [dict(sweep.SETTINGS[i]), sweep.EPISODES[i],
                      summary_analysis.BSUITE_INFO[i.split("/")[0]].tags] for i in sweep.SWEEP}))
""")
    theirs = {i: what for i, what in theirs.items() if not i.startswith("mnist")}
    assert sorted(theirs) == sorted(scoring.SWEEP)
    constant = {"memory_len": {"num_bits": 1}, "memory_size": {"memory_length": 2}}
    constant["umbrella_distract"] = {"chain_length": 20}
    for bsuite_id, (params, episodes, tags) in theirs.items():
        name = bsuite_id.split("/")[0]
        params.pop("seed", None)
        assert scoring.SWEEP[bsuite_id].params == {**params, **constant.get(name, {})}
        assert experiments.EXPERIMENTS[name].episodes == episodes
        assert list(experiments.EXPERIMENTS[name].tags) == tags


def test_logged_episodes_match_the_original():
    theirs = bsuite("print(json.dumps([bool(_logarithmic_logging(e)) for e in range(1, 20_001)]))")
    np.testing.assert_array_equal(scoring.is_logged(np.arange(1, 20_001)), theirs)


def synthetic(name, rng):
    """Measures of an agent that improves at a random rate, `{bsuite_id: [E]}`."""
    what = experiments.EXPERIMENTS[name]
    length = what.episodes if rng.random() < 0.5 else int(rng.integers(150, what.episodes))
    kept = [i for i in range(len(what.settings)) if rng.random() < 0.9] or [0]
    measures = {}
    for index in kept:
        pace = 10 ** rng.uniform(0, 4.5)
        luck = rng.random(length) < np.exp(-np.arange(length) / pace)  # an episode of the untrained agent
        if "cartpole" in name or "mountain_car" in name:
            best, worst = (
                (-100, -1000) if "mountain" in name else (rng.integers(50, 900), rng.integers(0, 90))
            )
            values = np.where(luck, worst, best) + rng.integers(-20, 20, length)
        elif "deep_sea" in name:
            values = -luck.astype(float)
        elif name == "discounting_chain":
            values = np.where(luck, 1.0, 1.1)
        elif "bandit" in name:
            values = np.where(luck, rng.integers(0, 11, length), 10) / 10
        else:
            values = np.where(luck, rng.choice([-1, 1], length), 1)
        shorter = int(rng.integers(length // 2, length)) if rng.random() < 0.2 else length
        measures[f"{name}/{index}"] = values[:shorter].astype(float)
    return measures


def columns_of(name, measures, every_episode):
    """What the original would have logged: a list for each column, with all settings one after another."""
    columns = {}
    for bsuite_id, values in measures.items():
        total, best = np.cumsum(values), np.maximum(0.0, np.maximum.accumulate(values))
        logged = np.arange(len(values)) if every_episode else np.flatnonzero(LOGGED[: len(values)])
        episode, total = logged + 1, total[logged]
        # Noise and scale of the reward do not count.
        seen = np.full(len(logged), 1e9) if name.endswith(("noise", "scale")) else total
        logs = dict(episode=episode, total_return=seen, raw_return=total, best_episode=best[logged])
        logs |= dict(
            total_regret=episode - total, total_bad_episodes=-total, total_perfect=(episode + total) / 2
        )
        for column, value in dict(
            bsuite_id=bsuite_id, bsuite_env=name, **scoring.SWEEP[bsuite_id].params
        ).items():
            columns.setdefault(column, []).extend([value] * len(logged))
        for column, numbers in logs.items():
            columns.setdefault(column, []).extend(numbers.tolist())
    return columns


@pytest.mark.parametrize("every_episode", [False, True])
def test_scores_match_the_original(every_episode):
    rng = np.random.default_rng(0)
    rounds = 1 if every_episode else 8
    names = ["deep_sea", "catch"] if every_episode else EXPERIMENTS
    agents = [(name, synthetic(name, rng)) for name in names for _ in range(rounds)]
    if every_episode:  # random play finds the treasure in 2^10 episodes; the score allows a hundred more
        for bad in (1000, 1008, 1011, 1014, 1030):
            agents.append(("deep_sea", {"deep_sea/0": np.where(np.arange(2000) < bad, -1.0, 0.0)}))
    logs = [(name, columns_of(name, measures, every_episode)) for name, measures in agents]
    theirs = bsuite(
        """
print(json.dumps([float(summary_analysis.BSUITE_INFO[name].score(pd.DataFrame(columns)))
                  for name, columns in json.load(sys.stdin)]))
""",
        logs,
    )
    ours = [scoring.score(name, measures, every_episode) for name, measures in agents]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    for name in names:  # the agents must differ, otherwise the test would be vacuous
        result = [score for (agent, _), score in zip(agents, ours) if agent == name]
        assert np.std(result) > 0.01 or (every_episode and name == "catch"), name


# --- by their meaning -------------------------------------------------------------------------

BEST = {"cartpole": 1001.0, "cartpole_noise": 1001.0, "cartpole_scale": 1001.0, "cartpole_swingup": 700.0}
BEST |= {"mountain_car": -100.0, "mountain_car_noise": -100.0, "mountain_car_scale": -100.0}
BEST |= {"deep_sea": 0.0, "deep_sea_stochastic": 0.0, "discounting_chain": 1.1}
WORST = {"cartpole": 0.0, "cartpole_noise": 0.0, "cartpole_scale": 0.0, "cartpole_swingup": -1.0}
WORST |= {"mountain_car": -1100.0, "mountain_car_noise": -1100.0, "mountain_car_scale": -1100.0}
WORST |= {"bandit": 0.5, "bandit_noise": 0.5, "bandit_scale": 0.5, "discounting_chain": 1.0}
WORST |= {"catch": -0.6, "catch_noise": -0.6, "catch_scale": -0.6}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_best_agent_scores_1_and_a_poor_one_0(name):
    what = experiments.EXPERIMENTS[name]
    for value, expected in ((BEST.get(name, 1.0), 1.0), (WORST.get(name, -1.0), 0.0)):
        measures = {f"{name}/{i}": np.full(1000, value) for i in range(len(what.settings))}
        np.testing.assert_allclose(scoring.score(name, measures), expected, atol=1e-6)


def test_spread_over_scales_costs_half_of_the_deviation():
    measures = {f"catch_scale/{i}": np.full(100, 1.0 if i < 8 else -0.6) for i in range(20)}
    # Two of five scales are perfect: a mean of 0.4 and a deviation of sqrt(0.24).
    np.testing.assert_allclose(scoring.score("catch_scale", measures), 0.5 * 0.4, atol=1e-9)
    measures = {f"catch_scale/{i}": np.full(100, 1.0 if i < 16 else -0.6) for i in range(20)}
    np.testing.assert_allclose(scoring.score("catch_scale", measures), 0.5 * (0.8 + 0.4), atol=1e-9)


def test_tags_average_their_experiments():
    scores = {"catch": 1.0, "deep_sea": 0.5, "catch_noise": 0.0}
    expected = {"basic": 1.0, "credit_assignment": 0.5, "exploration": 0.5, "noise": 0.0}
    assert scoring.by_tag(scores) == expected


@pytest.mark.parametrize(
    "name, measures, message",
    [
        ("catsh", {}, "unknown experiment 'catsh'; the nearest: catch"),
        ("catch", {}, "catch cannot be scored without data"),
        ("catch", {"catch/20": [1.0]}, "catch has no setting 'catch/20'; it has catch/0 to catch/19"),
        ("catch", {"bandit/0": [1.0]}, "catch has no setting 'bandit/0'"),
        ("catch", {"catch/0": []}, "catch/0 has no episodes"),
        ("deep_sea_stochastic", {"deep_sea_stochastic/0": [0.0]}, "no run has reached episode 100"),
    ],
)
def test_invalid_arguments_are_rejected(name, measures, message):
    with pytest.raises(ValueError, match=message):
        scoring.score(name, measures)


# --- from environment to measure --------------------------------------------------------------


def test_every_setting_names_an_environment_and_its_parameters():
    for setting in scoring.SWEEP.values():
        ENTRIES[setting.env].make(**setting.params)


def episode(bsuite_id, policy, seed=0):
    """Measure, return and rewards of one episode."""
    env = scoring.make(bsuite_id)
    step = jax.jit(env.step)
    state, timestep = env.reset(jax.random.key(seed))
    rewards = []
    for i in range(1002):
        state, timestep = step(jax.random.key(1000 * seed + i), state, jnp.int32(policy(timestep.obs)))
        rewards.append(float(timestep.reward))
        if timestep.terminated:
            return float(timestep.info["measure"]), float(timestep.info["episode_return"]), rewards
    raise AssertionError("the episode did not end")


def test_noise_and_scale_do_not_count():
    def towards_the_ball(obs):
        ball = int(np.argmax(np.asarray(obs)[:-1].max(axis=0)))
        return int(np.sign(ball - np.argmax(obs[-1]))) + 1

    for bsuite_id in ("catch_noise/19", "catch_scale/19", "catch/0"):
        measure, total, rewards = episode(bsuite_id, towards_the_ball)
        assert measure == 1.0 and len(rewards) == 9
        np.testing.assert_allclose(total, sum(rewards), rtol=1e-5)
        assert (total == 1.0) == (bsuite_id == "catch/0")
        assert (rewards[-1] == 1000.0) == (bsuite_id == "catch_scale/19")


def test_the_umbrella_counts_and_the_luck_does_not():
    for right in (True, False):
        measure, total, rewards = episode(
            "umbrella_length/9", lambda obs, right=right: (obs[0] == 1) == right
        )
        assert measure == (1.0 if right else -1.0) == rewards[-1]
        np.testing.assert_allclose(total, sum(rewards))


def test_an_episode_is_bad_once_it_leaves_the_path():
    from jaxrl.envs.behaviour.deep_sea import mapping

    right = mapping(10, 42)
    always = lambda obs: right[divmod(int(np.argmax(obs)), 10)]  # noqa: E731
    assert episode("deep_sea/0", always)[0] == 0.0
    for row in (0, 9):
        wrong = lambda obs, row=row: always(obs) ^ (int(np.argmax(obs)) // 10 == row)  # noqa: E731
        assert episode("deep_sea/0", wrong)[0] == -1.0
    # The wind may move the diver off the path, which does not count as bad.
    assert [episode("deep_sea_stochastic/0", always, seed)[0] for seed in range(3)] == [0.0] * 3


def test_the_measure_resets_with_each_episode():
    env = scoring.make("bandit/3")
    state, timestep = env.reset(jax.random.key(0))
    assert timestep.info["measure"] == 0
    for key in jax.random.split(jax.random.key(1), 3):
        state, timestep = env.step(key, state, jnp.int32(4))
        assert timestep.info["measure"] == timestep.reward


def test_a_coin_is_fair_and_costs_a_32nd_of_a_number():
    flips = jax.vmap(lambda key: common.coins(key, 70))(jax.random.split(jax.random.key(0), 4000))
    assert flips.shape == (4000, 70) and flips.dtype == bool
    assert np.abs(flips.mean(axis=0) - 0.5).max() < 0.04
    assert np.abs(np.corrcoef(flips.T.astype(float)) - np.eye(70)).max() < 0.08
