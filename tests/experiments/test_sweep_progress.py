"""The progress of a sweep, the lanes of its trials, and its files: without training anything."""

import dataclasses
import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from jaxrl.experiments import runs, search
from jaxrl.experiments.runs import per_trial, searches
from jaxrl.experiments.runs.spec import Spec
from jaxrl.experiments.studies import sweep
from jaxrl.experiments.studies.sweep import progress
from jaxrl.experiments.studies.sweep.groups import Group
from jaxrl.search.asha import Ladder

AXES = [{"flag": "--hp.gamma", "values": [], "low": 0.9, "high": 1.0, "log": False}]
ASHA = {"kind": "asha", "axes": AXES, "x": [[i / 8] for i in range(8)], "slots": 2, "eta": 2, "rungs": 2}


def spec_with(**changes):
    """A Spec with the fields that these functions read."""
    plain = dict.fromkeys(field.name for field in dataclasses.fields(Spec)) | {"trials": (), "seed": 3}
    return Spec(
        **{**plain, "steps": 100, "seeds": 2, "hparams": SimpleNamespace(total_updates=4.0), **changes}
    )


def trial(number, *per_seed, died=(), **more):
    return {"trial": number, "per_seed": list(per_seed), "died": dict(died), "first_seed": 3, **more}


# --- the best so far --------------------------------------------------------------------------------


def test_the_best_so_far_follows_the_rule_of_the_results():
    assert progress.ranked([]) is None and progress.ranked([trial(0, None, None)]) is None
    best = progress.ranked([trial(0, 1.0, 2.0), trial(1, 5.0, 4.0), trial(2, None, 9.0)])
    assert (best["trial"], best["score"]) == (2, 5.0)  # the seed without a return counts as the worst, 1
    lost = progress.ranked([trial(0, 1.0, 2.0), trial(1, 9.0, 9.0, died={3: 64, 4: 64})])
    assert (lost["trial"], lost["score"]) == (0, 1.5)
    longer = progress.ranked([trial(0, 9.0, updates=1), trial(1, 2.0, updates=2)])
    assert longer["trial"] == 1  # trained for longer, as in the results of successive halving


def test_a_line_of_progress():
    best = {"trial": 2, "score": 36.5, "values": {"--hp.learning-rate": 0.01, "--config.num-steps": 8}}
    now = progress.Now(
        "group-1 (1 of 3)", 0.25, "1k of 4k steps", "5k steps/s", "0:01 elapsed", "0:03 left", best
    )
    assert progress.line(now) == (
        " 25% of the sweep  1k of 4k steps  5k steps/s  0:03 left  group-1 (1 of 3)  "
        "best so far: 36.5, trial 2 (learning-rate 0.01, num-steps 8)"
    )
    assert "best" not in progress.line(now._replace(best=None, left=None))


def test_the_steps_of_a_sweep_are_those_of_all_programs():
    """Three trials with two seeds, another group, and the confirmation."""
    groups = [Group(spec_with(trials=({}, {}, {})), (0, 1, 2)), Group(spec_with(trials=({},)), (3,))]
    info = {"options": {"batches": 1, "confirm_seeds": 5}, "search": "grid"}
    whole = progress.whole(None, info, groups)
    assert whole.stages == [("group-1", 600.0), ("group-2", 200.0), ("confirm", 500.0)]
    info = {"options": {"batches": 3, "confirm_seeds": 0}, "search": "optuna"}
    assert [one.steps for one in progress.whole(None, info, groups[:1]).stages] == [600.0] * 3
    asha = spec_with(search=ASHA)
    info = {"options": {"batches": 1, "confirm_seeds": 0}, "search": "asha"}
    assert progress.whole(None, info, [Group(asha, ())]).stages == [("group-1", 100.0 * 4 * 4)]


def test_the_reporter_shows_the_whole(capsys):
    """Lines: the first and the last of a program; the best is known from rows, and from groups before."""
    groups = [Group(spec_with(trials=({"gamma": 0.9}, {"gamma": 0.99})), (0, 1))] * 2
    info = {"options": {"batches": 1, "confirm_seeds": 0}, "search": "grid", "trials": [(0.9,), (0.99,)]}
    info["axes"] = [search.Axis("--hp.gamma", (0.9, 0.99))]
    whole = progress.whole(None, info, groups)
    whole.finished[1] = progress.described([trial(0, 1.0, 1.0), trial(1, 7.0, 7.0)], info, groups[0])
    programs = SimpleNamespace(num_updates=10, algo=None)
    reporter = progress.reporter(whole, 1, groups[1], groups[1].spec, programs)
    reporter.status("compiling ...")
    reporter.status("compiled in 1.0 s")
    for done in (2, 4, 10):
        reporter.progress(done, 0.1, 0)
        reporter.row({"num_updates": done, "episode/return": [0.0, 0.0, done, done]})
    reporter.close()
    first, second = [line for line in capsys.readouterr().out.splitlines() if "of the sweep" in line]
    assert first.startswith(" 60% of the sweep  480 of 800 steps") and "best so far: 7, trial 1" in first
    assert second.startswith("100% of the sweep") and "best so far: 10, trial 1 (gamma 0.99)" in second
    assert "group-2 (2 of 2)" in second and whole.steps == 400.0 and whole.trained > 0


def test_the_panel_shows_the_whole_and_fits_the_terminal(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=60, height=30, color_system=None)
    monkeypatch.setattr("rich.get_console", lambda: console)
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    group = Group(spec_with(trials=({"gamma": 0.9},), algorithm="ppo", environment="Environment" * 9), (0,))
    info = {"options": {"batches": 1, "confirm_seeds": 5}, "search": "grid", "trials": [(0.9, "x" * 90)]}
    info["axes"] = [search.Axis("--hp.gamma", (0.9,)), search.Axis("--objective", ("x" * 90,))]
    whole = progress.whole(None, info, [group])
    reporter = progress.reporter(whole, 0, group, group.spec, SimpleNamespace(num_updates=10, algo=None))
    reporter.status("compiled in 1.0 s")
    reporter.progress(5, 0.1, 0)
    reporter.row({"num_updates": 5, "episode/return": [3.0, 4.0]})
    reporter.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert all(len(line) <= 60 for line in re.split("[\r\n]+", text))
    for words in ("14%", "100 of 700 steps", "group-1 (1 of 2)", "3.5, trial 0", "gamma 0.9", "left"):
        assert words in text, text


# --- searches ---------------------------------------------------------------------------------------


def ladder(**changes):
    """Eight trials in two slots with rungs after 2 and 4 updates: two have ended, two are being trained."""
    nan = np.nan
    state = {
        "trial": np.array([2, 3]),
        "began": np.array([0, 0, 2, 4, -1, -1, -1, -1]),
        "ended": np.array([2, 4, -1, -1, -1, -1, -1, -1]),
        "rung_score": np.array([[1.0, 5.0, 2.0, nan, nan, nan, nan, nan], [nan, 6.0] + [nan] * 6]),
        "per_seed": np.array([[1.0, 1.0], [6.0, 6.0], [-np.inf, 2.0]] + [[nan, nan]] * 5),
        "next": np.array(4),
    }
    return SimpleNamespace(strategy=Ladder(**(state | changes)), num_updates=np.array(5))


def test_successive_halving_ends_earlier_the_more_it_stops():
    strategy = search.make(ASHA, 4)[0]
    # Trial 2 has 1 update left, trial 3 has 3, and four trials have 4 each, in two slots.
    assert search.updates_at_most(ASHA, strategy, ladder()) == 5 + (1 + 3 + 4 * 4) // 2
    over = ladder(trial=np.array([-1, -1]), next=np.array(8))
    assert search.updates_at_most(ASHA, strategy, over) == 5  # nothing is left: 100 %
    assert strategy.num_updates == 16


def test_the_trials_of_a_search_that_have_a_score():
    found = search.scored_trials(ASHA, search.make(ASHA, 4)[0], ladder())
    assert [(one["trial"], one["per_seed"], one["updates"]) for one in found] == [
        (0, [1.0, 1.0], 2),
        (1, [6.0, 6.0], 4),
        (2, [None, 2.0], 2),
    ]
    best = progress.ranked(found)
    assert best["trial"] == 1 and search.values_at(ASHA, search.make(ASHA, 4)[1], best["x"]) == {
        "--hp.gamma": pytest.approx(0.9125)
    }


def test_the_trials_of_a_search_are_found_in_their_lanes():
    trials = [{"trial": i, "rung": rung} for i, rung in enumerate([1, 2, 1, 2, 0])]
    found = search.pieces(ASHA, 4, 2, trials)
    # Slot 0: trial 0 for 2 updates, then trial 2; slot 1: trial 1 for 4; then 3 in the first that is free.
    assert found == {
        0: [((0, 1), 0, 2)],
        1: [((2, 3), 0, 4)],
        2: [((0, 1), 2, 4)],
        3: [((0, 1), 4, 8)],
    }
    cmaes = {"kind": "cmaes", "axes": AXES, "slots": 4, "generations": 2, "x": []}
    found = search.pieces(cmaes, 10, 2, [{"trial": 5, "generation": 1}])
    assert found == {5: [((2, 3), 10, 20)]}
    pbt = {"kind": "pbt", "axes": AXES, "slots": 4, "decisions": 1, "x": [[0.0]] * 4}
    found = search.pieces(pbt, 10, 2, [{"trial": 1, "ancestry": [3, 0]}])
    assert found == {1: [((3 * 2 + 1,), 0, 5), ((1,), 5, 10)]}


def test_a_row_is_split_into_rows_of_trials(tmp_path):
    """The curve of a trial has its agents only: never a statistic over several values."""
    spec = spec_with(trials=({"learning_rate": 0.1}, {"learning_rate": 0.2}))
    row = {
        "num_updates": 4,
        "timesteps": 64,
        "episode/return": [1.0, 2.0, 3.0, None],
        "loss/policy": [0.0] * 4,
    }
    first, second = per_trial.trials_of(tmp_path, spec, [row])
    assert (first.label, second.label) == ("trial 0: learning-rate 0.1", "trial 1: learning-rate 0.2")
    assert first.rows == [{"num_updates": 4, "timesteps": 64, "episode/return": [1.0, 2.0]}]
    assert second.rows[0]["episode/return"] == [3.0, None] and per_trial.last_return(second) == 3.0


def test_the_curves_of_a_search_leave_out_rows_of_two_trials(tmp_path):
    spec = spec_with(search=ASHA)
    lines = [
        {"trial": i, "values": {"--hp.gamma": "0.9"}, "per_seed": [i, i], "steps": 100 * rung, "rung": rung}
        for i, rung in enumerate([1, 2, 1])
    ]
    (tmp_path / "search.json").write_text(json.dumps({"trials": lines, "steps": 1, "recommended": None}))
    rows = [
        {
            "num_updates": n,
            "timesteps": 50 * n,
            "episode/return": [n, n, -n, -n],
            "evaluation/return": [0.0] * 4,
        }
        for n in (1, 3, 4)
    ]
    first, second, third = per_trial.trials_of(tmp_path, spec, rows)
    points = [
        [(row["timesteps"], *row["episode/return"]) for row in one.rows] for one in (first, second, third)
    ]
    assert points[0] == [(50, 1, 1), (100, 0, 0)]  # the row of updates 2 and 3 has two trials in these lanes
    assert points[1] == [(50, -1, -1), (150, -3, -3), (200, 1, 1)]
    assert points[2] == [(100, 2, 2)]
    assert first.values == {"--hp.gamma": 0.9}
    assert not any("evaluation/return" in row for row in first.rows)


# --- files ------------------------------------------------------------------------------------------

SWEEP = {
    "command": ["jaxrl", "sweep"],
    "axes": [{"flag": "--hp.gamma", "values": [0.9, 0.99]}, {"flag": "--config.num-steps", "values": [8]}],
    "search": "grid",
    "trials": [[0.9, 8], [0.99, 8]],
    "groups": [],
    "options": {"confirm_seeds": 2, "batches": 1},
}


@pytest.fixture(scope="module")
def group():
    from jaxrl.experiments.spec_options import parse_spec, train_options

    spec = parse_spec("train", train_options, ["ppo", "CartPole-v1"])[0]
    spec = dataclasses.replace(spec, trials=({"gamma": 0.9}, {"gamma": 0.99}))
    return {"spec": spec.to_json(), "trials": [0, 1]}


def test_a_sweep_by_an_earlier_version_has_numbers_as_text(tmp_path, group):
    axes = [
        {"flag": "--hp.gamma", "values": ["0.9", "99e-2"]},
        {"flag": "--config.num-steps", "values": ["8"]},
    ]
    old = SWEEP | {"groups": [group], "axes": axes, "trials": [["0.9", "8"], ["99e-2", "8"]]}
    (tmp_path / "sweep.json").write_text(json.dumps(old))
    info, groups = sweep.read(tmp_path)
    assert info["axes"][0].values == (0.9, 0.99) and info["trials"] == [(0.9, "8"), (0.99, "8")]
    assert groups[0].trials == (0, 1) and isinstance(groups[0].spec, runs.Spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": 3}, "sweep.json: axes must be a list, not 3"),
        ({"axes": [{"flag": "--hp.gamma"}]}, "sweep.json: axes[0].values is missing"),
        ({"axes": [{"flag": "--hp.gamma", "values": ["x"]}]}, "axes[0]: has 'x' as a value of --hp.gamma"),
        ({"trials": [[0.9, 8], [0.99]]}, "must have 2 values for each trial, not 1 for 1"),
        ({"trials": [[0.9, 8], [{}, 8]]}, "sweep.json: trials[1][0] must be"),
        ({"groups": [{"spec": {}, "trials": ["a"]}]}, "groups[0].trials[0] must be an integer, not 'a'"),
        ({"groups": [{"spec": {}, "trials": [7]}]}, "has no trial 7"),
        ({"groups": []}, "must have axes and groups"),
        ({"options": {}}, "options.confirm_seeds is missing"),
        ({"search": None}, "search must be text, not null"),
    ],
)
def test_a_damaged_sweep_is_reported_with_file_and_field(change, message, tmp_path, group):
    (tmp_path / "sweep.json").write_text(json.dumps(SWEEP | {"groups": [group]} | change))
    with pytest.raises(ValueError) as error:
        sweep.read(tmp_path)
    assert message.replace("null", "None") in str(error.value).replace("null", "None")
    assert str(error.value).startswith(str(tmp_path / "sweep.json")) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "results.jsonl, line 2 is not valid JSON"),
        ('{"trial": 1}', "results.jsonl, line 2: values is missing"),
        (
            '{"trial": "a", "values": {}, "per_seed": [], "score": 1, "died": {}}',
            "line 2: trial must be an integer",
        ),
        ('{"confirms": 0, "per_seed": ["x"], "score": 1, "died": {}}', "line 2: per_seed[0] must be"),
        ('{"confirms": 0, "per_seed": [1], "score": NaN, "died": {}}', "line 2: score must be"),
    ],
)
def test_damaged_results_are_reported_with_line_and_field(line, message, tmp_path):
    good = {"trial": 0, "values": {"--hp.gamma": 0.9}, "per_seed": [1.0], "score": 1.0, "died": {}}
    (tmp_path / "results.jsonl").write_text(f"{json.dumps(good)}\n{line}\n")
    with pytest.raises(ValueError) as error:
        sweep.read_results(tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "the content must be an object"),
        ('{"trials": [], "steps": 1.5, "recommended": null}', "steps must be an integer, not 1.5"),
        ('{"trials": [{"trial": 0, "values": {"--hp.gamma": "a"}, "per_seed": [], "steps": 1}], "steps": 1, '
         '"recommended": null}', "trials[0]: has 'a' as a value of --hp.gamma"),
    ],
)  # fmt: skip
def test_a_damaged_search_is_reported_with_file_and_field(content, message, tmp_path):
    (tmp_path / "search.json").write_text(content)
    with pytest.raises(ValueError) as error:
        searches.read_search(tmp_path)
    assert message in str(error.value) and str(tmp_path / "search.json") in str(error.value)
