"""Networks with batch normalization: of the batch while learning, by running averages otherwise.

Axes: `B` batch, `D` inputs, `F` units of a layer, `E` networks of an ensemble, `K` outputs.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl import layers, networks
from jaxrl.checks import require_network
from jaxrl.names import lookup
from jaxrl.policies import NetworkConfig, Policy
from jaxrl.types import PyTree

MOMENTUM = 0.99  # share of the old running averages that a step keeps
EPSILON = 1e-3  # added to variances
LARGEST_SCALE, LARGEST_SHIFT = 3.0, 5.0  # of a correction by `BatchRenorm`


class BatchRenorm(nn.Module):
    """Batch normalization that is corrected towards the running averages, once it has learned for a while.

        y = gamma ((x - m) / s r + d) + beta
        r = clip(s / sigma, 1 / 3, 3),   d = clip((m - mu) / sigma, -5, 5)

    `m` and `s` are the mean and the standard deviation of the batch, `mu` and `sigma` those of the running
    averages. No gradient passes through r and d, which are 1 and 0 for the first `warmup_steps` batches.
    Ioffe 2017, "Batch renormalization", https://arxiv.org/abs/1702.03275, with the limits of CrossQ.

    Attributes:
      use_running_average: normalize by the running averages, and leave them as they are.
      use_bias: learn beta; otherwise it is 0.
    """

    use_running_average: bool
    warmup_steps: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[B, F]` of `x` `[B, F]`."""
        size = (x.shape[-1],)
        gamma = self.param("scale", nn.initializers.ones, size)
        beta = self.param("bias", nn.initializers.zeros, size) if self.use_bias else 0.0
        mean = self.variable("batch_stats", "mean", jnp.zeros, size)
        var = self.variable("batch_stats", "var", jnp.ones, size)
        count = self.variable("batch_stats", "count", jnp.zeros, (), jnp.int32)
        sigma = jnp.sqrt(var.value + EPSILON)
        if self.use_running_average:
            return gamma * (x - mean.value) / sigma + beta
        m, v = x.mean(axis=0), x.var(axis=0)
        s, warm = jnp.sqrt(v + EPSILON), count.value >= self.warmup_steps
        r = jnp.clip(s / sigma, 1.0 / LARGEST_SCALE, LARGEST_SCALE)
        d = jnp.clip((m - mean.value) / sigma, -LARGEST_SHIFT, LARGEST_SHIFT)
        r, d = jax.lax.stop_gradient((jnp.where(warm, r, 1.0), jnp.where(warm, d, 0.0)))
        if not self.is_initializing():
            mean.value = MOMENTUM * mean.value + (1.0 - MOMENTUM) * m
            var.value = MOMENTUM * var.value + (1.0 - MOMENTUM) * v
            count.value += 1
        return gamma * ((x - m) / s * r + d) + beta


class BatchNormMLP(nn.Module):
    """Layers of `hidden_sizes` and a linear one, with normalized inputs and hidden units.

    Attributes:
      before_activation: hidden layers are `activation(normalize(W x))`, otherwise
        `normalize(activation(W x + b))`.
      renorm_after: batches after which normalization is that of `BatchRenorm`; 0: never.
    """

    hidden_sizes: Sequence[int]
    num_outputs: int
    activation: str = "relu"
    before_activation: bool = True
    renorm_after: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, learn: bool = False) -> jax.Array:
        """`[B, num_outputs]`, or `[B]` for one output, of `x` `[B, D]`.

        Normalized by the statistics of the batch if `learn`, else by running averages.
        """
        activate = lookup("activation", networks.ACTIVATIONS, self.activation)
        x = self._norm(0, learn)(x)
        for i, size in enumerate(self.hidden_sizes):
            x = layers.dense(size, name=f"Dense_{i}", use_bias=not self.before_activation)(x)
            x = x if self.before_activation else activate(x)
            x = self._norm(i + 1, learn)(x)
            x = activate(x) if self.before_activation else x
        x = layers.dense(self.num_outputs, 1.0, name="head")(x)
        return x[..., 0] if self.num_outputs == 1 else x

    def _norm(self, i, learn):
        # The next normalization removes a shift of the inputs: its gradient would be nothing but rounding,
        # which Adam turns into whole steps.
        shift = bool(i) or not self.before_activation
        if self.renorm_after:
            return BatchRenorm(not learn, self.renorm_after, shift, name=f"Norm_{i}")
        return nn.BatchNorm(not learn, momentum=MOMENTUM, epsilon=EPSILON, use_bias=shift, name=f"Norm_{i}")


def require_mlp(policy: Policy, config: NetworkConfig, *more_sizes: tuple[int, ...]) -> None:
    """Raises ValueError unless a policy's network, and layers of `more_sizes`, can be a `BatchNormMLP`."""
    if len(policy.obs_shape) != 1:
        shape = list(policy.obs_shape)
        raise ValueError(f"batch normalization needs vectors, not images {shape}: take torso = 'mlp'")
    if config.layer_norm:
        raise ValueError("layer_norm = True cannot be combined with batch normalization: leave it out")
    for sizes in more_sizes:
        require_network(dataclasses.replace(config, hidden_sizes=sizes), networks.ACTIVATIONS)


class Normalized(NamedTuple):
    """Functions of a network with batch normalization.

    Attributes:
      init: `(key) -> (params, stats)`, `stats` being the running averages.
      apply: `(params, stats, x [B, D]) -> outputs [B, K]`, normalized by running averages.
      learn: `(params, stats, x [B, D]) -> (outputs [B, K], stats)`, normalized by the statistics of the
        batch, which move the running averages.
    """

    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    apply: Callable[[PyTree, PyTree, jax.Array], jax.Array]
    learn: Callable[[PyTree, PyTree, jax.Array], tuple[jax.Array, PyTree]]


def network(net: BatchNormMLP, num_inputs: int) -> Normalized:
    """The functions of one network with `num_inputs` inputs, `D`.

    Raises:
      ValueError: a negative `renorm_after`.
    """
    if net.renorm_after < 0:
        raise ValueError(f"renorm_after = {net.renorm_after} must be at least 0, which is never")

    def init(key):
        variables = net.init(key, jnp.zeros((1, num_inputs)))
        return variables["params"], variables["batch_stats"]

    def apply(params, stats, x):
        return net.apply({"params": params, "batch_stats": stats}, x)

    def learn(params, stats, x):
        variables = {"params": params, "batch_stats": stats}
        outputs, changed = net.apply(variables, x, True, mutable=["batch_stats"])
        return outputs, changed["batch_stats"]

    return Normalized(init, apply, learn)


def ensemble(net: BatchNormMLP, num_inputs: int, size: int) -> Normalized:
    """`size` networks, whose parameters, averages and outputs have leaves `[E, ...]`, for the same inputs."""
    one = network(net, num_inputs)

    def init(key):
        return jax.vmap(one.init)(jax.random.split(key, size))

    in_axes = (0, 0, None)
    return Normalized(init, jax.vmap(one.apply, in_axes), jax.vmap(one.learn, in_axes))


def projected(params: PyTree) -> PyTree:
    """Parameters of a `BatchNormMLP`, in which the weights of each unit have a norm of 1.

    The weights of a hidden unit include its bias, if it has one; the biases of the outputs are not changed.
    Palenicek et al. 2025, https://arxiv.org/abs/2509.25174 and https://arxiv.org/abs/2502.07523.

    Args:
      params: leaves `[...]`, or `[E, ...]` of an ensemble.
    """
    changed = dict(params)
    for name in (name for name in params if not name.startswith("Norm_")):
        layer = params[name]
        squares = jnp.square(layer["kernel"]).sum(axis=-2)
        hidden = name != "head" and "bias" in layer
        norm = jnp.sqrt(squares + jnp.square(layer["bias"]) if hidden else squares)
        changed[name] = {**layer, "kernel": layer["kernel"] / norm[..., None, :]}
        if hidden:
            changed[name]["bias"] = layer["bias"] / norm
    return changed


def folded(params: PyTree, stats: PyTree, before_activation: bool) -> PyTree:
    """The parameters of a `networks.Actor` with a plain MLP that computes `apply` of a `BatchNormMLP`.

    By running averages, normalization is y = scale * x + shift, which becomes part of a neighbouring layer:

        scale * (W x) + shift = (scale W) x + shift,   W (scale * x + shift) + b = (W scale) x + (W shift + b)
    """

    def affine(i):
        norm, average = params[f"Norm_{i}"], stats[f"Norm_{i}"]
        scale = norm["scale"] * jax.lax.rsqrt(average["var"] + EPSILON)
        return scale, norm.get("bias", 0.0) - scale * average["mean"]

    def after_norm(layer, i):
        scale, shift = affine(i)
        kernel = layer["kernel"]
        return {"kernel": scale[:, None] * kernel, "bias": shift @ kernel + layer.get("bias", 0.0)}

    def before_norm(layer, i):
        scale, shift = affine(i)
        return {"kernel": layer["kernel"] * scale, "bias": layer.get("bias", 0.0) * scale + shift}

    names = [f"Dense_{i}" for i in range(len(params) // 2 - 1)]  # there is one more of the others each
    first, *others = [params[name] for name in (*names, "head")]
    if before_activation:
        *hidden, head = after_norm(first, 0), *others
        hidden = [before_norm(layer, i) for i, layer in enumerate(hidden, 1)]
    else:
        *hidden, head = [after_norm(layer, i) for i, layer in enumerate((first, *others))]
    return {"params": {"torso": dict(zip(names, hidden)), "Dense_0": head}}
