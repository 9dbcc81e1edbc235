"""The measurement of docs/horizon.md: its worlds, its scores and its record."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from jaxrl import horizon
from jaxrl.experiments.benchmark import horizon as benchmark

RESULTS = ROOT / "experiments" / "results"


def test_a_world_is_padded_and_its_scores_are_exact():
    world = benchmark.World("DeepSea-bsuite", 4, {"size": 4})
    found, task = benchmark.examine(world)
    kept = json.loads((RESULTS / "horizon.json").read_text())["worlds"][7]
    assert kept.items() >= found.items() and found["near_optimal_k"] == 1
    q = horizon.action_values(task.mdp, 4).optimal
    actions = jnp.zeros((benchmark.MOST_STEPS, benchmark.MOST_STATES), int).at[:4].set(q.argmax(axis=2))
    assert benchmark.score(task, actions) == pytest.approx(1.0, abs=1e-5)
    assert benchmark.score(task, actions.at[0].set(1 - actions[0])) == pytest.approx(0.0, abs=0.2)


@pytest.mark.parametrize(("name", "count"), [("horizon", 20), ("horizon-others", 14)])
def test_the_records_are_those_of_the_page(name, count):
    text = (ROOT / "docs" / "horizon.md").read_text()
    record = json.loads((RESULTS / f"{name}.json").read_text())
    chosen = benchmark.SETS["first" if name == "horizon" else "others"]
    assert [world["params"] for world in record["worlds"]] == [world.params for world in chosen]
    assert len(chosen) == count
    for algorithm, correlation in record["correlation"].items():
        for measure, it in benchmark.correlated(record["worlds"], algorithm).items():
            assert it == pytest.approx(correlation[measure])
            assert f"{it['value']:.2f} [{it['low']:.2f}, {it['high']:.2f}]" in text, (algorithm, measure)


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
