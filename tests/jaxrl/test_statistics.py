"""Statistics of tasks and trials against brute force, SciPy, and functions whose indices are known."""

import itertools

import numpy as np
import pytest
import scipy.stats

from jaxrl.statistics import (
    across_tasks,
    bootstrap_interval,
    difference,
    holm,
    iqm,
    main_effect,
    performance_profile,
    permutation_p,
    probability_of_improvement,
    rank_correlation,
    signed_rank_p,
)
from jaxrl.statistics.tasks import _pooled

STATISTICS = {"IQM": iqm, "median": np.median}


def tasks(*sizes, seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    return [shift + generator.normal(size=size) + number for number, size in enumerate(sizes)]


# --- several tasks --------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("sizes", [(1,), (5,), (8,), (4, 4), (7, 7, 7)])
def test_tasks_of_one_size_are_pooled(statistic, sizes):
    data = tasks(*sizes)
    expected = STATISTICS[statistic](np.concatenate(data), axis=0)
    assert across_tasks(data, statistic).value == pytest.approx(expected)


def test_tasks_have_equal_weight():
    """Repeating every run until the tasks are equally long changes nothing but the rounding of the cut."""
    data = [np.array([0.0, 1.0, 2.0, 3.0]), np.linspace(10, 20, 12)]
    repeated = np.concatenate([np.repeat(data[0], 3), data[1]])
    assert across_tasks(data).value == pytest.approx(iqm(repeated))
    assert across_tasks(data).value != pytest.approx(iqm(np.concatenate(data)))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_stratified_interval_of_one_task_is_the_bootstrap_interval(statistic):
    (values,) = tasks(12)
    result = across_tasks([values], statistic)
    expected = bootstrap_interval(values, STATISTICS[statistic], num_resamples=20_000)
    np.testing.assert_allclose([result.low, result.high], expected, atol=0.08)


def test_a_resample_stays_within_its_task():
    """Tasks far apart, each with one value: all resamples are equal."""
    result = across_tasks([np.zeros(4), np.full(4, 100.0)])
    assert (result.low, result.value, result.high) == (50, 50, 50)
    by_hand = []
    data = tasks(5, 6)
    generator = np.random.default_rng(7)
    for _ in range(4000):
        drawn = [generator.choice(x, x.size) for x in data]
        by_hand.append(_pooled(drawn, "IQM"))
    result = across_tasks(data)
    np.testing.assert_allclose([result.low, result.high], np.quantile(by_hand, (0.025, 0.975)), atol=0.1)


def test_one_run_has_no_interval():
    result = across_tasks([np.array([3.0]), np.array([1.0, 2.0])])
    assert np.isfinite(result.value) and not result.known and np.isnan(result.low)
    with pytest.raises(ValueError, match="at least one task"):
        across_tasks([])
    with pytest.raises(ValueError, match="one run of each"):
        across_tasks([np.array([1.0]), np.array([])])


def test_the_profile_is_a_share_of_runs_above():
    data = tasks(5, 9)
    levels = np.linspace(-2, 3, 11)
    result = performance_profile(data, levels)
    expected = [np.mean([np.mean([value > level for value in x]) for x in data]) for level in levels]
    np.testing.assert_allclose(result.value, expected)
    assert (result.low <= result.value).all() and (result.value <= result.high).all()
    assert (np.diff(result.value) <= 0).all()
    # One task: the number above is binomial.
    (values,) = tasks(40)
    result = performance_profile([values], [0.0])
    share = np.mean(values > 0)
    expected = scipy.stats.binom.ppf([0.025, 0.975], 40, share) / 40
    np.testing.assert_allclose([result.low[0], result.high[0]], expected, atol=0.026)


def test_the_probability_of_improvement_counts_pairs():
    first, second = tasks(5, 8), tasks(7, 3, seed=1)
    first[1][0] = second[1][0]  # a tie is half a win
    by_hand = [
        np.mean([(x > y) + 0.5 * (x == y) for x, y in itertools.product(a, b)]) for a, b in zip(first, second)
    ]
    assert probability_of_improvement(first, second).value == pytest.approx(np.mean(by_hand))
    u = scipy.stats.mannwhitneyu(first[0], second[0]).statistic
    assert probability_of_improvement(first[:1], second[:1]).value == pytest.approx(u / 35)
    assert probability_of_improvement(second, first).value == pytest.approx(1 - np.mean(by_hand))


def test_the_interval_of_the_probability_of_improvement():
    """Normal runs: P = Phi(d / sqrt(2)); the interval is that of SciPy's bootstrap."""
    first, second = np.random.default_rng(0).normal(size=(2, 60)) + np.array([[1.0], [0.0]])
    result = probability_of_improvement([first], [second])
    assert result.low < scipy.stats.norm.cdf(1 / np.sqrt(2)) < result.high

    def share(x, y):
        return np.mean(x[:, None] > y[None, :])

    theirs = scipy.stats.bootstrap(
        (first, second), share, n_resamples=3000, vectorized=False, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose([result.low, result.high], theirs, atol=0.015)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_pairing_cancels_the_effect_of_the_seed(statistic):
    generator = np.random.default_rng(0)
    seeds = [100 * generator.normal(size=12) for _ in range(2)]
    first = [x + 1 for x in seeds]
    paired = difference(first, seeds, True, statistic)
    apart = difference(first, seeds, False, statistic)
    assert paired.value == apart.value == pytest.approx(1)
    np.testing.assert_allclose([paired.low, paired.high], 1)  # the same for every seed
    assert apart.low < -20 and apart.high > 20


def test_the_paired_interval_of_the_mean_matches_the_differences():
    """Of three pairs the IQM is the mean, and that of a difference the difference of the means."""
    first, second = np.array([5.0, 7.0, 9.0]), np.array([4.0, 9.0, 3.0])
    result = difference([first], [second], True)
    low, high = bootstrap_interval(first - second, num_resamples=20_000)
    np.testing.assert_allclose([result.value, result.low, result.high], [5 / 3, low, high], atol=1e-9)


def test_sides_that_cannot_be_compared():
    with pytest.raises(ValueError, match="same tasks"):
        difference(tasks(3), tasks(3, 3), False)
    with pytest.raises(ValueError, match="pairs need"):
        difference(tasks(3), tasks(4), True)


# --- tests of hypotheses --------------------------------------------------------------------------


def test_the_signed_rank_test_counts_signs():
    """Exact: the number of sign combinations of the ranks with a sum at least as extreme."""
    differences = np.array([1.5, -0.2, 3.0, 0.7, 2.2, -0.4])
    ranks = scipy.stats.rankdata(np.abs(differences))
    seen = ranks[differences > 0].sum()
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=6)]
    middle = ranks.sum() / 2
    expected = np.mean([abs(total - middle) >= abs(seen - middle) for total in sums])
    assert signed_rank_p(differences) == pytest.approx(expected)
    assert signed_rank_p(np.arange(1, 9)) == pytest.approx(2 / 2**8)
    assert signed_rank_p(np.zeros(5)) == 1
    assert signed_rank_p(np.append(differences, 0)) == signed_rank_p(differences)


def test_the_permutation_test_agrees_with_mann_and_whitney():
    for shift in (0.0, 1.0, 2.5):
        first, second = tasks(6, shift=shift), tasks(5, seed=3)
        exact = scipy.stats.mannwhitneyu(first[0], second[0], method="exact").pvalue
        assert permutation_p(first, second) == pytest.approx(exact, abs=0.012)
    assert permutation_p([np.ones(4)], [np.ones(4)]) == 1


def test_the_permutation_test_permutes_within_tasks():
    """One task is won, the other lost equally clearly: not significant, although each alone would be."""
    high, low = np.arange(10.0, 18.0), np.arange(8.0)
    assert permutation_p([high, high + 0.5], [low, low + 0.5]) < 0.001
    assert permutation_p([high, low], [low, high]) > 0.9


def test_holm_is_the_closed_test_with_bonferroni():
    """A hypothesis is rejected if Bonferroni rejects every set of hypotheses that contains it."""
    generator = np.random.default_rng(0)
    for count in (1, 2, 5):
        p_values = generator.random(count) ** 2
        expected = [
            max(
                min(1, len(some) * min(p_values[list(some)]))
                for size in range(1, count + 1)
                for some in itertools.combinations(range(count), size)
                if index in some
            )
            for index in range(count)
        ]
        np.testing.assert_allclose(holm(p_values), expected)


# --- importance -----------------------------------------------------------------------------------


def inside(estimate, truth, slack=0.0):
    return estimate.low - slack <= truth <= estimate.high + slack


@pytest.mark.parametrize("trials", [64, 256])
def test_an_additive_function_gives_each_axis_its_share(trials):
    generator = np.random.default_rng(trials)
    x = generator.random((trials, 3))
    score = 3 * x[:, 0] - 2 * x[:, 1] + 7
    shares = [main_effect(x[:, axis], score) for axis in range(3)]
    for result, truth in zip(shares, (9 / 13, 4 / 13, 0)):
        assert inside(result, truth) and abs(result.value - truth) < 3 / np.sqrt(trials)
    assert shares[2].value < 0.08


def test_a_pure_interaction_has_no_main_effect():
    x = np.random.default_rng(0).random((512, 2)) - 0.5
    for axis in range(2):
        result = main_effect(x[:, axis], x[:, 0] * x[:, 1])
        assert result.value < 0.05 and result.low == 0


def test_the_indices_of_ishigami():
    """Ishigami and Homma 1990, a = 7, b = 0.1: the first-order indices are 0.3139, 0.4424 and 0."""
    x = np.random.default_rng(0).uniform(-np.pi, np.pi, (4096, 3))
    score = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
    result = [main_effect(x[:, axis], score).value for axis in range(3)]
    np.testing.assert_allclose(result, [0.3139, 0.4424, 0], atol=0.04)
    for axis, values in enumerate(x.T):  # a second estimator, of pairs of neighbours: Gamboa et al. 2022
        sorted_score = score[np.argsort(values)]
        pairs = np.mean(sorted_score * np.roll(sorted_score, 1)) - score.mean() ** 2
        assert result[axis] == pytest.approx(pairs / score.var(), abs=0.06)


@pytest.mark.slow
def test_the_intervals_have_their_nominal_coverage():
    """Over sweeps of 128 trials. An unshifted bootstrap finds one irrelevant axis in six relevant."""
    generator = np.random.default_rng(1)
    held = np.zeros(2)
    for _ in range(60):
        x = generator.random((128, 2))
        score = np.sqrt(12) * x[:, 0] + generator.normal(size=128)
        held += [inside(main_effect(x[:, 0], score), 0.5), inside(main_effect(x[:, 1], score), 0.0)]
    assert held[0] >= 54 and held[1] >= 57


def test_categories_are_compared_as_in_an_analysis_of_variance():
    names = np.repeat(["ppo", "dpo", "a2c"], 8)
    score = np.random.default_rng(0).normal(size=24) + np.repeat([0.0, 1.0, 3.0], 8)
    groups = score.reshape(3, 8)
    f = scipy.stats.f_oneway(*groups).statistic
    # epsilon^2 = df1 (F - 1) / (df1 F + df2)
    assert main_effect(names, score).value == pytest.approx(2 * (f - 1) / (2 * f + 21))
    numbers = np.repeat([0.9, 0.99, 0.95], 8)
    assert main_effect(numbers, score).value == main_effect(names, score).value


def test_ties_share_a_bin_and_empty_bins_are_allowed():
    values = np.array([1.0] * 20 + list(np.linspace(2, 3, 12)))
    score = np.where(values == 1, 0.0, 1.0) + np.random.default_rng(0).normal(size=32) * 1e-3
    assert main_effect(values, score).value > 0.99


@pytest.mark.parametrize(
    ("values", "scores"),
    [
        (np.arange(7.0), np.arange(7.0)),  # too few
        (np.ones(9), np.arange(9.0)),  # constant values
        (np.arange(9.0), np.ones(9)),  # constant scores
    ],
)
@pytest.mark.filterwarnings("error")
def test_importance_is_nan_where_undefined(values, scores):
    assert np.isnan(main_effect(values, scores)).all()
    assert np.isnan(rank_correlation(values, scores)).all()
    assert np.isnan(main_effect(list("abcdefghi"), np.arange(9.0))).all()


def test_the_rank_correlation_is_scipys():
    generator = np.random.default_rng(0)
    x = generator.integers(5, size=60).astype(float)  # with ties
    y = x + generator.normal(size=60) * 2
    result = rank_correlation(x, y)
    assert result.value == pytest.approx(scipy.stats.spearmanr(x, y).statistic)

    def spearman(x, y):
        return scipy.stats.spearmanr(x, y).statistic

    theirs = scipy.stats.bootstrap(
        (x, y), spearman, paired=True, vectorized=False, n_resamples=2000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose([result.low, result.high], theirs, atol=0.03)
