"""Losses of distributions of returns, point by point, in float64."""

import itertools
import math

import numpy as np


def softmax(x):
    e = np.exp(np.asarray(x, np.float64) - np.max(x))
    return e / e.sum()


def projected(points, probabilities, reward, discount):
    """The distribution of reward + discount * Z on the points.

    Bellemare et al. 2017, algorithm 1. https://arxiv.org/abs/1707.06887
    """
    low, high, count = points[0], points[-1], len(points)
    width = (high - low) / (count - 1)
    m = np.zeros(count)
    for point, p in zip(points, probabilities):
        b = (min(max(reward + discount * point, low), high) - low) / width
        lower, upper = math.floor(b), math.ceil(b)
        if lower == upper:  # the algorithm as printed loses the probability here
            m[lower] += p
        else:
            m[lower] += p * (upper - b)
            m[upper] += p * (b - lower)
    return m


def huber(u):
    return 0.5 * u * u if abs(u) <= 1.0 else abs(u) - 0.5


def two_hot(points, value):
    """Weights of the two points next to a value whose mean is the value.

    Schrittwieser et al. 2020, appendix F, "Network architecture". https://arxiv.org/abs/1911.08265
    """
    weights = np.zeros(len(points))
    value = min(max(value, points[0]), points[-1])
    lower = max(i for i, point in enumerate(points) if point <= value)
    upper = min(lower + 1, len(points) - 1)
    if lower == upper:
        weights[lower] = 1.0
    else:
        weights[upper] = (value - points[lower]) / (points[upper] - points[lower])
        weights[lower] = 1.0 - weights[upper]
    return weights


def quantile_huber(quantiles, targets, fractions=None):
    """Dabney et al. 2018, equations 9 and 10, with kappa = 1. https://arxiv.org/abs/1710.10044

    With other fractions than the middles: Dabney et al. 2018, equation 3, https://arxiv.org/abs/1806.06923.
    """
    total, count = 0.0, len(quantiles)
    for i, theta in enumerate(quantiles):
        tau = (i + (i + 1)) / (2 * count) if fractions is None else fractions[i]
        for target in targets:
            u = target - theta
            total += abs(tau - (1.0 if u < 0 else 0.0)) * huber(u) / len(targets)
    return total


def histogram(edges, mean, deviation):
    """Probabilities of intervals under a normal distribution that is restricted to them.

    Imani and White 2018, section 3. https://arxiv.org/abs/1806.04613
    """
    cdf = [0.5 * (1.0 + math.erf((edge - mean) / (deviation * math.sqrt(2.0)))) for edge in edges]
    return np.array([b - a for a, b in itertools.pairwise(cdf)]) / (cdf[-1] - cdf[0])
