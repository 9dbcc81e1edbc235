"""Optuna's ask-and-tell interface: after each batch of trials it receives the scores and returns the next."""

import importlib.util
import logging
import warnings
from typing import Any

from jaxrl.experiments.search import drawn
from jaxrl.experiments.search.kind import InBatches, Option, Search, Tried


def require() -> None:
    """Raises ValueError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise ValueError("--search optuna needs the extra: pip install 'jaxrl[optuna]'")


def ask(axes, tried: Tried, count: int, seed: int) -> list[dict[str, float]]:
    """The next trials, by the tree-structured Parzen estimator (Bergstra et al. 2011).

    The sampler is created from the complete history, so that the same history and seed give the same trials,
    and a search that was stopped continues with the trials that it would have had.

    Args:
      axes: `search.Axis`.
      tried: values by flag, and the score; None for a trial without one, which counts as the worst: the
        sampler ignores failed trials, and would suggest diverging ones again and again.

    Returns:
      Values by flag, for `count` trials.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    logging.getLogger("optuna").setLevel(logging.WARNING)
    space: dict[str, Any] = {
        one.flag: optuna.distributions.CategoricalDistribution(one.values)
        if one.values
        else optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)
        for one in axes
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # The scores of a batch are not known yet: the "constant liar" keeps its trials apart.
        sampler = optuna.samplers.TPESampler(seed=seed + len(tried), constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    worst = min((score for _, score in tried if score is not None), default=None)
    for values, score in tried:
        params = {one.flag: values[one.flag] for one in axes}
        score = worst if score is None else score
        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        study.add_trial(create_trial(params=params, distributions=space, value=score, state=state))
    return [study.ask(space).params for _ in range(count)]


OPTIONS = {"generations": Option(10, "number of batches of trials")}
OPTUNA = Search(drawn.default, OPTIONS, batches=InBatches(ask, require))
