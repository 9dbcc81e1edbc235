"""Runs in TensorBoard and Weights & Biases: statistics over the seeds of each trial, and every agent."""

import dataclasses
import json
import sys

import pytest

from jaxrl import logger
from jaxrl.algos import ppo
from jaxrl.experiments import runs, spec_options, tracking
from jaxrl.experiments.commands import discover
from jaxrl.policies import NetworkConfig

SPEC = runs.Spec(
    algorithm="ppo",
    environment="CartPole-v1",
    env={"length": 0.7},
    objective="ppo",
    config=ppo.Config(num_envs=4, network=NetworkConfig(hidden_sizes=(8, 16))),
    hparams=ppo.Hparams(gamma=0.9),
    steps=256,
    seed=3,
    seeds=2,
    intervals=4,
    eval_episodes=2,
)
TRIALS = ({"gamma": 0.5, "objective.clip_eps": 0.1}, {"gamma": 0.8, "env.length": 2.0})
SWEEP = dataclasses.replace(SPEC, trials=TRIALS)


def series(path, spec, most=64):
    return tracking.series(spec, tracking.agents_of(path, spec), most)


def test_a_run_has_its_agents_and_their_spread(tmp_path):
    results = series(tmp_path, SPEC)
    assert [(one.name, one.kind, one.lanes) for one in results] == [
        ("iqm", "iqm", (0, 1)),
        ("seed-3", "agent", (0,)),
        ("seed-4", "agent", (1,)),
    ]
    chosen = {"algorithm": "ppo", "environment": "CartPole-v1", "objective": "ppo", "steps": 256}
    chosen |= {"hp.gamma": 0.9, "hp.objective.clip_eps": 0.2, "env.length": 0.7, "config.num_envs": 4}
    chosen |= {"config.network.hidden_sizes": "8x16"}
    for one in results:
        assert chosen.items() <= one.settings.items() and "hp.total_updates" not in one.settings
    assert [one.settings.get("seed") for one in results] == [None, 3, 4]
    assert [one.name for one in series(tmp_path, dataclasses.replace(SPEC, seeds=1))] == ["seed-3"]


def test_the_agents_of_a_sweep_have_the_values_of_their_trial(tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps({"groups": [{"trials": [0]}, {"trials": [4, 7]}]}))
    results = series(tmp_path / "group-2", SWEEP)
    assert [one.name for one in results] == [
        "trial-4-iqm",
        "trial-7-iqm",
        "trial-4-seed-3",
        "trial-4-seed-4",
        "trial-7-seed-3",
        "trial-7-seed-4",
    ]
    assert results[1].lanes == (2, 3) and results[5].lanes == (3,)
    assert (
        results[1].label == results[5].label == "gamma 0.8, length 2"
        and series(tmp_path, SPEC)[0].label == ""
    )
    logged = [[one.settings[f"hp.{name}"] for name in ("gamma", "objective.clip_eps")] for one in results]
    assert logged == [[0.5, 0.1], [0.8, 0.2], [0.5, 0.1], [0.5, 0.1], [0.8, 0.2], [0.8, 0.2]]
    lengths = [
        one.settings["env.length"] for one in series(tmp_path, dataclasses.replace(SWEEP, trials=TRIALS[1:]))
    ]
    assert lengths == [2.0] * 3
    assert tracking.agents_of(tmp_path / "group-2", SWEEP)[2] == {"trial": 7, "seed": 3}
    assert tracking.label(tmp_path / "group-2") == f"{tmp_path.name}-group-2"
    assert tracking.group(tmp_path / "group-2") == tracking.group(tmp_path) == tmp_path.name


def test_a_search_on_the_device_logs_slots_without_varied_values(tmp_path):
    search = {"slots": 2, "axes": [{"flag": "--hp.learning-rate"}]}
    results = series(tmp_path, dataclasses.replace(SPEC, search=search, seeds=1))
    assert [one.name for one in results] == ["slot-0-seed-3", "slot-1-seed-3"]
    assert all("hp.learning_rate" not in one.settings and one.settings["hp.gamma"] == 0.9 for one in results)


def test_the_seeds_of_a_discovery_are_agents(tmp_path):
    @dataclasses.dataclass
    class Spec:
        objective: str = "lpo"
        generations: int = 5
        seed: int = 3
        seeds: int = 2
        agents = 2
        lane_seeds = (3, 4)

    results = series(tmp_path, Spec())
    assert [one.name for one in results] == ["iqm", "seed-3", "seed-4"]
    assert results[0].settings == {"objective": "lpo", "generations": 5}
    assert results[1].settings == {"objective": "lpo", "generations": 5, "seed": 3}


def test_many_agents_are_left_out_with_a_warning(tmp_path, caplog):
    results = series(tmp_path, dataclasses.replace(SWEEP, seeds=100), most=4)
    assert [one.name for one in results] == ["trial-0-iqm", "trial-1-iqm", "trial-0-seed-3", "trial-0-seed-4"]
    assert "198 of 200 agents have none: see --tracked-runs" in caplog.text


@pytest.fixture
def client(monkeypatch):
    """Replaces the module `wandb`, which is an extra. Returns the arguments of the started runs."""
    begun = []

    class Run:
        def __init__(self, **arguments):
            begun.append(arguments)

        def finish(self):
            pass

    monkeypatch.setitem(sys.modules, "wandb", type("Client", (), {"init": Run}))
    return begun


def opened(path, **options):
    for sink in runs.open_sinks(path, SPEC, 0, runs.OPTIONS | options):
        sink.close()


def test_a_resumed_run_continues_its_runs_in_weights_and_biases(tmp_path, client):
    ids = []
    for name, started in (("a", "2026-01-02T03:04:05+00:00"), ("b b", "2026-01-02T03:04:05+00:00")):
        path = tmp_path / name
        path.mkdir()
        info = {"spec": SPEC.to_json(), "options": {}, "sessions": [], "started": started}
        runs.write_info(path, info)
        opened(path, wandb=True)
        opened(path, wandb=True)
        ids.append([one["id"] for one in client])
        client.clear()
    for result in ids:
        assert result[:3] == result[3:] and len(set(result)) == 3
    assert not set(ids[0]) & set(ids[1])
    assert ids[1][1] == "b-b-202601020304050000-seed-3"


def test_the_options_of_weights_and_biases(tmp_path, client):
    info = {"spec": SPEC.to_json(), "options": {}, "sessions": [], "started": "2026"}
    runs.write_info(tmp_path, info)
    opened(tmp_path, wandb=True)
    assert {one["group"] for one in client} == {tmp_path.name}
    assert {(one["project"], one["entity"], one["tags"]) for one in client} == {("jaxrl", None, None)}
    client.clear()
    opened(
        tmp_path,
        wandb=True,
        wandb_project="p",
        wandb_entity="e",
        wandb_group="g",
        wandb_tags=("s", "t"),
    )
    assert {(one["project"], one["entity"], one["group"]) for one in client} == {("p", "e", "g")}
    assert client[0]["tags"] == ["s", "t"]


def test_a_csv_file_is_written_on_request(tmp_path):
    opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
    (_, sink) = sinks = runs.open_sinks(tmp_path, SPEC, 0, runs.OPTIONS | {"csv": True})
    for one in sinks:
        one.write({"num_updates": 1, "timesteps": 32, "episode/return": [1.0, 2.0]})
        one.close()
    assert sink is not None and (tmp_path / "metrics.csv").read_text().splitlines() == [
        "num_updates,timesteps,seed,episode/return",
        "1,32,3,1.0",
        "1,32,4,2.0",
    ]


def test_no_runs_to_track_are_refused():
    with pytest.raises(ValueError, match="--tracked-runs 0 must be at least 1"):
        runs.require_extras(runs.OPTIONS | {"tracked_runs": 0})


def test_options_survive_the_file(tmp_path):
    info = {"spec": {}, "options": runs.OPTIONS | {"wandb_tags": ("s", "t")}, "sessions": []}
    runs.write_info(tmp_path, info)
    assert runs.read_info(tmp_path)["options"]["wandb_tags"] == ["s", "t"]
    assert logger.read_jsonl(tmp_path / "metrics.jsonl") == []


def test_commands_that_train_have_the_same_options_of_recording():
    """After their own ones, each once."""
    ours = [field.name for field in dataclasses.fields(tracking.Options)]
    assert list(runs.OPTIONS) == ours
    train = spec_options.train_options("ppo", "CartPole-v1", "ppo")
    for options in (train, discover.options("tabular")):
        names = [field.name for field in dataclasses.fields(options)]
        assert names[-len(ours) :] == ours and len(set(names)) == len(names)
    assert tracking.chosen(train()) == runs.OPTIONS | {"wandb_tags": ()}
