"""Formulas that approximate a learned drift.

Only the slope of a drift affects an agent, so slopes are fitted: d f / d log r for typical log-ratios and
advantages at all times of a training, by least squares. There are two families of formulas: Discovered Policy
Optimisation with fitted alpha and beta (Lu et al. 2022, section 6, chose theirs by inspection), and sums of
few terms (`objectives.TERMS`, each also multiplied by progress). Terms are chosen one by one: the next is the
one with the least error when all chosen ones are fitted again (orthogonal least squares, Chen et al. 1989,
https://doi.org/10.1080/00207178908953472).
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl import objectives
from jaxrl.types import Objective, PyTree, Surrogate

SPREAD = 0.3  # standard deviation of log-ratios; that of normalized advantages is 1


class Fit(NamedTuple):
    """A formula for a drift.

    Attributes:
      name: of an objective in `jaxrl.objectives`.
      params: its parameters.
      explained: the fraction of the mean squared slope that it explains.
      formula: as text.
    """

    name: str
    params: PyTree
    explained: float
    formula: str


At = tuple[np.ndarray, np.ndarray, np.ndarray]


def points(num_points: int = 4096, seed: int = 0) -> At:
    """Log-ratios, advantages and progress, each `[B]`, at which slopes are compared."""
    generator = np.random.default_rng(seed)
    log_ratio = SPREAD * generator.standard_normal(num_points)
    advantages, progress = generator.standard_normal(num_points), generator.uniform(size=num_points)
    return log_ratio.astype(np.float32), advantages.astype(np.float32), progress.astype(np.float32)


def slopes(
    apply: Surrogate, params: PyTree, log_ratio: ArrayLike, advantages: ArrayLike, progress: ArrayLike
) -> jax.Array:
    """d f / d log r `[B]` of an objective's drift f = r A - L."""

    def drift(l, A, now):
        return jnp.exp(l) * A - apply(params, l[None], A[None], now)[0]

    return jax.vmap(jax.grad(drift))(*map(jnp.asarray, (log_ratio, advantages, progress)))


def fit_dpo(target: np.ndarray, at: At) -> Fit:
    """Discovered Policy Optimisation with the alpha and beta whose slopes are nearest to `target` `[B]`."""
    from scipy.optimize import minimize

    objective = objectives.dpo()
    error = jax.jit(
        lambda x: jnp.square(slopes(objective.apply, objectives.Drift(*jnp.exp(x)), *at) - target).mean()
    )
    starts = [np.log([alpha, beta]) for alpha in (0.3, 2.0) for beta in (0.1, 0.6)]
    found = min((minimize(error, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun)
    alpha, beta = map(float, np.exp(found.x))
    explained = 1.0 - float(found.fun) / float(np.mean(np.square(target)))
    return Fit(
        "dpo", objectives.Drift(alpha, beta), explained, f"dpo with alpha {alpha:.3g}, beta {beta:.3g}"
    )


def fit_terms(target: np.ndarray, at: At, sizes: Sequence[int]) -> list[Fit]:
    """Formulas with the given numbers of terms, chosen greedily by the error that remains after the relu.

    Args:
      target: slopes `[B]` of a drift at the points `at`.
    """
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
        chosen.append(min(left, key=left.__getitem__))
        if size not in sizes:
            continue
        weights, error = _fit(values[:, chosen], columns[:, chosen], target)
        coefs = np.zeros(len(names), np.float32)
        coefs[chosen] = weights
        formula = " ".join(f"{weight:+.3g} {names[k]}" for k, weight in zip(chosen, weights))
        explained = 1.0 - error / float(np.mean(np.square(target)))
        fits.append(Fit("symbolic", objectives.Terms(jnp.asarray(coefs)), explained, f"relu({formula})"))
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


def distil(objective: Objective, sizes: Sequence[int]) -> list[Fit]:
    """Formulas for the drift of an objective: Discovered Policy Optimisation, then sums of `sizes` terms.

    Raises:
      ValueError: the slope of the drift is 0 at all points.
    """
    at = points()
    target = np.asarray(slopes(objective.apply, objective.params, *at), np.float64)
    if not np.square(target).mean() > 1e-8:
        raise ValueError("the drift is flat at all typical ratios and advantages: nothing to distil")
    return [fit_dpo(target, at), *fit_terms(target, at, sizes)]
