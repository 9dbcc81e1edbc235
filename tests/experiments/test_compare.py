"""Comparisons: PPO is tuned on other seeds, every objective is a lane, and tables report the results."""

import dataclasses
import json
import math
import re

import jax
import numpy as np
import pytest
from conftest import ROOT, curve, run_command

from jaxrl import fields, loop, objective_file, objectives
from jaxrl.experiments import options as parsing
from jaxrl.experiments import reference, runs, spec_options
from jaxrl.experiments.runs import planning
from jaxrl.experiments.studies.compare import folder, methods, study, table

SMALL = ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-epochs", "2"]
SMALL += ["--config.num-minibatches", "2", "--config.hidden-sizes", "8", "--env.max-steps", "50"]
SIZES = ["--steps", "320", "--intervals", "2", "--eval-episodes", "2", "--seeds", "3", "--no-estimate"]
SIZES += ["--tune-seeds", "2", "--seed", "5"]
NAMES = ["dpo", "mdpo"]


def compare(*words, trials=3):
    words = [
        "--environments",
        "CartPole-v1",
        "--objectives",
        *NAMES,
        *SIZES,
        "--trials",
        trials,
        *words,
        *SMALL,
    ]
    return run_command("compare", *words)


def preset(environment="CartPole-v1", *words):
    return spec_options.parse_spec("compare", spec_options.train_options, ["ppo", environment, *words])[0]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare") / "compared"
    status, output = compare("--out", path)
    assert status == 0, output
    return path, output


# --- mixtures in runs -----------------------------------------------------------------------------


def test_a_mixture_is_kept_as_json():
    spec = methods.with_objective(preset(), "ppo+mdpo+policy_gradient")
    kept = json.loads(json.dumps(spec.to_json()))
    again = runs.from_json(kept)
    assert again.to_json() == spec.to_json()
    assert again.hparams.objective.parts == spec.hparams.objective.parts
    np.testing.assert_allclose(again.hparams.objective.weights, [1 / 3] * 3, rtol=1e-6)
    names = fields.numbers(again.hparams)
    assert names["objective.parts.0.clip_eps"] == 0.2 and names["objective.parts.1.anneal"] == 1.0
    assert [names[f"objective.weights.{i}"] for i in range(3)] == pytest.approx([1 / 3] * 3)
    kept["hparams"]["objective"]["weights"] = [1.0, 0.0]
    with pytest.raises(ValueError, match=r"shape \(2,\), not \(3,\)"):
        runs.from_json(kept)


def test_numbers_of_a_mixture_are_replaced_by_name():
    hparams = methods.with_objective(preset(), "ppo+dpo").hparams
    values = {"objective.weights.1": 0.75, "objective.parts.1.beta": 0.5, "gamma": 0.9}
    for new in (runs.with_values(hparams, values), traced(hparams, values)):
        np.testing.assert_allclose(new.objective.weights, [0.5, 0.75])
        assert float(new.objective.parts[1].beta) == 0.5 and float(new.objective.parts[1].alpha) == 2.0
        assert float(new.gamma) == pytest.approx(0.9) and new.objective.parts[0] == hparams.objective.parts[0]
    np.testing.assert_allclose(hparams.objective.weights, [0.5, 0.5])  # not in place
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'objective.parts.1.clip_eps'"):
        runs.with_values(hparams, {"objective.parts.1.clip_eps": 0.1})
    spec = dataclasses.replace(preset(), objective="ppo+dpo", hparams=hparams)
    with pytest.raises(ValueError, match=r"objective.parts.1.beta = -1.0 must be positive"):
        runs.check_numbers(dataclasses.replace(spec, trials=({"objective.parts.1.beta": -1.0},)))


def traced(hparams, values):
    return jax.jit(lambda values: fields.replace(hparams, values))(values)


def test_other_parts_of_a_mixture_leave_no_trace_in_a_lane():
    """Not even if they overflow: 0 times infinity would be NaN."""
    names = list(objectives.OBJECTIVES)
    mixed = runs.objective("+".join(names))
    log_ratio = np.float32([-90.0, -25.0, -1.0, 0.0, 1.0, 25.0, 90.0])
    for advantage in (-5.0, 5.0):
        a = np.full_like(log_ratio, advantage)
        for row, name in zip(np.eye(len(names), dtype=np.float32), names):
            candidate = runs.objective(name)
            params = mixed.params.replace(weights=row)
            ours, slope = value_and_slope(mixed.apply, params, log_ratio, a)
            theirs, expected = value_and_slope(candidate.apply, candidate.params, log_ratio, a)
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, err_msg=name)
            np.testing.assert_allclose(slope, expected, rtol=1e-5, err_msg=name)


def value_and_slope(apply, params, log_ratio, advantages):
    def total(l):
        value = apply(params, l, advantages, 0.5)
        return value.sum(), value

    slope, value = jax.grad(total, has_aux=True)(log_ratio)
    return value, slope


# --- trials ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("name", ["ppo", "mdpo", "policy_gradient"])
def test_trials_are_centred_on_the_preset(environment, name):
    spec = preset(environment)
    (program,) = methods.tuning(spec, [name], "sobol", 64, mixed=True)
    first, *others = program.spec.trials
    base = fields.numbers(methods.with_objective(spec, name).hparams)
    assert first == pytest.approx({key: base[key] for key in first}, rel=1e-9)
    rates = np.log([one["learning_rate"] / base["learning_rate"] for one in others]) / math.log(5.0)
    assert abs(rates).max() < 1 and abs(rates.mean()) < 0.1 and rates.std() > 0.5
    assert {one["lr_decay"] for one in others} == {0.0, 1.0}
    assert {one["ent_coef"] for one in others} == {0.0, 0.001, 0.003, 0.01, 0.03}
    if name == "ppo":
        clips = np.array([one["objective.clip_eps"] for one in others])
        assert 0.05 <= clips.min() < 0.06 and 0.7 < clips.max() <= 0.8


def test_every_objective_can_be_tuned_by_all_its_numbers():
    spec = preset()
    for name in objectives.OBJECTIVES:
        tuned = {one.name for one in methods.axes(spec, name)}
        known = {key for key in fields.numbers(methods.with_objective(spec, name).hparams) if "." in key}
        assert known <= tuned and len(tuned - known) == 3
        runs.build(methods.tuning(spec, [name], "random", 4, mixed=True)[0].spec)


def test_a_search_that_decides_on_the_way_has_a_program_for_each():
    results = methods.tuning(preset(), ["ppo", "dpo"], "asha", 16, mixed=True)
    assert [one.spec.objective for one in results] == ["ppo", "dpo"]
    assert [len(one.spec.search["x"]) for one in results] == [16, 16]
    flags = [one["flag"] for one in results[1].spec.search["axes"]]
    assert flags[-2:] == ["--hp.objective.alpha", "--hp.objective.beta"]


def test_the_first_of_equal_trials_is_best_and_longer_ones_rank_higher():
    one, two, three = ({"score": score, "objective": "ppo"} for score in (5.0, 5.0, None))
    assert methods.best_of([one, two, three]) is one
    far, near = {"score": 1.0, "steps": 100}, {"score": 2.0, "steps": 10}
    assert methods.best_of([near, far]) is far
    with pytest.raises(ValueError, match="tuning ppo: in every trial at least half of the agents diverged"):
        methods.best_of([three])


def test_methods_have_their_documented_settings():
    best = {
        "ppo": {"learning_rate": 1.0, "lr_decay": 0.0, "ent_coef": 0.5, "objective.clip_eps": 0.3},
        "dpo": {"learning_rate": 2.0, "lr_decay": 1.0, "ent_coef": 0.0, "objective.alpha": 3.0},
    }
    results = methods.reported(["ppo", "dpo", "spo"], best | {"spo": best["ppo"]}, True, own_tuning=True)
    shared = {"learning_rate": 1.0, "lr_decay": 0.0, "ent_coef": 0.5}
    assert [(one.name, one.values) for one in results[:3]] == [
        ("ppo (tuned)", best["ppo"]),
        ("dpo", shared),
        ("dpo (own tuning)", best["dpo"]),
    ]
    (program,) = methods.packed(preset(), results, "report", mixed=True)
    hp = program.spec.lane_hparams()
    assert program.spec.objective == "ppo+dpo+spo"
    np.testing.assert_array_equal(hp.objective.weights[:5], np.eye(3)[[0, 1, 1, 2, 2]])
    np.testing.assert_allclose(hp.objective.parts[0].clip_eps[:2], [0.3, 0.2])
    np.testing.assert_allclose(hp.objective.parts[1].alpha[:3], [2.0, 2.0, 3.0])
    np.testing.assert_allclose(hp.learning_rate[:3], [1.0, 1.0, 2.0])
    each = methods.packed(preset(), results, "report", mixed=False)
    assert [one.spec.objective for one in each] == ["ppo", "dpo", "spo"]
    assert [one.spec.slots for one in each] == [1, 2, 2]


# --- the command ----------------------------------------------------------------------------------


def test_contents_of_a_comparison(compared):
    path, output = compared
    plan, info = folder.read(path)
    assert "\ncomparison: CartPole-v1/tune (1 of 2) ...\n" in f"\n{output}"
    assert "\ncomparison: CartPole-v1/report (2 of 2, about 0:" in output
    assert run_command("watch", path) == (0, "complete\n")
    assert plan.objectives == ("ppo", "dpo", "mdpo") and info["device"]["platform"]
    tune = runs.from_json(runs.read_info(path / "CartPole-v1/tune")["spec"])
    report = runs.from_json(runs.read_info(path / "CartPole-v1/report")["spec"])
    assert (tune.objective, tune.slots, tune.seed, tune.seeds) == ("ppo", 3, 5, 2)
    assert (report.objective, report.slots, report.seed, report.seeds) == ("ppo+dpo+mdpo", 3, 7, 3)
    assert output.splitlines()[0].startswith("3 objective(s) in 1 environment(s): 15 agents, 2 program(s)")
    # The best trial by the rows of the tuning is what PPO has on the other seeds.
    rows = curve(path / "CartPole-v1/tune")
    last = np.array(rows[-1]["evaluation/return"]).reshape(3, 2).mean(axis=1)
    chosen = tune.trials[int(last.argmax())]
    lines = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    ours = [one for one in lines if "method" in one]
    assert [one["method"] for one in ours] == ["ppo (tuned)", "dpo", "mdpo"]
    assert ours[0]["values"] == chosen and "objective.clip_eps" not in ours[1]["values"]
    returns = curve(path / "CartPole-v1/report")[-1]["evaluation/return"]
    assert [x for one in ours for x in one["per_seed"]] == returns
    assert [one["trial"] for one in lines if "tuning" in one] == [0, 1, 2]


@pytest.mark.slow
def test_one_program_per_objective_gives_the_same_result(compared, tmp_path):
    status, output = compare("--programs", "each", "--out", tmp_path / "each")
    assert status == 0, output
    together = curve(compared[0] / "CartPole-v1/report")
    for number in range(3):
        alone = curve(tmp_path / f"each/CartPole-v1/report-{number + 1}")
        for ours, theirs in zip(together, alone, strict=True):
            for name in ("loss/policy", "loss/value", "policy/kl", "grad/norm"):
                lanes = ours[name][3 * number : 3 * number + 3]
                np.testing.assert_allclose(lanes, theirs[name], rtol=2e-3, atol=1e-5, err_msg=name)


def test_without_trials_nothing_is_tuned():
    plan = folder.Plan((preset(),), ("ppo", "spo"), 1, 4, "sobol", False, True, (), {})
    (program,) = folder.expected(plan, plan.specs[0])
    ppo, spo = program.methods
    assert [ppo.name, spo.name] == ["ppo", "spo"]
    assert program.folder == "report" and [*folder.best_of(plan, None, plan.specs[0])] == ["ppo"]
    assert ppo.values == pytest.approx(spo.values | {"objective.clip_eps": 0.2})
    assert spo.values == pytest.approx({"learning_rate": 1e-3, "lr_decay": 1.0, "ent_coef": 0.01})


def test_a_stopped_comparison_resumes_to_the_same_records(compared, tmp_path, monkeypatch):
    run, calls = loop.run, []

    def stopped(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(*arguments, **options)

    path = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run", stopped)
        status, output = compare("--out", path)
    assert status == 130 and f"jaxrl resume {path}" in output
    assert not (path / "results.jsonl").exists()
    status, output = run_command("resume", path)
    assert status == 0, output
    assert "complete already" in output  # the tuning
    records = [(where / "results.jsonl").read_text().splitlines()[1:] for where in (path, compared[0])]
    assert records[0] == records[1]
    assert run_command("resume", path)[0] == 0
    status, output = compare("--out", path)
    assert status == 2 and output.count("\n") == 2 and "is taken: continue with `jaxrl resume" in output


@pytest.mark.slow
def test_separate_tuning_by_halving(tmp_path):
    words = ["--own-tuning", "--search", "asha", "--steps", "512", "--out", tmp_path / "own"]
    status, output = compare("--objectives", "dpo", *words, trials=4)
    assert status == 0, output
    records = table.read(tmp_path / "own/results.jsonl")
    names = [one["method"] for one in records if "method" in one]
    assert names == ["ppo (tuned)", "dpo", "dpo (own tuning)"]
    tried = [one for one in records if one.get("tuning") == "dpo"]
    best = max(tried, key=lambda one: (one["steps"], one["score"]))
    assert len(tried) == 4 and best["steps"] == 512
    assert [one["values"] for one in records if one.get("method") == names[2]] == [best["values"]]
    note = " ".join(output.split())  # the lines are wrapped
    assert "(own tuning): tuned with as many trials" in note and "asha over 4 trials" in note


def test_a_dry_run_reports_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "in_a_process", lambda spec, cache: f"memory of {spec.objective}\ntime")
    status, output = compare("--dry-run", "--out", tmp_path / "none")
    assert status == 0 and not (tmp_path / "none").exists()
    assert "CartPole-v1, tune (3 x 2 agents): memory of ppo; time" in output
    assert "CartPole-v1, report (3 x 3 agents): memory of ppo+dpo+mdpo; time" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "needs environments"),
        ("--environments CartPole", "unknown environment 'CartPole'"),
        ("--environments CartPole-v1 CartPole-v1", "given twice"),
        ("--environments CartPole-v1 --objectives dppo", "unknown objective 'dppo'"),
        ("--environments CartPole-v1 --objectives ppo", "needs an objective other than ppo"),
        ("--environments CartPole-v1 --objectives dpo dpo", "given twice"),
        ("--environments CartPole-v1 --objectives dpo+spo", "mixture"),
        ("--environments CartPole-v1 --trials 0", "trials = 0"),
        ("--environments CartPole-v1 --tune-seeds 0", "tune_seeds = 0"),
        ("--environments CartPole-v1 --steps -1", "steps = -1"),
        ("--environments CartPole-v1 --seed -9", "seed = -9"),
        ("--environments CartPole-v1 --search asha --steps 512", "updates are too few"),
        ("--environments CartPole-v1 --hp.learning-rate 0", "0 < LOW < HIGH"),
        ("--environments CartPole-v1 --config.num-steps 0", "num_steps"),
        ("--environments CartPole-v1 --hp.gama 1", "--hp.gama"),
        ("--environments CartPole-v1 --sead 1", "--seed"),
        ("--environments CartPole-v1 --hp.objective.clip-eps 0.3", "--hp.objective.* cannot be set here"),
        ("--environments CartPole-v1 --objectives ta_lpo", "nothing without its weights"),
        ("--environments CartPole-v1 --objectives a/o.json b/o.json", "a/o.json is not a file"),
        ("--show missing.jsonl", "missing.jsonl"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output = run_command("compare", *words.split())
    assert status == 2 and message in output, output
    assert output.startswith("jaxrl: error: ") and output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_other_commands_read_the_folder_of_a_comparison(compared, tmp_path):
    path, output = compared
    status, shown = run_command("report", path)
    assert status == 0 and "\n".join(shown.splitlines()[:-1]) in output
    assert "<h2>CartPole-v1: " in (path / "report.html").read_text()
    assert run_command("report", path, "--out", tmp_path / "r.md")[0] == 0
    assert "| method | IQM |" in (tmp_path / "r.md").read_text()
    assert [name for name, _ in study.curves(path)] == ["ppo (tuned)", "dpo", "mdpo"]
    lanes = [row["evaluation/return"] for row in study.curves(path)[1][1]]
    assert lanes == [row["evaluation/return"][3:6] for row in curve(path / "CartPole-v1/report")]
    assert run_command("plot", path, "--out", tmp_path / "c.png")[0] == 0
    for command in ("evaluate", "render", "export"):
        status, output = run_command(command, path)
        assert status == 2 and output.count("\n") == 1
        assert f"is a comparison: give one of its runs, for example {path / 'CartPole-v1/report'}" in output
    status, output = run_command("report", path, path / "CartPole-v1/report")
    assert status == 2 and "report it alone" in output


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no", '{"command": [], "trials": 1, "tune_seeds": 1}\n3'])
def test_invalid_records_are_rejected(text, tmp_path):
    (tmp_path / "some.jsonl").write_text(text)
    status, output = run_command("compare", "--show", tmp_path / "some.jsonl")
    assert status == 2 and "holds no records of a comparison" in output and output.count("\n") == 1


def test_a_run_of_other_trials_is_refused(compared, tmp_path):
    plan, _ = folder.read(compared[0])
    (program,) = folder.tuning(plan, plan.specs[0])
    at = compared[0] / "CartPole-v1/tune"
    assert folder.spec_of(at, program).trials == program.spec.trials
    with pytest.raises(ValueError, match="that tries other settings"):
        folder.spec_of(at, program._replace(spec=dataclasses.replace(program.spec, trials=())))


def test_an_edited_comparison_is_refused(tmp_path):
    (tmp_path / "comparison.json").write_text('{"specs": []}')
    status, output = run_command("resume", tmp_path)
    assert status == 2 and "was edited" in output


# --- the tables -----------------------------------------------------------------------------------


def records(places):
    about = {"command": ["jaxrl"], "trials": 4, "tune_seeds": 2, "search": "sobol"}
    lines = [about]
    for place, held in places.items():
        for name, per_seed in held.items():
            one = {"environment": place, "method": name, "objective": name, "values": {"learning_rate": 1e-3}}
            lines.append({**one, "steps": 100, "first_seed": 2, "per_seed": per_seed, "died": {}})
    return lines


def test_escape_sequences_in_records_are_printed_as_text(tmp_path):
    lines = records({"\x1b[2JCartPole-v1": {"ppo": [1.0, 2.0], "\x1b]0;title\x07dpo": [3.0, 4.0]}})
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    status, output = run_command("compare", "--show", tmp_path / "some.jsonl")
    assert status == 0 and "\x1b" not in output and "\x07" not in output
    assert "\\x1b[2JCartPole-v1" in output and "\\x1b]0;title\\x07dpo" in output


def test_tables_are_rebuilt_from_records(compared):
    path, output = compared
    status, again = run_command("compare", "--show", path / "results.jsonl")
    assert status == 0 and again.strip() in output


def test_the_docs_on_objectives_match_the_records():
    root = ROOT
    parts = table.text(table.read(root / "experiments/results/objectives-small.jsonl")).split("\n\n")
    page = (root / "docs/objectives.md").read_text()
    assert all(part in page for part in parts[1:3]) and "500 to 500" in parts[0]
    assert table.text(table.read(root / "experiments/results/dpo-against-ppo.jsonl")) in page


def test_commands_of_the_page_on_objectives_parse(monkeypatch):
    page = (ROOT / "docs/objectives.md").read_text()
    commands = re.findall(r"^jaxrl (compare|drift|talk) ([^#\n]*)", page, re.MULTILINE)
    assert {name for name, _ in commands} == {"compare", "drift", "talk"}
    parsed = []

    def parse(options, words, prog):
        parsed.append(cli_parse(options, words, prog))
        raise ValueError("parsed")

    cli_parse = parsing.parse
    monkeypatch.setattr(parsing, "parse", parse)
    for name, words in commands:
        assert run_command(name, *words.split()) == (2, "jaxrl: error: parsed\n"), words
    assert len(parsed) == len(commands)


def test_numbers_of_the_table_match_their_headings():
    held = {"ppo (tuned)": [1.0, 2.0, 3.0, 10.0], "dpo": [2.0, 4.0, 5.0, 6.0]}
    result = table.against_baseline([table.returns(records({"A": held}), "A")])
    assert result["ppo (tuned)"]["iqm"].value == 2.5 and result["dpo"]["iqm"].value == 4.5
    wins = [(x > y) + (x == y) / 2 for x in held["dpo"] for y in held["ppo (tuned)"]]
    assert result["dpo"]["better"].value == pytest.approx(np.mean(wins))
    assert result["dpo"]["by"].value == pytest.approx(2.0)
    assert result["dpo"]["p"] == pytest.approx(1.0, abs=0.4)  # 1, 2, 2 up and 4 down


def test_agents_without_a_return_count_as_the_worst():
    held = {"ppo (tuned)": [1.0, -7.0], "dpo": [None, 3.0]}
    result = table.returns(records({"A": held}), "A")
    np.testing.assert_array_equal(result["dpo"], [-7.0, 3.0])
    with pytest.raises(ValueError, match="no agent has a return in A"):
        table.returns(records({"A": {"ppo (tuned)": [None], "dpo": [None]}}), "A")


def test_environments_are_aggregated_on_one_scale():
    one = {"ppo (tuned)": [0.0, 0.0, 0.0], "dpo": [10.0, 10.0, 10.0]}
    two = {"ppo (tuned)": [500.0, 500.0, 500.0], "dpo": [0.0, 0.0, 0.0]}
    lines = records({"CartPole-v1": one, "Acrobot-v1": two})
    # From the references, independent of the methods: 0 is a random policy, 1 PPO with its preset.
    ends = table.ranges(lines)
    assert ends["CartPole-v1"] == reference.ranges()["CartPole-v1"] and ends["CartPole-v1"][1] == 500.0
    tasks = [table.scaled(table.returns(lines, place), (0.0, high)) for place, high in
             (("CartPole-v1", 10.0), ("Acrobot-v1", 500.0))]  # fmt: skip
    result = table.against_baseline(tasks)
    assert result["dpo"]["better"].value == 0.5 and result["dpo"]["by"].value == 0.0
    output = table.text(lines)
    assert "With 3 seeds and 1 other method(s), no p in a single environment can be below 0.25." in " ".join(
        output.split()
    )
    assert "2 environments together" in output and output.count("ppo (tuned)  ") == 3
    more = table.text(records({"CartPole-v1": one, "Acrobot-v1": two, "B": one}))
    assert "2 environments together" in more and "without reference returns, and so left out: B" in more
    lines[0]["command"] = ["jaxrl", "compare", "--env.max-steps", "50"]
    assert "at least 2 need reference returns" in table.text(lines)  # those hold for the defaults alone


def test_agents_that_diverged_are_named(tmp_path):
    lines = records({"A": {"ppo (tuned)": [1.0, 2.0], "dpo": [3.0, None]}})
    lines[2]["died"] = {"3": 4096}
    output = table.text(lines)
    assert "dpo, seed 3: diverged at step 4,096, counts as the worst of all methods" in output
    lines[0]["trials"] = 1
    assert "PPO has its preset, which was not tuned here" in table.text(lines)
    (tmp_path / "r.jsonl").write_text("".join(map(table.line, lines)))
    assert table.text(table.read(tmp_path / "r.jsonl")) == table.text(lines)


def test_a_comparison_keeps_the_files_of_its_objectives(tmp_path):
    file = tmp_path / "a+b" / "mine.json"
    file.parent.mkdir()
    objective_file.save(file, "dpo", objectives.dpo(alpha=1.5).params)
    plan = folder.Plan((preset(),), ("ppo", str(file)), 1, 2, "sobol", False, True, (), {})
    folder.create(tmp_path / "compared", plan)
    file.unlink()
    kept, _ = folder.read(tmp_path / "compared")
    assert kept.objectives == ("ppo", str(tmp_path / "compared" / "mine.json"))
    assert runs.objective(kept.objectives[1]).params.alpha == 1.5
    assert methods.Method(kept.objectives[1], {}).name == "mine"
    methods.require_names(list(kept.objectives))


@pytest.mark.slow
def test_a_comparison_with_a_file_can_be_moved(tmp_path, monkeypatch):
    """Its folder contains the objectives, and no path to its original place."""
    files = [tmp_path / "a+b" / name for name in ("net.json", "mine.json")]
    files[0].parent.mkdir()
    objective_file.save(files[0], "lpo", objectives.lpo(width=4).params)
    objective_file.save(files[1], "dpo", objectives.dpo(alpha=1.5).params)
    path, moved = tmp_path / "first", tmp_path / "moved" / "b [c]"

    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run", stopped)
        status, output = compare("--objectives", *files, "--out", path, trials=1)
    assert status == 130, output
    for file in files:
        file.unlink()
    moved.parent.mkdir()
    path.rename(moved)
    status, output = run_command("resume", moved)
    assert status == 0 and "net" in output, output
    spec = runs.read_info(moved / "CartPole-v1" / "report")["spec"]
    assert spec["objective"] == "ppo+lpo+dpo" and str(tmp_path) not in json.dumps(spec)
    assert spec["hparams"]["objective"]["parts"][2]["alpha"] == 1.5
    assert run_command("evaluate", moved / "CartPole-v1" / "report", "--episodes", "2")[0] == 0
    records = (moved / "results.jsonl").read_bytes()
    assert [one.get("objective") for one in table.read(moved / "results.jsonl")[1:]][:3] == [
        "ppo",
        "net.json",
        "mine.json",
    ]
    moved.rename(tmp_path / "again")
    file = tmp_path / "again" / "CartPole-v1" / "report" / "metrics.jsonl"
    file.write_bytes(file.read_bytes().replace(b"evaluation", b"evalu\xfftion"))
    (tmp_path / "again" / "results.jsonl").unlink()
    folder.write_results(tmp_path / "again")  # from the checkpoints, even if rows were damaged
    assert (tmp_path / "again" / "results.jsonl").read_bytes() == records
