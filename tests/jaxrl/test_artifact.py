"""Exported policies act like the algorithm in NumPy, StableHLO, ONNX and C; files and errors."""

import functools
import re
import shutil
import subprocess
import sys
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from conftest import ROOT, run_command

import jaxrl
from jaxrl import critics, envs
from jaxrl.artifact import policy as artifacts
from jaxrl.artifact import recipe as recipes
from jaxrl.artifact.describe import bounds, describe
from jaxrl.artifact.to_c import to_c
from jaxrl.experiments import runs
from jaxrl.experiments.export_check import PLAYERS, largest_differences, of_seeds, random_case
from jaxrl.experiments.runs import artifacts as run_artifacts
from jaxrl.experiments.runs.load import load
from jaxrl.policies import NetworkConfig
from jaxrl.spaces import Box, Discrete, MultiDiscrete

VECTOR = Box(-np.inf, np.inf, (5,))
PICTURE = Box(0, 255, (6, 5, 3), np.dtype(np.uint8))
MIXED = {
    "place": (Discrete(4), MultiDiscrete((2, 3))),
    "flags": Box(False, True, (2, 3), np.dtype(bool)),
    "height": Box(-1.0, 1.0, ()),
}
ARMS = Box(np.array([-1.0, -0.5, -np.inf], np.float32), np.array([1.0, 2.0, np.inf], np.float32), (3,))
BOUNDED = Box(np.array([[-1.0, -0.5]], np.float32), np.array([[1.0, 2.0]], np.float32), (1, 2))
SMALL = {"hidden_sizes": (16, 16)}
DISTRIBUTIONS = ("c51", "qr", "iqn", "hl_gauss", "two_hot")

# Observations, actions, network; `normalize`, `masked`, and whose policy it is: `searched` that of ES and GA,
# `values` that of DQN and PQN, also `noisy` and with the
# head in the case's name, otherwise that of algorithms with a policy and a value function.
CASES = {
    "mlp": (VECTOR, Discrete(4), {}, ""),
    "mlp-relu-normalized": (VECTOR, Discrete(3), {**SMALL, "activation": "relu"}, "normalize"),
    "mlp-silu-masked": (VECTOR, Discrete(6), {**SMALL, "activation": "silu"}, "masked"),
    "mlp-gelu-multi-discrete": (VECTOR, MultiDiscrete((3, 2)), {**SMALL, "activation": "gelu"}, "masked"),
    "mlp-elu-gaussian": (VECTOR, ARMS, {**SMALL, "activation": "elu", "shared_torso": True}, "normalize"),
    "mlp-squashed": (VECTOR, BOUNDED, {**SMALL, "squash": True}, ""),
    "mixed-parts": (MIXED, {"a": Discrete(3), "b": [BOUNDED, MultiDiscrete((2, 2))]}, SMALL, "normalize"),
    "cnn": (PICTURE, Discrete(4), {"hidden_sizes": (16,), "activation": "relu"}, ""),
    "cnn-normalized-squashed": (PICTURE, BOUNDED, {**SMALL, "squash": True}, "normalize"),
    "picture-mlp": (PICTURE, Discrete(3), {**SMALL, "torso": "mlp"}, ""),
    "gru": (VECTOR, Discrete(3), {**SMALL, "memory_size": 12}, "normalize"),
    "gru-shared-gaussian": (VECTOR, ARMS, {**SMALL, "memory_size": 8, "shared_torso": True}, ""),
    "cnn-gru-masked": (PICTURE, MultiDiscrete((3, 2)), {"hidden_sizes": (8,), "memory_size": 8}, "masked"),
    "mlp-values-masked": (VECTOR, Discrete(4), {**SMALL, "layer_norm": True}, "values masked"),
    "cnn-values": (PICTURE, Discrete(4), {"hidden_sizes": (16,), "layer_norm": True}, "values"),
    "soft-moe-values": (
        PICTURE,
        Discrete(4),
        {"hidden_sizes": (8, 6), "layer_norm": True, "torso": "soft_moe", "num_experts": 5},
        "values",
    ),
    "soft-moe": (PICTURE, ARMS, {"hidden_sizes": (8,), "torso": "soft_moe"}, "normalize"),
    "soft-moe-vector-gru": (
        MIXED,
        Discrete(3),
        {**SMALL, "torso": "soft_moe", "num_experts": 3, "memory_size": 4, "layer_norm": True},
        "",
    ),
    **{
        name: (VECTOR, Discrete(4), {**SMALL, "layer_norm": True}, "values masked noisy")
        for name in DISTRIBUTIONS
    },
    "c51-soft-moe": (PICTURE, Discrete(3), {"hidden_sizes": (8,), "torso": "soft_moe"}, "values"),
    "searched-gru": (VECTOR, ARMS, {"hidden_sizes": (), "memory_size": 8}, "searched normalize"),
}


@functools.cache
def made(name):
    observation_space, action_space, network, traits = CASES[name]
    traits = {trait: True for trait in traits.split()}
    if name.partition("-")[0] in DISTRIBUTIONS:
        traits["head"] = critics.make(name.partition("-")[0], -10.0, 10.0, 7)
    return random_case(observation_space, action_space, NetworkConfig(**network), **traits)


@pytest.mark.parametrize("name", CASES)
def test_an_exported_policy_acts_as_the_algorithm(name, tmp_path):
    case = made(name)
    for form, player in PLAYERS.items():
        if form == "c" and not shutil.which("gcc"):
            continue
        assert max(largest_differences(case, player(case.recipe, tmp_path))) <= 1e-5, form


def test_the_difference_detects_a_wrong_policy(tmp_path):
    """A wrong bias, an ignored mask, a memory that is not reset."""
    case = made("cnn-gru-masked")
    step = PLAYERS["npz"](case.recipe, tmp_path)
    for wrong in (
        case._replace(outputs=case.outputs + 1e-4),
        case._replace(mask=np.ones_like(case.mask)),
        case._replace(first=np.zeros_like(case.first)),
    ):
        assert max(largest_differences(wrong, step)) > 1e-5


@pytest.mark.parametrize("head", ["two_hot", "iqn"])
def test_a_run_with_a_distributional_head_acts_as_in_its_evaluation(head, tmp_path):
    """Of both seeds: the file that training writes, and the state of the run with the algorithm's `act`."""
    options = "--seeds 2 --steps 512 --intervals 1 --eval-episodes 2 --warmup-steps 64 --hidden-sizes 8 8"
    options += " --batch-size 8 --capacity 256 --num-atoms 5 --noisy --dueling"
    run = tmp_path / "run"
    status, output = run_command(
        "train", "dqn", "CartPole-v1", *options.split(), "--head", head, "--out", run
    )
    assert status == 0, output
    spec, programs, at = load(run, False)
    agents, algo = programs.agents(at.state), runs.make(spec, programs.env)
    obs, seen = np.random.default_rng(0).normal(scale=10.0, size=(200, 4)).astype(np.float32), set()
    for lane in (0, 1):
        state = jax.tree.map(itemgetter(lane), agents)
        _, action = algo.act(state, (), jax.random.key(0), obs, np.ones(200, bool))
        exported = jaxrl.load(run, seed=lane)(obs)
        assert (np.asarray(action) == exported).mean() > 0.98
        seen |= set(exported.tolist())
    assert seen == {0, 1}


def test_damaged_points_are_reported(tmp_path):
    recipe = made("c51").recipe
    *layers, points = recipe.layers
    none = points._replace(arrays={"points": np.zeros(0, np.float32)})
    artifacts.write(tmp_path / "policy.npz", of_seeds([recipe._replace(layers=(*layers, none))]))
    with pytest.raises(ValueError, match="cannot be read as a policy"):
        jaxrl.load(tmp_path)


def test_an_image_joined_with_other_parts_is_rejected():
    parts = {"picture": PICTURE, "place": VECTOR}
    with pytest.raises(ValueError, match="it joins an image with other parts: take torso 'mlp'"):
        describe(parts, Discrete(2), NetworkConfig(), {"params": {}})


# --- load and call ---------------------------------------------------------------------------------


def test_a_single_observation_a_batch_and_memory(tmp_path):
    case = made("gru")
    artifacts.write(tmp_path / "policy.npz", of_seeds([case.recipe]))
    policy = jaxrl.load(tmp_path)
    batch = [policy(case.obs[t]) for t in (0, 1)]
    lanes = []
    for lane in (0, 1):
        policy.reset()
        lanes.append([policy(case.obs[t, lane]) for t in (0, 1)])
    assert lanes == [[actions[lane] for actions in batch] for lane in (0, 1)]
    assert np.shape(lanes[0][0]) == () and np.issubdtype(lanes[0][0].dtype, np.integer)

    policy.reset()
    policy(case.obs[0])
    remembered = policy._memory.copy()
    policy.reset(np.arange(100) < 50)
    assert not policy._memory[:50].any() and (policy._memory[50:] == remembered[50:]).all()
    with pytest.raises(ValueError, match="remembers a batch of 100, and this one has 1: call reset"):
        policy(case.obs[0, 0])


def test_structured_observations_and_actions(tmp_path):
    case = made("mixed-parts")
    artifacts.write(tmp_path / "policy.npz", of_seeds([case.recipe]))
    policy = jaxrl.load(tmp_path / "policy.npz")
    action = policy(jax.tree.map(lambda x: x[0, 0], case.obs))
    assert action["a"] == case.action["a"][0, 0]
    np.testing.assert_allclose(action["b"][0], case.action["b"][0][0, 0], atol=1e-5)
    with pytest.raises(ValueError, match="the parts obs_flags, obs_height, obs_place_0, obs_place_1"):
        policy({"height": 0.0})


def test_a_mask_applies_to_one_call(tmp_path):
    case = made("mlp")
    artifacts.write(tmp_path / "policy.npz", of_seeds([case.recipe]))
    policy = jaxrl.load(tmp_path)
    obs = case.obs[0, 0]
    best = policy(obs)
    assert policy(obs, action_mask=np.arange(4) != best) != best == policy(obs)
    with pytest.raises(ValueError, match=r"the action mask must have the shape \(4,\), not \(3,\)"):
        policy(obs, action_mask=np.ones(3))
    with pytest.raises(ValueError, match=r"obs must have the shape \[5\] or \[N, 5\], not \(4,\)"):
        policy(np.zeros(4))


def test_load_takes_the_best_seed_that_has_not_diverged(tmp_path):
    recipe = made("mlp-squashed").recipe
    layer = recipe.layers[0]
    broken = layer._replace(arrays={**layer.arrays, "bias": np.full_like(layer.arrays["bias"], np.nan)})
    broken = recipe._replace(layers=(broken, *recipe.layers[1:]))
    artifact = of_seeds([recipe, recipe, broken], scores=[1.0, 3.0, np.nan], first_seed=5)
    artifacts.write(tmp_path / "policy.npz", artifact)
    policy = jaxrl.load(tmp_path)
    assert policy.seed == 6 and policy.seeds.tolist() == [5, 6, 7] and policy.scores[1] == 3.0
    assert jaxrl.load(tmp_path, seed=5).seed == 5
    with pytest.raises(ValueError, match="there is no seed 4: the seeds are 5 to 7"):
        jaxrl.load(tmp_path, seed=4)
    with pytest.raises(ValueError, match="the agent of seed 7 has diverged"):
        jaxrl.load(tmp_path, seed=7)
    assert artifacts.to_bytes(artifacts.read(tmp_path)) == artifacts.to_bytes(artifact)


def test_load_reports_errors_in_one_line(tmp_path):
    def output(path):
        with pytest.raises(ValueError) as error:
            jaxrl.load(path)
        return str(error.value)

    assert output(tmp_path / "none").endswith("none: there is no such run")
    assert output(tmp_path).endswith("is no run: it has no run.json")
    (tmp_path / "run.json").write_text("{}")
    assert f"`jaxrl export {tmp_path}` writes it from the run's last checkpoint" in output(tmp_path)
    artifacts.write(tmp_path / "policy.npz", of_seeds([made("mlp-squashed").recipe]))
    whole = (tmp_path / "policy.npz").read_bytes()
    for damaged in (b"", b"text", whole[:2000], whole[:1500] + b"12345" + whole[1505:]):
        (tmp_path / "policy.npz").write_bytes(damaged)
        assert "cannot be read as a policy (" in output(tmp_path)


def test_load_and_export_suggest_the_same_run_of_a_sweep(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    for part in ("group-1", "confirm"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "run.json").write_text("{}")
        text = f"{tmp_path} is a sweep: give one of its runs, for example {tmp_path / part}"
        with pytest.raises(ValueError) as error:
            jaxrl.load(tmp_path)
        assert str(error.value) == text
        assert run_command("export", tmp_path) == (2, f"jaxrl: error: {text}\n")


def test_loading_imports_no_jax():
    script = "import sys, jaxrl; jaxrl.load; print([m for m in ('jax', 'flax', 'onnx') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_unsupported_exports_are_rejected():
    params = {"params": {"actor_torso": {"Dense_0": {}}, "actor_head": {}}}
    with pytest.raises(ValueError, match="not one that NetworkConfig describes"):
        describe(VECTOR, Discrete(2), NetworkConfig(), params)
    recipe = made("mlp-squashed").recipe
    half = recipe._replace(observation_parts=(recipe.observation_parts[0]._replace(dtype="float16"),))
    with pytest.raises(ValueError, match="C has no type for obs of float16: take --format onnx or stablehlo"):
        to_c(half)


# --- the command and the page ----------------------------------------------------------------------


@pytest.fixture
def cart(tmp_path, monkeypatch):
    """The folder of a run with a linear policy that balances CartPole; that of seed 2 fails immediately."""
    part = recipes.Part("obs", "box", (4,), "float32")
    action = recipes.Part("action", "discrete", (), "int32", (2,))
    plane = np.array([[0, 0.1], [0, 0.3], [0, 3], [0, 1]], np.float32)
    layer = recipes.Layer("dense", {"kernel": plane, "bias": np.zeros(2, np.float32)})
    good = recipes.Recipe(0, (part,), 0, (action,), (layer,), ((),))
    bad = good._replace(layers=(layer._replace(arrays={**layer.arrays, "kernel": -plane}),))
    folder = tmp_path / "runs" / "cartpole"
    folder.mkdir(parents=True)
    artifacts.write(folder / "policy.npz", of_seeds([good, bad], scores=[500.0, 9.0], first_seed=1))
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_example_of_the_page_balances_gymnasiums_cart_pole(cart):
    pytest.importorskip("gymnasium")
    page = (ROOT / "docs" / "export.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope = {}
    exec(compile(block, "export.md", "exec"), scope)
    assert scope["policy"].seed == 1 and scope["total"] == 500.0


def test_export_from_a_file(cart):
    status, output = run_command(
        "export", cart / "policy.npz", "--format", "c", "--seed", 2, "--out", "new/cart.h"
    )
    assert status == 0 and "new/cart.h: " in output and "seed 2 (return 9 in the last evaluation)" in output
    header = Path("new/cart.h").read_text()
    assert header.startswith("/* ") and "static inline void cart_act(const float obs[4]" in header
    assert run_command("export", cart / "policy.npz", "--seed", 2, "--out", "two.npz")[0] == 0
    assert jaxrl.load("two.npz").seeds.tolist() == [2]


def test_invalid_export_arguments_are_reported_in_one_line(cart, monkeypatch):
    file = cart / "policy.npz"
    monkeypatch.setitem(sys.modules, "onnx", None)
    Path("file").write_text("")
    for argv, words in (
        (["none"], "none: there is no such run"),
        ([cart], "is no run: it has no run.json"),
        ([file, "--format", "pt"], "'--format'. Expected one of"),
        ([file, "--format", "c", "--seed", 9], "there is no seed 9: the seeds are 1 to 2"),
        ([file, "--seed", 9], "there is no seed 9: the seeds are 1 to 2"),
        ([file, "--format", "onnx"], "--format onnx needs the extra: pip install 'jaxrl[onnx]'"),
        ([file, "--best"], "--best needs the folder of a run"),
        ([file, "--format", "c", "--out", "file/x.h"], "file"),
        (["file"], "cannot be read as a policy"),
    ):
        status, output = run_command("export", *argv)
        assert status == 2 and words in output and output.count("\n") == 1, (argv, output)
    assert sorted(path.name for path in cart.iterdir()) == ["policy.npz"]


def test_trials_keep_their_action_bounds():
    """The maximum torque is a parameter of the environment that a sweep may vary."""
    torques = np.repeat(np.float32([1.0, 3.0]), 2)
    spec = SimpleNamespace(environment="Pendulum-v1", env={}, agents=4, seeds=2)
    spec.lane_env, spec.env_of = lambda: {"max_torque": torques}, lambda lane: {"max_torque": torques[lane]}
    of_first = bounds(envs.make("Pendulum-v1", max_torque=1.0).action_space)
    ((low, high),) = run_artifacts._bounds(spec, of_first)
    assert (high == torques[:, None]).all() and (low == -high).all()
    spec.lane_env = lambda: {"dt": torques}
    assert (run_artifacts._bounds(spec, of_first)[0][1] == 1.0).all()
