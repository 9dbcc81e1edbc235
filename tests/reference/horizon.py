"""The effective horizon by recursion over time, from the definitions of Laidlaw et al. 2023 and 2024."""

import math
from typing import NamedTuple

import numpy as np


class Table(NamedTuple):
    transition: np.ndarray
    reward: np.ndarray
    terminal: np.ndarray
    start: np.ndarray


def lock(length, num_actions=2, decoy=0.0):
    """A combination lock: action 0 opens the next of `length` locks, the last one for a reward of 1.

    All other actions end the episode, in the first state with the reward `decoy`.
    """
    transition = np.zeros((length + 1, num_actions, length + 1))
    reward = np.zeros((length + 1, num_actions))
    transition[:, :, length] = 1.0
    transition[: length - 1, 0] = np.eye(length + 1)[1:length]
    reward[length - 1, 0], reward[0, 1:] = 1.0, decoy
    states = np.arange(length + 1)
    return Table(transition, reward, states == length, (states == 0) * 1.0)


class Process:
    """Values of a process with rewards `[S, A, S]`, by recursion."""

    def __init__(self, transition, reward, terminal, start, horizon):
        self.p, self.r, self.terminal, self.start, self.horizon = transition, reward, terminal, start, horizon
        self.num_states, self.num_actions = transition.shape[:2]

    def backed_up(self, t, s, a, value, combine=sum):
        """A combination over the possible next states, of reward and value at time t + 1."""
        terms = []
        for u in np.flatnonzero(self.p[s, a]):
            later = 0.0 if self.terminal[u] or t + 1 == self.horizon else value(t + 1, u)
            term = self.r[s, a, u] + later
            terms.append(self.p[s, a, u] * term if combine is sum else term)
        return combine(terms)

    def actions(self, f, t, s):
        return [f(t, s, a) for a in range(self.num_actions)]

    def optimal(self, t, s, a):
        return self.backed_up(t, s, a, lambda t, s: max(self.actions(self.optimal, t, s)))

    def q(self, k, t, s, a):
        """Q^k."""
        if k == 1:
            return self.backed_up(t, s, a, lambda t, s: np.mean(self.actions(self.random, t, s)))
        return self.backed_up(t, s, a, lambda t, s: max(self.actions(lambda *x: self.q(k - 1, *x), t, s)))

    def random(self, t, s, a):
        return self.q(1, t, s, a)

    def lowest(self, t, s, a):
        return self.backed_up(t, s, a, lambda t, s: min(self.actions(self.lowest, t, s)), min)

    def highest(self, t, s, a):
        return self.backed_up(t, s, a, lambda t, s: max(self.actions(self.highest, t, s)), max)

    def best(self, t, s):
        values = self.actions(self.optimal, t, s)
        return {a for a, value in enumerate(values) if value > max(values) - 1e-9}

    def visited(self, choose):
        """All `(t, s)` that are reached by the actions of `choose(t, s)`."""
        here = {s for s in range(self.num_states) if self.start[s] > 0 and not self.terminal[s]}
        for t in range(self.horizon):
            yield from ((t, s) for s in here)
            pairs = [(s, a) for s in here for a in choose(t, s)]
            here = {u for s, a in pairs for u in np.flatnonzero(self.p[s, a]) if not self.terminal[u]}

    def greedy(self, k, t, s):
        values = self.actions(lambda *x: self.q(k, *x), t, s)
        return {a for a, value in enumerate(values) if value > max(values) - 1e-9}

    def solvable(self, k):
        return all(
            self.greedy(k, t, s) <= self.best(t, s) for t, s in self.visited(lambda *x: self.greedy(k, *x))
        )

    def worst(self, k):
        """The return of the worst greedy policy."""

        def value(t, s):
            return min(self.backed_up(t, s, a, value) for a in self.greedy(k, t, s))

        return sum(p * value(0, s) for s, p in enumerate(self.start) if p > 0 and not self.terminal[s])

    def rival(self, k, t, s):
        wrong = set(range(self.num_actions)) - self.best(t, s)
        return max((self.q(k, t, s, a) for a in wrong), default=-math.inf)

    def gap(self, k, t, s):
        return max(self.actions(lambda *x: self.q(k, *x), t, s)) - self.rival(k, t, s)

    def variance(self, k, t, s, a):
        """V^k."""
        if k == 1 or t == self.horizon - 1:
            low, high = self.lowest(t, s, a), self.highest(t, s, a)
            return (self.random(t, s, a) - low) * (high - low)
        after = [u for u in np.flatnonzero(self.p[s, a]) if not self.terminal[u]]
        found = [self.actions(lambda *x: self.variance(k - 1, *x), t + 1, u) for u in after]
        return max((x for its in found for x in its), default=0.0)

    def horizons(self, k):
        """The gap, m_k, and the two effective horizons of this k; infinite if a gap is 0."""

        def above(t, s):
            values = self.actions(lambda *x: self.q(k, *x), t, s)
            return {a for a, value in enumerate(values) if value > self.rival(k, t, s) + 1e-9}

        places = set(self.visited(above))
        gap, samples = min(self.gap(k, t, s) for t, s in places), 1
        if gap < 1e-9:
            return 0.0, math.inf, math.inf, math.inf
        for t, s in places:
            if self.gap(k, t, s) < math.inf:
                most = max(self.actions(lambda *x: self.variance(k, *x), t, s))
                log = math.log(2 * self.horizon * self.num_actions**k)
                samples = max(samples, math.ceil(16 * most / self.gap(k, t, s) ** 2 * log - 1e-9))
        firsts = [s for s in range(self.num_states) if self.start[s] > 0]
        high = max(max(self.actions(self.highest, 0, s)) for s in firsts)
        gap = min(gap / (high - min(min(self.actions(self.lowest, 0, s)) for s in firsts)), 1.0)
        gorp = k + math.log(samples, self.num_actions)
        return gap, samples, k - 2 * math.log(gap, self.num_actions), gorp
