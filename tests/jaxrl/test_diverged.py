"""Agents that diverged count as the worst return of all agents shown, everywhere by the same rule."""

import dataclasses
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import config_of, continuous_env, run_command
from test_report import html_of, record, sentence_of, source, text_of

from jaxrl import envs, loop, objectives, records, train
from jaxrl.algos import ALGORITHMS, fixpo
from jaxrl.discovery.family import filled
from jaxrl.experiments import reference, runs, search
from jaxrl.experiments.report import compare
from jaxrl.experiments.studies.compare import table
from jaxrl.experiments.studies.discover import comparison, spec, worlds
from jaxrl.experiments.studies.talk import game as cheap_talk
from jaxrl.experiments.studies.talk import study as talk
from jaxrl.experiments.verdict import screen
from jaxrl.search import asha
from jaxrl.statistics import bootstrap_interval, iqm
from jaxrl.types import Objective

RESULTS = reference.FILE.parent

A = [100.0 + i for i in range(10)] + [None] * 6
B = [80.0 + i for i in range(16)]


def two_methods(**others):
    return [source([record(A)]), source([record(B)], words=["--hp.gamma", "1"], **others)]


def test_a_report_counts_diverged_agents_as_the_worst_side_by_side():
    result = compare.entries(two_methods())
    (pair,) = compare.pairs(result, {"CartPole-v1": (0.0, 1.0)})
    assert (pair.first, pair.paired, pair.seeds) == ("ppo", True, 16)
    assert pair.probability.value == pytest.approx(163 / 256)  # 10 of 16 win, 6 of 16 tie with one of 16
    assert pair.difference.value == pytest.approx(9.375)
    assert pair.p == pytest.approx(0.012, abs=5e-4)
    assert "16 (6 as the worst)" in text_of(html_of(*two_methods()))


def test_a_report_and_a_comparison_agree():
    lines = [{"command": [], "trials": 1, "tune_seeds": 1}]
    for name, per_seed in (("ppo (tuned)", B), ("dpo", A)):
        ran = {"environment": "CartPole-v1", "steps": 1000, "first_seed": 0, "values": {}}
        lines.append({"method": name, "objective": name, **ran, "per_seed": per_seed, "died": {}})
    one = table.against_baseline([table.returns(lines, "CartPole-v1")])["dpo"]
    (pair,) = compare.pairs(compare.entries(two_methods()), {"CartPole-v1": (0.0, 1.0)})
    assert (one["better"].value, one["by"].value) == (pair.probability.value, pair.difference.value)
    assert one["p"] == pair.p


def test_a_diverged_agent_counts_as_the_worst_whatever_its_return():
    """With discrete actions it still acts, and the greedy action for NaN may even be good."""
    lines = [{"command": [], "trials": 1, "tune_seeds": 1}]
    for name, per_seed, died in (("ppo (tuned)", [5.0, 7.0], {}), ("dpo", [400.0, 6.0], {"0": 64})):
        ran = {"environment": "A", "steps": 1000, "first_seed": 0, "values": {}}
        lines.append({"method": name, "objective": name, **ran, "per_seed": per_seed, "died": died})
    np.testing.assert_array_equal(table.returns(lines, "A")["dpo"], [5.0, 6.0])


def test_one_agent_of_eight_makes_no_headline():
    most = source([record([500.0, *[9.3] * 7], died=range(1, 8))])
    half = "at least half of the agents of every trial diverged"
    assert sentence_of(most) == f"No score: no episode ended, or {half}."
    other = source([record([9.3] * 8, died=range(8))], words=["--hp.gamma", "1"])
    assert sentence_of(most, other).startswith("No method has a score")
    good = source([record([400.0] * 8)], words=["--hp.gamma", "1"])
    output = sentence_of(most, good)
    assert output.startswith("Best in CartPole-v1: ppo --hp.gamma 1 – IQM 400")
    assert "500" not in output


def test_trials_of_a_sweep_are_ranked_by_the_same_rule():
    """Six of eight agents at 100 and two diverged ranks below eight at 90."""
    half = record([100.0] * 4 + [None] * 4, trial=0)
    whole, low = record([90.0] * 8, trial=1), record([1.0] * 8, trial=2)
    text = text_of(html_of(source([half, whole, low], axes=["--hp.gamma"])))
    assert "Best of 3:" in text and "IQM 90 (95 % 90 to 90) over the 8 seeds" in text


def test_the_best_checkpoint_is_chosen_by_the_same_rule():
    row = {"evaluation/return": [500.0, 10.0, 30.0], "agent/died_at": [64, None, None]}
    assert records.score_of(row) == pytest.approx(50 / 3)
    assert math.isnan(records.score_of(row | {"agent/died_at": [64, 64, None]}))


def test_optuna_receives_the_worst_score_for_diverged_trials():
    """If they are excluded, the sampler does not learn where agents diverge: three quarters diverge again."""
    optuna = pytest.importorskip("optuna")
    from jaxrl.experiments.studies import sweep

    axes = [sweep.axis("--hp.learning-rate", "log:1e-5:1e-1")]
    rates = np.geomspace(1e-5, 1e-1, 32)
    # The score rises up to 1e-3, beyond which agents diverge.
    tried = [({"--hp.learning-rate": repr(float(x))}, None if x > 1e-3 else math.log10(x)) for x in rates]
    assert optuna.__version__
    asked = search.SEARCHES["optuna"].batches.ask(axes, tried, 64, seed=0)
    share = np.mean([float(one["--hp.learning-rate"]) > 1e-3 for one in asked])
    assert share < 0.4


# --- searches on the device -----------------------------------------------------------------------

SCORE = jnp.array([[10.0, 20.0], [-jnp.inf, 30.0], [4.0, 4.0], [-jnp.inf, -jnp.inf]])


def test_searches_on_the_device_count_divergence_the_same_way():
    from jaxrl.search.over import over_all

    result = over_all(SCORE, jnp.float32(4.0))
    np.testing.assert_array_equal(result, [15.0, 17.0, 4.0, 4.0])
    nothing = jnp.full((2, 2), -jnp.inf)
    np.testing.assert_array_equal(over_all(nothing, jnp.inf), [-jnp.inf] * 2)


def test_a_rung_counts_diverged_agents_as_the_worst():
    strategy = asha(np.linspace(0, 1, 4)[:, None], slots=4, agent_updates=4, eta=2, num_rungs=2)
    search_state, x = strategy.init(None, 2)
    score, alive = SCORE, jnp.isfinite(SCORE)
    alive = alive.at[1].set(True)  # of the second trial an agent has ended no episode yet
    decision = strategy.decide(None, search_state, x, score, alive, jnp.int32(2))
    np.testing.assert_array_equal(decision.strategy.rung_score[0], [15.0, 17.0, 4.0, 4.0])
    np.testing.assert_array_equal(decision.strategy.ended, [-1, -1, 2, 2])


def test_evolution_counts_diverged_agents_as_the_worst():
    pytest.importorskip("evosax")
    from jaxrl.search.over import fitness_of

    np.testing.assert_array_equal(fitness_of(SCORE), [15.0, 17.0, 4.0, 4.0])
    np.testing.assert_array_equal(fitness_of(jnp.full((3, 2), -jnp.inf)), [0.0] * 3)


# --- an objective of NaN ----------------------------------------------------------------------------


def nan_objective():
    def apply(params, log_ratio, advantages, progress):
        return log_ratio * params.clip_eps * jnp.nan

    return Objective(objectives.ppo().params, apply)


SMALL = {"num_envs": 2, "num_steps": 8, "num_epochs": 1, "num_minibatches": 1, "hidden_sizes": (4,)}


def test_an_objective_of_nan_is_noticed_with_discrete_actions():
    """The argmax of NaN is a valid action, so CartPole has a return, which must not be the score."""
    family = worlds.family(spec.World("CartPole-v1", 128, SMALL))
    key = jax.random.key(0)
    objective = nan_objective()
    score = jax.jit(lambda params: family.score(objective.apply, params, family.hparams, (), key))
    assert math.isnan(score(objective.params))


def test_objective_scores_count_the_worst_of_all_tables():
    evolved, baseline = np.array([[3.0, math.nan]]), np.array([[2.0, 1.0], [math.nan, 5.0]])
    full = comparison.filled(evolved, baseline)
    np.testing.assert_array_equal(np.concatenate(full), [[3.0, 1.0], [2.0, 1.0], [1.0, 5.0]])
    on_device = filled(jnp.array([[[3.0, jnp.nan], [1.0, 2.0]], [[jnp.nan] * 2] * 2]))  # per family
    np.testing.assert_array_equal(on_device, [[[3.0, 1.0], [1.0, 2.0]], [[0.0] * 2] * 2])


def test_a_diverged_victim_does_not_count_as_harmed():
    setting = cheap_talk.Setting("CartPole-v1", "harm", 64, 1, 4, 1, 1, 2, 0.3, 1, 0)
    scores = {"evolved": [10.0, math.nan], "random": [20.0, 30.0], "silent": [15.0, 25.0]}
    output = screen(talk.verdict_of(setting, scores))
    assert "evolved  20 " in output  # of 10 and 30, the highest return: the worst result in mode harm
    helped = screen(talk.verdict_of(dataclasses.replace(setting, mode="help"), scores))
    assert "evolved  10 " in helped


def test_diverged_victims_have_no_score(monkeypatch):
    chosen = cheap_talk.preset("ppo", "CartPole-v1")
    hparams = {**chosen.hparams, "learning_rate": 1e30}
    monkeypatch.setattr(cheap_talk, "preset", lambda *_: chosen._replace(config=SMALL, hparams=hparams))
    setting = cheap_talk.Setting("CartPole-v1", "harm", 128, 1, 4, 1, 1, 2, 0.3, 1, 0)
    game = cheap_talk.make(setting)
    assert math.isnan(jax.jit(game.score)(game.silent, jax.random.key(0)))


def test_evaluate_reports_agents_that_diverged(tmp_path):
    words = ["train", "ppo", "CartPole-v1", "--seeds", "3", "--steps", "64", "--eval-episodes", "0"]
    words += ["--config.num-envs", "2", "--config.num-steps", "8", "--config.num-minibatches", "1"]
    words += ["--config.hidden-sizes", "4", "--intervals", "1", "--env.max-steps", "20"]
    assert run_command(*words, "--out", str(tmp_path / "run"))[0] == 0
    status, plain = run_command("evaluate", str(tmp_path / "run"), "--episodes", "4")
    assert status == 0 and "diverged" not in plain
    spoil(tmp_path / "run", lane=1)
    status, output = run_command("evaluate", str(tmp_path / "run"), "--episodes", "4")
    assert status == 0 and re.search(r"per seed: \S+  diverged  \S+", output)
    results = json.loads(run_command("evaluate", str(tmp_path / "run"), "--episodes", "4", "--json")[1])
    known = [x for x in results["per_seed"] if x is not None]
    assert results["diverged"] == [1] and len(known) == 2
    assert results["mean"] == pytest.approx((sum(known) + min(known)) / 3)


def spoil(path, lane):
    """Makes the parameters of an agent NaN in the last checkpoint of a run."""
    spec = runs.from_json(runs.read_info(path)["spec"])
    programs = runs.build(spec)
    at = loop.restore(programs, path)
    params = jax.tree.map(lambda x: x.at[lane].set(jnp.nan), at.state.params)
    at = at._replace(state=at.state.replace(params=params), num_updates=at.num_updates + 1)
    loop.save(programs, path, at)


# --- which agents have diverged ----------------------------------------------------------------------


def test_parameters_are_checked_as_well_as_losses():
    one = {"w": jnp.ones(3), "steps": jnp.int32(1)}
    fine = {"loss/policy": jnp.float32(1.0), "grad/norm": jnp.float32(1.0), "episode/count": jnp.float32(0)}
    assert not train.diverged(one, fine)
    assert train.diverged({"w": jnp.array([1.0, jnp.nan])}, fine)
    assert train.diverged(one, fine | {"loss/policy": jnp.float32(jnp.inf)})
    # An update that was undone, as by FixPO, left the parameters as they were.
    undone = fine | {"loss/policy": jnp.float32(jnp.nan), "fallback/count": jnp.float32(1.0)}
    assert not train.diverged(one, undone)
    assert train.diverged({"w": jnp.array([jnp.nan])}, undone)


def test_fixpo_recovers_and_has_not_diverged():
    config = config_of(fixpo, **{**SMALL, "num_epochs": 2})  # the second pass detects it
    algo = fixpo.make(envs.make("CartPole-v1"), config)
    algo = train.watched(train.population(algo, vary_hparams=True))
    hp = train.grid(fixpo.Hparams(), learning_rate=[1e30, 1e-3])
    state, metrics = jax.jit(algo.update)(algo.init(jax.random.split(jax.random.key(0), 2), hp), hp)
    state, metrics = jax.jit(algo.update)(state, hp)
    assert metrics["fallback/count"].tolist() == [1.0, 0.0]
    assert jnp.isfinite(metrics["loss/value"]).tolist() == [False, True]
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state.params))
    assert metrics["agent/dead/count"].tolist() == [0.0, 0.0]


def test_an_agent_that_recovered_is_no_longer_listed():
    result: dict[int, int] = {}
    rows = [{"num_updates": n, "agent/died_at": list(steps)} for n, steps in
            ((1, [None, 32]), (2, [64, 64]), (4, [128, 128]))]  # fmt: skip
    assert records.first_diverged([*rows[:2], {"num_updates": 3}, rows[2]]) == {0: 128, 1: 128}
    for row in rows:
        records.keep_first(result, row)
    assert rows[-1]["agent/died_at"] == [64, 32]


# --- fixed references, and all steps --------------------------------------------------------------


def test_references_are_there_for_presets_and_in_order():
    known = reference.ranges()
    measured = [json.loads(line)["environment"] for line in (RESULTS / "presets.jsonl").open()]
    assert set(known) == set(measured)
    assert all(low < high for low, high in known.values())


def test_a_random_policy_is_measured():
    """A random walk in Catch ends under the ball in one of five columns or so."""
    result = reference.random_return("Catch-bsuite", episodes=64, seed=1)
    low = reference.ranges()["Catch-bsuite"][0]
    assert abs(result["mean"] - low) < 4 * (1 - low**2) ** 0.5 / 8
    assert result["unfinished"] == 0 and result["episodes"] == 64


@pytest.mark.parametrize("name", ALGORITHMS)
def test_steps_of_the_warm_up_are_counted(name):
    env = envs.make(continuous_env(name))
    module = ALGORITHMS[name]
    fields = {"num_envs": 4, "num_steps": 8, "num_minibatches": 1, "num_epochs": 1, "warmup_steps": 50}
    known = {field.name for field in dataclasses.fields(module.Config)}
    config = {field: value for field, value in fields.items() if field in known}
    least = 64 if "warmup_steps" in known else 0  # for a replay, in whole rollouts
    expected = least or (32 if "normalize_reward" in known else 0)  # es and ga take no steps in `init`
    algo = module.make(env, config_of(module, **config, normalize_obs=True))
    plain = module.make(env, config_of(module, **config))
    assert (algo.warmup_steps, plain.warmup_steps) == (expected, least)
    updates = train.updates_for(algo, 10 * algo.steps_per_update)
    assert train.steps_after(algo, updates) == 10 * algo.steps_per_update
    assert train.updates_for(algo, 1) == 1


@pytest.mark.slow
def test_a_run_takes_the_requested_steps(tmp_path):
    """4 environments for 8 steps before the first update, and three updates after it."""
    words = ["train", "ppo", "Pendulum-v1", "--steps", "128", "--eval-episodes", "0", "--intervals", "3"]
    words += ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-minibatches", "1"]
    words += ["--config.hidden-sizes", "4", "--config.normalize-obs"]
    status, output = run_command(*words, "--out", str(tmp_path / "run"))
    assert status == 0 and "128 steps each in 3 updates" in output
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert [row["timesteps"] for row in rows] == [64, 96, 128]


def test_the_last_line_of_a_run_has_the_interquartile_mean_and_its_interval(tmp_path):
    row = {"num_updates": 2, "timesteps": 64, "evaluation/return": [0.0, 4.0, 5.0, 99.0]}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    low, high = bootstrap_interval([0.0, 4.0, 5.0, 99.0], iqm)
    expected = f"done: return IQM 4.5 (95 % interval {low:.4g} to {high:.4g})"
    assert runs.closing(tmp_path, "done").splitlines()[0] == expected
    row |= {"agent/died_at": [None, None, None, 64]}  # the last one counts as the worst, 0
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    first = runs.closing(tmp_path, "done").splitlines()[0]
    assert first.startswith("done: return IQM 2 (95 %") and "1 of 4 agents diverged" in first
    row = {"num_updates": 2, "timesteps": 64, "episode/return": [7.0]}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert runs.closing(tmp_path, "done").splitlines()[0] == "done: return 7"
