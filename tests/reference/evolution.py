"""Selection criteria of evolution, one member at a time."""

import numpy as np
from scipy import stats


def centred_ranks(fitness):
    """Ranks of the fitness, by scipy, scaled to [-1/2, 1/2]; `nan` is lowest.

    The fitness shaping of Salimans et al. 2017 (https://arxiv.org/abs/1703.03864), with the scale of the
    authors' code; ties share a rank by `scipy.stats.rankdata`.
    """
    places = stats.rankdata(np.where(np.isnan(fitness), -np.inf, fitness), method="average")
    return (places - 1) / (len(fitness) - 1) - 0.5


def novelty(behaviours, archive, k):
    """The mean of the k smallest distances from each behaviour to the others and to all of the archive.

    Lehman and Stanley 2011, equation 1. https://doi.org/10.1162/EVCO_a_00025
    """
    result = []
    for i, one in enumerate(behaviours):
        others = [other for j, other in enumerate(behaviours) if j != i] + list(archive)
        distances = sorted(np.linalg.norm(np.float64(one) - np.float64(other)) for other in others)
        result.append(np.mean(distances[:k]))
    return np.array(result)


def selected(score, number):
    """The members with the `number` best scores: the sets of those that must and of those that may be chosen.

    Truncation selection, Such et al. 2017, algorithm 1. https://arxiv.org/abs/1712.06567
    """
    order = np.sort([-np.inf if np.isnan(s) else s for s in score])[::-1]
    last = order[number - 1]
    must = {i for i, s in enumerate(score) if s > last}
    may = {i for i, s in enumerate(score) if s == last or (np.isnan(s) and last == -np.inf)}
    return must, may


def first_returns(reward, done):
    """Sum of rewards `[T, N]` up to and with the first end of each environment.

    The fitness of Salimans et al. 2017, algorithm 1: the return of one whole episode.
    """
    total = np.zeros(reward.shape[1])
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            total[n] += reward[t, n]
            if done[t, n]:
                break
    return total
