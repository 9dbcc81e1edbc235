"""Densities and entropies by scipy.stats and by numerical integration, in float64."""

import numpy as np
from scipy import stats


def categorical(logits, mask=None):
    """Probabilities `[..., n]` by the definition of the softmax, over the allowed actions only."""
    logits = np.asarray(logits, np.float64)
    mask = np.ones(logits.shape, bool) if mask is None else np.asarray(mask)
    weights = np.where(mask, np.exp(logits - logits.max(-1, keepdims=True)), 0.0)
    return weights / weights.sum(-1, keepdims=True)


def entropy(probabilities):
    """- sum p log p, in which an impossible action has no part."""
    return stats.entropy(probabilities, axis=-1)


def squashed_cdf(y, mean, std, low, high):
    """P(Y <= y) for Y = low + (high - low) (tanh X + 1) / 2 and X ~ N(mean, std^2)."""
    unit = 2 * (np.asarray(y, np.float64) - low) / (high - low) - 1
    return stats.norm.cdf(np.arctanh(unit), mean, std)


def squashed_entropy(mean, std, low, high, points=200_001):
    """- E[log p(Y)] of one such number, with p(y) = p(x) / |dy/dx| integrated over x."""
    x = np.linspace(mean - 14 * std, mean + 14 * std, points)
    slope = (high - low) / 2 / np.cosh(x) ** 2
    log_density = stats.norm.logpdf(x, mean, std) - np.log(slope)
    return -np.trapezoid(stats.norm.pdf(x, mean, std) * log_density, x)
