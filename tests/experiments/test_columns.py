"""Tables of text that fit a terminal."""

import pytest

from jaxrl.experiments import columns, labels

HEAD = ["trial", "hp.learning-rate", "hp.objective.clip-eps", "config.num-steps", "score", "95 % interval"]
ROWS = [["5", "0.03563", "0.2134", "16", "42", "41.5 to 42.5"], ["15", "0.001", "0.3", "8", "4.2", "–"]]


@pytest.mark.parametrize("most", [200, 80, 60, 40, 24])
def test_no_line_is_longer_than_the_terminal(most):
    lines = columns.table(HEAD, ROWS, most)
    assert max(map(len, lines)) <= most
    text = " ".join(" ".join(lines).split())
    assert all(cell in text for row in ROWS for cell in row)  # names are clipped, values are not
    assert ("…" in text) == (most in (80, 60)) and (len(lines) == 3) == (most >= 60)


def test_a_wide_table_is_unchanged():
    lines = columns.table(HEAD, ROWS, 200)
    assert lines[0].split("  ") == HEAD
    assert lines[1].endswith("16     42   41.5 to 42.5") and len(set(map(len, lines))) <= 2


def test_the_width_is_that_of_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert columns.width() == 60
    assert columns.clipped("learning-rate", 9) == "learning…" and columns.clipped("gamma", 9) == "gamma"


def test_labels_are_short_but_distinct():
    values = {"--hp.learning-rate": 0.0012345, "--config.network.hidden-sizes": (64, 64), "--env.length": 0.7}
    assert labels.label(values) == "learning-rate 0.001234, hidden-sizes 64x64, length 0.7"
    flags = ["--hp.length", "--env.length", "--hp.gamma"]
    assert labels.short_names(flags) == dict(zip(flags, ["length", "env.length", "gamma"]))
    assert labels.shown("0.035625115") == "0.03563" and labels.shown("1e-3") == "1e-3"
