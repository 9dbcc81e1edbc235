"""What all studies share: the registry, folders of other versions, stages and printers."""

import json
import random
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run_command

from jaxrl import decode, formats, statistics
from jaxrl.experiments import studies, verdict
from jaxrl.experiments.studies.compare import table
from jaxrl.experiments.studies.discover import comparison
from jaxrl.experiments.studies.meta import tune, two_colours
from jaxrl.experiments.studies.talk import study as talk
from jaxrl.experiments.verdict import Table, Verdict

# A new kind of study, here in a folder that is added to that of the studies: it squares numbers.
TOY = """
import dataclasses

from jaxrl.experiments.studies import Study, study
from jaxrl.experiments.verdict import Table, Verdict, screen

MARK = "toy.json"


@dataclasses.dataclass(frozen=True)
class Plan:
    numbers: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Square:
    value: float


def create(path, numbers):
    with study.new(path, MARK) as write:
        write({"numbers": numbers})


def stages(path):
    plan, _ = study.read(path, MARK, Plan)
    return {number: path / f"square-{number:g}.json" for number in plan.numbers}


def carry_on(path):
    for number, file in stages(path).items():
        study.once(file, Square, lambda: {"value": square(number)})
    print(screen(verdict(path)))
    return 0


def square(number):
    return number**2


def verdict(path):
    results = {n: study.result(path, file.name, Square).value for n, file in stages(path).items()}
    rows = tuple((f"{number:g}", f"{value:g}") for number, value in results.items())
    return Verdict("squares", (Table("of numbers", ("number", "square"), rows),))


def curves(path):
    rows = [{"timesteps": n, "episode/return": [r]} for n, r in enumerate(stages(path))]
    return [("numbers", rows)]


STUDY = Study(carry_on, verdict, curves)
"""


def registered(name, kind, text, package, folder, monkeypatch):
    """Yields the module of a new kind of study: a file in a folder that is added to that of a package."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(text)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setitem(studies.STUDIES, name, kind)
    studies.load(name)
    yield sys.modules[f"jaxrl.experiments.{kind.module}"]
    sys.modules.pop(f"jaxrl.experiments.{kind.module}")


def stopped_at(call, function, computed):
    """The function, interrupted in the call of this number, from 1; arguments are appended to `computed`."""

    def stopped(number):
        computed.append(number)
        if len(computed) == call:
            raise KeyboardInterrupt
        return function(number)

    return stopped


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The module of the new kind of study."""
    kind = studies.Kind("toy.json", "studies.toy")
    yield from registered("toy", kind, TOY, studies, tmp_path / "code", monkeypatch)


def test_a_study_is_one_file_and_one_line(toy, tmp_path, monkeypatch):
    """It is created, stopped, resumed, reported and plotted; a policy is refused with its reason."""
    path = tmp_path / "squares"
    toy.create(path, [2.0, 3.0])
    with pytest.raises(ValueError, match="is taken: continue with `jaxrl resume"):
        toy.create(path, [2.0])
    status, output = run_command("train", "ppo", "CartPole-v1", "--out", path)
    assert status == 2 and "is taken: continue with `jaxrl resume" in output

    plan = json.loads((path / "toy.json").read_text())
    assert plan.pop("format") == formats.FORMAT == 1  # earlier versions wrote no number
    (path / "toy.json").write_text(json.dumps(plan))
    computed = []

    monkeypatch.setattr(toy, "square", stopped_at(2, toy.square, computed))
    assert run_command("resume", path)[0] == 130
    status, output = run_command("report", path)
    assert status == 2 and f"continue with `jaxrl resume {path}`" in output and output.count("\n") == 1
    status, output = run_command("resume", path)
    assert (status, output) == (0, "of numbers\n  number  square\n  2            4\n  3            9\n")
    assert computed == [2.0, 3.0, 3.0]  # the first stage was not computed again
    assert run_command("report", path, "--out", tmp_path / "r.md")[0] == 0
    assert (
        "## of numbers\n\n| number | square |\n| --- | --- |\n| 2 | 4 |\n" in (tmp_path / "r.md").read_text()
    )
    assert run_command("report", path) == (0, f"{output}{path / 'report.html'}\n")
    assert "<td" in (path / "report.html").read_text()
    assert run_command("plot", path)[0] == 0 and (path / "curves.png").stat().st_size > 1000
    for command in ("evaluate", "render", "export"):
        status, output = run_command(command, path)
        assert status == 2 and output.count("\n") == 1
        assert f"is a toy study, which has no policy; its result: `jaxrl report {path}`" in output
    status, output = run_command("report", path, path)
    assert status == 2 and "report it alone" in output and output.count("\n") == 1
    status, output = run_command("report", path, "--out", path / "toy.json")
    assert status == 2 and output.count("\n") == 1


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"format": 2, "versions": {"jaxrl": "9.1"}}, "another version of jaxrl (9.1): its format is 2"),
        (
            {"numbers": 3, "versions": {"jaxrl": "9.1"}},
            "another version of jaxrl (9.1) (toy.json: numbers must",
        ),
        ({"numbers": ["x"]}, "numbers[0] must be a number, not 'x'"),
        ({"sources": {"a@0": 3}}, "must be an object, not 3"),
        ({"versions": None}, "versions must be an object, not None"),
        ("{", "not valid JSON"),
        ("[]", "must be an object"),
    ],
)
def test_plans_that_cannot_be_read_are_refused_in_one_line(toy, edit, words, tmp_path):
    toy.create(tmp_path / "squares", [2.0])
    file = tmp_path / "squares" / "toy.json"
    text = edit if isinstance(edit, str) else json.dumps(json.loads(file.read_text()) | edit)
    file.write_text(text)
    for command in ("resume", "report"):
        status, output = run_command(command, tmp_path / "squares")
        assert status == 2 and words in output and output.count("\n") == 1, output


def test_a_damaged_stage_is_refused_in_one_line(toy, tmp_path):
    toy.create(tmp_path / "squares", [2.0])
    (tmp_path / "squares" / "square-2.json").write_text('{"value": "4"}')
    for command in ("resume", "report"):
        status, output = run_command(command, tmp_path / "squares")
        assert status == 2 and "square-2.json: value must be a number, not '4'" in output
        assert output.count("\n") == 1


def test_every_study_is_registered_with_all_functions():
    for name, kind in studies.STUDIES.items():
        one = studies.load(name)
        assert callable(one.carry_on) and (one.curves or name == "sweep"), name
        assert one.verdict or name == "sweep"
        assert kind.mark == "run.json" or (name in ("sweep", "comparison", "talk", "meta"))


def test_printers_of_verdicts():
    """Columns are aligned, cells that name themselves have no head on the screen, HTML is escaped."""
    tables = (
        Table("first", ("name", "x"), (("a<b>", "1.5"), ("c", "10"))),
        Table("second", ("name", "x", "y"), (("long", "IQM 1", ""), ("b", "IQM 22", "c")), ("a note",), True),
    )
    result = Verdict("both", (*tables, "word " * 30))
    lines = verdict.screen(result).splitlines()
    assert lines[:4] == ["first", "  name    x", "  a<b>  1.5", "  c      10"]
    assert lines[4:9] == ["", "second", "  long  IQM 1", "  b     IQM 22  c", "  a note"]
    assert max(map(len, lines)) <= 110 and len(lines) == 12
    page = verdict.html(result)
    assert "<h1>both</h1>" in page and "a&lt;b&gt;" in page and "a<b>" not in page
    text = verdict.markdown(result)
    assert text.startswith("# both\n\n## first\n\n| name | x |\n| --- | --- |\n") and "\n- a note\n" in text


def test_another_process_has_the_folder(toy, tmp_path):
    from jaxrl.experiments import folders

    (tmp_path / "squares").mkdir()
    with folders.claim(tmp_path / "squares"), pytest.raises(ValueError, match="another process is at work"):
        toy.create(tmp_path / "squares", [2.0])


def changed(data, generator):
    """JSON data in which one value, chosen at random, is another one or missing."""
    if not isinstance(data, dict | list) or not data or generator.random() < 0.1:
        return generator.choice([None, "x", -1, 1e308, 2.5, [], {}, [[]], True, 10**30])
    data = data.copy()
    key = generator.choice(list(data) if isinstance(data, dict) else range(len(data)))
    if generator.random() < 0.2:
        del data[key]
    else:
        data[key] = changed(data[key], generator)
    return data


RESULTS = ROOT / "experiments" / "results"


def in_file(kind, verdict_of):
    return lambda file: verdict_of(decode.read_json(file, kind))


def first_line(file):
    return file.read_text().splitlines()[0]


READERS = {
    "discovery/tabular.json": in_file(comparison.Judged, comparison.verdict),
    "meta/tune.json": in_file(tune.Result, tune.verdict),
    "meta/two-colours-fixed.json": in_file(two_colours.Result, two_colours.verdict),
    "cheap-talk.json": in_file(talk.Result, lambda result: talk.verdict_of(result.setting, result.scores)),
    "dpo-against-ppo.jsonl": lambda file: table.verdict(table.read(file)),
}


@pytest.mark.parametrize("name", READERS)
def test_results_are_shown_or_refused_in_one_line(name, tmp_path, monkeypatch):
    """Those in the repository are shown, and damaged ones are never a traceback."""
    monkeypatch.setattr(statistics.tasks, "RESAMPLES", 20)
    text = (RESULTS / name).read_text() if (RESULTS / name).exists() else first_line(RESULTS / f"{name}l")
    lines = [json.loads(line) for line in text.splitlines()] if name.endswith("l") else [json.loads(text)]
    generator, refused = random.Random(0), 0
    file = tmp_path / Path(name).name
    file.write_text(text)
    assert verdict.screen(READERS[name](file))
    for _ in range(60):
        number = generator.randrange(len(lines))
        damaged = [changed(one, generator) if i == number else one for i, one in enumerate(lines)]
        file.write_text("\n".join(map(json.dumps, damaged)))
        try:
            result = READERS[name](file)
        except ValueError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        assert all(show(result) for show in (verdict.screen, verdict.markdown, verdict.html))
    assert refused > 10
