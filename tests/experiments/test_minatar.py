"""The comparison with MinAtar's published curves: definition of its means."""

import math

import pytest

from jaxrl.experiments import minatar


def row(returns, counts):
    return {"episode/return": returns, "episode/count": counts}


def test_last_episodes_are_a_mean_over_episodes_and_not_over_intervals():
    rows = [row([100.0, 100.0], [500.0, 500.0]), row([1.0, 4.0], [60.0, 90.0]), row([3.0, 2.0], [40.0, 30.0])]
    returns, episodes = minatar.last_episodes(rows, least=100)
    assert returns == pytest.approx([(60 * 1 + 40 * 3) / 100, (90 * 4 + 30 * 2) / 120])
    assert episodes == [100, 120]


def test_each_seed_goes_back_as_far_as_it_needs():
    rows = [row([5.0, 5.0], [10.0, 10.0]), row([1.0, 1.0], [4.0, 10.0])]
    returns, episodes = minatar.last_episodes(rows, least=10)
    assert returns == pytest.approx([(50 + 4) / 14, 1.0])
    assert episodes == [14, 10]


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_an_interval_without_an_episode_counts_nothing(nothing):
    rows = [row([2.0], [8.0]), row([nothing], [0.0]), row([4.0], [2.0])]
    assert minatar.last_episodes(rows, least=10) == (pytest.approx([2.4]), [10])


def test_too_few_episodes_are_refused():
    with pytest.raises(ValueError, match="finished 3 episodes, not 100"):
        minatar.last_episodes([row([1.0, 1.0], [200.0, 3.0])])


def test_the_table_has_a_row_per_game_beside_the_published_numbers():
    record = {
        "environment": "Asterix-MinAtar",
        "training": {"mean": 20.5, "median": 21.0, "per_seed": [21.0, 20.0]},
        "evaluation": {"mean": 22.25},
        "published": {method: scores["Asterix"] for method, scores in minatar.PUBLISHED.items()},
    }
    assert minatar.table([record]).splitlines()[-1] == "| Asterix | 20.5 | 21 | 20 21 | 22.25 | 19 | 16.5 |"


def test_every_game_has_a_published_score_for_each_method():
    assert all(set(scores) == set(minatar.GAMES) for scores in minatar.PUBLISHED.values())
