"""The suite `replay` of the benchmark, with fake workers, and our worker with tiny sizes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl.experiments import cli
from jaxrl.experiments.benchmark import command, measure, peers, replay, report, suites
from jaxrl.experiments.benchmark.driver import Entrant, Outcome, compete

# A contestant without JAX, in the protocol of the real workers.
FAKE = f"""
import sys
sys.path.insert(0, {str(peers.WORKERS)!r})
from protocol import Contestant, serve

def make(settings):
    size = 8 * settings["sizes"]["num_envs"]
    return Contestant(
        run=lambda units: sum(range(1000 * units)),
        steps_per_unit=settings["sizes"]["num_envs"],
        gradient_steps_per_unit=settings["sizes"].get("num_gradient_steps", 0),
        learn=lambda steps: [float(steps)],
        agent_bytes=lambda: size,
    )

serve(lambda: None, make)
"""


@pytest.fixture
def fake(tmp_path):
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    return script


def chosen(**given):
    return replay.cases(command.Replay(**given))


def names(case, agents=("ours", "rejax", "rejax-repaired", "flashbax", "sbx")):
    return [name for name in agents if measure.takes_part("replay", name, case)]


def test_the_contenders_of_the_cases():
    cases = {case.name: case for case in chosen(agents=(1, 16), capacities=(1000,))}
    assert list(cases) == [
        "dqn, CartPole-v1, 1 agent",
        "dqn, CartPole-v1, 16 agents",
        "dqn, gymnax/Breakout-MinAtar, 1 agent",
        "dqn, gymnax/Breakout-MinAtar, 16 agents",
        "sac, Pendulum-v1, 1 agent",
        "sac, Pendulum-v1, 16 agents",
        "draw, uniform, 1,000 rows",
        "draw, prioritized, 1,000 rows",
    ]
    everyone = ["ours", "rejax", "rejax-repaired", "flashbax", "sbx"]
    assert names(cases["dqn, CartPole-v1, 1 agent"]) == everyone
    assert names(cases["dqn, CartPole-v1, 16 agents"]) == everyone[:-1]
    assert names(cases["dqn, gymnax/Breakout-MinAtar, 1 agent"]) == everyone[:-1]
    assert names(cases["sac, Pendulum-v1, 1 agent"]) == ["ours", "rejax", "rejax-repaired", "sbx"]
    assert names(cases["draw, uniform, 1,000 rows"]) == everyone[:-1]
    assert names(cases["draw, prioritized, 1,000 rows"]) == ["ours", "flashbax"]


def test_only_one_agent_is_compared_by_its_return():
    steps = {case.name: case.learn_steps for case in chosen(env=("CartPole-v1",), only="train")}
    assert list(steps.values()) == [replay.LEARN_STEPS["CartPole-v1"], 0, 0]
    assert [case.learn_steps for case in chosen(env=("Pendulum-v1",), agents=(1,), learn_steps=7)] == [
        7
    ] + 6 * [0]
    assert all(case.settings["algorithm"] == "draw" for case in chosen(only="draw"))


def test_all_agents_have_the_settings_in_one_place():
    """Rounds of one step per environment: the ratio of gradient steps follows from the sizes."""
    for case in chosen(only="train"):
        sizes = case.settings["sizes"]
        assert "num_steps" not in sizes and sizes["num_gradient_steps"] >= 1
        assert sizes["capacity"] >= sizes["warmup_steps"] >= sizes["batch_size"]


def test_gradient_steps_and_the_memory_of_an_agent_are_reported(fake):
    settings = {"sizes": {"num_envs": 4, "num_gradient_steps": 2}, "seconds": 0.001}
    entrants = [Entrant("peer", Path(sys.executable), fake, settings)]
    outcomes = compete(entrants, repeats=2, limit=20, learn_steps=9)
    outcome = outcomes["peer"]
    for repeat in outcome.repeats:
        assert repeat["steps"] == 2 * repeat["gradient_steps"]
    assert outcome.finish["agent_bytes"] == 32 and outcome.returns == [9.0]
    outcomes["other"] = Outcome(repeats=[{"steps": 10, "seconds": 1.0}])
    counted, other = report.rows({"a": outcomes})
    assert counted.value.median == pytest.approx(2 * counted.gradients.median)
    assert other.gradients is None and other.agent_bytes is None
    header, *_ = report.table([counted, other], False)
    assert "gradient steps/s" in header and "MiB per agent" in header
    header, *_ = report.table([other], False)
    assert "gradient steps/s" not in header and "MiB per agent" not in header


def test_a_benchmark_of_sac_and_draws_is_written(fake, tmp_path, monkeypatch, capsys):
    contender = peers.Contender(str(fake), settings={"repaired": True})
    monkeypatch.setitem(peers.SUITES["replay"], "rejax", contender)
    words = "benchmark replay --env Pendulum-v1 --agents 2 --capacities 100 --seconds 0.001 --repeats 1"
    out = tmp_path / "out"
    assert cli.main([*words.split(), "--contenders", "rejax", "--out", str(out)]) == 0
    training, uniform, prioritized = json.loads((out / "result.json").read_text())["cases"]
    assert training["settings"]["algorithm"] == "sac" and training["settings"]["agents"] == 2
    (repeat,) = training["contenders"]["rejax"]["repeats"]
    assert repeat["gradient_steps"] == repeat["steps"]  # as many as environment steps
    assert not uniform["settings"]["prioritized"] and prioritized["settings"]["prioritized"]
    assert "microseconds per draw" in (out / "table.md").read_text() and "per draw" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--capacities", "1000", "0"], "capacities = 0 must be at least 1"),
        (["--capacities"], "--capacities has no value"),
        (["--env", "Acrobot-v1"], "CartPole-v1"),
        (["--only", "drawing"], "--only"),
        (["--contenders", "sb3"], "sbx"),
        (["--env", "Pendulum-v1", "--only", "train", "--contenders", "flashbax"], "leave --contenders out"),
        (["--capacities", "100000000000"], "lower --capacities"),
    ],
)
def test_bad_options_are_refused_in_one_line(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["benchmark", "replay", *argv]) == 2
    errors = capsys.readouterr().err.strip()
    assert words in errors and "\n" not in errors and not list(tmp_path.iterdir())


def test_two_contenders_share_an_environment(tmp_path, monkeypatch):
    made = []

    def run(words):
        if "venv" in words:
            made.append(Path(words[-1]).name)
            python = Path(words[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(peers, "_run", run)
    first = peers.Contender("x.py", (("a-package-nobody-has",),))
    second = first._replace(home="first")
    pythons = [
        peers.python_for(name, contender, tmp_path, print)
        for name, contender in {"first": first, "second": second}.items()
    ]
    assert made == ["first"] and pythons[0] == pythons[1]


TINY = {"num_envs": 2, "batch_size": 4, "capacity": 64, "warmup_steps": 8}


def tiny(algorithm, **given):
    settings = {"algorithm": algorithm, "env": "CartPole-v1", "seconds": 0.01, "units": 3, **given}
    return suites.Case("tiny", settings)


@pytest.mark.slow
def test_ours_trains_and_draws():
    sizes = {**TINY, "num_gradient_steps": 3, "hidden_sizes": [8]}
    given = {"agents": 2, "activation": "relu", "numbers": replay.DQN, "learn_seeds": 2, "eval_episodes": 2}
    cases = [tiny("dqn", sizes=sizes, **given)]
    cases += [tiny("draw", sizes=TINY, prioritized=prioritized) for prioritized in (False, True)]
    for case in cases:
        (entrant,) = measure.enter("replay", case, {"ours": Path(sys.executable)}, None)
        outcome = compete([entrant], repeats=1, limit=100, learn_steps=40)["ours"]
        assert outcome.failed is None and outcome.finish["agent_bytes"] > 64 * 4 * 4
        (repeat,) = outcome.repeats
        if case.settings["algorithm"] == "draw":
            assert repeat["steps"] == 3
        else:
            assert repeat["steps"] == 3 * 2 * 2 and repeat["gradient_steps"] == 3 * 3 * 2
            assert len(outcome.returns) == 2 and min(outcome.returns) >= 1.0


def test_the_rows_of_draws_are_those_of_cartpole():
    """The workers that draw from other replays import this without jaxrl."""
    script = "import drawing; s = drawing.steps(24, 3); print(s.obs.shape, s.done.all(), s.reward.sum())"
    words = [sys.executable, "-c", script]
    answer = subprocess.run(words, capture_output=True, text=True, check=True, cwd=peers.WORKERS)
    assert answer.stdout.split() == ["(3,", "4)", "True", "3.0"]
