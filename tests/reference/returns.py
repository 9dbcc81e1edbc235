"""Advantages and returns as sums, one state at a time, in float64. Axes `[T, N]`."""

import numpy as np


def steps_left(terminated, truncated, t: int) -> int:
    """Steps from `t` to the end of its episode or of the rollout, both included (1-d flags)."""
    for end in range(t, len(terminated)):
        if terminated[end] or truncated[end]:
            return end - t + 1
    return len(terminated) - t


def td_error(reward, value, next_value, terminated, gamma, t: int) -> float:
    """r + gamma V(s') - V(s), where a terminated episode has no V(s').

    Sutton and Barto 2018, equation 6.5, the value of a terminal state is 0; that of a truncated one is not:
    Pardo et al. 2018. https://arxiv.org/abs/1712.00378
    """
    future = 0.0 if terminated[t] else gamma * next_value[t]
    return reward[t] + future - value[t]


def gae(reward, value, next_value, terminated, truncated, gamma, gae_lambda):
    """A_t = sum_k (gamma lambda)^k delta_{t+k} over the rest of the episode.

    Schulman et al. 2016, equation 16. https://arxiv.org/abs/1506.02438
    """
    advantages = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        r, v, nv, term, trunc = (x[:, n] for x in (reward, value, next_value, terminated, truncated))
        for t in range(len(r)):
            advantages[t, n] = sum(
                (gamma * gae_lambda) ** k * td_error(r, v, nv, term, gamma, t + k)
                for k in range(steps_left(term, trunc, t))
            )
    return advantages


def n_step_return(reward, next_value, terminated, gamma, t: int, n: int) -> float:
    """r_t + ... + gamma^{n-1} r_{t+n-1} + gamma^n V(s'_{t+n-1}), all within one episode.

    Sutton and Barto 2018, equation 7.1.
    """
    last = t + n - 1
    rewards = sum(gamma**k * reward[t + k] for k in range(n))
    return rewards + (0.0 if terminated[last] else gamma**n * next_value[last])


def lambda_returns(reward, next_value, terminated, truncated, gamma, gae_lambda):
    """The mixture of n-step returns, the longest of which has all remaining weight.

    Sutton and Barto 2018, equation 12.3. http://incompleteideas.net/book
    """
    returns = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        r, nv, term, trunc = (x[:, n] for x in (reward, next_value, terminated, truncated))
        for t in range(len(r)):
            longest = steps_left(term, trunc, t)
            weights = [(1 - gae_lambda) * gae_lambda ** (k - 1) for k in range(1, longest)]
            weights.append(gae_lambda ** (longest - 1))
            returns[t, n] = sum(
                w * n_step_return(r, nv, term, gamma, t, k) for k, w in enumerate(weights, start=1)
            )
    return returns


def q_lambda(reward, next_value, terminated, truncated, gamma, trace):
    """G_t = r_t + gamma (lambda G_{t+1} + (1 - lambda) max_a Q(s_{t+1}, a)), from the last step backwards.

    Gallici et al. 2025, https://arxiv.org/abs/2407.04811. Without a future after a termination,
    and with that of the state itself after a truncation and at the end of the rollout.
    """
    targets = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        for t in reversed(range(reward.shape[0])):
            future = next_value[t, n]
            if terminated[t, n]:
                future = 0.0
            elif not truncated[t, n] and t + 1 < reward.shape[0]:
                future = trace * targets[t + 1, n] + (1.0 - trace) * next_value[t, n]
            targets[t, n] = reward[t, n] + gamma * future
    return targets
