"""Objectives as files: they are restored bit for bit, and invalid files are reported in one line."""

import json
import shutil

import jax
import numpy as np
import pytest
from conftest import curve, run_command

from jaxrl import objective_file, objectives
from jaxrl.experiments import runs

SIZES = "--config.num-envs 2 --config.num-steps 8 --config.hidden-sizes 4 --intervals 2 --eval-episodes 1"
WEIGHTS = {
    name: objectives.random_drift(jax.random.key(3), name == "ta_lpo", width=5) for name in ("lpo", "ta_lpo")
}


def values(params):
    return [np.asarray(leaf, np.float32).tobytes() for leaf in jax.tree.leaves(params)]


@pytest.mark.parametrize("name", ["lpo", "ta_lpo"])
def test_weights_are_restored_bitwise(name, tmp_path):
    objective_file.save(tmp_path / "it.json", name, WEIGHTS[name], {"seed": 3})
    result, objective = objective_file.load(tmp_path / "it.json")
    assert result == name and values(objective.params) == values(WEIGHTS[name])
    log_ratio, advantages = np.linspace(-1, 1, 7), np.linspace(-2, 1, 7)
    original = objective_file.named(name).apply(WEIGHTS[name], log_ratio, advantages, 0.3)
    np.testing.assert_array_equal(objective.apply(objective.params, log_ratio, advantages, 0.3), original)
    assert json.loads((tmp_path / "it.json").read_text())["about"] == {"seed": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["it.json"]


def test_an_objective_of_a_formula_can_be_kept_too(tmp_path):
    objective_file.save(tmp_path / "it.json", "dpo", objectives.dpo(alpha=1.5).params)
    assert objective_file.load(tmp_path / "it.json")[1].params == objectives.dpo(alpha=1.5).params


BROKEN = {
    "no JSON": ("{", "does not contain an objective"),
    "something else": ('{"spec": {}}', "does not contain an objective"),
    "a list": ("[1]", "does not contain an objective"),
    "unknown name": ('{"objective": "pop", "params": {}}', "unknown objective 'pop'"),
    "unknown parameter": ('{"objective": "dpo", "params": {"alfa": 1}}', "has the parameters alpha, beta"),
    "a word": ('{"objective": "dpo", "params": {"alpha": "big", "beta": 1}}', "alpha of dpo must be numbers"),
    "not finite": ('{"objective": "dpo", "params": {"alpha": 1e999, "beta": 1}}', "finite"),
    "ragged": ('{"objective": "lpo", "params": {"hidden": [[1], [1, 2]], "out": [1]}}', "hidden of lpo"),
    "no name": ('{"objective": 3, "params": {}}', "does not contain an objective"),
    "yes": ('{"objective": "ppo", "params": {"clip_eps": true}}', "clip_eps of ppo must be numbers"),
    "text": ('{"objective": "ppo", "params": {"clip_eps": "0.3"}}', "clip_eps of ppo must be numbers"),
    "one axis less": ('{"objective": "lpo", "params": {"hidden": [1, 2], "out": [1]}}', "with 2 axes"),
    "misfit": (
        '{"objective": "lpo", "params": {"hidden": [[1, 2]], "out": [1, 2]}}',
        "do not fit each other",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_invalid_objective_is_reported_in_one_line(case, tmp_path):
    text, message = BROKEN[case]
    (tmp_path / "it.json").write_text(text)
    status, output = run_command("train", "ppo", "CartPole-v1", "--objective", tmp_path / "it.json")
    assert status == 2 and message in output and output.count("\n") == 1, output


def test_a_file_that_is_not_there_and_a_network_without_weights(tmp_path):
    status, output = run_command("train", "ppo", "CartPole-v1", "--objective", tmp_path / "nix.json")
    assert status == 2 and "nix.json is not a file" in output and output.count("\n") == 1
    status, output = run_command("train", "ppo", "CartPole-v1", "--objective", "ta_lpo")
    assert status == 2 and "nothing without its weights" in output and output.count("\n") == 1


def test_a_mixture_of_a_network_without_weights_is_refused_and_a_plus_in_a_path_is_not_one(tmp_path):
    status, output = run_command("train", "ppo", "CartPole-v1", "--objective", "ppo+lpo")
    assert status == 2 and "lpo is nothing without its weights" in output and output.count("\n") == 1
    (tmp_path / "a+b").mkdir()
    file = tmp_path / "a+b" / "it.json"
    objective_file.save(file, "lpo", WEIGHTS["lpo"])
    assert values(runs.objective(str(file)).params) == values(WEIGHTS["lpo"])
    assert runs.objective_given(str(file))[0] == "lpo"


def test_only_readable_objectives_are_written(tmp_path):
    weights = WEIGHTS["lpo"].replace(out=np.full(5, np.nan, np.float32))
    with pytest.raises(ValueError, match="finite"):
        objective_file.save(tmp_path / "it.json", "lpo", weights)
    with pytest.raises(ValueError, match="do not fit"):
        objective_file.save(tmp_path / "it.json", "lpo", WEIGHTS["ta_lpo"])
    assert not list(tmp_path.iterdir())


def test_a_run_carries_its_objective_with_it(tmp_path):
    """Trained by a file, stopped, the file deleted, resumed: the curve of one that was never stopped."""
    file = tmp_path / "it.json"
    objective_file.save(file, "ta_lpo", WEIGHTS["ta_lpo"])
    words = f"train ppo probe/action --objective {file} {SIZES} --seeds 2 --save-every-seconds 0 --steps 64"
    assert run_command(*words.split(), "--out", tmp_path / "whole")[0] == 0
    assert run_command(*words.split(), "--out", tmp_path / "half")[0] == 0
    spec = runs.from_json(runs.read_info(tmp_path / "half")["spec"])
    assert spec.objective == "ta_lpo" and values(spec.hparams.objective) == values(WEIGHTS["ta_lpo"])
    file.unlink()
    shutil.rmtree(tmp_path / "half" / "checkpoints" / "step_00000004")
    status, output = run_command("resume", tmp_path / "half")
    assert status == 0 and "done in" in output, output
    assert curve(tmp_path / "half") == curve(tmp_path / "whole")


def test_hyperparameters_can_be_swept_under_a_learned_objective(tmp_path):
    file = tmp_path / "it.json"
    objective_file.save(file, "lpo", WEIGHTS["lpo"])
    words = f"sweep ppo probe/action --objective {file} {SIZES} --hp.gamma 0.5,0.9 --steps 32 --seeds 1"
    status, output = run_command(*words.split(), "--confirm-seeds", "0", "--out", tmp_path / "sweep")
    assert status == 0, output
    lpo = run_command(*f"train ppo probe/action --objective {file} --hp.objective.clip-eps 1".split())
    assert lpo[0] == 2 and "clip-eps" in lpo[1]
