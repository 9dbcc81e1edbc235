"""Statistics over all samples, which are stored, in float64."""

import numpy as np


def moments(batches, ndim: int):
    """Mean and variance of every sample of several batches `[..., *shape]`, `shape` of `ndim` axes.

    By NumPy's `mean` and `var` of all samples at once, the definition.
    """
    samples = [np.asarray(b, np.float64).reshape((-1, *b.shape[b.ndim - ndim :])) for b in batches]
    everything = np.concatenate(samples)
    return everything.mean(0), everything.var(0), len(everything)


def discounted_rewards(reward, done, gamma):
    """Sum of the rewards of the episode so far, discounted by how long ago they came. `[T, N]`

    What rewards are scaled by in Engstrom et al. 2020 ("reward scaling"), there as a recursion
    over all steps; here as the sum that it stands for, within one episode. https://arxiv.org/abs/2005.12729
    """
    sums = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        for t in range(len(reward)):
            ends = [k for k in range(t) if done[k, n]]
            start = ends[-1] + 1 if ends else 0
            sums[t, n] = sum(gamma ** (t - k) * reward[k, n] for k in range(start, t + 1))
    return sums
