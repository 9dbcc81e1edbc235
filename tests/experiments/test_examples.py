"""The scripts of `experiments/examples`, at a small size; at full size (slow) they show what they promise."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxrl import envs, records
from jaxrl.experiments import user_files
from jaxrl.experiments.examples import (
    custom_algorithm,
    custom_environment,
    custom_network,
    custom_objective,
    evolve_objective,
    meta_gradient,
)
from jaxrl.policies import NetworkConfig

EXAMPLES = Path(custom_algorithm.__file__).parent


def test_examples_are_short():
    assert all(len(path.read_text().splitlines()) < 80 for path in EXAMPLES.glob("*.py"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_custom_algorithm_from_copy_to_policy(tmp_path):
    """Killed and resumed, it plays CartPole as well as PPO: 500, and 475 is what counts as solved."""
    returns = custom_algorithm.main([str(tmp_path)])
    assert len(returns) == 10 and min(returns) >= 475
    for name in ("sweep/results.jsonl", "comparison/results.jsonl", "report.html", "run/source/my_ppo.py"):
        assert (tmp_path / name).stat().st_size > 0, name
    assert "my_ppo" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_a_custom_environment(tmp_path):
    assert custom_environment.main([str(tmp_path)]) > 0.95
    with Image.open(tmp_path / "episode.gif") as picture:
        assert picture.n_frames > 2 and picture.size[0] > picture.size[1]


def test_a_custom_objective_and_network(tmp_path):
    words = ["--steps", "2048", "--seeds", "2", "--out", str(tmp_path / "run")]
    fitted = custom_objective.main(words)
    assert fitted.complete and "Residual" not in str(fitted.hparams)
    assert [row["timesteps"] for row in fitted.rows] == [row["timesteps"] for row in records.rows(fitted.out)]
    again = custom_objective.main(words)  # nothing is left to train
    np.testing.assert_array_equal(again.state.num_updates, fitted.state.num_updates)


def test_the_file_of_a_custom_network(tmp_path):
    """It is a copy of PPO whose options decide the sizes of another torso."""
    custom_network.write_algorithm(tmp_path / "my_ppo.py")
    module = user_files.algorithm(str(tmp_path / "my_ppo.py"))
    config = module.Config(network=NetworkConfig(hidden_sizes=(16,)))
    algo = module.make(envs.make("CartPole-v1"), config)
    params = jax.eval_shape(algo.init, jax.random.key(0), algo.hparams).params["params"]
    layers = {name: layer["kernel"].shape for name, layer in params["actor_torso"].items() if "Dense" in name}
    assert layers == {"Dense_0": (4, 64), "Dense_1": (64, 16), "Dense_2": (16, 64)}
    assert "LayerNorm_1" in params["actor_torso"]


@pytest.mark.slow
def test_a_custom_network_learns(tmp_path, capsys):
    """From the command line; its policy stays in JAX."""
    returns = custom_network.main([str(tmp_path)])
    assert len(returns) == 8 and np.mean(returns) > 400
    printed = capsys.readouterr().out
    assert "has no policy.npz" in printed and "a network of your own acts in JAX only" in printed


@pytest.mark.slow
def test_a_custom_objective_learns():
    assert np.mean(custom_objective.main([]).rows[-1]["evaluation/return"]) > 400


def test_the_custom_surrogate_has_the_slope_of_the_advantage():
    objective = custom_objective.smooth(0.3)
    near = [objective.apply(objective.params, jnp.log(r), 2.0, 0.0) for r in (0.999, 1.001)]
    assert (near[1] - near[0]) / 0.002 == pytest.approx(2.0, rel=1e-2)


def test_parameters_of_an_objective_are_evolved(monkeypatch):
    monkeypatch.setattr(evolve_objective, "UPDATES", 3)
    monkeypatch.setattr(evolve_objective, "SEEDS", 2)
    mean, scores = evolve_objective.main(["--generations", "2", "--pairs", "2"])
    assert mean.shape == (2,) and scores.shape == (2,)
    assert bool(jnp.isfinite(mean).all() & jnp.isfinite(scores).all())


@pytest.mark.slow
def test_evolution_improves_an_objective():
    _, scores = evolve_objective.main([])
    assert scores[-5:].mean() > scores[:5].mean()


@pytest.mark.slow
def test_a_meta_gradient_raises_a_learning_rate_that_is_too_small():
    assert float(meta_gradient.main([]).learning_rate) > 1e-3
