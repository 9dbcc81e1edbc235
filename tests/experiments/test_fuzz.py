"""Damaged files of every format are read, or refused in one line."""

import contextlib
import copy
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w
from fuzzing import Format, failures

import jaxrl
from jaxrl import checkpoint, objective_file, objectives, records, spaces
from jaxrl.algos import ppo
from jaxrl.artifact import file as policy_file
from jaxrl.artifact.describe import bounds
from jaxrl.artifact.recipe import Layer, Part, Recipe
from jaxrl.checkpoint.checksums import all_checksums
from jaxrl.experiments import config_file, plot, runs, user_files
from jaxrl.experiments.commands import watch
from jaxrl.experiments.report import data, page
from jaxrl.experiments.runs import extend, screen

SPEC = runs.Spec(
    algorithm="ppo",
    environment="CartPole-v1",
    env={"length": 0.7},
    objective="dpo",
    config=ppo.Config(num_envs=2, num_steps=4),
    hparams=ppo.Hparams(total_updates=4.0, objective=objectives.dpo().params),
    steps=32,
    seed=3,
    seeds=2,
    intervals=2,
    eval_episodes=2,
)
STATE = {"weights": jnp.arange(6.0).reshape(2, 3), "keys": jax.random.split(jax.random.key(0), 2)}


def row(update):
    values = {name: [1.5 * update, None] for name in records.RETURNS}
    values |= {"loss/policy": [0.5, 0.25], "agent/died_at": [None, 8 * update], "episode/count": [2.0, 3.0]}
    return {"num_updates": update, "timesteps": 8 * update, **values, "elapsed_seconds": 0.5}


ROWS = [row(2), row(4)]
RUN = {
    "spec": SPEC.to_json(),
    "options": {**runs.OPTIONS},
    "command": ["jaxrl", "train"],
    "versions": {"jaxrl": "0.1.0"},
    "device": {"platform": "cpu", "kind": "cpu", "count": 2},
    "git_commit": None,
    "started": "2026-01-31T00:00:00+00:00",
    "sessions": [{"num_updates": 4, "compile_seconds": 1.0, "wall_seconds": 2.0}],
    "sources": {"my@0123456789ab": {"file": "my.py", "original": "/my.py", "sha256": "0" * 64}},
    "extended": [{"from": 16}],
}
FIT = {
    "run": {"seed": 0, "seeds": 2, "steps": 32, "steps_per_update": 8, "hparams": {"total_updates": 4.0}},
    "algorithm": "mine",
    "environment": "CartPole-v1",
    "env": {"length": 0.7},
    "num_updates": 4,
    "versions": {"jax": "0.10.2"},
    "device": {"platform": "cpu", "count": 1},
    "started": "now",
}
METADATA = {
    "spec": SPEC.to_json(),
    "num_updates": 4,
    "elapsed_seconds": 1.5,
    "last": {name: ROWS[1][name] for name in ("num_updates", "timesteps", *records.RETURNS)},
}
REPORT = [
    {
        **{"report": 1, "kind": "sweep", "name": "a", "command": ["jaxrl", "sweep"], "algorithm": "ppo"},
        **{"environment": "CartPole-v1", "env": {}, "objective": "ppo", "metric": "evaluation", "steps": 64},
        **{"seed": 0, "seeds": 2, "axes": ["--hp.gamma"], "search": "pbt", "versions": {"jax": "1"}},
        **{"device": {"kind": "cpu"}, "git_commit": None, "wall_seconds": 1.0, "log_axes": [], "slots": 2},
    },
    *(
        {
            **{"trial": number, "values": {"--hp.gamma": "0.9"}, "first_seed": 0, "per_seed": [1.0, None]},
            **{"score": 1.0, "interval": [0.5, 1.5], "died": {"1": 32}, "steps": 64, "ancestry": [0, 1]},
            "path": {"--hp.gamma": [0.9, 0.8]},
            "curve": {"timesteps": [32, 64], "iqm": [1.0, 2.0], "per_seed": [[1.0, 2.0], [None, 1.0]]},
        }
        for number in range(2)
    ),
    {
        **{"confirms": "members", "values": {}, "first_seed": 0, "per_seed": [1.0, 2.0], "score": 1.5},
        **{"died": {}, "steps": 64, "episodes": 16},
    },
]
OPTIONS = {
    "algorithm": "ppo",
    "environment": "CartPole-v1",
    "objective": "ppo",
    "steps": 64,
    "seeds": 2,
    "config": {"num_envs": 2, "network": {"hidden_sizes": [8]}},
    "hp": {"gamma": 0.9, "objective": {"clip_eps": 0.1}},
    "env": {"length": 0.7},
}


def write_to(name):
    return lambda folder, text: (folder / name).write_text(text, errors="surrogatepass")


def write_rows(folder):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in ROWS))


def read_run(folder):
    write_rows(folder)
    spec = runs.from_json(runs.read_info(folder)["spec"])
    runs.check_numbers(spec)
    read_rows(folder)
    config_file.read(str(folder))


def read_rows(folder):
    """By everything that shows a folder with rows."""
    records.outcome(folder)
    about = watch.describe(folder)
    watch.state(folder, about)
    for metric in records.RETURNS:
        plot.read_curve(records.rows(folder), metric)
    screen.closing(folder, "done")
    page.build(data.read([folder]), {})


def write_rows_of_run(folder, text):
    (folder / "run.json").write_text(json.dumps(RUN))
    write_to("metrics.jsonl")(folder, text)


def make_checkpoint():
    return {"format": 1, "step": 4, "score": 1.5, "metadata": METADATA, "leaves": LEAVES, "orbax": "0.12.8"}


LEAVES = [["state['keys']", "key<fry>", [2]], ["state['weights']", "float32", [2, 3]]]


def write_checkpoint(folder, text):
    """The metadata of a checkpoint with correct checksums; its arrays are not read."""
    place = folder / "checkpoints" / "step_00000004"
    place.mkdir(parents=True, exist_ok=True)
    (place / "metadata.json").write_text(text, errors="surrogatepass")
    (place / "checksums.txt").write_bytes(all_checksums(place))
    (folder / "run.json").write_text(json.dumps(RUN))
    write_rows(folder)


def read_checkpoint(folder):
    records.rows(folder)
    checkpoint.best(folder / "checkpoints")
    extend.as_saved(SPEC.to_json(), folder)
    target = jax.eval_shape(lambda: STATE)
    try:
        checkpoint.restore(folder / "checkpoints", target, metadata={"spec": SPEC.to_json()})
    except checkpoint.CheckpointError as error:
        assert "\n" not in str(error)


def recipe():
    part = Part("obs", "box", (3,), "float32")
    layers = (
        Layer("dense", {"kernel": np.ones((2, 3, 4), np.float32), "bias": np.ones((2, 4), np.float32)}),
    )
    actions = (Part("a", "discrete", (), "int32", (2,)), Part("b", "box", (2,), "float32"))
    box = spaces.Box(-1.0, 1.0, (2,))
    pairs = [bounds(spaces.Discrete(2))[0], tuple(np.stack([x, x]) for x in bounds(box)[0])]
    return Recipe(0, (part,), {"a": 0, "b": [1]}, actions, layers, tuple(pairs))


def write_policy(folder, text):
    made = policy_file.Artifact(recipe(), np.arange(2), np.ones(2), {"algorithm": "ppo"})
    with np.load(io.BytesIO(policy_file.to_bytes(made))) as held:
        arrays = dict(held)
    np.savez(folder / "policy.npz", **{**arrays, "description": np.array(text.replace("\0", ""))})


def make_policy():
    made = policy_file.Artifact(recipe(), np.arange(2), np.ones(2), {"algorithm": "ppo"})
    with np.load(io.BytesIO(policy_file.to_bytes(made))) as held:
        return json.loads(str(held["description"]))


def read_policy(folder):
    policy = jaxrl.load(folder)
    policy(np.zeros(3, np.float32))


def make_objective():
    return {"objective": "dpo", "params": objective_file.to_json(objectives.dpo().params), "about": {"a": 1}}


def read_objective(folder):
    user_files.load_objective(folder / "objective.json")
    objective_file.load(folder / "objective.json")


def write_toml(folder, text):
    # TOML has no null, and the document is a table.
    with contextlib.suppress(TypeError, ValueError, AttributeError, RecursionError):
        text = tomli_w.dumps(json.loads(text))
    (folder / "options.toml").write_text(text, errors="surrogatepass")


def read_toml(folder):
    given = config_file.read(str(folder / "options.toml"))
    given.env("CartPole-v1"), given.weights("ppo+dpo"), given.objective("ppo")
    options = runs_options()
    config_file.applied(given, options, "CartPole-v1")


def runs_options():
    from jaxrl.experiments.spec_options import parse_spec, train_options

    if not KNOWN:
        KNOWN.append(parse_spec("train", train_options, ["ppo", "CartPole-v1"])[1])
    return copy.deepcopy(KNOWN[0])


KNOWN: list = []


# A new format is a line here.
FORMATS = {
    "run.json": Format(lambda: RUN, write_to("run.json"), read_run),
    "metrics.jsonl": Format(lambda: ROWS, write_rows_of_run, read_rows, lines=True),
    "metadata.json": Format(make_checkpoint, write_checkpoint, read_checkpoint),
    "fit.json": Format(lambda: FIT, lambda f, t: (write_rows(f), write_to("fit.json")(f, t)), read_rows),
    "report.jsonl": Format(
        lambda: REPORT,
        write_to("report.jsonl"),
        lambda folder: page.build(data.read([folder / "report.jsonl"]), {}),
        lines=True,
    ),
    "policy.npz": Format(make_policy, write_policy, read_policy),
    "objective.json": Format(make_objective, write_to("objective.json"), read_objective),
    "options.toml": Format(lambda: OPTIONS, write_toml, read_toml),
}


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused_in_one_line(name, tmp_path, caplog):
    caplog.set_level("CRITICAL", "jaxrl")
    found = failures(FORMATS[name], tmp_path, times=200, seed=1)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_much_damage(name, tmp_path, caplog):
    caplog.set_level("CRITICAL", "jaxrl")
    found = failures(FORMATS[name], tmp_path, times=2000, seed=2)
    assert not found, f"{len(found)}\n" + "\n".join(found[:20])
