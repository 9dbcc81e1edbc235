"""Configurations as TOML: what a run writes, and what `--from` reads."""

import dataclasses
import json
import tomllib

import pytest
from conftest import ROOT

from jaxrl import objective_file, objectives
from jaxrl.experiments import runs, spec_options
from jaxrl.experiments.commands import sweep as sweep_command
from jaxrl.experiments.runs import config, trial
from jaxrl.experiments.studies import sweep
from jaxrl.experiments.studies.sweep import best

SMALL = ["--config.num-envs", "4", "--config.num-steps", "8", "--hidden-sizes", "8x4", "--steps", "64"]


def spec_of(*argv, command="train"):
    options = spec_options.train_options if command == "train" else sweep_command.sweep_options
    return spec_options.parse_spec(command, options, [str(word) for word in argv])[0]


def run_of(path, *argv):
    """The folder of a run before its first update, and its Spec."""
    spec = spec_of(*argv)
    runs.create_folder(path, spec, runs.OPTIONS, ["jaxrl", "train", *argv])
    return path, spec


@pytest.fixture
def refused(command, tmp_path):
    """Trains from a file with this text, which must be refused in one line with all of `words`."""

    def call(text, *words, argv=()):
        file = tmp_path / "my.toml"
        file.write_text(text)
        status, _, errors = command("train", *argv, "--from", file, "--out", tmp_path / "run")
        assert status == 2 and not (tmp_path / "run").exists()
        assert errors.startswith("jaxrl: error: ") and errors.count("\n") == 1 and str(tmp_path) in errors
        for word in words:
            assert word in errors, errors

    return call


@pytest.mark.parametrize(
    "argv",
    [
        ["ppo", "CartPole-v1", *SMALL, "--seeds", "3", "--seed", "7", "--hp.gamma", "0.123456789012345678"],
        [
            "ppo",
            "CartPole-v1",
            *SMALL,
            "--env.length",
            "0.7",
            "--env.max-steps",
            "500",
            "--env.resets",
            "fresh",
        ],
        ["ppo", "CliffWalking-v1", "--env.max-steps", "None", "--objective", "mdpo"],
        ["ppo", "CartPole-v1", "--objective", "dpo+spo", "--intervals", "3", "--chunk", "2"],
        ["es", "CartPole-v1", "--config.method", "snes"],
        ["trpo", "Pendulum-v1", "--no-squash", "--eval-episodes", "0", "--shard", "envs"],
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_a_run_and_its_file_give_the_same_spec(tmp_path, argv):
    path, spec = run_of(tmp_path / "run", *argv)
    for place in (path, path / "config.toml"):
        assert spec_of("--from", place).to_json() == spec.to_json()


def test_the_file_is_complete(tmp_path):
    path, spec = run_of(tmp_path / "run", "ppo", "CartPole-v1", *SMALL, "--env.length", "0.7")
    values = tomllib.loads((path / "config.toml").read_text())
    assert (values["algorithm"], values["environment"], values["objective"]) == ("ppo", "CartPole-v1", "ppo")
    assert (values["steps"], values["seeds"], values["config"]["network"]["hidden_sizes"]) == (64, 1, [8, 4])
    assert values["hp"]["objective"] == {"clip_eps": spec.hparams.objective.clip_eps}
    assert values["env"]["length"] == 0.7 and values["env"]["gravity"] == 9.8
    assert set(values["config"]) == set(vars(spec.config))
    assert set(values["hp"]) == set(vars(spec.hparams)) - {"total_updates"}


def test_an_objective_with_weights_is_in_the_file(tmp_path):
    weights = objectives.symbolic().params
    objective_file.save(tmp_path / "objective.json", "symbolic", weights)
    argv = ["ppo", "CartPole-v1", *SMALL, "--objective", tmp_path / "objective.json"]
    path, spec = run_of(tmp_path / "run", *map(str, argv))
    (tmp_path / "objective.json").unlink()
    for place in (path, path / "config.toml"):
        again = spec_of("--from", place)
        assert again.to_json() == spec.to_json() and again.objective == "symbolic"
    assert spec_of("--from", path, "--objective", "dpo").hparams.objective == objectives.dpo().params


def test_what_is_typed_replaces_what_is_in_the_file(tmp_path):
    argv = ["ppo", "CartPole-v1", *SMALL, "--hp.objective.clip-eps", "0.3", "--env.length", "0.7"]
    path, spec = run_of(tmp_path / "run", *argv)
    again = spec_of("--from", path, "--seeds", "5", "--learning-rate", "0.5", "--env.length", "0.5")
    assert (again.seeds, again.steps, again.hparams.learning_rate) == (5, 64, 0.5)
    assert again.env == {} and again.config == spec.config and again.hparams.objective.clip_eps == 0.3
    # Parameters of an environment or an objective are not those of another.
    other = spec_of("ppo", "Acrobot-v1", "--from", path / "config.toml", "--objective", "dpo")
    assert (other.environment, other.env, other.config) == ("Acrobot-v1", {}, spec.config)
    assert other.hparams.objective == objectives.dpo().params
    swept = spec_of("--from", path, "--trials", "3", command="sweep")
    assert swept.to_json() == spec.to_json()


def test_an_algorithm_that_is_typed_and_in_the_file_keeps_the_objective(command, tmp_path):
    file = tmp_path / "mine.py"
    assert command("new", "algorithm", file)[0] == 0
    (tmp_path / "my.toml").write_text(
        'algorithm = "./mine.py"\nobjective = "spo"\nenvironment = "CartPole-v1"'
    )
    for typed in ([], [file, "CartPole-v1"]):
        assert spec_of(*typed, "--from", tmp_path / "my.toml").objective == "spo"


def test_an_edited_file_is_not_replaced(tmp_path):
    path, spec = run_of(tmp_path / "run", "ppo", "CartPole-v1", *SMALL)
    longer = dataclasses.replace(spec, steps=128)
    config.update(path, spec, longer, {})
    assert "steps = 128" in (path / "config.toml").read_text()
    (path / "config.toml").write_text("steps = 3\n")
    config.update(path, longer, spec, {})
    assert (path / "config.toml").read_text() == "steps = 3\n"


def test_a_run_that_was_stopped_before_it_had_a_configuration_gets_one(tmp_path):
    path, spec = run_of(tmp_path / "run", "ppo", "CartPole-v1", *SMALL)
    text = (path / "config.toml").read_text()
    (path / "config.toml").unlink()
    runs.complete_folder(path, spec)
    assert (path / "config.toml").read_text() == text
    (path / "config.toml").write_text("steps = 3\n")
    runs.complete_folder(path, spec)
    assert (path / "config.toml").read_text() == "steps = 3\n"


def test_a_group_of_a_sweep_has_the_values_of_its_first_trial_until_the_best_is_known(tmp_path):
    spec = spec_of("ppo", "CartPole-v1", *SMALL, command="sweep")
    axes = [sweep.axis("--hp.gamma", "0.9,0.8"), sweep.axis("--env.length", "0.6,0.7")._replace(lanes=True)]
    trials = [("0.9", "0.6"), ("0.8", "0.7")]
    values = [{"gamma": float(gamma), "env.length": float(length)} for gamma, length in trials]
    group = sweep.Group(dataclasses.replace(spec, trials=tuple(values), chunk=4), (0, 1))
    options = runs.OPTIONS | {"confirm_seeds": 2, "batches": 1}
    sweep.create_folder(tmp_path, axes, "grid", trials, [group], options, [])
    path = tmp_path / "group-1"
    runs.create_folder(path, group.spec, runs.OPTIONS, [])
    again = spec_of("--from", path / "config.toml")
    assert (again.hparams.gamma, again.env, again.seeds, again.trials, again.chunk) == (
        0.9,
        {"length": 0.6},
        8,
        (),
        0,
    )
    with pytest.raises(ValueError, match="the best is not known: finish the sweep, `jaxrl resume "):
        spec_of("--from", path)
    plain = {"score": 1.0, "per_seed": [1.0], "interval": None, "died": {}, "first_seed": 0, "steps": 64}
    found = [
        {"trial": n, "group": 1, **plain, "values": {a.flag: v for a, v in zip(axes, trials[n])}}
        for n in (1, 0)
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found))
    best.record_best(tmp_path, 1)
    for place in (path, path / "config.toml"):
        again = spec_of("--from", place)
        assert (again.hparams.gamma, again.env, again.config) == (0.8, {"length": 0.7}, spec.config)


def test_a_search_on_the_device_has_the_values_of_its_first_trial():
    spec = spec_of("ppo", "CartPole-v1", *SMALL, command="sweep")
    plain = {"flag": "--hp.gamma", "values": [], "low": 0.5, "high": 0.9, "log": False}
    search = {"kind": "asha", "axes": [plain], "x": [[0.25], [0.0]], "slots": 2, "eta": 4, "rungs": 3}
    first = trial.first(dataclasses.replace(spec, search=search))
    assert (first.hparams.gamma, first.search) == (0.6, None)
    assert trial.first(spec) is spec


def test_none_in_a_list_is_written():
    assert config._without_none({"a": (1, None)}) == {"a": [1, "None"]}


def test_a_short_file_takes_the_rest_from_the_preset(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("steps = 1e3\nlearning_rate = 1\n[hp]\ngamma = 0.5\n[config]\nhidden_sizes = [4]\n")
    spec, usual = spec_of("ppo", "CartPole-v1", "--from", file), spec_of("ppo", "CartPole-v1")
    assert (spec.steps, spec.hparams.learning_rate, spec.hparams.gamma) == (1000, 1.0, 0.5)
    assert isinstance(spec.hparams.learning_rate, float) and spec.config.network.hidden_sizes == (4,)
    assert (
        spec.config.num_envs == usual.config.num_envs and spec.hparams.gae_lambda == usual.hparams.gae_lambda
    )
    file.write_text('preset_of = "ppo:CartPole-v1"\nalgorithm = "ppo"\n')
    assert spec_of("ppo", "Taxi-v3", "--from", file).hparams.gamma == usual.hparams.gamma


def test_the_example_of_the_page_on_running(tmp_path):
    page = (ROOT / "docs" / "running.md").read_text()
    (tmp_path / "my.toml").write_text(page.partition("```toml\n")[2].partition("```")[0])
    spec = spec_of("--from", tmp_path / "my.toml")
    assert (spec.steps, spec.seeds, spec.env) == (1_000_000, 8, {"length": 0.7})
    assert spec.config.network.hidden_sizes == (64, 64) and spec.hparams.objective.clip_eps == 0.1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("step = 3", ["unknown option 'step'", "steps"]),
        ("[hp]\nlr = 1e-3", ["unknown option 'hp.lr'", "Perhaps you meant hp.learning_rate"]),
        ("[config]\nnum_env = 3", ["unknown option 'config.num_env'", "config.num_envs"]),
        ("[env]\nlenght = 1.0", ["unknown option 'env.lenght'", "env.length"]),
        ("[hp.objective]\nalpha = 1.0", ["unknown option 'hp.objective.alpha'"]),
        ("[optimizer]\nmomentum = 1.0", ["unknown option 'optimizer.momentum'"]),
        ("steps = 1.5", ["steps must be an integer, not 1.5"]),
        ("[config]\nnum_envs = true", ["config.num_envs must be an integer, not True"]),
        ('[hp]\ngamma = "high"', ["hp.gamma must be a number, not 'high'"]),
        ("[config.network]\nhidden_sizes = 64", ["config.network.hidden_sizes must be a list, not 64"]),
        ('shard = "rows"', ["shard must be one of agents, envs, not 'rows'"]),
        ('out = "runs/x"', ["out belongs on the command line, as --out"]),
        ("algorithm = 3", ["algorithm = 3 must be a name"]),
        ("hp = 3", ["hp must be a table"]),
        ("steps = ", ["not a readable TOML file"]),
        ('objective = "./none.py"', ["none.py: no such file"]),
    ],
)
def test_files_with_mistakes(refused, text, words):
    refused(text, *words, argv=["ppo", "CartPole-v1"])


def test_places_without_a_configuration(command, tmp_path):
    for place, words in (
        (tmp_path / "none", "there is no such file"),
        (tmp_path, "it has no run.json"),
    ):
        status, _, errors = command("train", "--from", place, "--out", tmp_path / "out")
        assert status == 2 and words in errors and errors.count("\n") == 1
    (tmp_path / "half.toml").write_text('environment = "CartPole-v1"')
    status, _, errors = command("train", "--from", tmp_path / "half.toml")
    assert status == 2 and "needs an algorithm and an environment" in errors


def test_a_run_replaces_no_configuration(command, tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    (path / "config.toml").write_text('algorithm = "ppo"\nenvironment = "CartPole-v1"\n')
    status, _, errors = command("train", "--from", path / "config.toml", "--out", path, "--steps", "64")
    assert status == 2 and "config.toml exists and would be replaced: choose another --out" in errors
    assert [file.name for file in path.iterdir()] == ["config.toml"]
