"""The experiments of the behaviour suite: their environments and settings, and how they are scored.

After bsuite 0.3.6, as `scoring` describes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Experiment(NamedTuple):
    """A test of one ability, in several settings of one environment."""

    env: str  # name in the registry
    settings: tuple[dict[str, Any], ...]
    episodes: int  # in each setting
    tags: tuple[str, ...]  # tested abilities; the first one is its type
    score: Callable  # (runs) -> score
    by: str | None = None  # parameter whose values are scored separately
    measure: Callable | None = None  # (state, timestep) -> the step's part of the measure; None: the reward


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
