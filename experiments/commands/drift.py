"""Maps of objectives over ratio and advantage: the drift f = r A - L, and the derivative dL/dr.

If the drift of an objective is 0, the derivative is the advantage; the maps show where other objectives
reduce it, and where they reverse its sign.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import numpy as np

from jaxrl import objectives
from jaxrl.experiments import folders, plot
from jaxrl.types import Objective

PROGRESS = (0.0, 0.5, 1.0)
POINTS = 240  # along either axis; even, so that no advantage is exactly 0
PER_BAND = 5  # maps per row
RANDOM = ("lpo", "ta_lpo")  # networks, which are drawn with random weights


class Map(NamedTuple):
    """An objective over ratios and advantages, at one time of training.

    Attributes:
      drift: `[Y, X]`, f = r A - L, in units of the advantage.
      pull: `[Y, X]`, dL/dr by automatic differentiation: A if the drift is 0.
    """

    drift: np.ndarray
    pull: np.ndarray


def measure(objective: Objective, log_ratio, advantages, progress: float) -> Map:
    """The drift of an objective and the derivative of its surrogate with respect to the ratio.

        f = r A - L(r, A),   dL/dr = (dL / d log r) / r

    Args:
      log_ratio: `[X]`.
      advantages: `[Y]`.
      progress: from 0 to 1 over training.
    """
    l, a = (np.asarray(x, np.float32) for x in np.meshgrid(log_ratio, advantages))
    slope, value = _slope_and_value(objective.apply)(  # type: ignore[arg-type]  # a function, which is hashable
        objective.params, l, a, np.float32(progress)
    )
    ratio = np.exp(l)
    return Map(ratio * a - np.asarray(value), np.asarray(slope) / ratio)


@functools.lru_cache(maxsize=16)
def _slope_and_value(apply):
    """The derivative with respect to the log-ratio, and the value; compiled once for all `progress`."""

    def surrogate(l, params, a, progress):
        value = apply(params, l, a, progress)
        return value.sum(), value

    slope = jax.grad(surrogate, has_aux=True)
    return jax.jit(lambda params, l, a, progress: slope(l, params, a, progress))


def over_training(objective: Objective, log_ratio, advantages) -> dict[float, Map]:
    """Maps at the start, in the middle and at the end; a single one if they are all equal."""
    maps = {progress: measure(objective, log_ratio, advantages, progress) for progress in PROGRESS}
    first = maps[PROGRESS[0]]
    same = all(np.allclose(x, y, atol=1e-6) for one in maps.values() for x, y in zip(one, first))
    return {PROGRESS[0]: first} if same else maps


def named(name: str, seed: int = 0) -> tuple[str, Objective]:
    """An objective by its name, with a title; `lpo` and `ta_lpo` with random weights.

    Raises ValueError with the nearest names.
    """
    from jaxrl.experiments import runs

    if name in RANDOM:
        timed = name == "ta_lpo"
        params = objectives.random_drift(jax.random.key(seed), timed)
        return f"{name}, random weights", (objectives.ta_lpo if timed else objectives.lpo)(params)
    return Path(name).name if runs.is_file(name) else name, runs.objective(name)


def draw(
    shown: list[tuple[str, Objective]], path: Path, max_ratio: float = 2.5, max_advantage: float = 3.0
) -> None:
    """Draws the maps of objectives to the file `path`; its extension determines the format.

    The drift is above, the derivative below. All maps of one kind have the same colour scale, symmetric
    around 0. A black line is where the derivative changes its sign; in an enclosed white area it is 0.

    Args:
      shown: titles and objectives.
      max_ratio: ratios from 1 / max_ratio to max_ratio, on a logarithmic axis.
      max_advantage: advantages from -max_advantage to max_advantage.

    Raises:
      ValueError: there is nothing to draw, or a range is empty.
    """
    if not shown:
        raise ValueError("there is no objective to draw")
    # Beyond these, float32 does not distinguish the points of the map, or their products overflow.
    if not 1.001 <= max_ratio <= 1e6:
        raise ValueError(f"max_ratio = {max_ratio} must lie between 1.001 and 1e6")
    if not 1e-6 <= max_advantage <= 1e6:
        raise ValueError(f"max_advantage = {max_advantage} must lie between 1e-6 and 1e6")
    log_ratio = np.linspace(-math.log(max_ratio), math.log(max_ratio), POINTS)
    advantages = np.linspace(-max_advantage, max_advantage, POINTS)
    maps = []
    for title, objective in shown:
        over = over_training(objective, log_ratio, advantages)
        for progress, one in over.items():
            maps.append((title if len(over) == 1 else f"{title}\nprogress {progress:g}", one))
    # The colour scale of the drift is a quantile over the maps, so that one corner does not determine it.
    most = np.quantile(np.abs([one.drift for _, one in maps]), 0.95)
    limits = {"drift": _round_up(float(most)) or 1.0, "pull": max_advantage}
    columns = min(len(maps), PER_BAND)
    bands = -(-len(maps) // PER_BAND)
    figure = plot.new_figure((1.5 + 2.1 * columns, 0.5 + 4.4 * bands))
    grid = figure.subplots(2 * bands, columns, sharex=True, sharey=True, squeeze=False)
    for index in range(bands * columns):
        band, column = divmod(index, columns)
        both = grid[2 * band : 2 * band + 2, column]
        if index >= len(maps):
            for axes in both:
                axes.remove()
            continue
        title, one = maps[index]
        both[0].set_title(title.replace("$", r"\$"), fontsize=9)
        for axes, kind in zip(both, limits):
            images = _paint(axes, getattr(one, kind), one.pull, log_ratio, advantages, limits[kind])
            if column == 0:
                _bar(figure, grid[2 * band + list(limits).index(kind)], images, kind)
                axes.set_ylabel("advantage", fontsize=8)
        both[1].set_xlabel("ratio", fontsize=8)
        both[1].tick_params(labelbottom=True)
    ticks = _ticks(max_ratio)
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            axes.set_xticks(np.log(ticks), [f"{tick:g}" for tick in ticks])
            axes.tick_params(labelsize=7)
    note = "black: where the pull changes its sign, or where it ends"
    figure.suptitle(note, x=0.01, ha="left", fontsize=8, color="#767E8C")
    plot.save(figure, path)


def _paint(axes, values, pull, log_ratio, advantages, limit: float):
    """A map in colours, with the line on which the derivative changes its sign."""
    extent = (log_ratio[0], log_ratio[-1], advantages[0], advantages[-1])
    look = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "aspect": "auto", "origin": "lower"}
    image = axes.imshow(values, extent=extent, **look)
    edge = 1e-4 * advantages[-1]  # both sides of the line, which separate where the derivative is 0
    if pull.min() < -edge and pull.max() > edge:
        axes.contour(log_ratio, advantages, pull, [-edge, edge], colors="k", linewidths=0.8, linestyles="-")
    return image


def _bar(figure, row, image, kind: str) -> None:
    label = {"drift": "drift  f = r A − L", "pull": "pull  dL/dr"}[kind]
    bar = figure.colorbar(image, ax=list(row), extend="both", fraction=0.05, pad=0.01)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _round_up(number: float) -> float:
    """Rounds up to 1, 2 or 5 times a power of ten."""
    if number <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(number))
    return next(step * power for step in (1, 2, 5, 10) if number <= step * power * (1 + 1e-9))


def _ticks(max_ratio: float) -> list[float]:
    """Ratios to label: as many as fit."""
    half = [ratio for ratio in (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0, 1e3, 1e4, 1e5) if ratio <= max_ratio]
    kept = half[-1:] if len(half) < 3 else [half[len(half) // 2 - 1], half[-1]]
    return [*(1 / ratio for ratio in reversed(kept)), 1.0, *kept]


def command(argv: list[str]) -> int:
    """`jaxrl drift NAME...`: writes the figure and prints its path."""
    import tyro

    from jaxrl.experiments import options

    @dataclasses.dataclass
    class Drift:
        """Maps of objectives: their drift, and the derivative with respect to the ratio."""

        names: Annotated[
            tuple[str, ...], tyro.conf.Positional
        ]  # of `jaxrl list objectives`, or files; lpo and ta_lpo: random ones
        out: Path = Path("drift.png")  # .png, .svg or .pdf file
        seed: int = 0  # of the random weights of lpo and ta_lpo
        max_ratio: float = 2.5  # ratios from 1 / max_ratio to max_ratio are shown
        max_advantage: float = 3.0  # advantages from -max_advantage to max_advantage are shown

    chosen = options.parse(Drift, argv, "jaxrl drift")
    if not chosen.names:
        raise options.UsageError("drift needs an objective: jaxrl drift ppo dpo")
    if chosen.out.suffix not in (".png", ".svg", ".pdf"):
        raise options.UsageError(f"--out {chosen.out} must end in .png, .svg or .pdf")
    if not 0 <= chosen.seed < 2**32:
        raise options.UsageError(f"seed = {chosen.seed} must lie between 0 and 4294967295")
    shown = [named(name, chosen.seed) for name in chosen.names]
    folders.require_output(chosen.out)
    draw(shown, chosen.out, chosen.max_ratio, chosen.max_advantage)
    print(chosen.out)
    return 0
