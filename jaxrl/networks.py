"""Actor-critic networks (flax.linen) for feed-forward and recurrent policies.

A policy network is `(memory, x, first) -> (memory, outputs)` for one step of any batch axes; `memory` is
`()` when there is none. `first` is true where `x` starts an episode: the memory is reset before `x` is
processed.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.cores import NONE, Core
from jaxrl.cpu import matrix
from jaxrl.encoding import is_image
from jaxrl.initializers import orthogonal
from jaxrl.layers import dense
from jaxrl.mixture import SoftMixture
from jaxrl.names import lookup
from jaxrl.types import PyTree

ACTIVATIONS = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "silu": nn.silu,
    "gelu": nn.gelu,
    "elu": nn.elu,
}


def _activate(x, activation, layer_norm):
    """The activation of `x`, which is first normalized over its last axis if `layer_norm`. In a module."""
    return lookup("activation", ACTIVATIONS, activation)(nn.LayerNorm()(x) if layer_norm else x)


class MLP(nn.Module):
    """Layers of `hidden_sizes` on `[..., D]`, an activation after each.

    Attributes:
      layer_norm: normalize the units of a layer before the activation. Ba et al. 2016.
        https://arxiv.org/abs/1607.06450
      layer: `(features, scale, name) -> module`, from `jaxrl.layers`.
      num_experts: if not 0, a soft mixture of experts with this layer in place of the last layer, on one
        token, the units of the layer before it.
    """

    hidden_sizes: Sequence[int] = (64, 64)
    activation: str = "tanh"
    layer_norm: bool = False
    layer: Callable[..., nn.Module] = dense
    num_experts: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shared = self.hidden_sizes[:-1] if self.num_experts else self.hidden_sizes
        for i, size in enumerate(shared):
            x = _activate(self.layer(size, name=f"Dense_{i}")(x), self.activation, self.layer_norm)
        if not self.num_experts:
            return x
        expert = MLP(self.hidden_sizes[-1:], self.activation, self.layer_norm, self.layer, parent=None)
        return SoftMixture(expert, self.num_experts, self.layer)(x[..., None, :])[..., 0, :]


class Conv(nn.Module):
    """A 3x3 convolution without padding on images `[B, H, W, C]`, with the parameters of `nn.Conv`."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", orthogonal(), (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return matrix.convolve(x, kernel) + bias


class CNN(nn.Module):
    """3x3 convolutions without padding and layers of `hidden_sizes` on images `[..., H, W, C]`.

    The default is the network that MinAtar was published with: 16 channels, one layer of 128.
    Young and Tian 2019. https://arxiv.org/abs/1903.03176

    Attributes:
      num_experts: if not 0, a soft mixture of experts with these layers, whose tokens are the positions.
    """

    channels: Sequence[int] = (16,)
    hidden_sizes: Sequence[int] = (128,)
    activation: str = "relu"
    layer_norm: bool = False
    layer: Callable[..., nn.Module] = dense
    num_experts: int = 0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        tokens = _convolved(x, self.channels, self.activation, self.layer_norm)
        layers = self.hidden_sizes, self.activation, self.layer_norm, self.layer
        if not self.num_experts:
            return MLP(*layers)(_flat(tokens))
        return _flat(SoftMixture(MLP(*layers, parent=None), self.num_experts, self.layer)(tokens))


def _convolved(x, channels, activation, layer_norm):
    """Convolutions of images `[..., H, W, C]`: features of `M` positions, `[..., M, F]`. In a module."""
    batch = x.shape[:-3]
    x = x.reshape((-1, *x.shape[-3:]))
    for features in channels:
        x = _activate(Conv(features)(x), activation, layer_norm)
    return x.reshape((*batch, -1, x.shape[-1]))


def _flat(x):
    return x.reshape((*x.shape[:-2], -1))


class Joined(nn.Module):
    """Convolutions over the images of an observation, joined with its other parts, then layers on all of it.

    Attributes:
      split: `(x [..., D]) -> pytree` of the parts of an observation, as returned by `splitter`.
    """

    split: Callable
    channels: Sequence[int] = (16,)
    hidden_sizes: Sequence[int] = (64, 64)
    activation: str = "tanh"
    layer_norm: bool = False
    layer: Callable[..., nn.Module] = dense

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        parts = []
        for part in jax.tree.leaves(self.split(x)):
            axes = part.ndim - x.ndim + 1
            flat = part.reshape((*x.shape[:-1], -1))
            image = axes == 3 and is_image(part.shape[-3:])
            convolved = (self.channels, self.activation, self.layer_norm)
            parts.append(_flat(_convolved(part, *convolved)) if image else flat)
        joined = jnp.concatenate(parts, axis=-1)
        return MLP(self.hidden_sizes, self.activation, self.layer_norm, self.layer)(joined)


class Split(nn.Module):
    """A torso that takes the pytree of an observation, for `x` `[..., D]` with its concatenated parts.

    Attributes:
      split: as returned by `splitter`.
    """

    torso: nn.Module
    split: Callable

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.torso(self.split(x))


class ActorCritic(nn.Module):
    """A policy's outputs and a value, from two torsos or a shared one.

    Attributes:
      torso: a module `[..., *obs] -> [..., F]`; it is cloned for actor and critic.
      num_outputs, num_log_stds: sizes of the parameters of the action distribution (`jaxrl.distributions`).
      shared: one torso for both.
      core: what is remembered, after each torso (`jaxrl.cores`).
      init_log_std: initial value of the state-independent log standard deviations.
      num_values: outputs of the critic, `K`; if not 1, the value is `[..., K]` (`jaxrl.critics`).
    """

    torso: nn.Module
    num_outputs: int
    num_log_stds: int = 0
    shared: bool = False
    core: Core = NONE
    init_log_std: float = 0.0
    num_values: int = 1

    def setup(self) -> None:
        names = ("shared_torso",) if self.shared else ("actor_torso", "critic_torso")
        # A shallow clone of a torso with submodules would share their weights.
        self.torsos = [self.torso.clone(parent=self, name=n, _deep_clone=True) for n in names]
        self.cells = [self.core.cell(name=f"{name}_{self.core.name}") for name in names]
        self.actor_head = dense(self.num_outputs, 0.01)
        self.critic_head = dense(self.num_values, 1.0)
        if self.num_log_stds:
            init = nn.initializers.constant(self.init_log_std)
            self.log_std = self.param("log_std", init, (self.num_log_stds,))

    def __call__(
        self, memory: PyTree, x: jax.Array, first: jax.Array
    ) -> tuple[PyTree, tuple[jax.Array, jax.Array]]:
        """One step of `[..., *obs]` and `first` `[...]`.

        Returns:
          memory, (outputs `[..., num_outputs + num_log_stds]`, value `[...]` or `[..., K]`)
        """
        return _outputs_and_value(self, self.core.step, memory, x, first)

    def unroll(
        self, memory: PyTree, x: jax.Array, first: jax.Array
    ) -> tuple[PyTree, tuple[jax.Array, jax.Array]]:
        """`T` steps of `[T, N, *obs]` and `first` `[T, N]`, by `core.unroll`."""
        return _outputs_and_value(self, self.core.unroll, memory, x, first)

    def initial_memory(self, num_envs: int) -> tuple[PyTree, ...]:
        """The memory at the start of an episode: `()`, or a memory of the core, `[N, ...]`, per torso."""
        memory = (self.core.initial(num_envs),) * (1 if self.shared else 2)
        return memory if jax.tree.leaves(memory) else ()


def _outputs_and_value(net, advance, memory, x, first):
    features = [torso(x) for torso in net.torsos]
    if memory:
        stepped = [advance(cell, m, f, first) for cell, m, f in zip(net.cells, memory, features)]
        memory, features = tuple(m for m, _ in stepped), [f for _, f in stepped]
    outputs = net.actor_head(features[0])
    value = net.critic_head(features[-1])
    value = value[..., 0] if net.num_values == 1 else value
    if net.num_log_stds:
        log_std = jnp.broadcast_to(net.log_std, (*outputs.shape[:-1], net.num_log_stds))
        outputs = jnp.concatenate([outputs, log_std], axis=-1)
    return memory, (outputs, value)


class Actor(nn.Module):
    """A policy's outputs without a value; called in the same way as `ActorCritic`.

    Attributes:
      torso: a module `[..., *obs] -> [..., F]`.
      num_outputs: size of the parameters of the action distribution (`jaxrl.distributions`).
      core: what is remembered, after the torso (`jaxrl.cores`).
    """

    torso: nn.Module
    num_outputs: int
    core: Core = NONE

    def setup(self) -> None:
        self.cell = self.core.cell(name=self.core.name)
        self.head = dense(self.num_outputs, 1.0, name="Dense_0")

    def __call__(self, memory: PyTree, x: jax.Array, first: jax.Array) -> tuple[PyTree, jax.Array]:
        """One step of `[..., *obs]` and `first` `[...]`; returns memory and outputs `[..., num_outputs]`."""
        return _outputs(self, self.core.step, memory, x, first)

    def unroll(self, memory: PyTree, x: jax.Array, first: jax.Array) -> tuple[PyTree, jax.Array]:
        """`T` steps of `[T, N, *obs]` and `first` `[T, N]`, by `core.unroll`."""
        return _outputs(self, self.core.unroll, memory, x, first)

    def initial_memory(self, num_envs: int) -> PyTree:
        """The memory at the start of an episode: `()`, or leaves `[N, ...]`."""
        return self.core.initial(num_envs)


def _outputs(net, advance, memory, x, first):
    memory, features = advance(net.cell, memory, net.torso(x), first)
    return memory, net.head(features)


def initialize(net: nn.Module, key: jax.Array, *inputs: PyTree) -> PyTree:
    """The parameters of a network, from `net.init`, in a way that cannot deadlock in a population.

    A user's torso may be initialized with LAPACK (flax's `orthogonal`), which can deadlock on a CPU when it
    is batched over agents (docs/thread_pool.md): there, agents are initialized one after another.
    """
    if isinstance(net.torso, MLP | CNN | Joined) or jax.default_backend() != "cpu":
        return net.init(key, *inputs)
    return jax.custom_batching.sequential_vmap(net.init)(key, *inputs)


def unroll(
    network: Callable[[PyTree, jax.Array, jax.Array], tuple[PyTree, PyTree]],
    memory: PyTree,
    x: jax.Array,
    first: jax.Array,
) -> PyTree:
    """Applies a policy network over time: to all steps at once if it has no memory, otherwise in a scan.

    Args:
      network: `(memory, x, first) -> (memory, outputs)`.
      memory: `[N, ...]` before the first step.
      x, first: `[T, N, ...]`.

    Returns:
      outputs `[T, N, ...]`.
    """
    if not jax.tree.leaves(memory):
        return network(memory, x, first)[1]

    def step(memory, now):
        return network(memory, *now)

    return jax.lax.scan(step, memory, (x, first))[1]
