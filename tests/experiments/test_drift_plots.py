"""Maps of objectives: their numbers against finite differences, and figures for every kind of input."""

import numpy as np
import pytest
from conftest import run_command
from PIL import Image

from jaxrl import objectives
from jaxrl.experiments.commands import drift

LOG_RATIO = np.linspace(-0.9, 0.9, 24)
ADVANTAGES = np.linspace(-2.9, 2.9, 12)


@pytest.mark.parametrize("name", [*objectives.OBJECTIVES, *drift.RANDOM])
def test_the_pull_is_the_slope_of_the_surrogate(name):
    """Away from the corners of a clip, where the slope is not defined."""
    _, objective = drift.named(name, seed=1)
    eps = 1e-2
    for progress in drift.PROGRESS:
        here = drift.measure(objective, LOG_RATIO, ADVANTAGES, progress)
        ratio = np.exp(LOG_RATIO)
        up, down = (
            drift.measure(objective, np.log(ratio + step), ADVANTAGES, progress) for step in (eps, -eps)
        )
        surrogates = [(ratio + s) * ADVANTAGES[:, None] - one.drift for s, one in ((eps, up), (-eps, down))]
        slope = (surrogates[0] - surrogates[1]) / (2 * eps)
        smooth = abs(up.pull - down.pull) < 0.3 * np.maximum(1.0, abs(here.pull))
        assert smooth.mean() > 0.5
        np.testing.assert_allclose(
            here.pull[smooth], slope[smooth], atol=0.03 * (1 + abs(slope[smooth])).max()
        )


def test_maps_have_the_expected_values():
    """Rows are advantages, columns ratios: the derivative of PPO is the advantage, and 0 where it clips."""
    result = drift.measure(objectives.ppo(0.2), np.log([0.5, 1.0, 2.0]), [-3.0, 1.0], 0.0)
    np.testing.assert_allclose(result.pull, [[0, -3, -3], [1, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(result.drift, [[0.9, 0, 0], [0, 0, 0.8]], atol=1e-6)


def test_only_objectives_that_change_over_training_get_three_panels():
    assert list(drift.over_training(objectives.dpo(), LOG_RATIO, ADVANTAGES)) == [0.0]
    for objective in (objectives.mdpo(), drift.named("ta_lpo")[1]):
        result = drift.over_training(objective, LOG_RATIO, ADVANTAGES)
        assert list(result) == [0.0, 0.5, 1.0]
    result = drift.over_training(objectives.mdpo(coef=2.0), LOG_RATIO, ADVANTAGES)
    np.testing.assert_allclose(result[0.5].drift, 2 * result[0.0].drift, atol=1e-5)


def painted(monkeypatch, *arguments, **options):
    """The axes of a picture, colour bars left out, and the limits of the colours."""
    import matplotlib.figure

    figures = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    drift.draw(*arguments, **options)
    axes = [one for one in figures[0].axes if one.get_label() != "<colorbar>"]
    return axes, [one.images[0].get_clim() for one in axes]


def test_colours_are_shared_and_symmetric(monkeypatch, tmp_path):
    shown = [drift.named(name) for name in ("ppo", "spo", "mdpo", "p3o")]
    axes, limits = painted(monkeypatch, shown, tmp_path / "a.png")
    assert len(axes) == 12  # six maps, each twice; the second band is not full
    assert len(set(limits)) == 2 and (-3.0, 3.0) in limits
    assert all(low == -high for low, high in limits)
    titles = [one.get_title() for one in axes if one.get_title()]
    assert titles == ["ppo", "spo", *(f"mdpo\nprogress {t}" for t in ("0", "0.5", "1")), "p3o"]


def test_the_line_is_where_the_pull_changes_its_sign(monkeypatch, tmp_path):
    """Of a penalty by the chi-square divergence: A = 2 coef (r - 1)."""
    axes, _ = painted(monkeypatch, [("chi", objectives.chi_square(0.5))], tmp_path / "a.png")
    lines = [path.vertices for path in axes[1].collections[0].get_paths()]
    points = np.concatenate([line for line in lines if len(line)])
    assert len(points) > 100
    np.testing.assert_allclose(points[:, 1], np.exp(points[:, 0]) - 1.0, atol=0.01)


def test_the_command_draws_a_picture(tmp_path):
    out = tmp_path / "deep" / "d.png"
    status, output = run_command("drift", "ppo+dpo", "lpo", "--out", out)
    assert (status, output.strip()) == (0, str(out))
    with Image.open(out) as image:
        assert image.width > image.height > 500
        assert len(image.convert("RGB").getcolors(maxcolors=image.width * image.height)) > 100


def test_other_seeds_have_other_weights():
    one, two = (drift.named("lpo", seed)[1].params.out for seed in (0, 1))
    assert (one != two).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "drift needs an objective"),
        ("dppo", "unknown objective 'dppo'; the nearest: ppo, dpo"),
        ("ppo --out some.txt", "must end in .png"),
        ("ppo --max-ratio 1", "max_ratio = 1.0"),
        ("ppo --max-advantage -2", "max_advantage = -2.0"),
        ("ppo --max-advantage nan", "max_advantage = nan"),
        ("ppo --zoom 2", "--zoom"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, output = run_command("drift", *words.split())
    assert status == 2 and message in output, output
    assert output.startswith("jaxrl: error: ") and output.count("\n") == 1
    assert not list(tmp_path.iterdir())
