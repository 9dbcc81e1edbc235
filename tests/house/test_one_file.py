"""A new search and a new study: each is one file and one registry line, and then every command knows it."""

import json

import pytest
from conftest import run_command
from test_studies import TOY, registered, stopped_at

from jaxrl.experiments import commands, search, studies
from jaxrl.experiments.studies.sweep import stages

# A search that decides during training: of every pair of neighbours, the worse becomes a copy of the better.
PAIRS = """
import jax.numpy as jnp
import numpy as np

from jaxrl.experiments.search import OnDevice, Option, Search
from jaxrl.search import Decision, Strategy, on_host


def draw(axes, trials, seed):
    if trials < 2 or trials % 2:
        raise ValueError(f"pairs need an even number of --trials, not {trials}")
    return np.random.default_rng(seed).random((trials, len(axes)))


def strategy(search, space, agent_updates):
    every, x = -(-agent_updates // search["contests"]), jnp.asarray(search["x"])
    slots = len(x)

    def init(key, seeds):
        start = jnp.broadcast_to(x[:, None], (slots, seeds, x.shape[1]))
        return {"x": x, "score": jnp.full((slots, seeds), -jnp.inf)}, start

    def decide(key, current, x, score, alive, num_updates):
        place, mean = jnp.arange(slots), score.mean(axis=1)
        other = mean[place ^ 1]
        worse = jnp.where(place % 2 == 0, other > mean, other >= mean)  # of equal ones the second
        source = jnp.where(worse, place ^ 1, place)
        new = x[source]
        source = jnp.broadcast_to(source[:, None], score.shape)
        return Decision({"x": new[:, 0], "score": score[source[:, 0]]}, new, source=source)

    updates = every * search["contests"]
    return Strategy(slots, every, updates, updates, init, decide)


def trials(search, strategy, current):
    pairs = zip(current["x"], current["score"])
    return [{"x": x, "per_seed": scores, "updates": strategy.agent_updates} for x, scores in pairs]


def scored(search, strategy, state):
    found = trials(search, strategy, on_host(state.strategy))
    return [one | {"trial": number} for number, one in enumerate(found)]


OPTIONS = {"contests": Option(2, "how often neighbours are compared")}
SEARCH = Search(draw, OPTIONS, OnDevice(strategy, trials, scored))
"""

SMALL = ["--config.num-envs", 4, "--config.num-steps", 10, "--config.hidden-sizes", 4, "--steps", 160]
SMALL += ["--seeds", 2, "--intervals", 2, "--eval-episodes", 0, "--confirm-seeds", 0, "--chunk", 4]
SMALL += ["--hp.learning-rate", "log:1e-4:1e-2", "--search", "pairs"]


def test_a_search_is_one_file_and_one_line(tmp_path, monkeypatch):
    """It is run by its name, with its option; stopped before it has results, resumed and reported."""
    names = {}
    exec(PAIRS, names)  # the file
    monkeypatch.setitem(search.SEARCHES, "pairs", names["SEARCH"])

    path, words = tmp_path / "sweep", ["sweep", "a2c", "Catch-bsuite", *SMALL, "--out", tmp_path / "sweep"]
    status, output = run_command(*words, "--trials", 3)
    assert (status, output) == (2, "jaxrl: error: pairs need an even number of --trials, not 3\n")
    status, output = run_command(*words, "--trials", 4, "--rungs", 2)
    assert status == 2 and "--rungs is for --search asha, not for pairs" in output

    def stopped(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_results", stopped)
        assert run_command(*words, "--trials", 4, "--contests", 4)[0] == 130
    assert json.loads((path / "sweep.json").read_text())["groups"][0]["spec"]["search"]["contests"] == 4
    assert not (path / "results.jsonl").exists()
    status, output = run_command("resume", path)
    assert status == 0 and "jaxrl train a2c Catch-bsuite" in output

    tried = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    assert sorted(one["trial"] for one in tried) == [0, 1, 2, 3]
    assert tried[0]["score"] == max(one["score"] for one in tried)
    rates = [one["values"]["--hp.learning-rate"] for one in sorted(tried, key=lambda one: one["trial"])]
    assert rates[0] == rates[1] != rates[2] == rates[3]  # contests made copies in both pairs
    status, output = run_command("report", path, "--data", tmp_path / "data.jsonl")
    assert status == 0 and "pairs" in (path / "report.html").read_text()
    assert json.loads((tmp_path / "data.jsonl").read_text().splitlines()[0])["search"] == "pairs"
    assert run_command("report", tmp_path / "data.jsonl")[0] == 0


# The study of test_studies with its command, and cubes of numbers instead of squares.
CUBES = TOY.replace("toy.json", "cubes.json").replace("square", "cube").replace("Square", "Cube")
CUBES = CUBES.replace("number**2", "number**3")
CUBES += """

from pathlib import Path

from jaxrl.experiments import options


def command(argv):
    @dataclasses.dataclass
    class Cubes:
        \"\"\"Cubes of numbers.\"\"\"

        numbers: tuple[int, ...]  # whose cubes are computed
        out: Path  # folder

    chosen = options.parse(Cubes, argv, "jaxrl cubes")
    create(chosen.out, chosen.numbers)
    return carry_on(chosen.out)
"""


@pytest.fixture
def cubes(tmp_path, monkeypatch):
    """The module of the study, in a folder that is added to that of the commands."""
    kind = studies.Kind("cubes.json", "commands.cubes", usage="cubes               cubes of numbers")
    yield from registered("cubes", kind, CUBES, commands, tmp_path / "code", monkeypatch)


def test_a_study_is_one_file_and_one_line(cubes, tmp_path, monkeypatch):
    """Its command creates the folder, which is stopped, resumed and reported; `--help` names the command."""
    path, computed = tmp_path / "study", []
    monkeypatch.setattr(cubes, "cube", stopped_at(2, cubes.cube, computed))
    assert run_command("cubes", "--numbers", 2, 3, "--out", path)[0] == 130
    status, output = run_command("report", path)
    assert status == 2 and f"continue with `jaxrl resume {path}`" in output and output.count("\n") == 1
    shown = "of numbers\n  number  cube\n  2          8\n  3         27\n"
    assert run_command("resume", path) == (0, shown)
    assert computed == [2, 3, 3]  # the first stage was not computed again
    assert run_command("report", path) == (0, f"{shown}{path / 'report.html'}\n")
    assert "<td" in (path / "report.html").read_text()
    status, output = run_command("cubes", "--numbers", 2, "--out", path)
    assert status == 2 and "is taken: continue with `jaxrl resume" in output
    status, output = run_command("cubes", "--numbers", 2, "--out", path, "--number", 2)
    assert status == 2 and "Perhaps you meant --numbers. `jaxrl cubes --help`" in output
    status, output = run_command("evaluate", path)
    assert status == 2 and "is a cubes study, which has no policy" in output
    assert "\n  cubes   " in run_command("--help")[1]
