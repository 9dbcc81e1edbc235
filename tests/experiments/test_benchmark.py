"""The benchmark: processes in turn, ratios, reports, another commit. No test asserts a speed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl.experiments import cli
from jaxrl.experiments.benchmark import against, measure, peers, report, results, starts, suites
from jaxrl.experiments.benchmark.driver import Entrant, Outcome, compete

# A worker that implements the protocol with the standard library only; settings make it fail.
FAKE = """
import json, sys, time
settings = json.loads(sys.argv[1])
def answer(**values):
    print("noise that is not JSON")
    print(json.dumps(values), flush=True)
if settings.get("dies") == "at once":
    raise ImportError("no such library")
answer(ready=True, compile_seconds=1.5, versions={"python": "3"}, source=__file__, notes="a fake")
asked = 0
for line in sys.stdin:
    asked += 1
    with open(settings["diary"], "a") as diary:
        diary.write(settings["name"] + " " + line)
    if settings.get("dies") == asked:
        sys.exit("I have had enough")
    if settings.get("hangs") == asked:
        time.sleep(60)
    if line.startswith("run"):
        answer(steps=settings["speed"], seconds=1.0)
    elif line.startswith("learn"):
        answer(returns=[1.0, 3.0])
    else:
        answer(**{"return": None, "trained_steps": 0, "peak_bytes": 2**20})
        break
"""


@pytest.fixture
def fake(tmp_path):
    """Makes entrants; their requests are logged in `tmp_path / "diary"`."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)

    def make(name, speed=100, **settings):
        settings |= {"name": name, "speed": speed, "diary": str(tmp_path / "diary")}
        return Entrant(name, Path(sys.executable), script, settings)

    return make


def measured(*speeds, **fields):
    """An outcome with these speeds."""
    return Outcome(repeats=[v and {"steps": v, "seconds": 1.0} for v in speeds], **fields)


# --- the driver --------------------------------------------------------------------------------


def test_contenders_take_turns_and_the_first_of_a_round_changes(fake, tmp_path):
    outcomes = compete([fake("a", 300), fake("b", 100)], repeats=3, limit=20, learn_steps=7)
    assert (tmp_path / "diary").read_text().splitlines() == [
        *("a run", "b run", "b run", "a run", "a run", "b run"),
        *("a learn 7", "a finish", "b learn 7", "b finish"),
    ]
    assert outcomes["a"].speeds == [300, 300, 300] and outcomes["a"].returns == [1.0, 3.0]
    assert outcomes["b"].finish["peak_bytes"] == 2**20 and outcomes["b"].failed is None


def test_a_contender_that_crashes_or_hangs_is_excluded(fake):
    entrants = [
        fake("early", dies="at once"),
        fake("dying", dies=2),
        fake("hanging", hangs=1),
        fake("well", 100),
    ]
    outcomes = compete(entrants, repeats=3, limit=2)
    assert "no such library" in outcomes["early"].failed and outcomes["early"].repeats == [None] * 3
    assert outcomes["dying"].failed == "I have had enough" and outcomes["dying"].speeds == [100, None, None]
    assert outcomes["hanging"].failed == "no answer within 2 s"
    assert outcomes["well"].failed is None and outcomes["well"].speeds == [100] * 3


def test_a_package_from_another_location_is_not_measured(fake, tmp_path):
    entrant = fake("ours")._replace(source=tmp_path / "another")
    assert "instead of" in compete([entrant], repeats=1, limit=20)["ours"].failed


# --- numbers and reports -----------------------------------------------------------------------


def test_ratios_are_computed_within_rounds():
    result = report.ratios([200.0, 300.0, 100.0, None], [100.0, 100.0, None, 50.0], seconds=False)
    assert result == report.Spread(2.5, 2.0, 3.0)
    assert report.ratios([2.0], [5.0], seconds=True).median == 2.5  # less is better
    assert report.ratios([None], [5.0], seconds=False) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "0.0123"),
        (4.567, "4.57"),
        (12.345, "12.3"),
        (999.9, "1.00k"),
        (173_400, "173k"),
        (2e6, "2.00M"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert report.number(value) == text


RESULTS = {
    "CartPole-v1": {
        "ours": measured(2000, 3000, finish={"peak_bytes": 2**21}, returns=[490.0, 500.0, 480.0]),
        "peer": measured(1000, 1000, ready={"compile_seconds": 2.0, "notes": "through a shim"}),
        "slow": measured(10, 20),
        "gone": Outcome(failed="not available: no network"),
    }
}


def test_the_table_reports_the_results():
    result = report.rows(RESULTS)
    text = report.markdown(result, False, ["a note"])
    for words in (
        "2.50k (2.00k to 3.00k)",
        "2.50 (2.00 to 3.00)",
        "490 (480 to 500)",
        "not available",
        "a note",
    ):
        assert words in text
    assert "* gone: not available: no network" in text and "* peer: through a shim" in text


def test_results_are_written(tmp_path, capsys):
    facts = results.provenance("train", ["train"], RESULTS, None)
    results.write(tmp_path, "train", RESULTS, facts, {"CartPole-v1": {"agents": 1}}, False)
    record = json.loads((tmp_path / "result.json").read_text())
    assert (
        record["command"] == ["jaxrl", "benchmark", "train"] and record["machine"]["cores"] == os.cpu_count()
    )
    (case,) = record["cases"]
    assert case["settings"] == {"agents": 1} and case["contenders"]["peer"]["values"] == [1000, 1000]
    assert case["contenders"]["peer"]["times_as_fast_as_it"]["median"] == 2.5
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert "peer" in (tmp_path / "table.md").read_text() and "peer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("before", "limit", "status"), [(2000, 1.5, 0), (2000, 1.6, 1), (None, 1.5, 1), (2000, None, 0)]
)
def test_the_guard_fails_on_a_slowdown(before, limit, status):
    result = {"a": {"ours": measured(3000, 3000), "ours@abc": measured(before, before)}}
    assert results.status(result, limit, False) == status


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["tain"], "train"),
        (["train", "--contenders", "rejxa"], "rejax"),
        (["train", "--repeats", "0"], "at least 1"),
        (["train", "--seconds", "0"], "positive"),
        (["train", "--learn-steps", "-1"], "0 leaves it out"),
        (["train", "--env", "CartPole-v0"], "CartPole-v1"),
        (["train", "--num-envs", "0"], "at least 1"),
        (["population", "--agents", "64", "0"], "at least 1"),
        (["envs", "--envs", "CartPole"], "CartPole-v1"),
        (["envs", "--num-envs", "64", "0"], "num_envs = 0 must be at least 1"),
        (["envs", "--num-envs"], "--num_envs has no value"),
        (["train", "--fail-below", "0.9"], "--against"),
        (["train", "--agents", "3"], "--agents"),
        (["train", "--env", "Breakout-MinAtar", "--contenders", "sb3"], "leave --contenders out"),
        (["compile", "--env", "Acrobot-v1"], "CartPole-v1"),
    ],
)
def test_bad_options_are_refused_in_one_line(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["benchmark", *argv]) == 2
    errors = capsys.readouterr().err.strip()
    assert words in errors and "\n" not in errors and not list(tmp_path.iterdir())


def test_a_folder_of_results_is_not_written_over(tmp_path, capsys):
    (tmp_path / "result.json").touch()
    assert cli.main(["benchmark", "train", "--out", str(tmp_path)]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_benchmark_that_is_stopped_keeps_what_it_measured(monkeypatch, tmp_path):
    outcomes = iter([{"ours": measured(100.0, 110.0)}])

    def compete(*args):
        if outcome := next(outcomes, None):
            return outcome
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "compete", compete)
    words = "benchmark train --env CartPole-v1 Breakout-MinAtar --contenders ours --out"
    assert cli.main([*words.split(), str(tmp_path / "out")]) == 130
    saved = json.loads((tmp_path / "out" / "result.json").read_text())
    (case,) = saved["cases"]
    assert case["settings"]["env"] == case["name"] == "CartPole-v1"
    assert case["contenders"]["ours"]["values"] == [100.0, 110.0]


def test_help_is_shown(capsys):
    assert cli.main(["benchmark", "--help"]) == 0 and "population" in capsys.readouterr().out


def test_every_contender_has_its_worker():
    for suite in peers.SUITES.values():
        for contender in suite.values():
            assert (peers.WORKERS / contender.worker).exists()


def test_a_virtual_environment_is_rebuilt_for_other_requirements(tmp_path, monkeypatch):
    made = []

    def run(words):
        if "venv" in words:
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()
        elif "broken" in words:
            raise peers.Unavailable("no such package")
        else:
            made.append(words[-1])

    monkeypatch.setattr(peers, "_run", run)
    contender = peers.Contender("x.py", (("broken",), ("sound",)))
    messages = []
    for _ in range(2):
        python = peers.python_for("peer", contender, tmp_path, messages.append)
    assert python.exists() and made == ["sound"] and messages == ["setting up peer (once) ..."]
    with pytest.raises(peers.Unavailable, match="no such package"):
        peers.python_for("peer", contender._replace(requirements=(("broken",),)), tmp_path, messages.append)
    assert not (tmp_path / "peer").exists()
    with pytest.raises(peers.Unavailable, match="JAXRL_CACHE"):
        peers.python_for("peer", contender, None, messages.append)


def test_the_current_interpreter_is_used_where_requirements_are_met():
    from importlib.metadata import version

    assert peers.satisfied((f"jax[cuda12]=={version('jax')}", "numpy"))
    assert not peers.satisfied(("jax==0.0.1",)) and not peers.satisfied(("no-such-package",))
    assert peers.python_for("ours", peers.SUITES["train"]["ours"], None, print) == Path(sys.executable)


# --- jaxrl itself ------------------------------------------------------------------------------

in_checkout = pytest.mark.skipif(against.root() is None, reason="not in a git checkout")


def test_an_unknown_commit_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["benchmark", "train", "--against", "no-such-commit"]) == 2
    errors = capsys.readouterr().err
    assert ("unknown commit" if against.root() else "--against") in errors and not list(tmp_path.iterdir())


@in_checkout
def test_the_requested_commit_is_imported(tmp_path):
    commit = against.resolve("HEAD")
    package = against.build(commit, tmp_path)
    entrant = Entrant("ours", Path(sys.executable), Path("worker.py"), {})
    old = measure.as_it_was(entrant, commit, package)
    assert old.name == f"ours@{commit[:7]}" and old.source == package
    script = (
        "import jaxrl.algos, jaxrl.envs, jaxrl.experiments.cli as cli\n"
        "print(jaxrl.__file__, jaxrl.algos.__file__, jaxrl.envs.__file__, cli.__file__, sep='\\n')"
    )
    words = [sys.executable, "-c", script]
    answer = subprocess.run(
        words, capture_output=True, text=True, check=True, cwd="/", env={**os.environ, **old.environment}
    )
    assert [Path(line).is_relative_to(package) for line in answer.stdout.split()] == [True] * 4


@pytest.mark.slow
def test_ours_runs_and_learns():
    settings = suites.training("CartPole-v1", 2, None, 0.01)
    sizes = {"num_envs": 2, "num_steps": 8, "num_epochs": 1, "num_minibatches": 2, "hidden_sizes": [8]}
    settings |= {"sizes": sizes, "units": 2, "learn_seeds": 2, "eval_episodes": 2}
    (entrant,) = measure.enter("train", suites.Case("tiny", settings), {"ours": Path(sys.executable)}, None)
    outcome = compete([entrant], repeats=1, limit=100, learn_steps=16)["ours"]
    assert outcome.failed is None and outcome.repeats[0]["steps"] == 2 * 2 * 2 * 8
    assert len(outcome.returns) == 2 and outcome.finish["peak_bytes"] > 0
    assert Path(outcome.ready["source"]).resolve().is_relative_to(against.package())


def test_imports_are_timed():
    (entrant,) = measure.enter(
        "compile", suites.Case("", {"env": "CartPole-v1"}), {"ours": Path(sys.executable)}, None
    )
    measured = starts.start(starts._importing(entrant, "ours", "jaxrl", "jaxrl.names"), 60)
    assert measured["seconds"] > 0 and measured["source"].endswith("__init__.py")
