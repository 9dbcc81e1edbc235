"""The measurement of docs/horizon.md: its worlds, its scores and its record."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from jaxrl import horizon
from jaxrl.experiments.benchmark import horizon as benchmark

RECORD = json.loads((ROOT / "experiments" / "results" / "horizon.json").read_text())


def test_a_world_is_padded_and_its_scores_are_exact():
    world = benchmark.World("DeepSea-bsuite", 4, {"size": 4})
    found, task = benchmark.examine(world)
    kept = RECORD["worlds"][7]
    assert kept.items() >= found.items() and found["near_optimal_k"] == 1
    q = horizon.action_values(task.mdp, 4).optimal
    actions = jnp.zeros((benchmark.MOST_STEPS, benchmark.MOST_STATES), int).at[:4].set(q.argmax(axis=2))
    assert benchmark.score(task, actions) == pytest.approx(1.0, abs=1e-5)
    assert benchmark.score(task, actions.at[0].set(1 - actions[0])) == pytest.approx(0.0, abs=0.2)


def test_the_record_is_that_of_the_page():
    text = (ROOT / "docs" / "horizon.md").read_text()
    assert len(RECORD["worlds"]) == len(benchmark.WORLDS) == 20
    for name, label in (("ppo", "PPO"), ("dqn", "DQN")):
        correlation = benchmark.correlated(RECORD["worlds"], name)
        assert correlation == RECORD["correlation"][name]
        for measure, it in correlation.items():
            shown = f"{it['value']:.2f} [{it['low']:.2f}, {it['high']:.2f}]"
            assert shown in text, f"{label} and {measure}: {shown}"


def test_steps_until_near():
    curve = np.array([[0.1, 0.96, 0.99], [0.2, 0.96, 0.9], [0.1, 0.1, 0.99]])
    assert benchmark.steps_until_near(curve) == 2 * benchmark.EVERY
    assert benchmark.steps_until_near(curve[2:] * 0.9) == np.inf


@pytest.mark.slow
def test_agents_solve_the_smallest_deep_sea():
    _, task = benchmark.examine(benchmark.World("DeepSea-bsuite", 4, {"size": 4}))
    for algorithm in benchmark.ALGORITHMS:
        (curve,) = benchmark.measure(algorithm, [task], seeds=2)
        assert curve.shape == (2, benchmark.STEPS // benchmark.EVERY) and curve[:, -1].min() > 0.95
