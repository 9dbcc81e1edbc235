"""Sweeps: trials, number of programs, and that every trial matches the agent alone."""

import contextlib
import dataclasses
import functools
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import curve, run_command, slow_except

from jaxrl import checkpoint, logger, loop
from jaxrl.experiments import cli, runs, search, spec_options, studies
from jaxrl.experiments.commands import sweep as sweep_command
from jaxrl.experiments.runs import planning
from jaxrl.experiments.studies import sweep

SMALL = ["--config.num-envs", "4", "--config.num-epochs", "1", "--config.num-minibatches", "2"]
SMALL += ["--config.hidden-sizes", "8", "--seeds", "2", "--intervals", "4", "--eval-episodes", "2"]
SMALL += ["--env.max-steps", "50", "--steps", "320"]
RATES = "1e-3,1e-2,1e30"


def command(*argv):
    """Exit status and output of a command."""
    return run_command("sweep", "ppo", "CartPole-v1", *argv)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Three learning rates, one of them far too large, times two rollout lengths."""
    path = tmp_path_factory.mktemp("sweep") / "sweep"
    axes = ["--hp.learning-rate", RATES, "--config.num-steps", "8,16"]
    status, output = command(*SMALL, *axes, "--confirm-seeds", 2, "--out", path)
    assert status == 0, output
    return path, output


# --- trials -------------------------------------------------------------------------------------


def test_an_axis_is_values_or_a_range():
    assert sweep.axis("--hp.gamma", "0.9,0.99").values == (0.9, 0.99)
    assert sweep.axis("--hp.gamma", "0.5:1:3").values == (0.5, 0.75, 1.0)
    values = sweep.axis("--hp.learning-rate", "log:1e-4:1e-2:3").values
    np.testing.assert_allclose([float(value) for value in values], [1e-4, 1e-3, 1e-2], rtol=1e-12)
    wide = sweep.axis("--hp.learning-rate", "log:1e-4:1e-2")
    np.testing.assert_allclose([float(wide.at(u)) for u in (0.0, 0.25, 0.5)], [1e-4, 10**-3.5, 1e-3])
    assert float(sweep.axis("--hp.ent-coef", "-1:3").at(0.25)) == 0.0
    three = sweep.axis("--hp.gamma", "1,2,3")
    assert [three.at(u) for u in (0.0, 0.33, 0.34, 0.999)] == [1.0, 1.0, 2.0, 3.0]


def test_a_grid_has_every_combination_once():
    axes = [sweep.axis("--hp.gamma", "0.9,0.99"), sweep.axis("--config.num-steps", "8,16,32")]
    trials = sweep.values_at(axes, sweep.draw(axes, sweep.resolved(axes, "auto", 0), 0, seed=0))
    assert len(trials) == len(set(trials)) == 6
    assert set(trials) == {(g, n) for g in (0.9, 0.99) for n in ("8", "16", "32")}


@pytest.mark.parametrize("search", ["random", "sobol"])
def test_draws_fill_the_ranges(search):
    axes = [sweep.axis("--hp.learning-rate", "log:1e-4:1e-2"), sweep.axis("--hp.gamma", "1,2,3,4")]
    trials = sweep.values_at(axes, sweep.draw(axes, search, 256, seed=1))
    same = sweep.values_at(axes, sweep.draw(axes, search, 256, seed=1))
    assert trials == same != sweep.values_at(axes, sweep.draw(axes, search, 256, seed=2))
    shares = np.array([math.log10(float(rate)) for rate, _ in trials]) / 2 + 2
    assert shares.min() >= 0 and shares.max() < 1
    counts = np.array([[sum(number == n for _, number in trials)] for n in (1.0, 2.0, 3.0, 4.0)])
    bins = np.histogram(shares, bins=16, range=(0, 1))[0]
    if search == "sobol":  # a digital net: every interval of a sixteenth has its sixteenth
        assert set(bins) == {16} and set(counts.ravel()) == {64}
    else:  # binomial: four standard deviations
        assert abs(bins - 16).max() < 4 * 4 and abs(counts - 64).max() < 4 * 7
    wide = [sweep.axis("--hp.gamma", "0.9:1")]
    even = [value for (value,) in sweep.values_at(wide, sweep.draw(wide, search, 8, seed=1))]
    assert 0.9 <= min(even) < max(even) <= 1


def test_one_program_for_all_that_is_traced():
    words = ["--hp.gamma", "0.9,0.99", "--config.network.hidden-sizes", "8x8,16"]
    words += ["--hp.objective.clip-eps", "0.1,0.3"]
    axes, rest = sweep.axes_of([*SMALL[:4], *words])
    assert rest == SMALL[:4]

    rest = ["ppo", "CartPole-v1", *rest]
    axes = sweep.typed(axes, functools.partial(sweep_command.typed_value, rest, axes))
    assert axes[1].values == ((8, 8), (16,)) and axes[0].values == (0.9, 0.99)
    spec_of = sweep_command.spec_of(rest, axes)
    groups = sweep.grouped(axes, sweep.values_at(axes, sweep.draw(axes, "grid", 0, 0)), spec_of)
    assert [group.spec.config.network.hidden_sizes for group in groups] == [(8, 8), (16,)]
    for group in groups:
        hp = group.spec.lane_hparams()
        assert len(group.trials) == 4 and hp.gamma.shape == (group.spec.lanes,)
        tried = [(float(g), float(c)) for g, c in zip(hp.gamma[::8], hp.objective.clip_eps[::8])]
        np.testing.assert_allclose(tried, [(0.9, 0.1), (0.9, 0.3), (0.99, 0.1), (0.99, 0.3)], rtol=1e-6)
        assert runs.from_json(json.loads(json.dumps(group.spec.to_json()))) == group.spec


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "something to try"),
        ("--hp.learning-rate log:0:1", "0 < LOW < HIGH"),
        ("--hp.learning-rate 1e-2:1e-3", "LOW < HIGH"),
        ("--hp.learning-rate log:1e-4", "not a range"),
        ("--hp.learning-rate log:a:b", "not a range"),
        ("--hp.learning-rate 1e-4:1e-2:1", "at least 2"),
        ("--hp.learning-rate 1e-4:nan", "not a range"),
        ("--hp.gamma 0.9,", "missing"),
        ("--hp.gamma 0.9,0.9", "twice"),
        ("--hp.gamma 0.9,0.99 --hp.gamma 0.5,0.6", "twice"),
        ("--hp.gamma 0.9,much", "takes numbers, not 'much'"),
        ("--hp.gamma 0.9,1.5", "gamma = 1.5 must lie between 0 and 1"),
        ("--hp.gama 0.9,0.99", "--hp.gamma"),
        ("--hp.total-updates 5,6", "--steps"),
        ("--config.num-steps 8:32", "needs values"),
        ("--config.num-steps 8,x", "whole number"),
        ("--hp.learning-rate log:1e-4:1e-2 --search grid", "a grid needs values"),
        ("--hp.learning-rate log:1e-4:1e-2", "--trials"),
        ("--hp.gamma 0.9,0.99 --search grid --trials 4", "leave --trials out"),
        ("--hp.gamma 0.9,0.99 --trials -1", "negative"),
        ("--hp.gamma 0.9,0.99 --confirm-seeds -1", "negative"),
        ("--hp.gamma 0.9,0.99 --search clever", "auto"),
        ("--objective ppo,qqo", "objective"),
        ("--hp.gamma 0.9,0.99 --seeds 0", "seeds"),
        ("--hp.gamma 0.9:1 --search asha", "--trials"),
        ("--hp.gamma 0.9,0.99 --search asha --steps 64", "updates are too few"),
        ("--hp.gamma 0.9,0.99 --search asha --slots 3", "slots = 3"),
        ("--hp.gamma 0.9:1 --search pbt --trials 3", "at least 4 members"),
        ("--hp.gamma 0.9:1 --search pbt --trials 4 --decisions 0", "decisions = 0"),
        ("--hp.gamma 0.9:1 --search cmaes --trials 5", "even number"),
        ("--hp.gamma 0.9:1.1 --search pbt --trials 4", "must lie between 0 and 1"),
        ("--hp.gamma 0.9:1 --search optuna --trials 4 --generations 0", "generations"),
        ("--config.num-steps 8,16 --search asha", "--hp.* options only"),
        ("--config.num-steps 8,16 --search optuna", "varies what one program can"),
        ("--env.length 0.5:-1", "LOW < HIGH"),
        ("--env.length -1:1 --trials 2", "length"),
        ("--env.max-steps 100:200", "--env.max-steps needs values, not a range"),
        ("--hp.gamma 0.9,0.99 --chunk -1", "chunk"),
        ("--hp.gamma 0.9,1.5 --search asha --slots 1", "gamma = 1.5 must lie between 0 and 1"),
        ("--hp.gamma 0.5:1.2 --search optuna --trials 2", "must lie between 0 and 1"),
        ("--hp.gamma 0.9,0.99 --eta 3", "--eta is for --search asha, not for grid"),
        ("--hp.gamma 0.9:1 --trials 4 --search pbt --slots 2", "--slots is for --search asha"),
        ("--hp.gamma 0.9:1 --search optuna", "the number of trials is missing: give --trials"),
        ("--config.num-steps 8,16 --seeds 1 --seed 2147483645", "too large"),
        ("--hp.gamma 0.9,0.99 --seeds 1 --shard envs", "leave it out"),
        ("--env.length 0.5,b", "--env.length takes numbers"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tmp_path):
    status, output = command(*SMALL[:4], *words.split(), "--out", tmp_path / "sweep")
    assert status == 2 and message in output, output
    assert output.startswith("jaxrl: error: ") and output.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


# --- results ------------------------------------------------------------------------------------


def test_the_folder_and_the_table(swept):
    path, output = swept
    result = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    trials, again = result[:-1], result[-1]
    assert sorted(one["trial"] for one in trials) == list(range(6))
    scores = [one["score"] for one in trials if one["score"] is not None]
    assert scores == sorted(scores, reverse=True) and len(scores) >= 4
    assert again["confirms"] == trials[0]["trial"] and len(again["per_seed"]) == 2
    assert "6 trials, 12 agents, 2 program(s)" in output and "new seeds" in output
    confirmed = runs.from_json(runs.read_info(path / "confirm")["spec"])
    assert (confirmed.seed, confirmed.seeds) == (2, 2)  # not the seeds 0 and 1 that selected it
    values = trials[0]["values"]
    assert confirmed.hparams.learning_rate == float(values["--hp.learning-rate"])
    assert confirmed.config.num_steps == int(values["--config.num-steps"])


def test_the_best_trials_can_be_trained_again(swept):
    """From the folder of a group or its `config.toml`: the best of the group; from `confirm`: of all."""
    path, _ = swept
    trials = [
        one for one in map(json.loads, (path / "results.jsonl").read_text().splitlines()) if "trial" in one
    ]
    for folder, one in (
        ("confirm", trials[0]),
        *((f"group-{number}", next(x for x in trials if x["group"] == number)) for number in (1, 2)),
    ):
        for place in (path / folder, path / folder / "config.toml"):
            spec = spec_options.parse_spec("train", spec_options.train_options, ["--from", str(place)])[0]
            assert spec.hparams.learning_rate == float(one["values"]["--hp.learning-rate"])
            assert spec.config.num_steps == int(one["values"]["--config.num-steps"])
            assert (spec.seeds, spec.trials, spec.env) == (2, (), {"max_steps": 50})
    assert (
        "# The run has several trials: these are the values of the best trial."
        in (path / "group-1" / "config.toml").read_text()
    )


def test_the_winner_is_trained_by_its_file_and_by_its_line(swept):
    """`best.toml` and the line that is printed are the same configuration, that of the confirmation."""
    path, output = swept
    (line,) = [line for line in output.splitlines() if line.startswith("jaxrl train ppo CartPole-v1 ")]
    assert f"jaxrl train --from {path / 'best.toml'}" in output and "\nbest: trial " in output
    by_line, by_file = (
        spec_options.parse_spec("train", spec_options.train_options, words)[0]
        for words in (shlex.split(line)[2:], ["--from", str(path / "best.toml")])
    )
    by_folder = spec_options.parse_spec("train", spec_options.train_options, ["--from", str(path)])[0]
    assert by_line == by_file == by_folder and (by_line.seed, by_line.seeds) == (0, 2)
    confirmed = runs.from_json(runs.read_info(path / "confirm")["spec"])
    hparams = confirmed.hparams.replace(total_updates=by_line.hparams.total_updates)
    assert dataclasses.replace(confirmed, seed=0, hparams=hparams) == by_line


def test_the_line_of_the_winner_trains_the_agents_that_confirmed_it(swept, tmp_path):
    """The line itself, and `--from` the folder of the sweep: with the seeds of the confirmation, its rows."""
    path, output = swept
    (line,) = [line for line in output.splitlines() if line.startswith("jaxrl train ppo CartPole-v1 ")]
    confirmed = runs.read_info(path / "confirm")["spec"]
    for name, words in (("line", shlex.split(line)[1:]), ("folder", ["train", "--from", path])):
        status, output = run_command(*words, "--seed", 2, "--out", tmp_path / name)
        assert status == 0, output
        assert runs.read_info(tmp_path / name)["spec"] == confirmed and confirmed["seed"] == 2
        assert curve(tmp_path / name) == curve(path / "confirm") != []


def test_a_file_of_the_winner_that_was_edited_is_kept(swept):
    path, _ = swept
    text = (path / "best.toml").read_text()
    try:
        (path / "best.toml").write_text(text.replace("seeds = 2", "seeds = 64"))
        assert "which was edited, and is kept" in sweep.write_winner(path)
        assert "seeds = 64" in (path / "best.toml").read_text()
    finally:
        (path / "best.toml").write_text(text)
    assert "edited" not in sweep.write_winner(path)


def test_the_output_shows_the_whole_and_never_a_mean_over_trials(swept):
    path, output = swept
    shown = [line for line in output.splitlines() if "% of the sweep" in line]
    shares = [int(line.split("%")[0]) for line in shown]
    assert shares == sorted(shares) and shares[-1] == 100 and len(shown) >= 6
    assert all("best so far: " in line and "learning-rate" in line for line in shown[1:])
    assert "group-1: done in " in output and output.count(": return ") == 1  # of the confirmation
    best = json.loads((path / "results.jsonl").read_text().splitlines()[0])
    assert f"best so far: {best['score']:.4g}, trial {best['trial']} " in shown[-1]


def test_other_commands_show_the_winner(swept):
    """`evaluate` of a sweep is that of the confirmation; without one, of the best trial's agents."""
    path, _ = swept
    words = ["--episodes", 2, "--json"]
    (_, of_sweep), (_, of_run) = (run_command("evaluate", one, *words) for one in (path, path / "confirm"))
    assert json.loads(of_sweep) == json.loads(of_run) and len(json.loads(of_run)["per_seed"]) == 2
    labels = [label for label, _ in sweep.curves_of(path)]
    best = json.loads((path / "results.jsonl").read_text().splitlines()[0])
    assert labels[0] == f"trial {best['trial']}, fresh seeds" and len(labels) == 7
    assert labels[1].startswith(f"trial {best['trial']}: learning-rate ") and "num-steps" in labels[1]
    assert all(len(row["episode/return"]) == 2 for _, rows in sweep.curves_of(path) for row in rows)


def test_the_winner_of_a_sweep_without_confirmation_is_found_in_its_group(swept, tmp_path):
    path, _ = swept
    shutil.copytree(path, tmp_path / "sweep", ignore=shutil.ignore_patterns("confirm"))
    lines = (path / "results.jsonl").read_text().splitlines()[:-1]
    (tmp_path / "sweep" / "results.jsonl").write_text("\n".join(lines) + "\n")
    best = json.loads(lines[0])
    who = sweep.winner_of(tmp_path / "sweep")
    place = sweep.read(path)[1][best["group"] - 1].trials.index(best["trial"])
    assert who.folder.name == f"group-{best['group']}" and who.lanes == (2 * place, 2 * place + 1)
    status, output = run_command("evaluate", tmp_path / "sweep", "--episodes", 2, "--json")
    assert status == 0 and len(json.loads(output)["per_seed"]) == 2
    (tmp_path / "sweep" / "results.jsonl").unlink()
    status, output = run_command("evaluate", tmp_path / "sweep")
    assert status == 2 and "is not complete, so its best trial is not known: continue with" in output


def test_a_report_of_a_sweep_has_a_curve_for_each_trial(swept):
    from jaxrl.experiments.report import data, page

    (source,) = data.read([swept[0]])
    assert len(source.trials) == 6 and all(len(one["curve"]["per_seed"]) == 2 for one in source.trials)
    assert {type(x) for one in source.trials for x in one["values"].values()} == {float, int}
    text, _ = page.build([source], {})
    for one in source.trials:
        rate, steps = one["values"].values()
        assert f"trial {one['trial']}" in text and f"learning-rate {rate:.4g}, num-steps {steps}" in text


def test_an_existing_folder_is_refused(swept):
    path, _ = swept
    status, output = command(*SMALL, "--hp.gamma", "0.9,0.99", "--out", path)
    assert status == 2 and "choose another --out" in output


def rows_of(folder):
    return logger.read_jsonl(folder / "metrics.jsonl")


def assert_lane(row, lane, alone, other, rtol):
    for name, values in row.items():
        if isinstance(values, list) and name in alone:
            a, b = values[lane], alone[name][other]
            assert (a is None) == (b is None), name
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6, err_msg=name)


def test_a_lane_is_that_agent(swept, tmp_path):
    """Seed 1 of trial 2 (learning rate 1e-2, 8 steps) begins as `jaxrl train` with these values does."""
    path, _ = swept
    flags = [*SMALL, "--config.num-steps", "8", "--hp.learning-rate", "1e-2", "--out", str(tmp_path / "run")]
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["train", "ppo", "CartPole-v1", *flags]) == 0
    alone = rows_of(tmp_path / "run")
    assert_lane(rows_of(path / "group-1")[0], 3, alone[0], 1, rtol=1e-3)


@pytest.mark.slow
def test_a_diverged_lane_does_not_affect_others(swept, tmp_path):
    """With a learning rate of 1e30 an agent diverges: this is reported and does not affect other agents."""
    path, output = swept
    by_trial = {one["trial"]: one for one in sweep.results(path)}
    diverged = [number for number, one in by_trial.items() if one["values"]["--hp.learning-rate"] == 1e30]
    assert len(diverged) == 2
    worst = min(x for number, one in by_trial.items() if number not in diverged for x in one["per_seed"])
    for number in diverged:
        assert by_trial[number]["score"] == worst and set(by_trial[number]["died"]) == {0, 1}
        assert f"trial {number}, seed 0: diverged" in output
    assert not any(one["died"] for number, one in by_trial.items() if number not in diverged)
    # To the step: what the agent's first update makes infinite is seen in the second, if not at once.
    spent = {8: 32, 16: 64}
    for number in diverged:
        update = spent[by_trial[number]["values"]["--config.num-steps"]]
        assert set(by_trial[number]["died"].values()) <= {update, 2 * update}
    status, _ = command(*SMALL, "--hp.learning-rate", "1e-3,1e-2", "--config.num-steps", "8,16",
                        "--confirm-seeds", 0, "--out", tmp_path / "healthy")  # fmt: skip
    assert status == 0
    for group in ("group-1", "group-2"):
        with_it, without = rows_of(path / group), rows_of(tmp_path / "healthy" / group)
        for lane in range(4):
            assert_lane(with_it[0], lane, without[0], lane, rtol=1e-3)


def test_parameters_of_the_environment_are_lanes(tmp_path):
    """A pole of length 1.2 is the one that `jaxrl train` has with that length, in one program with others."""
    path = tmp_path / "sweep"
    status, output = command(*SMALL, "--env.length", "0.3,1.2", "--config.num-steps", 8, "--out", path)
    assert status == 0 and "2 trials, 4 agents, 1 program(s)" in output, output
    flags = [*SMALL, "--config.num-steps", "8", "--env.length", "1.2", "--out", str(tmp_path / "run")]
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["train", "ppo", "CartPole-v1", *flags]) == 0
    alone, first = rows_of(tmp_path / "run")[0], rows_of(path / "group-1")[0]
    assert_lane(first, 3, alone, 1, rtol=1e-3)
    assert first["loss/value"][1] != first["loss/value"][3]
    again = runs.from_json(runs.read_info(path / "confirm")["spec"])
    best = json.loads((path / "results.jsonl").read_text().splitlines()[0])
    assert again.env == {"max_steps": 50, "length": float(best["values"]["--env.length"])}


def test_a_parameter_that_shapes_the_program_is_a_group(tmp_path):
    axes = [sweep.axis("--env.max-steps", "20,30"), sweep.axis("--env.gravity", "9:10")]
    words = ["ppo", "CartPole-v1", *SMALL, "--env.gravity", "9"]
    spec = spec_options.parse_spec("sweep", sweep_command.sweep_options, words)[0]
    assert [one.traced for one in sweep.in_lanes(axes, spec)] == [False, True]


@pytest.mark.slow
def test_chunks_change_nothing_but_rounding(tmp_path):
    for chunk in (0, 1, 3):
        flags = [
            *SMALL,
            "--config.num-steps",
            "8",
            "--chunk",
            str(chunk),
            "--out",
            str(tmp_path / str(chunk)),
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            assert cli.main(["train", "ppo", "CartPole-v1", *flags]) == 0
    usual, *others = [rows_of(tmp_path / str(chunk))[0] for chunk in (0, 1, 3)]
    for row in others:
        for lane in range(2):
            assert_lane(row, lane, usual, lane, rtol=1e-3)


def test_a_dry_run_reports_memory_and_time(tmp_path):
    status, output = command(*SMALL, "--hp.gamma", "0.9,0.99", "--dry-run", "--out", tmp_path / "sweep")
    assert status == 0 and not (tmp_path / "sweep").exists()
    peak = re.search(r"memory: ([\d.]+) MB at most", output)
    times = re.search(r"training ([\d.]+) s, evaluating ([\d.]+) s, starting and saving ([\d.]+) s", output)
    assert 100 < float(peak[1]) < 4000 and all(float(seconds) < 100 for seconds in times.groups()), output


def test_the_chunk_is_the_fastest_that_fits(monkeypatch):
    words = ["ppo", "CartPole-v1", *SMALL, "--seeds", "32", "--steps", "200000"]
    spec = spec_options.parse_spec("train", spec_options.train_options, words)[0]
    assert spec.lanes * spec.steps > planning.LONG * planning.SLOW
    timings = {0: 1.0, 4: 0.9, 16: 0.5}
    monkeypatch.setattr(planning, "_seconds", lambda spec, chunk: timings.get(chunk))
    assert planning.choose_chunk(spec) == 16
    timings |= {4: 0.99, 16: 0.96}  # within what is noise
    assert planning.choose_chunk(spec) == 0
    timings[0] = 1e-6  # a short run, whatever the number is
    assert planning.choose_chunk(spec) == 0
    timings = {4: 0.99}  # neither all nor 8 or more fit: the largest half that does
    assert planning.choose_chunk(spec) == 4
    few = dataclasses.replace(spec, steps=1000)
    assert planning.choose_chunk(few) == 0


# --- search ---------------------------------------------------------------------------------------

SEARCH = [*SMALL, "--config.num-steps", "8", "--steps", "1024", "--save-every-seconds", "0"]
SEARCH += ["--eval-episodes", "0", "--confirm-seeds", "2", "--hp.learning-rate", "log:1e-4:1e-1"]
KINDS = {
    "asha": ["--trials", "8", "--slots", "2", "--eta", "2", "--rungs", "3"],
    "pbt": ["--trials", "4", "--decisions", "3"],
    "cmaes": ["--trials", "4", "--generations", "2"],
    "optuna": ["--trials", "4", "--generations", "3"],
}


# One in the ordinary suite: they share the code that saves and resumes.
@pytest.mark.parametrize("kind", slow_except(KINDS, "asha"))
def test_a_killed_search_resumes_to_the_same_result(kind, tmp_path):
    if kind in ("cmaes", "optuna"):
        pytest.importorskip({"cmaes": "evosax"}.get(kind, kind))
    words = [*SEARCH, "--search", kind, *KINDS[kind]]
    status, output = command(*words, "--out", tmp_path / "whole")
    assert status == 0, output
    path = tmp_path / "killed"
    line = ["sweep", "ppo", "CartPole-v1", *words, "--out", str(path)]
    process = subprocess.Popen([sys.executable, "-m", "jaxrl.experiments", *line], stdout=subprocess.DEVNULL)
    watched = path / ("group-2" if kind == "optuna" else "group-1")
    while not (watched / "checkpoints").exists() or not checkpoint.steps(watched / "checkpoints"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (path / "results.jsonl").exists()
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["resume", str(path)]) == 0
    assert (path / "results.jsonl").read_text() == (tmp_path / "whole" / "results.jsonl").read_text()
    assert all(part.is_complete() for part in studies.of(path).parts(path))
    *results, again = [json.loads(one) for one in (path / "results.jsonl").read_text().splitlines()]
    count = {"asha": 8, "pbt": 2, "cmaes": 8, "optuna": 12}[kind]
    assert sorted(one["trial"] for one in results) == list(range(count))
    assert all(1e-4 <= float(one["values"]["--hp.learning-rate"]) <= 1e-1 for one in results)
    assert len({one["values"]["--hp.learning-rate"] for one in results}) > count / 2
    assert again["confirms"] == {"pbt": "members", "cmaes": None}.get(kind, results[0]["trial"])
    assert len(again["per_seed"]) == 2
    expected = {"pbt": "chosen by training returns of", "cmaes": "the mean of the last generation"}
    assert expected.get(kind, "less than as best of") in output
    if kind == "asha":
        longest = max(one["steps"] for one in results)
        assert {one["steps"] for one in results} == {longest // 4, longest // 2, longest}
        assert results[0]["steps"] == longest
    if kind == "pbt":
        assert again["episodes"] == sweep.EPISODES
        assert again["per_seed"] == sweep.evaluated_again(path / "group-1", results[::-1])["per_seed"]
        for one in results:
            assert len(one["ancestry"]) == 4 and len(one["path"]["--hp.learning-rate"]) == 4
            assert one["path"]["--hp.learning-rate"][-1] == float(one["values"]["--hp.learning-rate"])


def test_asha_retrains_its_best_trial(tmp_path, monkeypatch):
    """Mean and interquartile mean over seeds disagree on which of two trials that is."""
    words = ["ppo", "CartPole-v1", *SMALL, "--seeds", "8"]
    spec = spec_options.parse_spec("sweep", sweep_command.sweep_options, words)[0]
    axes = [sweep.axis("--hp.learning-rate", "1e-3,1e-2")]
    shares = sweep.draw(axes, "grid", 0, 0)
    group = sweep.searched("asha", axes, shares, spec, sweep.options_of("asha", {}))
    sweep.create_folder(tmp_path, axes, "asha", [], [group], {"confirm_seeds": 8, "batches": 1}, [])
    scores = [[100.0] * 7 + [0.0], [95.0] * 7 + [None]]  # one has a failed seed, the other a diverged one
    trials = [
        {"trial": i, "values": {"--hp.learning-rate": rate}, "per_seed": per_seed, "steps": 320, "rung": 3}
        for i, (rate, per_seed) in enumerate(zip(("0.001", "0.01"), scores))
    ]
    (tmp_path / "group-1").mkdir()
    text = json.dumps({"trials": trials, "recommended": None, "steps": 640})
    (tmp_path / "group-1" / "search.json").write_text(text)
    assert [one["trial"] for one in sweep.results(tmp_path)] == [0, 1]
    again = sweep.confirmation(tmp_path)
    assert again.hparams.learning_rate == 0.001 and (again.seed, again.seeds, again.search) == (8, 8, None)


def test_a_search_ends_although_all_populations_diverged(tmp_path):
    """Populations that all became `nan` have no score, and the search still ends."""
    words = ["sweep", "ppo", "Pendulum-v1", *SMALL, "--config.num-steps", "8", "--steps", "320"]
    words += ["--hp.learning-rate", "log:1e20:1e30", "--search", "pbt", "--trials", "4", "--decisions", "2"]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main([*words, "--out", str(tmp_path / "dead")]) == 0
    *results, again = [json.loads(line) for line in (tmp_path / "dead" / "results.jsonl").open()]
    assert [one["score"] for one in results] == [None, None] == again["per_seed"]
    assert again["score"] is None and "chosen by training returns of –" in output.getvalue()


def test_rows_agree_on_the_update_of_a_divergence(swept):
    path, _ = swept
    rows = [row["agent/died_at"] for row in rows_of(path / "group-1")]
    assert len(rows) > 2 and all(row == rows[0] for row in rows)


def test_optuna_receives_the_scores_of_its_trials():
    pytest.importorskip("optuna")
    axes = [sweep.axis("--hp.gamma", "0:1"), sweep.axis("--hp.gae-lambda", "8e-1,0.9")]
    ask, known = search.SEARCHES["optuna"].batches.ask, np.linspace(0, 1, 40).tolist()
    tried = [({"--hp.gamma": g, "--hp.gae-lambda": 0.8}, -((g - 0.3) ** 2)) for g in known]
    asked = ask(axes, tried, 20, seed=0)
    assert asked == ask(axes, tried, 20, seed=0)
    values = [float(one["--hp.gamma"]) for one in asked]
    assert abs(np.median(values) - 0.3) < 0.15 and {one["--hp.gae-lambda"] for one in asked} <= {0.8, 0.9}


# --- stopping -----------------------------------------------------------------------------------


def final_state(folder):
    spec = runs.from_json(runs.read_info(folder)["spec"])
    at = loop.restore(runs.build(spec), folder)
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    leaves = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves((at.state, at.totals))]
    return [np.asarray(leaf).tobytes() for leaf in leaves]


LONG = [*SMALL, "--hp.learning-rate", RATES, "--config.num-steps", "8,16", "--confirm-seeds", "2"]
LONG += ["--steps", "3840", "--intervals", "12", "--save-every-seconds", "0"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "sweep"
    status, output = command(*LONG, "--out", path)
    assert status == 0, output
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_sweep_resumes_bitwise(whole, tmp_path, number):
    path = tmp_path / "stopped"
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxrl.experiments", "sweep", "ppo", "CartPole-v1", *LONG, "--out", str(path)],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    second = path / "group-2" / "metrics.jsonl"
    while len(logger.read_jsonl(second)) < 3:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert not (path / "results.jsonl").exists()
    if number == signal.SIGINT:
        assert process.returncode == 130 and f"continue with: jaxrl resume {path}\n" in output
    with contextlib.redirect_stdout(io.StringIO()):
        assert cli.main(["resume", str(path)]) == 0
    for folder in ("group-1", "group-2", "confirm"):
        assert final_state(path / folder) == final_state(whole / folder)
    assert (path / "results.jsonl").read_text() == (whole / "results.jsonl").read_text()


def test_a_corrupt_sweep_is_reported(tmp_path):
    (tmp_path / "sweep.json").write_text("{")
    with contextlib.redirect_stderr(io.StringIO()) as output:
        assert cli.main(["resume", str(tmp_path)]) == 2
    assert "sweep.json is not valid JSON" in output.getvalue() and output.getvalue().count("\n") == 1
