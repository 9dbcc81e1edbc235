"""How a policy acts: in rollouts, in evaluations, and in the environment of its actions."""

import jax
import jax.numpy as jnp

from jaxrl.policies.building import Policy
from jaxrl.rollout import rollout
from jaxrl.types import Act, Collect, Env, Explore, Number, PyTree, Stream, Transition


def bounded(env: Env, policy: Policy) -> Env:
    """The environment, taking raw actions of a policy."""
    return env._replace(step=lambda key, state, action: env.step(key, state, policy.bound(action)))


def explore(policy: Policy, params: PyTree, obs_stats: PyTree) -> Explore:
    """How a policy acts in `rollout`: by sampling. No meta-gradient passes through the sampled actions."""

    def act(memory, key, obs, first, action_mask):
        memory, outputs = _outputs(policy, params, obs_stats, memory, obs, first)
        action = policy.distribution(outputs, action_mask).sample(key)
        return memory, jax.lax.stop_gradient(action), {"outputs": outputs}

    return act


def act(policy: Policy, greedy: bool) -> Act:
    """`Algorithm.act` for a state with `params` and `obs_stats`: the most likely action, or a sample."""

    def decide(state, memory, key, obs, first, action_mask=None):
        memory, outputs = _outputs(policy, state.params, state.obs_stats, memory, obs, first)
        pi = policy.distribution(outputs, action_mask)
        return memory, policy.bound(pi.mode() if greedy else pi.sample(key))

    return decide


def _outputs(policy, params, obs_stats, memory, obs, first):
    """The memory and the outputs of a network with or without a value."""
    memory, outputs = policy.step(params, memory, policy.encode(obs_stats, obs), first)
    return memory, outputs[0] if isinstance(outputs, tuple) else outputs


def epsilon_greedy(policy: Policy, params: PyTree, obs_stats: PyTree, epsilon: Number) -> Explore:
    """How values of actions (`q_values`) act in `rollout`: the best action, with `epsilon` a random one.

    Random actions are drawn uniformly from those that are allowed. A network that has noise draws it in each
    step anew, for all environments the same.
    """

    def act(memory, key, obs, first, action_mask):
        coin_key, action_key, noise_key = jax.random.split(key, 3)
        rngs, x = {"noise": noise_key}, policy.encode(obs_stats, obs)
        memory, q = policy.step(params, memory, x, first, rngs=rngs)
        return memory, _choose(policy, q, action_mask, epsilon, coin_key, action_key), ()

    return act


def _choose(policy, q, action_mask, epsilon, coin_key, action_key):
    drawn = policy.distribution(jnp.zeros_like(q), action_mask).sample(action_key)
    at_random = jax.random.uniform(coin_key, drawn.shape) < epsilon
    return jnp.where(at_random, drawn, policy.distribution(q, action_mask).mode())


def best_action(policy: Policy, epsilon: float = 0.0) -> Act:
    """`Algorithm.act` for values of actions (`q_values`), and a state with `params` and `obs_stats`.

    A network that has noise acts without it.

    Args:
      epsilon: probability of a random action; 0: the key is not used.
    """

    def decide(state, memory, key, obs, first, action_mask=None):
        memory, q = policy.step(state.params, memory, policy.encode(state.obs_stats, obs), first)
        if epsilon:
            return memory, _choose(policy, q, action_mask, epsilon, *jax.random.split(key))
        return memory, policy.distribution(q, action_mask).mode()

    return decide


def action_masks(steps: Transition, stream: Stream) -> tuple[jax.Array | None, jax.Array | None]:
    """The actions that are allowed in `obs` and in `next_obs` of the steps `[T, N]`, for values of actions.

    In the last observation of an episode they are unknown, since `info` has those of the next episode: there
    all are allowed.

    Args:
      stream: after the steps.

    Returns:
      Two masks `[T, N, A]`, or None twice if all actions are always allowed.
    """
    mask = steps.info.get("action_mask")
    if mask is None:
        return None, None
    following = jnp.concatenate([mask[1:], stream.timestep.info["action_mask"][None]])
    return mask, following | steps.done[..., None]


def action_values(
    policy: Policy, params: PyTree, obs_stats: PyTree, obs: PyTree, noise_key: jax.Array | None = None
) -> jax.Array:
    """Q(s, .) `[..., A]` of observations `[..., *obs]`, by `q_values`, without a memory.

    Args:
      noise_key: for what the network draws; None: it acts without noise.

    Returns:
      The values, or the outputs `[..., A, K]` or `[..., A, K, 2]` of another head.
    """
    x = policy.encode(obs_stats, obs)
    first = jnp.zeros(x.shape[: x.ndim - len(policy.obs_shape)], bool)
    rngs = None if noise_key is None else {"noise": noise_key}
    return policy.step(params, (), x, first, rngs=rngs)[1]


def value_of(q: jax.Array, action: jax.Array) -> jax.Array:
    """Q(s, a) `[...]` of Q(s, .) `[..., A]` and actions `[...]`; `[..., *]` of outputs `[..., A, *]`."""
    axis = action.ndim
    index = jnp.expand_dims(action, tuple(range(axis, q.ndim)))
    return jnp.take_along_axis(q, index, axis).squeeze(axis)


def collect(envs: Env, policy: Policy, num_steps: int) -> Collect:
    """`Algorithm.collect` for a state with `params`, `obs_stats` and `stream`."""

    def play(state, key):
        acting = explore(policy, state.params, state.obs_stats)
        stream, steps = rollout(envs, acting, key, state.stream, num_steps)
        return state.replace(stream=stream), steps

    return play
