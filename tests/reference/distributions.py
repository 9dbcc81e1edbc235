"""Densities and entropies by scipy.stats and by numerical integration, in float64."""

import numpy as np
from scipy import stats


def categorical(logits, mask=None):
    """Probabilities `[..., n]` by the definition of the softmax, over the allowed actions only.

    Masked as in Huang and Ontanon 2022: an action that is not allowed has probability 0.
    https://arxiv.org/abs/2006.14171
    """
    logits = np.asarray(logits, np.float64)
    mask = np.ones(logits.shape, bool) if mask is None else np.asarray(mask)
    weights = np.where(mask, np.exp(logits - logits.max(-1, keepdims=True)), 0.0)
    return weights / weights.sum(-1, keepdims=True)


def entropy(probabilities):
    """- sum p log p, without impossible actions: `scipy.stats.entropy`."""
    return stats.entropy(probabilities, axis=-1)


def squashed_cdf(y, mean, std, low, high):
    """P(Y <= y) for Y = low + (high - low) (tanh X + 1) / 2 and X ~ N(mean, std^2).

    The map of Haarnoja et al. 2018, appendix C (https://arxiv.org/abs/1801.01290), as a distribution function
    by scipy: no density and no Jacobian, which the library has.
    """
    unit = 2 * (np.asarray(y, np.float64) - low) / (high - low) - 1
    return stats.norm.cdf(np.arctanh(unit), mean, std)


def squashed_entropy(mean, std, low, high, points=200_001):
    """- E[log p(Y)] of one such number, with p(y) = p(x) / |dy/dx| integrated over x."""
    x = np.linspace(mean - 14 * std, mean + 14 * std, points)
    slope = (high - low) / 2 / np.cosh(x) ** 2
    log_density = stats.norm.logpdf(x, mean, std) - np.log(slope)
    return -np.trapezoid(stats.norm.pdf(x, mean, std) * log_density, x)


def categorical_kl(p, q):
    """sum p log(p / q) over the last axis, without outcomes of probability 0 under p.

    Kullback and Leibler 1951. https://doi.org/10.1214/aoms/1177729694
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    terms = [np.where(a > 0, a * np.log(np.where(a > 0, a / b, 1.0)), 0.0) for a, b in zip(p, q)]
    return np.sum(terms, axis=-1)


def gaussian_kl(mean_p, std_p, mean_q, std_q):
    """E_p[log p(X) - log q(X)] of Gaussians with independent parts on the last axis, moment by moment.

    Kullback and Leibler 1951, from the densities: E_p of -log q is that of a square about q's mean, and E_p
    of -log p is p's entropy.
    """
    mean_p, std_p, mean_q, std_q = (np.asarray(x, np.float64) for x in (mean_p, std_p, mean_q, std_q))
    surprise_q = np.log(std_q) + (std_p**2 + (mean_p - mean_q) ** 2) / (2 * std_q**2)
    return (surprise_q - np.log(std_p) - 0.5).sum(-1)
