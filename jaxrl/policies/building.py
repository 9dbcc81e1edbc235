"""Policies for the spaces of an environment: a network, its inputs and its distribution."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl import cores, distributions, encoding, layers, networks, q_networks, stats
from jaxrl.checks import hint_at_scale, require_env, require_network, require_tokens
from jaxrl.critics import SCALAR, Head
from jaxrl.distributions import Distribution
from jaxrl.spaces import Box, Discrete, MultiDiscrete, require_bounded_box
from jaxrl.types import Env, PyTree

LOG_STDS = -5.0, 2.0  # range of the log standard deviations of `squashed`


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network of a policy, the same for all algorithms."""

    torso: Literal["auto", "mlp", "cnn", "soft_moe"] = (
        "auto"  # before the heads; auto: a CNN for images, also in a Dict, else an MLP
    )
    hidden_sizes: tuple[int, ...] = (64, 64)  # units of the MLP, or of the layers after the convolution
    activation: Literal["tanh", "relu", "silu", "gelu", "elu"] = "tanh"  # between the layers
    shared_torso: bool = False  # one network for policy and value, up to the heads
    memory_size: int = 0  # units of the core after the torso (minibatches are then environments); 0: none
    init_log_std: float = 0.0  # initial log standard deviation of continuous actions
    squash: bool = False  # tanh-squash continuous actions into their bounds instead of clipping them
    core: Literal["gru", "lstm"] = "gru"  # what remembers, if memory_size is not 0
    layer_norm: bool = False  # normalize the units of each layer before the activation
    num_experts: int = 8  # of the torso soft_moe: auto, with a mixture of experts as the last layer


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
        self,
        params: PyTree,
        memory: PyTree,
        x: jax.Array,
        first: jax.Array,
        /,
        *,
        rngs: dict[str, jax.Array] | None = None,
    ) -> tuple[PyTree, Any]:
        """One step of `x` `[..., *obs_shape]`; returns `(memory, (outputs [..., K], value [...]))`.

        Args:
          rngs: `{"noise": key}` for what a network draws, if it does (`q_values`).
        """


class PolicyUnroll(Protocol):
    def __call__(self, params: PyTree, memory: PyTree, x: jax.Array, first: jax.Array, /) -> Any:
        """`(outputs [T, N, K], value [T, N])` of `x` `[T, N, *obs_shape]`, from `memory` `[N, ...]`."""


class Description(NamedTuple):
    """What a policy is made from: with its parameters, this is enough to export it."""

    env: Env  # its spaces and, if it has one, its name
    network: NetworkConfig
    head: Head = SCALAR  # of values of actions


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
    value: Callable[[jax.Array], jax.Array] = SCALAR.value  # (outputs of the critic) -> value [...]


def actor_critic(
    env: Env, config: NetworkConfig = NetworkConfig(), torso: nn.Module | None = None, critic: Head = SCALAR
) -> Policy:
    """A stochastic policy and a state value, from two torsos or a shared one.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of the one in the config. If the observation is a
        pytree, so is its input, in float32: a Box in its shape, discrete parts one-hot.
      critic: what the outputs of the critic are (`jaxrl.critics`); by default the value.

    Raises:
      ValueError: an option that does not fit the spaces, or a critic with drawn fractions.
    """
    if critic.implicit:
        raise ValueError("this critic needs values of actions, as dqn has: take another one, such as 'qr'")
    body, flat = _body(env, config, torso)
    net = networks.ActorCritic(
        torso=body,
        num_outputs=distributions.num_outputs(env.action_space),
        num_log_stds=distributions.num_log_stds(env.action_space),
        shared=config.shared_torso,
        core=cores.make(config.core, config.memory_size),
        init_log_std=config.init_log_std,
        num_values=critic.num_outputs,
    )
    return _policy(env, config, net, flat, torso is not None)._replace(value=critic.value)


def actor(env: Env, config: NetworkConfig = NetworkConfig(), torso: nn.Module | None = None) -> Policy:
    """The outputs of a policy, without a value and without standard deviations.

    Args:
      torso: a flax module `[..., *obs] -> [..., F]` instead of the one in the config. If the observation is a
        pytree, so is its input, in float32: a Box in its shape, discrete parts one-hot.

    Raises:
      ValueError: an option that does not fit the spaces, or that needs a value or standard deviations.
    """
    _require_defaults(config, "shared_torso", "init_log_std")
    body, flat = _body(env, config, torso)
    num_outputs = distributions.num_outputs(env.action_space)
    core = cores.make(config.core, config.memory_size)
    return _policy(env, config, networks.Actor(body, num_outputs, core), flat, torso is not None)


def q_values(
    env: Env,
    config: NetworkConfig = NetworkConfig(),
    torso: nn.Module | None = None,
    dueling: bool = False,
    head: Head = SCALAR,
    noisy: bool = False,
) -> Policy:
    """The value of each of a number of actions: outputs `[..., A]` or `[..., A, K]`, without memory.

    The distribution with these outputs is the softmax of the values; its mode is the best action.

    Args:
      torso: as for `actor`.
      dueling: Q(s, a) = V(s) + A(s, a) - mean_a A(s, a), from two heads. Wang et al. 2016.
        https://arxiv.org/abs/1511.06581
      head: what `K` outputs for each action are; by default its value.
      noisy: layers with noise (`layers.NoisyDense`), except for convolutions and a `torso` that is given.

    Raises:
      ValueError: actions that are not Discrete, or an option that does not fit the spaces.
    """
    _require_defaults(config, "shared_torso", "init_log_std", "squash", "memory_size", "core")
    if not isinstance(env.action_space, Discrete):
        space = env.action_space
        raise ValueError(
            f"values of actions need one Discrete action space, not {space}: take another algorithm"
        )
    layer = layers.noisy_dense if noisy else layers.dense
    body, flat = _body(env, config, torso, layer)
    sizes = env.action_space.n, head.num_outputs
    net = q_networks.QNetwork(body, *sizes, dueling, head.implicit, layer)
    policy = _policy(env, config, net, flat, torso is not None)
    description = policy.description and policy.description._replace(head=head)

    def distribution(outputs, action_mask=None):
        return distributions.make(env.action_space, head.value(outputs), False, action_mask)

    return policy._replace(distribution=distribution, description=description)


def squashed(
    env: Env, config: NetworkConfig = NetworkConfig(), torso: nn.Module | None = None, stochastic: bool = True
) -> Policy:
    """Actions of one Box, squashed into its bounds by tanh: a Gaussian of which both parts depend on the
    observation, or with `stochastic=False` the action itself.

    The outputs are means and log standard deviations `[..., 2 D]`, of which the latter are clipped to
    -5 .. 2, or actions `[..., D]` before tanh, whose distribution is a Gaussian with a standard deviation
    near 0. Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905.

    Args:
      torso: as for `actor`.

    Raises:
      ValueError: actions that are not one bounded Box, or an option that does not fit the spaces.
    """
    space = env.action_space
    _require_defaults(config, "shared_torso", "init_log_std", "memory_size", "core")
    if not isinstance(space, Box):
        raise ValueError(f"a squashed policy needs one Box of actions, not {space}: take another algorithm")
    config = dataclasses.replace(config, squash=True)
    body, flat = _body(env, config, torso)
    size = distributions.num_outputs(space)
    net = networks.Actor(body, 2 * size if stochastic else size)
    policy = _policy(env, config, net, flat, torso is not None)

    def gaussian(outputs):
        mean, log_std = outputs[..., :size], outputs[..., size:]
        log_std = jnp.clip(log_std, *LOG_STDS) if stochastic else jnp.full_like(mean, -10.0)
        return jnp.concatenate([mean, log_std], axis=-1)

    def distribution(outputs, action_mask=None):
        return distributions.make(space, gaussian(outputs), True, action_mask)

    def kl(outputs, other_outputs, action_mask=None):
        return distributions.kl(space, gaussian(outputs), gaussian(other_outputs), action_mask)

    return policy._replace(distribution=distribution, kl=kl)


def _require_defaults(config: NetworkConfig, *names: str) -> None:
    for name in names:
        if getattr(config, name) != getattr(NetworkConfig(), name):
            raise ValueError(f"{name} = {getattr(config, name)} has no effect here: leave it out")


def _body(env, config, torso, layer=layers.dense):
    require_env(env)
    require_network(config, networks.ACTIVATIONS)
    if config.squash:
        require_bounded_box(env.action_space, "squash")
    else:
        hint_at_scale(env.action_space)
    space = env.observation_space
    hidden: Any = {"hidden_sizes": config.hidden_sizes, "activation": config.activation}
    hidden |= {"layer_norm": config.layer_norm, "layer": layer}
    joined = not isinstance(space, Box | Discrete | MultiDiscrete)  # parts are concatenated
    if torso is not None:
        return (networks.Split(torso, encoding.splitter(space)) if joined else torso), joined
    convolved = encoding.use_cnn(space, config.torso)
    if config.torso == "soft_moe":
        require_tokens(config.hidden_sizes, convolved, joined)
        hidden["num_experts"] = config.num_experts
    if not convolved:
        return networks.MLP(**hidden), True
    return (networks.Joined(encoding.splitter(space), **hidden) if joined else networks.CNN(**hidden)), joined


def _policy(env, config, net, flat, is_custom) -> Policy:
    def encode(obs_stats, obs):
        return stats.normalize(obs_stats, encoding.encode(env.observation_space, obs, flat))

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
