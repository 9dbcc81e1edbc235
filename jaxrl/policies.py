"""Policies: a network for the spaces of an environment, and how algorithms act and learn with it.

Axes: `T` time, `N` environments, `M` minibatches, `B` columns of a minibatch, `K` outputs of the network.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl import cores, distributions, networks, stats
from jaxrl.checks import hint_at_scale, require_env, require_network
from jaxrl.distributions import Distribution
from jaxrl.rollout import rollout
from jaxrl.spaces import Box, Discrete, MultiDiscrete, require_bounded_box, require_division
from jaxrl.types import (
    Act,
    ActionEvaluation,
    Collect,
    Env,
    EvaluateActions,
    Explore,
    PyTree,
    Stream,
    Transition,
)


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network of a policy, the same for all algorithms."""

    torso: Literal["auto", "mlp", "cnn"] = (
        "auto"  # before the heads; auto: a CNN for images, also in a Dict, else an MLP
    )
    hidden_sizes: tuple[int, ...] = (64, 64)  # units of the MLP, or of the layers after the convolution
    activation: Literal["tanh", "relu", "silu", "gelu", "elu"] = "tanh"  # between the layers
    shared_torso: bool = False  # one network for policy and value, up to the heads
    memory_size: int = 0  # units of the core after the torso (minibatches are then environments); 0: none
    init_log_std: float = 0.0  # initial log standard deviation of continuous actions
    squash: bool = False  # tanh-squash continuous actions into their bounds instead of clipping them
    core: Literal["gru", "lstm"] = "gru"  # what remembers, if memory_size is not 0


class Distributed(Protocol):
    def __call__(self, outputs: jax.Array, action_mask: jax.Array | None = None, /) -> Distribution:
        """The distribution of raw actions with parameters `outputs` `[..., K]`."""


class Divergence(Protocol):
    def __call__(
        self, outputs: jax.Array, other_outputs: jax.Array, action_mask: jax.Array | None = None, /
    ) -> jax.Array:
        """KL(first || second), `[...]`, of the distributions with these outputs `[..., K]`."""


class PolicyStep(Protocol):
    def __call__(
        self, params: PyTree, memory: PyTree, x: jax.Array, first: jax.Array, /
    ) -> tuple[PyTree, Any]:
        """One step of `x` `[..., *obs_shape]`; returns `(memory, (outputs [..., K], value [...]))`."""


class PolicyUnroll(Protocol):
    def __call__(self, params: PyTree, memory: PyTree, x: jax.Array, first: jax.Array, /) -> Any:
        """`(outputs [T, N, K], value [T, N])` of `x` `[T, N, *obs_shape]`, from `memory` `[N, ...]`."""


class Description(NamedTuple):
    """What a policy is made from: with its parameters, this is enough to export it."""

    env: Env  # its spaces and, if it has one, its name
    network: NetworkConfig


class Policy(NamedTuple):
    """A network for the spaces of an environment.

    Raw actions are stored, and densities refer to them; the environment receives `bound` of a raw action.
    Networks with a value return `(outputs, value)` where those without return `outputs`.
    """

    init: Callable[[jax.Array], PyTree]  # (key) -> params
    initial_memory: Callable[[int], PyTree]  # (num_envs) -> leaves `[N, ...]`; `()`: no memory
    encode: Callable[[PyTree, PyTree], jax.Array]  # (obs_stats, obs) -> x; with `()`: not normalized
    step: PolicyStep
    unroll: PolicyUnroll
    distribution: Distributed
    kl: Divergence
    bound: Callable[[PyTree], PyTree]  # (raw action) -> action of the environment
    obs_shape: tuple[int, ...]  # of an encoded observation, without batch axes
    description: Description | None = None  # None: it has a custom torso


def actor_critic(env: Env, config: NetworkConfig = NetworkConfig(), torso: nn.Module | None = None) -> Policy:
    """A stochastic policy and a state value, from two torsos or a shared one.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of the one in the config. If the observation is a
        pytree, so is its input, in float32: a Box in its shape, discrete parts one-hot.

    Raises:
      ValueError: an option that does not fit the spaces.
    """
    body, flat = _body(env, config, torso)
    net = networks.ActorCritic(
        torso=body,
        num_outputs=distributions.num_outputs(env.action_space),
        num_log_stds=distributions.num_log_stds(env.action_space),
        shared=config.shared_torso,
        core=cores.make(config.core, config.memory_size),
        init_log_std=config.init_log_std,
    )
    return _policy(env, config, net, flat, torso is not None)


def actor(env: Env, config: NetworkConfig = NetworkConfig(), torso: nn.Module | None = None) -> Policy:
    """The outputs of a policy, without a value and without standard deviations.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of the one in the config. If the observation is a
        pytree, so is its input, in float32: a Box in its shape, discrete parts one-hot.

    Raises:
      ValueError: an option that does not fit the spaces, or that needs a value or standard deviations.
    """
    for name in ("shared_torso", "init_log_std"):
        if getattr(config, name) != getattr(NetworkConfig(), name):
            raise ValueError(f"{name} = {getattr(config, name)} has no effect here: leave it out")
    body, flat = _body(env, config, torso)
    num_outputs = distributions.num_outputs(env.action_space)
    core = cores.make(config.core, config.memory_size)
    return _policy(env, config, networks.Actor(body, num_outputs, core), flat, torso is not None)


def _body(env, config, torso):
    require_env(env)
    require_network(config, networks.ACTIVATIONS)
    if config.squash:
        require_bounded_box(env.action_space, "squash")
    else:
        hint_at_scale(env.action_space)
    space = env.observation_space
    hidden: Any = {"hidden_sizes": config.hidden_sizes, "activation": config.activation}
    joined = not isinstance(space, Box | Discrete | MultiDiscrete)  # parts are concatenated
    if torso is not None:
        return (networks.Split(torso, networks.splitter(space)) if joined else torso), joined
    if not networks.use_cnn(space, config.torso):
        return networks.MLP(**hidden), True
    return (networks.Joined(networks.splitter(space), **hidden) if joined else networks.CNN(**hidden)), joined


def _policy(env, config, net, flat, is_custom) -> Policy:
    def encode(obs_stats, obs):
        return stats.normalize(obs_stats, networks.encode(env.observation_space, obs, flat))

    example = jax.eval_shape(env.reset, jax.random.key(0))[1].obs
    obs_shape = jax.eval_shape(partial(encode, ()), jax.tree.map(_batch_of_one, example)).shape[1:]

    def init(key):
        x, first = jnp.zeros((1, *obs_shape), jnp.float32), jnp.ones(1, bool)
        return networks.initialize(net, key, net.initial_memory(1), x, first)

    def unroll(params, memory, x, first):
        if net.core.unroll:
            return net.apply(params, memory, x, first, method="unroll")[1]
        return networks.unroll(partial(net.apply, params), memory, x, first)

    def distribution(outputs, action_mask=None):
        return distributions.make(env.action_space, outputs, config.squash, action_mask)

    return Policy(
        init=init,
        initial_memory=net.initial_memory,
        encode=encode,
        step=net.apply,
        unroll=unroll,
        distribution=distribution,
        kl=partial(distributions.kl, env.action_space),
        bound=partial(distributions.bound, env.action_space, squash=config.squash),
        obs_shape=obs_shape,
        description=None if is_custom else Description(env, config),
    )


def _batch_of_one(x):
    return jax.ShapeDtypeStruct((1, *x.shape), x.dtype)


def num_columns(config: NetworkConfig, num_envs: int, num_steps: int, num_minibatches: int = 1) -> int:
    """The number of columns that minibatches are drawn from: all steps, or with memory all environments.

    Raises:
      ValueError: they are not divisible by `num_minibatches`.
    """
    remembers = config.memory_size > 0
    columns = num_envs * (1 if remembers else num_steps)
    require_division("num_envs" if remembers else "num_envs * num_steps", columns, num_minibatches)
    return columns


def bounded(env: Env, policy: Policy) -> Env:
    """The environment, taking raw actions of a policy."""
    return env._replace(step=lambda key, state, action: env.step(key, state, policy.bound(action)))


def explore(policy: Policy, params: PyTree, obs_stats: PyTree) -> Explore:
    """How a policy acts in `rollout`: by sampling. No meta-gradient passes through the sampled actions."""

    def act(memory, key, obs, first, action_mask):
        memory, (outputs, _) = policy.step(params, memory, policy.encode(obs_stats, obs), first)
        action = policy.distribution(outputs, action_mask).sample(key)
        return memory, jax.lax.stop_gradient(action), {"outputs": outputs}

    return act


@jax.named_scope("values")
def values(
    policy: Policy, params: PyTree, obs_stats: PyTree, steps: Transition, end_memory: PyTree
) -> tuple[jax.Array, jax.Array]:
    """V(s_t) and V(s'_t) of a rollout, each in one batched pass; no scan is needed, even with memory.

    `s'_t`, the state that step t led to, is evaluated with the memory after `s_t`, and never starts an
    episode. Most `s'_t` equal `s_{t+1}`, but leaving them out would save at most 1.3 % of an update (measured
    on CartPole and Breakout, without a second pass), and a `cond` on "some step was truncated" saves nothing.

    Args:
      steps: leaves `[T, N, ...]`.
      end_memory: `[N, ...]`, after the last step.

    Returns:
      value, next_value: `[T, N]`.
    """
    x, next_x = policy.encode(obs_stats, steps.obs), policy.encode(obs_stats, steps.next_obs)
    after = jax.tree.map(lambda m, end: jnp.concatenate([m[1:], end[None]]), steps.memory, end_memory)
    _, (_, value) = policy.step(params, steps.memory, x, steps.first)
    _, (_, next_value) = policy.step(params, after, next_x, jnp.zeros_like(steps.first))
    return value, next_value


def samples(policy: Policy, steps: Transition, memory: PyTree, **estimates: jax.Array) -> dict[str, Any]:
    """The data of gradient steps, leaves `[T, N, ...]`; `[1, T * N, ...]` for a policy without memory.

    Args:
      memory: `[N, ...]`, before the first step.
      estimates: more arrays `[T, N, ...]`, such as `advantages`.

    Returns:
      `obs first action outputs log_prob`, `action_mask` if there is one, the estimates, and `memory`.
    """
    outputs, mask = steps.extras["outputs"], steps.info.get("action_mask")
    data = {"obs": steps.obs, "first": steps.first, "action": steps.action, "outputs": outputs, **estimates}
    data["log_prob"] = policy.distribution(outputs, mask).log_prob(steps.action)
    if mask is not None:
        data["action_mask"] = mask
    if not jax.tree.leaves(memory):  # no memory: every step is a sequence of length 1
        data = jax.tree.map(lambda leaf: leaf.reshape((1, -1, *leaf.shape[2:])), data)
    return data | {"memory": memory}


def take(
    policy: Policy, obs_stats: PyTree, batch: dict[str, Any], columns: jax.Array | None = None
) -> dict[str, Any]:
    """The `columns` `[B]` of `samples`, ready for the network: `x` instead of `obs`; None: all of them."""
    chosen, memory = {name: batch[name] for name in batch if name != "memory"}, batch["memory"]
    if columns is not None:
        chosen = jax.tree.map(lambda leaf: leaf[:, columns], chosen)
        memory = jax.tree.map(lambda leaf: leaf[columns], memory)
    return chosen | {"x": policy.encode(obs_stats, chosen.pop("obs")), "memory": memory}


def unroll(policy: Policy, params: PyTree, batch: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
    """Outputs `[T, B, K]` and values `[T, B]` for a batch returned by `take`."""
    return policy.unroll(params, batch["memory"], batch["x"], batch["first"])


def divergence(policy: Policy, batch: dict[str, Any], outputs: jax.Array) -> jax.Array:
    """KL(pi_old(.|s), pi(.|s)) `[T, B]`, pi_old being the policy of the rollout, pi that of `outputs`."""
    return policy.kl(batch["outputs"], outputs, batch.get("action_mask"))


def start(
    key: jax.Array,
    envs: Env,
    policy: Policy,
    num_envs: int,
    num_steps: int,
    normalize_obs: bool,
    normalize_reward: bool,
    gamma: float | jax.Array,
) -> dict[str, Any]:
    """The initial fields of an on-policy TrainState: `key params stream obs_stats reward_stats`.

    Normalization statistics are initialized from one rollout, which is not used for learning.

    Args:
      envs: vectorized, taking raw actions.
    """
    key, params_key, env_key, warmup_key = jax.random.split(key, 4)
    env_state, timestep = envs.reset(env_key)
    stream = Stream(env_state, timestep, policy.initial_memory(num_envs))
    params = policy.init(params_key)
    seen = {
        "obs_stats": stats.init(policy.obs_shape) if normalize_obs else (),
        "reward_stats": stats.init_reward(num_envs) if normalize_reward else (),
    }
    if normalize_obs or normalize_reward:
        act = explore(policy, params, seen["obs_stats"])
        stream, steps = rollout(envs, act, warmup_key, stream, num_steps)
        seen = observe(policy, **seen, steps=steps, gamma=gamma)
    return {"key": key, "params": params, "stream": stream, **seen}


def warmup_steps(num_envs: int, num_steps: int, normalize_obs: bool, normalize_reward: bool) -> int:
    """Environment steps that `start` takes."""
    return num_envs * num_steps if normalize_obs or normalize_reward else 0


def observe(
    policy: Policy, obs_stats: PyTree, reward_stats: PyTree, steps: Transition, gamma: float | jax.Array
) -> dict[str, Any]:
    """The statistics `obs_stats` and `reward_stats` after a rollout."""
    if jax.tree.leaves(obs_stats):
        obs_stats = stats.update(obs_stats, policy.encode((), steps.obs))
    if jax.tree.leaves(reward_stats):
        reward_stats = stats.update_reward(reward_stats, steps.reward, steps.done, gamma)
    return {"obs_stats": obs_stats, "reward_stats": reward_stats}


def act(policy: Policy, greedy: bool) -> Act:
    """`Algorithm.act` for a state with `params` and `obs_stats`: the most likely action, or a sample."""

    def decide(state, memory, key, obs, first, action_mask=None):
        x = policy.encode(state.obs_stats, obs)
        memory, (outputs, _) = policy.step(state.params, memory, x, first)
        pi = policy.distribution(outputs, action_mask)
        return memory, policy.bound(pi.mode() if greedy else pi.sample(key))

    return decide


def collect(envs: Env, policy: Policy, num_steps: int) -> Collect:
    """`Algorithm.collect` for a state with `params`, `obs_stats` and `stream`."""

    def play(state, key):
        acting = explore(policy, state.params, state.obs_stats)
        stream, steps = rollout(envs, acting, key, state.stream, num_steps)
        return state.replace(stream=stream), steps

    return play


def evaluate_actions(policy: Policy) -> EvaluateActions:
    """`Algorithm.evaluate_actions` for a state with `params` and `obs_stats`."""

    def evaluate(state, steps):
        x = policy.encode(state.obs_stats, steps.obs)
        _, (outputs, value) = policy.step(state.params, steps.memory, x, steps.first)
        pi = policy.distribution(outputs, steps.info.get("action_mask"))
        return ActionEvaluation(pi.log_prob(steps.action), pi.entropy(), value)

    return evaluate
