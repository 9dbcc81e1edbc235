"""The scores of agents in the experiments of the behaviour suite, from 0 to 1.

    env = scoring.make("catch_noise/7")             # one setting of an experiment; train on EPISODES of it
    ...                                             # record info["measure"] where an episode ends
    scoring.score("catch_noise", {"catch_noise/7": measures, ...})

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite): bsuite/sweep.py and the
analysis.py of each experiment. The three experiments on MNIST, of 23, are not included.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxrl.envs.behaviour import ENTRIES
from jaxrl.envs.behaviour.common import measured, reward_noise, reward_scale
from jaxrl.envs.behaviour.experiments import EXPERIMENTS
from jaxrl.envs.wrappers import auto_reset, episode_stats
from jaxrl.names import lookup
from jaxrl.types import Env


class Setting(NamedTuple):
    """An environment's name and its parameters."""

    env: str
    params: dict[str, Any]


class Log(NamedTuple):
    """The log that the original would have written for one run, `[L]` each."""

    episode: np.ndarray  # counted from 1
    total: np.ndarray  # sum of the measures so far
    best: np.ndarray  # largest measure so far


def make(bsuite_id: str) -> Env:
    """The environment of a setting such as "catch/0", which resets itself and records returns.

    Where an episode ends, `info["measure"]` is the input of `score` for that episode.

    Raises:
      ValueError: for an unknown setting.
    """
    setting = lookup("setting", SWEEP, bsuite_id)
    measure = EXPERIMENTS[bsuite_id.split("/")[0]].measure
    params = dict(setting.params)
    noise, scale = params.pop("noise_scale", None), params.pop("reward_scale", None)
    base = setting.env
    for added, value in (("/noise", noise), ("/scale", scale)):
        base = base if value is None else base.removesuffix(added)
    env = measured(ENTRIES[base].make(**params), measure)
    if noise is not None:
        env = reward_noise(env, noise)
    if scale is not None:
        env = reward_scale(env, scale)
    return auto_reset(episode_stats(env))


def score(experiment: str, measures: Mapping[str, Any], every_episode: bool = False) -> float:
    """The score of an agent in an experiment, from 0 (about random play) to 1.

    Args:
      experiment: its name, such as "catch_noise".
      measures: `{bsuite_id: [E]}`, the measure of each episode in order; settings may be missing.
      every_episode: the original evaluates a run only after the numbers of episodes in `is_logged`, unless
        it logs all of them, which this switches on. The scores of deep sea may depend on it.

    Raises:
      ValueError: for an unknown experiment, a setting of another one, or no data.
    """
    what = lookup("experiment", EXPERIMENTS, experiment)
    runs = {}
    for bsuite_id, values in measures.items():
        if bsuite_id not in SWEEP or bsuite_id.split("/")[0] != experiment:
            raise ValueError(f"{experiment} has no setting {bsuite_id!r}; it has {_ids(experiment)}")
        runs[bsuite_id] = _log(np.asarray(values, np.float64), every_episode)
        if not len(runs[bsuite_id].episode):
            raise ValueError(f"{bsuite_id} has no episodes")
    if not runs:
        raise ValueError(f"{experiment} cannot be scored without data")
    if what.by is None:
        return float(what.score(list(runs.values()), what.episodes))
    groups: dict[Any, list] = {}
    for bsuite_id, run in runs.items():
        groups.setdefault(SWEEP[bsuite_id].params[what.by], []).append(run)
    return float(what.score(groups, what.episodes))


def by_tag(scores: Mapping[str, float]) -> dict[str, float]:
    """The mean score of the experiments with each tag, of `{experiment: score}`."""
    tags = sorted({tag for name in scores for tag in EXPERIMENTS[name].tags})
    return {tag: float(np.mean([scores[n] for n in scores if tag in EXPERIMENTS[n].tags])) for tag in tags}


def is_logged(episode):
    """Whether the original logs a run after this many episodes: 1, 1.2, 1.4, ... 9 times a power of ten."""
    episode = np.asarray(episode, np.int64)
    tenths = np.array([10, 12, 14, 17, 20, 25, 30, 40, 50, 60, 70, 80, 90])
    power = 10 ** np.floor(np.log10(np.maximum(episode, 1)) + 1e-9).astype(np.int64)
    return (10 * episode[..., None] == tenths * power[..., None]).any(axis=-1)


def _log(measures, every_episode: bool) -> Log:
    episode = np.arange(1, len(measures) + 1)
    kept = np.ones(len(measures), bool) if every_episode else is_logged(episode)
    best = np.maximum.accumulate(measures) if len(measures) else measures
    return Log(episode[kept], np.cumsum(measures)[kept], best[kept])


SWEEP: dict[str, Setting] = {
    f"{_name}/{_index}": Setting(_experiment.env, _params)
    for _name, _experiment in sorted(EXPERIMENTS.items())
    for _index, _params in enumerate(_experiment.settings)
}


def _ids(experiment: str) -> str:
    return f"{experiment}/0 to {experiment}/{len(EXPERIMENTS[experiment].settings) - 1}"
