"""Policies: a network for the spaces of an environment, and how algorithms act and learn with it.

Axes: `T` time, `N` environments, `M` minibatches, `B` columns of a minibatch, `K` outputs of the network.
"""

from jaxrl.policies.acting import (
    act,
    action_masks,
    action_values,
    best_action,
    bounded,
    collect,
    epsilon_greedy,
    explore,
    value_of,
)
from jaxrl.policies.building import (
    Description,
    Distributed,
    Divergence,
    NetworkConfig,
    Policy,
    PolicyStep,
    PolicyUnroll,
    actor,
    actor_critic,
    q_values,
    squashed,
)
from jaxrl.policies.learning import divergence, evaluate_actions, num_columns, samples, take, unroll, values
from jaxrl.policies.starting import observe, start, warmup_steps

__all__ = [
    "Description",
    "Distributed",
    "Divergence",
    "NetworkConfig",
    "Policy",
    "PolicyStep",
    "PolicyUnroll",
    "act",
    "action_masks",
    "action_values",
    "actor",
    "actor_critic",
    "best_action",
    "bounded",
    "collect",
    "divergence",
    "epsilon_greedy",
    "evaluate_actions",
    "explore",
    "num_columns",
    "observe",
    "q_values",
    "samples",
    "squashed",
    "start",
    "take",
    "unroll",
    "value_of",
    "values",
    "warmup_steps",
]
