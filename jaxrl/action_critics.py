"""Ensembles of values of actions, Q(s, a), as critics of a policy.

Axes: `E` critics, `B` batch, `A` discrete actions, `D` numbers of a continuous one, `K` outputs of a value.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl import distributions, layers, networks, policies
from jaxrl.names import lookup
from jaxrl.policies import NetworkConfig, Policy, value_of
from jaxrl.spaces import Box, Discrete, require_positive
from jaxrl.types import Env, Number, PyTree


class ActionValue(nn.Module):
    """Outputs `[..., num_outputs]` for observations `[..., *obs]`, joined with actions `[..., D]` if given.

    Attributes:
      torso: features of an observation that is not a vector; None for a vector.
      dropout: probability that a unit is dropped, before the normalization, while learning.
    """

    hidden_sizes: Sequence[int] = (64, 64)
    activation: str = "relu"
    layer_norm: bool = False
    dropout: float = 0.0
    num_outputs: int = 1
    torso: nn.Module | None = None

    @nn.compact
    def __call__(self, x: jax.Array, action: jax.Array | None = None, drop: bool = False) -> jax.Array:
        x = x if self.torso is None else self.torso(x)
        x = x if action is None else jnp.concatenate([x, action], axis=-1)
        for size in self.hidden_sizes:
            x = layers.dense(size)(x)
            x = nn.Dropout(self.dropout, deterministic=not drop)(x) if self.dropout else x
            x = nn.LayerNorm()(x) if self.layer_norm else x
            x = lookup("activation", networks.ACTIVATIONS, self.activation)(x)
        return layers.dense(self.num_outputs, 1.0)(x)


class Value(Protocol):
    def __call__(
        self, params: PyTree, x: jax.Array, action: jax.Array, key: jax.Array | None = None, /
    ) -> jax.Array:
        """Q(s, a) `[E, B]`, or `[E, B, K]`, of encoded observations `[B, *obs]` and raw actions `[B, ...]`.

        The key is that of dropout, None: nothing is dropped.
        """


class Values(Protocol):
    def __call__(self, params: PyTree, x: jax.Array, key: jax.Array | None = None, /) -> jax.Array:
        """Q(s, .) `[E, B, A]`, or `[E, B, A, K]`, for discrete actions."""


class Critics(NamedTuple):
    """Functions of an ensemble, whose parameters have leaves `[E, ...]`."""

    init: Callable[[jax.Array], PyTree]
    value: Value
    values: Values


def soft_policy(env: Env, config: NetworkConfig, torso: nn.Module | None = None) -> Policy:
    """A stochastic policy without memory, of which critics of actions are the values.

    `policies.squashed` for a Box, `policies.actor` for Discrete actions.

    Raises:
      ValueError: other actions, a memory, an option that does not fit the spaces.
    """
    if not isinstance(env.action_space, Discrete):
        return policies.squashed(env, config, torso)
    if config.memory_size:
        raise ValueError(f"memory_size = {config.memory_size} has no effect here: leave it out")
    return policies.actor(env, config, torso)


def normal_gradients(
    mean: jax.Array,
    std: jax.Array,
    y: jax.Array,
    y_z: jax.Array,
    variance: jax.Array,
    bound: jax.Array,
    eps: Number,
) -> tuple[jax.Array, jax.Array]:
    """The negative gradients of DSAC-T's loss by the means and deviations of normal distributions of returns.

        by the mean:       (omega + eps) (y - mean) / (std^2 + eps)
        by the deviation:  (omega + eps) (clip(y_z - mean, -b, b)^2 - std^2) / (std^3 + eps)

    Duan et al. 2025, "Distributional soft actor-critic with three refinements",
    https://arxiv.org/abs/2310.05858.

    Args:
      mean, std: of the critics, `[E, B]`.
      y, y_z: targets, the mean of the return and a sample of it, `[B]`.
      variance, bound: moving averages omega and b, `[E]`.

    Returns:
      Both, `[E, B]`.
    """
    scale, bound = (variance + eps)[:, None], bound[:, None]
    error = jnp.clip(y_z - mean, -bound, bound)
    of_mean = (y - mean) / (jnp.square(std) + eps)
    of_std = (jnp.square(error) - jnp.square(std)) / (std**3 + eps)
    return scale * of_mean, scale * of_std


def make(
    space: Box | Discrete,
    policy: Policy,
    config: NetworkConfig,
    num_critics: int,
    layer_norm: bool = False,
    dropout: float = 0.0,
    num_outputs: int | None = None,
    torso: nn.Module | None = None,
) -> Critics:
    """`num_critics` networks with the sizes in `config`, for the observations of `policy`.

    Numbers of a Box enter the network between -1 and 1, as tanh of the raw action; values of discrete actions
    are outputs.

    Args:
      space: of one action.
      dropout: probability that a unit is dropped while learning. Hiraoka et al. 2022.
        https://arxiv.org/abs/2110.02034
      num_outputs: `K`; None: one value, without this axis.
      torso: as for `policies.actor`, before the layers; images without one have a `networks.CNN`.

    Raises:
      ValueError: no critic, a probability outside 0 to 1, or the torso soft_moe.
    """
    require_positive(num_critics=num_critics)
    if torso is None and config.torso == "soft_moe":
        raise ValueError("critics of actions have no torso 'soft_moe': take torso 'auto'")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout = {dropout} must be at least 0 and below 1")
    if torso is None and len(policy.obs_shape) > 1:
        torso = networks.CNN((16,), config.hidden_sizes[:1], config.activation, layer_norm)
    discrete = isinstance(space, Discrete)
    outputs = (space.n if isinstance(space, Discrete) else 1) * (num_outputs or 1)
    net = ActionValue(config.hidden_sizes, config.activation, layer_norm, dropout, outputs, torso)

    def one(key):
        action = None if discrete else jnp.zeros((1, distributions.num_outputs(space)))
        return networks.initialize(net, key, jnp.zeros((1, *policy.obs_shape)), action)

    def init(key):
        return jax.vmap(one)(jax.random.split(key, num_critics))

    def apply(params, x, action, key):
        def one(params, key=None):
            rngs: Any = {} if key is None else {"dropout": key}
            return net.apply(params, x, action, key is not None, rngs=rngs)

        keys = () if key is None else (jax.random.split(key, num_critics),)
        return jax.vmap(one)(params, *keys)

    def values(params, x, key=None):
        q = apply(params, x, None, key)
        return q.reshape((*q.shape[:-1], -1, num_outputs)) if num_outputs else q

    def value(params, x, action, key=None):
        if discrete:
            return jax.vmap(value_of, (0, None))(values(params, x, key), action)
        q = apply(params, x, jnp.tanh(action).reshape(action.shape[0], -1), key)
        return q if num_outputs else q[..., 0]

    return Critics(init, value, values)
