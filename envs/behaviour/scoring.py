"""The experiments of the behaviour suite, and the scores of agents in them, from 0 to 1.

    env = scoring.make("catch_noise/7")             # one setting of an experiment; train on EPISODES of it
    ...                                             # record info["measure"] where an episode ends
    scoring.score("catch_noise", {"catch_noise/7": measures, ...})

After bsuite 0.3.6 (Osband et al. 2020, https://github.com/google-deepmind/bsuite): bsuite/sweep.py and the
analysis.py of each experiment. The three experiments on MNIST, of 23, are not included.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.behaviour import ENTRIES
from jaxrl.envs.behaviour.common import measured, reward_noise, reward_scale
from jaxrl.envs.wrappers import auto_reset, episode_stats
from jaxrl.names import lookup
from jaxrl.types import Env


class Experiment(NamedTuple):
    """A test of one ability, in several settings of one environment."""

    env: str  # name in the registry
    settings: tuple[dict[str, Any], ...]
    episodes: int  # in each setting
    tags: tuple[str, ...]  # tested abilities; the first one is its type
    score: Callable  # (runs) -> score
    by: str | None = None  # parameter whose values are scored separately
    measure: Callable | None = None  # (state, timestep) -> the step's part of the measure; None: the reward


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


def _average(runs, episodes: int) -> float:
    """The mean measure per episode, over the longest runs."""
    count = min(max(run.episode[-1] for run in runs), episodes)
    totals = [run.total[run.episode == count] for run in runs]
    return np.concatenate(totals).mean() / count


def _share_of_good(runs, episodes: int, good: float) -> float:
    """The share of the runs that had an episode better than `good`."""
    return np.mean([np.max(run.best[run.episode <= episodes]) > good for run in runs])


def _regret(optimum: float, baseline: float):
    """1 for no regret, 0 for a regret of `baseline`; regret is `optimum` minus the mean measure."""

    def score(runs, episodes):
        regret = optimum - _average(runs, episodes)
        return np.clip((baseline - regret) / baseline, 0, 1)

    return score


def _half_solved(optimum: float, good: float):
    """The mean of the score of the regret and the share of runs with an episode better than `good`."""
    regret = _regret(optimum, optimum)
    return lambda runs, episodes: 0.5 * (regret(runs, episodes) + _share_of_good(runs, episodes, good))


def _mean_less_deviation(score):
    """The mean of two scores: the mean over groups, and this mean minus their standard deviation."""

    def scaled(groups, episodes):
        scores = [score(runs, episodes) for runs in groups.values()]
        return 0.5 * sum(np.clip(np.mean(scores) - c * np.std(scores), 0, 1) for c in (0, 1))

    return scaled


def _mean(score):
    return lambda groups, episodes: np.mean([score(runs, episodes) for runs in groups.values()])


def _share_solved(threshold: float):
    """The share of the groups whose mean is less than `threshold` below the optimum 1."""
    return _mean(lambda runs, episodes: 1.0 - _average(runs, episodes) < threshold)


def _beats_dithering(threshold: float, first: int = 1):
    """The share of the sizes whose rate of bad episodes falls below `threshold` sooner than random play."""

    def score(groups, episodes):
        solved = []
        for size, runs in groups.items():
            episode = np.concatenate([run.episode for run in runs])
            bad = -np.concatenate([run.total for run in runs]) / episode
            seen = (episode >= first) & (episode <= episodes)
            if seen.any():
                solved.append((episode[seen & (bad < threshold)] < 2**size + 100).any())
        if not solved:
            raise ValueError(f"no run has reached episode {first}")
        return np.mean(solved)

    return score


def _bad_episode(state, timestep):
    """-1 for an episode of deep sea that left the path to the treasure, otherwise 0."""
    return -(state.bad & timestep.terminated).astype(jnp.float32)


def _last_reward(state, timestep):
    """The part of the return that depends on the umbrella, without the noise."""
    return jnp.where(timestep.terminated, timestep.reward, 0.0)


def _each(name: str, values) -> tuple[dict[str, Any], ...]:
    return tuple({name: value} for value in values)


def _four_of_each(name: str, values, seeded: bool) -> tuple[dict[str, Any], ...]:
    return tuple({name: v, **({"mapping_seed": n} if seeded else {})} for v in values for n in range(4))


_NOISE = (0.1, 0.3, 1.0, 3.0, 10.0)
_SCALE = (0.001, 0.03, 1.0, 30.0, 1000.0)
_LOG_SPACED = (*range(1, 11), 12, 14, 17, 20, 25)
_LENGTHS = (*_LOG_SPACED, *range(30, 105, 10))
_SIZES = tuple({"size": n, "mapping_seed": 42} for n in range(10, 51, 2))
_ONCE: tuple[dict[str, Any], ...] = ({},) * 20

_BANDIT = _regret(optimum=1.0, baseline=0.5)
_CATCH = _regret(optimum=1.0, baseline=1.6)
_CAR = _regret(optimum=-100.0, baseline=1000.0)
_POLE = _half_solved(optimum=1000.0, good=500.0)

EXPERIMENTS: dict[str, Experiment] = {
    "bandit": Experiment(
        "SimpleBandit-bsuite", _each("mapping_seed", range(20)), 10_000, ("basic",), _BANDIT
    ),
    "cartpole": Experiment(
        "CartPole-bsuite", _ONCE, 1000, ("basic", "credit_assignment", "generalization"), _POLE
    ),
    "cartpole_swingup": Experiment(
        "CartPoleSwingup-bsuite",
        tuple({"height_threshold": n / 20, "x_reward_threshold": 1 - n / 20} for n in range(20)),
        1000,
        ("exploration", "generalization"),
        _mean(_half_solved(optimum=700.0, good=100.0)),
        "height_threshold",
    ),
    "catch": Experiment("Catch-bsuite", _ONCE, 10_000, ("basic", "credit_assignment"), _CATCH),
    "deep_sea": Experiment(
        "DeepSea-bsuite", _SIZES, 10_000, ("exploration",), _beats_dithering(0.9), "size", _bad_episode
    ),
    "deep_sea_stochastic": Experiment(
        "DeepSea-bsuite/stochastic",
        _SIZES,
        10_000,
        ("exploration", "noise"),
        _beats_dithering(0.8, first=100),
        "size",
        _bad_episode,
    ),
    "discounting_chain": Experiment(
        "DiscountingChain-bsuite",
        _each("mapping_seed", range(20)),
        1000,
        ("credit_assignment",),
        _regret(optimum=1.1, baseline=0.1),
    ),
    "memory_len": Experiment(
        "MemoryChain-bsuite",
        tuple({"memory_length": n, "num_bits": 1} for n in _LENGTHS),
        10_000,
        ("memory",),
        _share_solved(0.75),
        "memory_length",
    ),
    "memory_size": Experiment(
        "MemoryChain-bsuite",
        tuple({"memory_length": 2, "num_bits": n} for n in (*_LOG_SPACED, 30, 40)),
        10_000,
        ("memory",),
        _share_solved(0.75),
        "num_bits",
    ),
    "mountain_car": Experiment("MountainCar-bsuite", _ONCE, 1000, ("basic", "generalization"), _CAR),
    "umbrella_distract": Experiment(
        "UmbrellaChain-bsuite",
        tuple({"chain_length": 20, "n_distractor": n} for n in _LENGTHS),
        10_000,
        ("credit_assignment", "noise"),
        _share_solved(0.5),
        "n_distractor",
        _last_reward,
    ),
    "umbrella_length": Experiment(
        "UmbrellaChain-bsuite",
        tuple({"chain_length": n, "n_distractor": 20} for n in _LENGTHS),
        10_000,
        ("credit_assignment", "noise"),
        _share_solved(0.5),
        "chain_length",
        _last_reward,
    ),
}
for _name, _tags in {
    "bandit": (),
    "cartpole": ("generalization",),
    "catch": ("credit_assignment",),
    "mountain_car": ("generalization",),
}.items():
    _base = EXPERIMENTS[_name]
    for _tag, _by, _values in (("noise", "noise_scale", _NOISE), ("scale", "reward_scale", _SCALE)):
        EXPERIMENTS[f"{_name}_{_tag}"] = Experiment(
            f"{_base.env}/{_tag}",
            _four_of_each(_by, _values, seeded=_name == "bandit"),
            _base.episodes,
            (_tag, *_tags),
            _mean_less_deviation(_base.score),
            _by,
        )

SWEEP: dict[str, Setting] = {
    f"{_name}/{_index}": Setting(_experiment.env, _params)
    for _name, _experiment in sorted(EXPERIMENTS.items())
    for _index, _params in enumerate(_experiment.settings)
}


def _ids(experiment: str) -> str:
    return f"{experiment}/0 to {experiment}/{len(EXPERIMENTS[experiment].settings) - 1}"
