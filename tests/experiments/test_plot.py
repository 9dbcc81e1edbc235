"""Learning curves for unusual inputs, and statistics against SciPy."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from PIL import Image

from jaxrl.experiments import plot
from jaxrl.statistics import bootstrap_interval, iqm


def rows(num_rows, num_seeds, name="episode/return", seed=0, steps=1000):
    noise = np.random.default_rng(seed).normal(size=(num_rows, num_seeds))
    values = 10 * np.arange(num_rows)[:, None] + noise
    return [
        {"timesteps": steps * (i + 1), "num_updates": i + 1, name: row.tolist()}
        for i, row in enumerate(values)
    ]


def shown(monkeypatch, runs, path, **options):
    """Draws; returns the axes and the text of the legend."""
    import matplotlib.figure

    figures = []
    savefig = matplotlib.figure.Figure.savefig

    def record(figure, *args, **kwargs):
        figures.append(figure)
        savefig(figure, *args, **kwargs)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", record)
    plot.curves(runs, path, **options)
    (axes,) = figures[0].axes
    legend = axes.get_legend() or (figures[0].legends or [None])[0]
    return axes, [text.get_text() for text in legend.get_texts()] if legend else []


@pytest.mark.parametrize("num_values", [1, 2, 3, 4, 5, 8, 30])
def test_iqm_is_the_trimmed_mean(num_values):
    values = np.random.default_rng(num_values).standard_t(2, size=(num_values, 3, 2))
    np.testing.assert_allclose(iqm(values), scipy.stats.trim_mean(values, 0.25, axis=0))
    np.testing.assert_allclose(iqm(values, axis=None), scipy.stats.trim_mean(values.ravel(), 0.25))
    np.testing.assert_allclose(iqm(values, axis=-1), scipy.stats.trim_mean(values, 0.25, axis=-1))
    with pytest.raises(ValueError, match="no values"):
        iqm([])


@pytest.mark.parametrize("statistic", [np.mean, np.median, iqm])
@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_the_bootstrap_interval_agrees_with_scipy(statistic, confidence):
    values = np.random.default_rng(1).normal(size=40)
    ours = bootstrap_interval(values, statistic, num_resamples=20_000, confidence=confidence)
    theirs = scipy.stats.bootstrap(
        (values,),
        statistic,
        n_resamples=20_000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.03)


def test_the_bootstrap_interval_matches_its_definition():
    values = np.array([3.0, 1.0, 4.0, 1.5])
    draws = np.random.default_rng(0).integers(4, size=(2000, 4))
    means = [np.mean([values[i] for i in draw]) for draw in draws]
    low, high = bootstrap_interval(values)
    assert low == pytest.approx(np.percentile(means, 2.5))
    assert high == pytest.approx(np.percentile(means, 97.5))


def test_columns_are_resampled_together_and_do_not_depend_on_the_blocks():
    values = np.random.default_rng(0).normal(size=(8, 600))  # more than one block of columns
    low, high = bootstrap_interval(values, np.median)
    assert low.shape == high.shape == (600,)
    for column in (0, 249, 250, 599):
        np.testing.assert_array_equal(
            bootstrap_interval(values[:, column], np.median), (low[column], high[column])
        )
    again = bootstrap_interval(values, np.median)
    np.testing.assert_array_equal(again, (low, high))
    assert np.shape(bootstrap_interval(values.reshape(8, 20, 30))) == (2, 20, 30)


def test_an_interval_of_one_seed_is_refused():
    for values in (3.0, [], [1.0]):
        with pytest.raises(ValueError, match="at least 2 seeds"):
            bootstrap_interval(values)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([1.0, 2.0], confidence=95)


ODD = {
    "one seed": {"a": rows(10, 1)},
    "two seeds": {"a": rows(10, 2)},
    "eight seeds": {"a": rows(10, 8)},
    "one row": {"a": rows(1, 4)},
    "one number": {"a": [{"timesteps": 0, "episode/return": 3}]},
    "two lengths": {"a": rows(5, 3), "b": rows(9, 4, steps=300)},
    "no rows beside some": {"a": rows(5, 3), "b": []},
    "nulls": {
        "a": [
            {"timesteps": 1, "episode/return": [None, None]},
            {"timesteps": 2, "episode/return": [1.0, None]},
            {"timesteps": 3, "episode/return": None},
            {"timesteps": 4},
            {"episode/return": [1.0, 2.0]},
            {"timesteps": 5, "episode/return": [float("nan"), float("inf")]},
            {"timesteps": 6, "episode/return": [3.0, 4.0, 5.0]},
        ]
    },
    "odd labels": {"_$x_2$ \\frac": rows(4, 3), "": rows(4, 3)},
    "many runs": {f"run {i}": rows(4, 3, seed=i) for i in range(9)},
    "a constant": {"a": [{"timesteps": i, "episode/return": [1.0] * 4} for i in range(3)]},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("log_steps", [False, True])
@pytest.mark.filterwarnings("error")
def test_unusual_inputs_can_be_plotted(tmp_path, name, log_steps):
    path = tmp_path / "folder" / "a.png"
    if name == "one number" and log_steps:
        with pytest.raises(ValueError, match="nothing to plot"):  # no logarithm of step 0
            plot.curves(ODD[name], path, log_steps=True)
        return
    plot.curves(ODD[name], path, title="A_b $c", log_steps=log_steps, dpi=50, statistic="median")
    with Image.open(path) as picture:
        assert picture.size == (320, 200)
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize(
    "runs",
    [{}, {"a": []}, {"a": [{"timesteps": 1}]}, {"a": [{"timesteps": 1, "episode/return": [None]}]}],
)
def test_nothing_to_plot_is_reported_in_one_line(tmp_path, runs):
    with pytest.raises(ValueError, match="nothing to plot") as caught:
        plot.curves(runs, tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="statistic must be one of IQM, median"):
        plot.curves(ODD["one seed"], tmp_path / "a.png", statistic="mode")


def test_the_same_rows_make_the_same_picture(tmp_path):
    for name in ("a.png", "b.png"):
        plot.curves({"a": rows(20, 5)}, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_thick_line_is_the_iqm_and_the_band_its_interval(monkeypatch, tmp_path):
    data = rows(6, 5)
    axes, legend = shown(monkeypatch, {"a": data}, tmp_path / "a.png")
    values = np.array([row["episode/return"] for row in data])
    thick = max(axes.lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(thick.get_ydata(), iqm(values, axis=1))
    np.testing.assert_array_equal(thick.get_xdata(), 1000 * np.arange(1, 7))
    assert len(axes.lines) == 6
    (band,) = axes.collections
    low, high = bootstrap_interval(values.T, iqm)
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(low.min())
    assert corners[:, 1].max() == pytest.approx(high.max())
    assert axes.get_ylabel() == "training return"
    assert axes.get_title(loc="left") == "IQM over 5 seeds, band: 95 % bootstrap interval"
    assert legend == []


def test_evaluation_is_drawn_where_all_have_it(monkeypatch, tmp_path):
    def both(seed):
        pairs = zip(rows(4, 3, seed=seed), rows(4, 3, name=plot.EVALUATION, seed=seed + 1))
        return [{**a, **b} for a, b in pairs]

    axes, legend = shown(monkeypatch, [("x", both(0)), ("x", both(2))], tmp_path / "a.png")
    assert axes.get_ylabel() == "evaluation return"
    assert legend == ["x", "x"]
    axes, _ = shown(monkeypatch, {"x": both(0), "y": rows(4, 3)}, tmp_path / "a.png")
    assert axes.get_ylabel() == "training return"
    axes, legend = shown(monkeypatch, {"x": both(0), "y": []}, tmp_path / "a.png")
    assert axes.get_ylabel() == "evaluation return"
    assert legend == ["x", "y (no returns)"]


def test_different_numbers_of_seeds_are_in_the_legend(monkeypatch, tmp_path):
    runs = {"x": rows(4, 3), "y": rows(4, 1)}
    axes, legend = shown(monkeypatch, runs, tmp_path / "a.png")
    assert legend == ["x (3 seeds)", "y (1 seed)"]
    assert axes.get_title(loc="left") == "IQM over seeds, band: 95 % bootstrap interval"
    axes, _ = shown(monkeypatch, {"y": rows(4, 1)}, tmp_path / "a.png")
    assert axes.get_title(loc="left") == "one seed"
    axes, _ = shown(monkeypatch, {"y": rows(4, 2)}, tmp_path / "a.png")
    assert axes.get_title(loc="left") == "IQM over 2 seeds"
    assert not axes.collections  # no band


def test_gaps_are_interpolated_but_ends_are_not_extrapolated(monkeypatch, tmp_path):
    data = [
        {"timesteps": step, "episode/return": values}
        for step, values in [(1, [0.0, None]), (2, [None, 8.0]), (3, [4.0, 6.0]), (4, [None, 5.0])]
    ]
    axes, _ = shown(monkeypatch, {"a": data}, tmp_path / "a.png")
    thick = max(axes.lines, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(thick.get_ydata(), [0, (2 + 8) / 2, 5, 5])


def test_a_row_written_again_after_a_resume_counts_once():
    data = [{"timesteps": s, "episode/return": [float(v)]} for s, v in [(1, 1), (3, 9), (2, 2), (3, 3)]]
    curve = plot.read_curve(data, plot.TRAINING)
    np.testing.assert_array_equal(curve.steps, [1, 2, 3])
    np.testing.assert_array_equal(curve.returns, [[1, 2, 3]])


@pytest.mark.parametrize(
    ("steps", "text"),
    [(0, "0"), (500, "500"), (1000, "1k"), (100_000, "100k"), (1_500_000, "1.5M"), (2e9, "2B")],
)
def test_steps_are_written_short(steps, text):
    assert plot.format_steps(steps) == text


def test_matplotlib_is_imported_when_used_and_without_pyplot(tmp_path):
    code = f"""
import sys
from jaxrl.experiments import plot
assert "matplotlib" not in sys.modules
plot.curves({{"a": [{{"timesteps": 1, "episode/return": [1.0]}}]}}, {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert (tmp_path / "a.png").exists()
