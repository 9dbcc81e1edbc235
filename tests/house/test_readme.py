"""The README's examples run, in order, in one namespace; its commands use existing names."""

import json
import re

import pytest
from conftest import ROOT
from originals.ledger import table

from jaxrl import names
from jaxrl.experiments import cli, spec_options
from jaxrl.experiments import options as parsing
from jaxrl.experiments.commands import sweep as sweep_command
from jaxrl.experiments.studies import sweep

README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands():
    """The commands in blocks, and those in the text, a line each."""
    return "\n".join([*blocks("bash"), *re.findall(r"`(jaxrl [^`]*)`", README)])


def test_python_examples_run(capsys):
    scope = {"__name__": "readme"}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), scope)
    assert scope["metrics"]["episode/count"].shape == (4, 20)
    assert "Drift" in capsys.readouterr().out


def scope_of(page):
    """The variables after the examples of a page."""
    text = (ROOT / "docs" / page).read_text()
    scope = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, page, "exec"), scope)
    return scope


def test_examples_of_the_page_on_environments_run():
    assert scope_of("environments.md")["env"].observation_space.shape == (4,)


@pytest.mark.slow
def test_examples_of_the_page_on_search_run():
    assert scope_of("search.md")["state"].strategy.parent.shape == (5, 8, 2)


def test_examples_of_the_page_on_evolution_run():
    assert int(scope_of("evolution.md")["child"].length) == 1


@pytest.mark.slow
def test_examples_of_the_page_on_meta_learning_run():
    assert scope_of("meta.md")["learned"].learning_rate > 0.0


def test_examples_of_the_page_on_the_effective_horizon_run(command):
    scope = scope_of("horizon.md")
    assert (
        scope["found"].k == 1
        and scope["learned"].params.shape == (6, 22, 2)
        and scope["action"].shape == (1,)
    )
    text = (ROOT / "docs" / "horizon.md").read_text()
    exact, _ = re.findall(r"```bash\njaxrl (horizon .*)\n", text)  # the other one samples, and takes minutes
    status, output, _ = command(*exact.split())
    assert status == 0 and output in text


def test_examples_of_the_page_on_replays_run():
    batch = scope_of("replay.md")["batch"]
    assert batch.next_obs.shape == (32, 4) and abs(batch.reward.max() - (1 + 0.99 + 0.99**2)) < 1e-6


def test_examples_of_the_page_on_algorithms_run():
    assert abs(scope_of("algorithms.md")["fitted"].state.params["slope"] - 2.0).max() < 0.01


def test_the_docs_on_environments_list_what_was_compared():
    root = ROOT
    rows = [json.loads(line) for line in (root / "tests" / "golden" / "originals.jsonl").open()]
    assert table(rows) in (root / "docs" / "environments.md").read_text()


def test_commands_exist():
    named = re.findall(r"jaxrl (\w+)", commands())
    assert set(cli.commands.known()) == set(named)
    for command in named:
        assert names.lookup("command", {name: name for name in cli.commands.known()}, command) == command


def test_training_commands_parse(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "your_files.md").read_text()
    lines = [*commands().splitlines(), *page.splitlines()]
    for words in {words for line in lines for words in re.findall(r"jaxrl (new \w+ \S+\.py)", line)}:
        assert cli.main(words.split()) == 0
    for line in lines:
        result = re.search(r"jaxrl train ([^\s-]\S*) (\S+) ?([^#`]*)", line)
        if result and "COMMAND" not in line:
            algorithm, environment, flags = result.groups()
            flags = flags.removesuffix("--help")
            depend_on = [parsing.value_of(flag, flags.split(), "") for flag in ("--objective", "--preset-of")]
            options = spec_options.train_options(algorithm, environment, *depend_on)
            parsing.parse(options, parsing.with_full_flags(flags.split(), options), "jaxrl train")


def test_sweeping_commands_parse():
    results = re.findall(r"jaxrl sweep (\S+) (\S+) ([^#\n]*)", commands())
    assert results
    for algorithm, environment, words in results:
        axes, rest = sweep.axes_of(words.split())
        first = sweep.first_words(axes)
        options = [algorithm, environment, *rest, *first]
        _, chosen, _ = spec_options.parse_spec("sweep", sweep_command.sweep_options, options)
        kind = sweep.resolved(axes, chosen.search, chosen.trials)
        assert len(sweep.draw(axes, kind, chosen.trials, chosen.seed)) >= 8


def test_reporting_commands_run(tmp_path, monkeypatch):
    """Those on records in the repository; the others use runs of the reader, and must only parse."""
    root = ROOT
    lines = re.findall(r"jaxrl report ([^#\n]*)", commands())
    shipped = [line.split() for line in lines if line.startswith("experiments/")]
    assert len(lines) >= 4 and len(shipped) == 1
    monkeypatch.chdir(tmp_path)
    for line in lines:
        first, *rest = line.split()
        if line.split() not in shipped:
            with pytest.raises(ValueError, match=f"{first} does not exist"):
                cli.dispatch(["report", first, *rest])
    path, *rest = shipped[0]
    assert cli.main(["report", str(root / path), *rest]) == 0
    page = (tmp_path / rest[-1]).read_text()
    assert "64 trials" in page and "fresh seeds" in page


def test_files_that_are_named_exist():
    root = ROOT
    for name in [*re.findall(r"\]\((docs/[^)#]+)", README), "test.sh", "constraints.txt"]:
        assert (root / name).exists(), name
