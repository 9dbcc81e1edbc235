"""`jaxrl distil`: approximates a learned drift by formulas, and measures the loss in score.

Only the slope of a drift affects an agent, so slopes are fitted: d f / d log r for typical log-ratios and
advantages at all times of a training, by least squares. There are two families of formulas: Discovered Policy
Optimisation with fitted alpha and beta (Lu et al. 2022, section 6, chose theirs by inspection), and sums of
few terms (`objectives.TERMS`, each also multiplied by progress). Terms are chosen one by one: the next is the
one with the least error when all chosen ones are fitted again (orthogonal least squares, Chen et al. 1989,
https://doi.org/10.1080/00207178908953472).
"""

import dataclasses
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import objective_file, objectives, sources
from jaxrl.experiments import cli, runs, user_files
from jaxrl.experiments.discover import comparison, spec
from jaxrl.experiments.discover.family import repeated
from jaxrl.train import use_cores
from jaxrl.types import Objective

SPREAD = 0.3  # standard deviation of log-ratios; that of normalized advantages is 1


class Fit(NamedTuple):
    """A formula for a drift: an objective by name, and the fraction of the mean squared slope it explains."""

    name: str
    params: object
    explained: float
    formula: str


def points(num_points: int = 4096, seed: int = 0):
    """Log-ratios, advantages and progress `[B]` at which slopes are compared."""
    generator = np.random.default_rng(seed)
    log_ratio = SPREAD * generator.standard_normal(num_points)
    return tuple(
        np.asarray(x, np.float32)
        for x in (log_ratio, generator.standard_normal(num_points), generator.uniform(size=num_points))
    )


def slopes(apply, params, log_ratio, advantages, progress):
    """d f / d log r `[B]` of an objective's drift f = r A - L."""

    def drift(l, A, now):
        return jnp.exp(l) * A - apply(params, l[None], A[None], now)[0]

    return jax.vmap(jax.grad(drift))(*map(jnp.asarray, (log_ratio, advantages, progress)))


def fit_dpo(target, at) -> Fit:
    """Discovered Policy Optimisation with the alpha and beta whose slopes are nearest."""
    from scipy.optimize import minimize

    objective = objectives.dpo()
    error = jax.jit(
        lambda x: jnp.square(slopes(objective.apply, objectives.Drift(*jnp.exp(x)), *at) - target).mean()
    )
    starts = [np.log([alpha, beta]) for alpha in (0.3, 2.0) for beta in (0.1, 0.6)]
    best = min((minimize(error, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun)
    alpha, beta = map(float, np.exp(best.x))
    explained = 1.0 - float(best.fun) / float(np.mean(np.square(target)))
    return Fit(
        "dpo", objectives.Drift(alpha, beta), explained, f"dpo with alpha {alpha:.3g}, beta {beta:.3g}"
    )


def fit_terms(target, at, sizes) -> list[Fit]:
    """Formulas with the given numbers of terms, chosen greedily by the error that remains after the relu."""
    log_ratio, advantages, progress = at
    of_terms = jax.vmap(lambda l, A: objectives.terms(jnp.exp(l), A))
    rise = jax.vmap(jax.jacfwd(lambda l, A: objectives.terms(jnp.exp(l), A)))
    values, columns = (
        np.concatenate([x, progress[:, None] * x], axis=1)
        for x in (np.asarray(f(log_ratio, advantages), np.float64) for f in (of_terms, rise))
    )
    names = [*objectives.TERMS, *(f"progress {name}" for name in objectives.TERMS)]
    chosen: list[int] = []
    fits = []
    for size in range(1, max(sizes) + 1):
        left = {
            k: _fit(values[:, [*chosen, k]], columns[:, [*chosen, k]], target)[1]
            for k in range(len(names))
            if k not in chosen
        }
        chosen.append(min(left, key=left.get))
        if size not in sizes:
            continue
        weights, error = _fit(values[:, chosen], columns[:, chosen], target)
        coefs = np.zeros(len(names), np.float32)
        coefs[chosen] = weights
        formula = " ".join(f"{weight:+.3g} {names[k]}" for k, weight in zip(chosen, weights))
        explained = 1.0 - error / float(np.mean(np.square(target)))
        fits.append(Fit("symbolic", objectives.Terms(coefs), explained, f"relu({formula})"))
    return fits


def _fit(values, columns, target) -> tuple[np.ndarray, float]:
    """Least squares for terms `[B, k]` with slopes `columns`, and the remaining mean squared error.

    Where the sum is negative, the relu makes it 0 and it need not fit. So the rows are those in which the
    target has a slope, and those in which the sum of the previous iteration wrongly had one.
    """
    rows = active = np.abs(target) > 1e-6
    for _ in range(3):
        weights = np.linalg.lstsq(columns[rows], target[rows], rcond=None)[0]
        through = values @ weights > 1e-4
        rows = active | through
    return weights, float(np.mean(np.square(np.where(through, columns @ weights, 0.0) - target)))


def distil(objective: Objective, sizes) -> list[Fit]:
    """Formulas for the drift of an objective: Discovered Policy Optimisation, then sums of `sizes` terms."""
    at = points()
    target = np.asarray(slopes(objective.apply, objective.params, *at), np.float64)
    if not np.square(target).mean() > 1e-8:
        raise ValueError("the drift is flat at all typical ratios and advantages: nothing to distil")
    return [fit_dpo(target, at), *fit_terms(target, at, sizes)]


def command(argv: list[str]) -> int:
    """`jaxrl distil FILE`."""
    import tyro

    @dataclasses.dataclass
    class Distil:
        """Fits formulas to a learned objective, and compares the scores of training with each of them."""

        file: Annotated[Path, tyro.conf.Positional]  # file written by `jaxrl discover`, or a Python file
        terms: tuple[int, ...] = (1, 2, 4, 8, 16)  # numbers of terms, one formula for each
        held_out: int = 1024  # random tables on which to compare scores; 0: no comparison
        out: Path | None = None  # folder for the objectives of the formulas; by default that of the file

    chosen = cli.parse(Distil, argv, "jaxrl distil")
    sizes, most = sorted(set(chosen.terms)), 2 * len(objectives.TERMS)
    if not sizes or not 1 <= sizes[0] <= sizes[-1] <= most:
        raise ValueError(f"terms = {chosen.terms} must be numbers from 1 to {most}")
    if chosen.held_out < 0 or chosen.held_out == 1:
        raise ValueError(f"held_out = {chosen.held_out} must be at least 2, or 0")
    use_cores(quiet=True)
    runs.enable_compile_cache()
    given = str(chosen.file)
    if user_files.is_source(given):
        name, objective = user_files.objective(given)
    else:
        name, objective = user_files.load_objective(chosen.file)
    fits = distil(objective, sizes)
    folder = chosen.out or chosen.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    scores = _scored(objective, fits, chosen.held_out) if chosen.held_out else [""] * (len(fits) + 1)
    print(f"{chosen.file} ({sources.shown(name)}){scores[0]}")
    for size, fit, score in zip(["dpo", *(f"{size}-terms" for size in sizes)], fits, scores[1:]):
        file = folder / f"{chosen.file.stem}-{size}.json"
        objective_file.save(
            file, fit.name, fit.params, {"distilled": chosen.file.name, "formula": fit.formula}
        )
        print(f"{file}: explains {fit.explained:.0%} of the slopes{score}\n  {fit.formula}")
    return 0


def _scored(objective: Objective, fits: list[Fit], count: int) -> list[str]:
    """Texts with mean scores of the learned objective and of the formulas, and their differences."""
    family = spec.family(spec.TABULAR.worlds[0])
    score = comparison.scorer(family, count)
    hps = repeated(family.hparams, 1)

    def scores_of(apply, params):
        return score(apply, repeated(params, 1), hps)[0]

    each = [scores_of(objective.apply, objective.params)]
    each += [scores_of(objective_file.named(fit.name).apply, fit.params) for fit in fits]
    mine, *theirs = comparison.filled(*each)
    texts = [f": mean score {mine.mean():.4f} in {count} held-out tasks"]
    for fit, its in zip(fits, theirs):
        row = comparison.row(fit.name, its, mine)
        low, high = row["interval"]
        texts.append(f", scores {row['mean']:.4f}: {row['difference']:+.4f} ({low:+.4f} to {high:+.4f})")
    return texts
