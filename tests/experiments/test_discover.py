"""Discovery: evolution improves objectives on tasks shared by pairs, and they are compared on others."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT, curve, run_command, without_devices
from flax import struct

from jaxrl import decode, objective_file, objectives
from jaxrl.discovery import distil, evolve, training
from jaxrl.discovery.family import Family, repeated, tables
from jaxrl.experiments.studies.discover import comparison, spec, tabular
from jaxrl.experiments.verdict import screen
from jaxrl.types import Objective

TINY = tabular.Config(num_states=6, num_actions=2, density=0.5, num_envs=2, num_steps=8, num_updates=2)


@struct.dataclass
class Point:
    x: jax.Array


def hill(at=3.0, noise=1000.0, name="hill"):
    """A family with one number: its score is highest at `at`; the contribution of the task is much larger."""

    def score(apply, params, hp, task, key):
        del hp, key
        return apply(params, None, None, None) + noise * task

    return Family(name, jax.random.normal, score, (), steps=1)


def evolved(families, generations=60, seeds=2, start=0.0, height=None, **config):
    height = height or (lambda x: -jnp.square(x - 3.0))
    objective = Objective(Point(jnp.array(start)), lambda params, *_: height(params.x))
    settings = evolve.Config(**{"population": 16, "tasks": 2, "learning_rate": 0.2, **config})
    discovery = evolve.make(objective, families, settings, seeds)
    state = discovery.init(jax.vmap(jax.random.key)(jnp.arange(seeds)), ())
    update = jax.jit(discovery.update)
    history = []
    for _ in range(generations):
        state, metrics = update(state, ())
        history.append(jax.device_get(metrics))
    return np.asarray(discovery.means(state).x), history


@pytest.mark.parametrize("ranks", ["centred", "pairs"])
def test_evolution_improves_whatever_the_scale_of_the_tasks(ranks):
    """The noise of a task is hundreds of times the signal: only shared tasks are comparable."""
    result, _ = evolved((hill(),), ranks=ranks)
    np.testing.assert_allclose(result, 3.0, atol=0.5)


def test_tasks_are_new_in_each_generation_and_for_each_seed():
    _, history = evolved((hill(),), generations=4, std=1e-6)
    means = np.concatenate([metrics["fitness/mean"] for metrics in history])
    assert len(set(means.tolist())) == 8


def test_families_have_equal_weight_whatever_their_scale():
    """Otherwise the family with a maximum at 3 and scores a thousand times as large would decide alone."""

    def scaled(at, height, name):
        def score(apply, params, hp, task, key):
            return -height * jnp.square(apply(params, None, None, None) - at)

        return Family(name, lambda key: (), score, (), steps=1)

    families = (scaled(3.0, 1000.0, "high"), scaled(1.0, 1.0, "low"))
    result, history = evolved(families, height=lambda x: x, generations=150)
    assert ((result > 0.9) & (result < 3.1)).all()
    high_alone, _ = evolved(families[:1], height=lambda x: x, generations=150)
    np.testing.assert_allclose(high_alone, 3.0, atol=0.2)
    assert (result < 2.8).all()
    assert {"fitness/high", "fitness/low"} <= set(history[0])


def test_candidates_that_break_their_agents_are_the_worst_and_are_counted():
    height = lambda x: jnp.where(x > 0.5, jnp.nan, x)  # noqa: E731
    result, history = evolved((hill(),), height=height, generations=80, learning_rate=0.03)
    assert (result < 0.7).all() and (result > 0.2).all()
    assert sum(metrics["fitness/broken_sum"].sum() for metrics in history) > 0
    assert all(np.isfinite(value).all() for metrics in history for value in metrics.values())


def test_pair_ranks_are_half_for_the_better_and_minus_half_for_the_worse():
    pairs = evolve.pair_ranks(np.array([1.0, 5.0, np.nan, np.nan, 2.0, 5.0, 3.0, np.nan]))
    np.testing.assert_array_equal(pairs, [-0.5, 0, -0.5, 0, 0.5, 0, 0.5, 0])


def scores(rate, config=TINY, tasks=16, objective=None):
    family = tabular.family(config, tabular.Hparams(learning_rate=rate))
    task_keys, keys = jax.random.split(jax.random.key(5), (2, tasks))
    drawn = jax.vmap(family.draw)(task_keys)
    objective = objective or objectives.ppo()
    return family, drawn, keys, partial(family.score, objective.apply, objective.params, family.hparams)


def test_scores_range_from_no_learning_to_optimal():
    _, tasks, keys, score = scores(0.0)
    np.testing.assert_allclose(jax.vmap(score)(tasks, keys), 0.0, atol=1e-4)
    longer = tabular.Config(num_states=6, num_actions=2, density=0.5, num_updates=20)
    _, tasks, keys, score = scores(0.3, longer)
    result = jax.vmap(score)(tasks, keys)
    assert (result <= 1.0 + 1e-4).all() and float(result.mean()) > 0.8


def test_an_mdp_without_reward_scores_zero():
    _, tasks, keys, score = scores(0.3, tabular.Config(num_states=6, num_updates=2, density=0.0), tasks=4)
    np.testing.assert_array_equal(jax.vmap(score)(tasks, keys), 0.0)


def test_a_batched_lifetime_matches_that_lifetime_alone():
    family, tasks, keys, score = scores(0.16)
    objective = objectives.ppo()
    rates = tabular.Hparams(learning_rate=jnp.array([0.16, 0.02]))
    hps = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, 2), rates)
    params = repeated(objective.params, 2)
    result = tables([family, family], objective.apply, params, [hps, hps], [tasks, tasks], [keys, keys])
    assert result.shape == (2, 2, 16)
    np.testing.assert_array_equal(result[0], result[1])
    alone = [score(jax.tree.map(lambda leaf: leaf[i], tasks), keys[i]) for i in (0, 7)]  # noqa: B023
    np.testing.assert_allclose(result[0, 0, np.array([0, 7])], alone, atol=1e-4)
    assert not np.allclose(result[0, 0], result[0, 1])


def test_area_under_a_curve_with_updates_without_ended_episodes():
    sums, counts = np.array([0, 6, 0, 20, 0, 0.0]), np.array([0, 2, 0, 4, 0, 0.0])
    np.testing.assert_allclose(training.area(sums, counts), np.mean([3, 3, 5, 5, 5]))
    assert np.isnan(training.area(np.zeros(3), np.zeros(3)))


@pytest.mark.slow
def test_one_exchange_between_devices_in_a_generation():
    """More than one that do not depend on each other can hang on a CPU: see `family.everywhere`."""
    code = """
import jax
from jaxrl.experiments.studies.discover import spec
from jaxrl.experiments.studies.discover.programs import build
world = spec.World("tabular", 32, {"num_envs": 2, "num_steps": 8, "num_states": 6})
other = {"num_envs": 2, "num_steps": 8, "num_epochs": 1, "num_minibatches": 1, "hidden_sizes": [4]}
worlds = (world, spec.World("probe/action", 16, other))
made = spec.Spec("lpo", 3, worlds, spec.evolve.Config(4, 2), 2, 0, 3, 1, 4, 4)
programs = build(made)
state = programs.init(made.keys)
assert jax.device_count() == 2
moves = ("all-gather(", "all-reduce(", "all-to-all(", "collective-permute(", "reduce-scatter(", "-start(")
for lowered in (programs.algo.update.lower(state, ()), programs.evaluate.lower(state, made.keys)):
    lines = lowered.compile().as_text().splitlines()
    print(sum(any(move in line for move in moves) for line in lines))
"""
    env = without_devices() | {"JAX_NUM_CPU_DEVICES": "2"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=200
    )
    assert output.stdout.split() == ["1", "1"], output.stderr[-2000:]


SMALL = "discover --steps 256 --generations 4 --population 4 --tasks 1 --width 3 --seeds 2 --eval-tasks 2"
SMALL += " --held-out 8 --intervals 2 --save-every-seconds 0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("discover") / "whole"
    status, output = run_command(*SMALL.split(), "--out", path)
    assert status == 0, output
    return path, output


def test_a_discovery_leaves_objectives_a_curve_and_a_verdict(whole):
    path, output = whole
    for seed in (0, 1):
        name, objective = objective_file.load(path / f"objective-{seed}.json")
        assert name == "ta_lpo" and objective.params.hidden.shape == (16, 3)
    rows = curve(path)
    assert [row["num_updates"] for row in rows] == [2, 4]
    assert all(len(row["evaluation/return"]) == 2 for row in rows)
    assert rows[0]["timesteps"] == 2 * 4 * 256
    result = json.loads((path / "judged.json").read_text())
    # With other training lengths than the preset's there is no transfer comparison.
    assert [entry["label"] for entry in result["worlds"]] == ["held-out tasks of tabular"]
    assert "\ncomparing in held-out tasks of tabular (1 of 1): ppo (3 of 6, about 0:" in output
    assert "best of 144" in output and "--objective" in output
    assert (path / "curves.png").exists()


def test_a_stopped_discovery_resumes_to_the_same_result(whole, tmp_path):
    path, _ = whole
    half = tmp_path / "half"
    shutil.copytree(path, half)
    shutil.rmtree(half / "checkpoints" / "step_00000004")
    for name in ("objective-0.json", "judged.json"):
        (half / name).unlink()
    status, output = run_command("watch", half, "--once")
    assert status == 0 and output.startswith("discovery: generations (1 of 2)\ndiscover ta_lpo, 2 agents\n")
    status, output = run_command("resume", half)
    assert status == 0, output
    assert run_command("watch", half) == (0, "complete\n")
    for name in ("objective-0.json", "objective-1.json"):
        one, other = (json.loads((folder / name).read_text())["params"] for folder in (half, path))
        assert one == other
    assert curve(half) == curve(path)
    verdicts = [json.loads((folder / "judged.json").read_text())["worlds"] for folder in (half, path)]
    assert verdicts[0] == verdicts[1]


def test_resuming_a_complete_discovery_reports_it(whole):
    path, output = whole
    status, again = run_command("resume", path)
    assert status == 0 and "complete already" in again
    rows = [[line for line in text.splitlines() if line.startswith("  ta_lpo")] for text in (output, again)]
    assert rows[0] == rows[1] and "seed 1" in rows[0][1]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"width": "a"}, "run.json: width must be an integer, not 'a'"),
        ({"seeds": None}, "seeds must be an integer, not None"),
        ({"evolve": {"ranks": "foo"}}, "evolve.ranks must be one of centred, pairs, not 'foo'"),
        ({"evolve": {"population": "64"}}, "evolve.population must be an integer, not '64'"),
        ({"worlds": [{"environment": "tabular", "steps": 256, "config": {"num_envs": 0}}]}, "num_envs = 0"),
        (
            {"worlds": [{"environment": "tabular", "steps": 2.5}]},
            "worlds[0].steps must be an integer",
        ),
        ({"worlds": [{"environment": "tabular", "steps": 256, "config": {"num_env": 3}}]}, "num_env"),
        ({"worlds": 3}, "edited"),
    ],
)
def test_an_edited_discovery_is_refused(edit, message, whole, tmp_path):
    info = json.loads((whole[0] / "run.json").read_text())
    info["spec"]["evolve"] |= edit.get("evolve", {})
    info["spec"] |= {name: value for name, value in edit.items() if name != "evolve"}
    (tmp_path / "run.json").write_text(json.dumps(info))
    status, output = run_command("resume", tmp_path)
    assert status == 2 and message in output and output.count("\n") == 1, output


def test_other_commands_on_the_folder_of_a_discovery(whole, tmp_path):
    path, output = whole
    for command in ("evaluate", "render", "export"):
        status, refused = run_command(command, path)
        assert status == 2 and "folder of a discovery" in refused and refused.count("\n") == 1
        assert f"--objective {path / 'objective-0.json'}" in refused
    status, shown = run_command("report", path, "--out", tmp_path / "r.html")
    assert status == 0 and "\n".join(shown.splitlines()[:-1]) in output
    assert "held-out tasks of tabular" in (tmp_path / "r.html").read_text()
    assert run_command("plot", path, "--out", tmp_path / "c.png")[0] == 0
    shutil.copy(path / "run.json", tmp_path)
    (tmp_path / "judged.json").write_text('{"count": 8, "worlds": [{"label": "a", "rows": [{"name": "b"}]}]}')
    status, refused = run_command("report", tmp_path)
    assert status == 2 and "judged.json: worlds[0].rows[0].mean is missing" in refused
    (tmp_path / "judged.json").unlink()
    status, refused = run_command("report", tmp_path)
    assert status == 2 and "nothing finished yet" in refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--preset tabularr", "unknown preset 'tabularr'; the nearest: tabular"),
        ("--objective lop", "unknown objective 'lop'; the nearest: lpo"),
        ("--population 5", "population = 5 must be even"),
        ("--population 2", "at least 4"),
        ("--tasks 0", "tasks = 0 must be at least 1"),
        ("--generations 0", "generations = 0 must be at least 1"),
        ("--std nan", "std = nan must be positive"),
        ("--learning-rate -1", "learning_rate = -1.0 must be positive"),
        ("--seeds 0", "seeds = 0"),
        ("--seed -1", "seed = -1"),
        ("--seed 19997", "seed 19997 belongs to the held-out tasks"),
        ("--objective policy_gradient", "policy_gradient has no parameters to evolve"),
        ("--environments tabular tabular", "each only once"),
        ("--held-out 1", "held_out = 1 must be at least 2"),
        ("--environments Cartpole-v1", "unknown environment 'Cartpole-v1'"),
        ("--steps 0", "steps = 0 must be at least 1"),
        ("--save-every-seconds -1", "save_every_seconds"),
        ("--environments probe/truncation --steps 64", "learns nothing"),
    ],
)
def test_inconsistent_options_are_reported_in_one_line(words, message):
    status, output = run_command("discover", *words.split())
    assert status == 2 and message in output and output.count("\n") == 1, output


@pytest.mark.slow
def test_several_environments_are_normalised_and_all_count(tmp_path, monkeypatch):
    one = {
        "ppo": comparison.Contender(comparison.annealed_ppo(), ({"lr_decay": 0.0},))
    }  # to compile fewer programs
    monkeypatch.setattr(comparison, "contenders", lambda learned, rate, entropies: one)
    words = "discover --environments CartPole-v1 tabular --steps 4096 --generations 1 --population 4"
    words += " --tasks 1 --seeds 1 --eval-tasks 2 --held-out 2 --intervals 1"
    status, output = run_command(*words.split(), "--out", tmp_path / "d")
    assert status == 0, output
    made = spec.from_json(json.loads((tmp_path / "d" / "run.json").read_text())["spec"])
    assert spec.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert all(entry.low < entry.high for entry in made.worlds) and made.worlds[0].high > 10.0
    judged = json.loads((tmp_path / "d" / "judged.json").read_text())["worlds"]
    labels = [f"held-out tasks of {name}" for name in ("CartPole-v1", "tabular")]
    assert [entry["label"] for entry in judged] == labels
    row = curve(tmp_path / "d")[0]
    assert {"fitness/CartPole-v1", "fitness/tabular"} <= set(row)


def test_the_docs_show_the_discovered_objectives():
    results = ROOT / "experiments" / "results" / "discovery"
    page = (ROOT / "docs" / "discovery.md").read_text()
    for name in ("tabular.json", "cartpole.json"):
        judged = decode.read_json(results / name, comparison.Judged)
        assert screen(comparison.verdict(judged)) in page
    assert objective_file.load(results / "ta-lpo-tabular.json")[1].params.hidden.shape == (16, 32)
    name, formula = objective_file.load(results / "ta-lpo-tabular-4-terms.json")
    for weight in formula.params.coefs[formula.params.coefs != 0.0]:
        assert f"{abs(weight):.3g}" in page, name


def test_rows_of_a_verdict_are_paired():
    generator = np.random.default_rng(0)
    ppo = generator.normal(size=400)
    row = comparison.row("mine", ppo + 0.1 + 0.01 * generator.normal(size=400), ppo)
    assert row["difference"] == pytest.approx(0.1, abs=0.01) and row["wins"] == 1.0
    assert 0.09 < row["interval"][0] < row["interval"][1] < 0.11  # unpaired it would be ten times as wide
    assert comparison.row("same", ppo, ppo)["wins"] == 0.5


def test_diverged_agents_count_as_the_worst_for_every_setting():
    def score(apply, params, hp, task, key):
        return jnp.where((hp > 1.5) & (task < 0.0), jnp.nan, hp + 0.1 * task)

    family = Family("fragile", jax.random.normal, score, (), steps=1)
    (result,) = comparison.filled(comparison.scorer(family, 64)(None, (), jnp.array([1.0, 2.0])))
    assert np.isfinite(result).all() and (result[1] == result.min()).sum() > 10
    assert result[1].max() > result[0].max()


def test_all_objectives_have_the_same_choice_of_hyperparameters(monkeypatch):
    """Otherwise a difference between two learning rates is reported as one between two objectives."""
    tried = []  # for each environment and objective the hyperparameters [K]

    def scorer(family, count):
        tried.append([])

        def scores(apply, params, hps):
            tried[-1].append(hps)
            own_optimum = 0.1 + 0.15 * (len(tried[-1]) % 2)  # of every second one the learning rate 0.25
            return np.zeros(count) - np.abs(hps.learning_rate - own_optimum)[:, None] + hps.ent_coef[:, None]

        return scores

    monkeypatch.setattr(comparison, "scorer", scorer)
    other = spec.World("tabular", 256, hparams={"learning_rate": 0.02, "value_learning_rate": 0.5})
    made = spec.Spec("lpo", 3, (spec.World("tabular", 256),), spec.evolve.Config(), 1, 0, 2, 1, 2, 2)
    means = repeated(spec.start(made).params, 2)
    result = comparison.compare(made, means, 2, {"other": other}, say=lambda text: None)

    def choices(hps):
        shared = ("learning_rate", "lr_decay", "ent_coef")
        return {tuple(float(getattr(hps, name)[k]) for name in shared) for k in range(len(hps.ent_coef))}

    home, transfer = tried
    assert len(home) == len(transfer) == 6  # two learned ones and four others
    assert all(choices(hps) == choices(home[0]) for hps in home)
    assert len(choices(home[0])) == 4 * 2 * 3
    for hps in transfer:
        np.testing.assert_allclose(hps.learning_rate, 0.02 * np.array(comparison.FACTORS), rtol=1e-5)
        np.testing.assert_allclose(hps.ent_coef, 0.03)  # the best in the home environment
        np.testing.assert_allclose(hps.value_learning_rate, 0.5)  # of this environment
    for row in result["worlds"][1]["rows"]:
        assert row.get("of", 4) == 4
    judged = decode.decode(result, comparison.Judged, "result")
    assert "lpo, seed 1" in screen(comparison.verdict(judged))


def test_the_range_of_annealed_clipping_closes():
    objective, log_ratio = comparison.annealed_ppo(), np.log(np.array([1.3, 1.05]))
    params = objective.params.replace(clip_eps=0.2, anneal=1.0)
    for progress, clip_eps in ((0.0, 0.2), (0.5, 0.1), (0.9, 0.02)):
        clipped = objectives.ppo(clip_eps)
        expected = clipped.apply(clipped.params, log_ratio, np.ones(2), progress)
        np.testing.assert_allclose(
            objective.apply(params, log_ratio, np.ones(2), progress), expected, rtol=1e-5
        )


@pytest.mark.slow
def test_a_small_discovery_outperforms_tuned_ppo(tmp_path):
    """The claim of the preset at a small size: 48 settings and three entropy bonuses of PPO."""
    words = "discover --preset tabular-small --out"
    status, output = run_command(*words.split(), tmp_path / "d")
    assert status == 0, output
    (entry,) = json.loads((tmp_path / "d" / "judged.json").read_text())["worlds"]
    best_row = entry["rows"][0]
    assert best_row["name"].startswith("ta_lpo") and best_row["interval"][0] > 0.0, output


# --- distil ---------------------------------------------------------------------------------------


def test_distillation_recovers_known_formulas():
    dpo, *_ = distil.distil(objectives.dpo(alpha=1.2, beta=0.4), [1])
    assert dpo.explained > 0.9999
    np.testing.assert_allclose((dpo.params.alpha, dpo.params.beta), (1.2, 0.4), rtol=0.02)
    _, clip = distil.distil(objectives.ppo(), [2])
    assert clip.explained > 0.9999
    assert sorted(re.findall(r"relu\([^)]*\) relu\([^)]*\)", clip.formula[5:-1])) == [
        "relu(0.8 - r) relu(-A)",
        "relu(r - 1.2) relu(A)",
    ]
    coefs = np.zeros(2 * len(objectives.TERMS), np.float32)
    coefs[2], coefs[len(objectives.TERMS) + 11] = 0.7, 1.5
    _, one, two = distil.distil(objectives.symbolic(objectives.Terms(coefs)), [1, 2])
    assert one.explained < 0.99 < two.explained
    np.testing.assert_allclose(two.params.coefs, coefs, atol=0.02)
    assert f"progress {objectives.TERMS[11]}" in two.formula


def test_slopes_match_the_drift():
    at = distil.points(64)
    drift = objectives.ta_lpo(objectives.random_drift(jax.random.key(0), True, width=4, scale=0.5))
    log_ratio, advantages, progress = (np.float64(x) for x in at)

    def f(log_ratio):
        each = [
            np.exp(x) * a - drift.apply(drift.params, jnp.array([x]), jnp.array([a]), now)[0]
            for x, a, now in zip(log_ratio, advantages, progress)
        ]
        return np.array(each)

    slow = (f(log_ratio + 1e-2) - f(log_ratio - 1e-2)) / 2e-2
    off = np.abs(np.asarray(distil.slopes(drift.apply, drift.params, *at)) - slow)
    assert np.quantile(off, 0.8) < 0.02  # elsewhere there is a kink nearby


def test_a_flat_drift_has_no_formula(tmp_path):
    with pytest.raises(ValueError, match="nothing to distil"):
        distil.distil(objectives.policy_gradient(), [1])


def test_distilling_a_file_leaves_formulas_to_train_by(whole, tmp_path):
    file, options = whole[0] / "objective-0.json", ["--terms", "1", "2", "--held-out", "8", "--out"]
    words = ["distil", file, *options, tmp_path / "f"]
    status, output = run_command(*words)
    assert status == 0, output
    assert output.count("explains") == 3 and "mean score" in output
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == [
        "objective-0-1-terms.json",
        "objective-0-2-terms.json",
        "objective-0-dpo.json",
    ]
    name, objective = objective_file.load(tmp_path / "f" / "objective-0-2-terms.json")
    assert name == "symbolic" and np.count_nonzero(objective.params.coefs) == 2
    for words, message in ((["--terms", "0"], "terms = (0,)"), (["--held-out", "1"], "held_out = 1")):
        status, output = run_command("distil", whole[0] / "objective-0.json", *words)
        assert status == 2 and message in output and output.count("\n") == 1
