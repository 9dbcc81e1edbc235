"""A policy as a list of simple operations, and their computation in NumPy or `jax.numpy`.

    observation  -> encode -> normalize? -> layers -> outputs [N, K] -> action

The action is chosen from `outputs`: logits or values of the discrete parts, means of the Box parts. It is the
most likely one, as in the evaluation during training. This module imports only NumPy. Axes: `N` observations,
`K` outputs.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

NOT_ALLOWED = -1e9  # the logit of an action that the mask forbids, as in jaxrl.distributions

LAYER_NORM_EPSILON = 1e-6  # of flax


class Part(NamedTuple):
    """One leaf of an observation or of an action.

    Attributes:
      name: in the exported files, for example "obs", "obs_position", "action".
      kind: "box", "discrete" or "multi_discrete".
      shape, dtype: of one value.
      sizes: the numbers of choices: `(n,)` or `nvec`; `()` for a Box.
      picture: the values are bytes from 0 to 255, which are divided by 255.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    sizes: tuple[int, ...] = ()
    picture: bool = False

    @property
    def width(self) -> int:
        """Its number of inputs of the network, after encoding, or of outputs."""
        return sum(self.sizes) if self.sizes else int(np.prod(self.shape))


class Layer(NamedTuple):
    """An operation on `x` and its weights; for several seeds, the arrays have a leading axis.

    normalize: mean, scale, of the shape of x        clip((x - mean) * scale, -10, 10)
    conv: kernel `[3, 3, C, F]`, bias `[F]`          without padding, on `[N, H, W, C]`
    flatten                                          `[N, ...]` to `[N, D]`
    dense: kernel `[D, F]`, bias `[F]`
    layer_norm: scale, bias `[F]` or `[E, 1, F]`     (x - mean) / sqrt(var + 1e-6) * scale + bias, last axis
    tanh, relu, silu, gelu, elu                      gelu by its tanh approximation
    gru: kernel `[D, 3M]`, bias `[3M]`, memory_kernel `[M, 3M]`, memory_bias `[M]`, in the order r, z, n:
        r, z = sigmoid(x W + b + h V),   n = tanh(x W_n + b_n + r (h V_n + c)),   x = h = (1 - z) n + z h
    dispatch: phi `[D, E, P]`                        tokens `[N, ..., D]` to `P` slots of `E` experts
        `[N, E, P, D]`, by the softmax over tokens of x phi; its softmax over slots is kept for `combine`
    experts: kernel `[E, D, F]`, bias `[E, F]`       a dense layer of each expert, on its slots
    combine                                          slots back to tokens, `[N, M, F]`
    expect: points `[K]`                             `[N, A K]` to `[N, A]`: means of the points, by a softmax
    """

    op: str
    arrays: dict[str, Any]


class Recipe(NamedTuple):
    """A policy of one seed, or of several if the arrays of `layers` and `bounds` have a leading axis.

    Attributes:
      observation, action: the structure of a value: the number of a part, a dict or a list of structures.
      observation_parts, action_parts: its leaves, in the order in which JAX flattens them.
      layers: from the encoded observation to the outputs.
      bounds: of every action part, low and high `[width]`, or `()` if it is not a Box.
      flat: the encoded observation is one vector; otherwise an image `[H, W, C]`.
      masked: the environment has an action mask.
      squash: actions of a Box are mapped into their bounds by tanh; otherwise they are clipped.
    """

    observation: Any
    observation_parts: tuple[Part, ...]
    action: Any
    action_parts: tuple[Part, ...]
    layers: tuple[Layer, ...]
    bounds: tuple[tuple[Any, ...], ...]
    flat: bool = True
    masked: bool = False
    squash: bool = False

    @property
    def memory_size(self) -> int:
        """Size of the memory of a recurrent policy; 0 for one without memory."""
        return sum(layer.arrays["memory_bias"].shape[-1] for layer in self.layers if layer.op == "gru")

    @property
    def num_outputs(self) -> int:
        return sum(part.width for part in self.action_parts)

    @property
    def has_mask(self) -> bool:
        """Whether an action mask is possible: the action is one Discrete or MultiDiscrete value."""
        return len(self.action_parts) == 1 and bool(self.action_parts[0].sizes)


def leaves(structure: Any, value: Any) -> list[Any]:
    """The parts of a value, in order. Raises KeyError, TypeError or ValueError for a wrong structure."""
    if isinstance(structure, dict):
        return [leaf for name in sorted(structure) for leaf in leaves(structure[name], value[name])]
    if isinstance(structure, list):
        return [leaf for one, x in zip(structure, value, strict=True) for leaf in leaves(one, x)]
    return [value]


def build(structure: Any, parts: list[Any]) -> Any:
    """A value of this structure from its parts; sequences become tuples."""
    if isinstance(structure, dict):
        return {name: build(inner, parts) for name, inner in structure.items()}
    if isinstance(structure, list):
        return tuple(build(inner, parts) for inner in structure)
    return parts[structure]


def step(
    xp: Any, recipe: Recipe, obs: list[Any], memory: Any, mask: Any = None
) -> tuple[Any, list[Any], Any]:
    """One step of the policy.

    Args:
      xp: `numpy` or `jax.numpy`.
      obs: the parts of the observations, `[N, *shape]` each.
      memory: `[N, M]`, zeros at the start of an episode; anything for a policy without memory.
      mask: bool `[N, K]`, or None: all actions are allowed.

    Returns:
      memory, the parts of the actions `[N, *shape]`, outputs float32 `[N, K]` (before the mask).
    """
    x = _encode(xp, recipe, obs)
    shares = None
    for op, arrays in recipe.layers:
        if op == "gru":
            x = memory = _gru(xp, x, memory, **arrays)
        elif op == "dispatch":
            x, shares = _dispatch(xp, x, **arrays)
        elif op == "combine":
            x = shares @ x.reshape(x.shape[0], x.shape[1] * x.shape[2], x.shape[3])
        else:
            x = OPERATIONS[op](xp, x, **arrays)
    return memory, _decide(xp, recipe, x, mask), x


def _encode(xp, recipe, obs):
    encoded = [_encode_part(xp, part, x) for part, x in zip(recipe.observation_parts, obs)]
    if not recipe.flat:
        return encoded[0]
    flat = [x.reshape(x.shape[0], part.width) for part, x in zip(recipe.observation_parts, encoded)]
    return flat[0] if len(flat) == 1 else xp.concatenate(flat, axis=-1)


def _encode_part(xp, part, x):
    if part.kind == "discrete":
        return (x[..., None] == np.arange(part.sizes[0])).astype(np.float32)
    if part.kind == "multi_discrete":
        each = [x[..., i, None] == np.arange(n) for i, n in enumerate(part.sizes)]
        return xp.concatenate(each, axis=-1).astype(np.float32)
    x = x.astype(np.float32)
    return x / np.float32(255.0) if part.picture else x


def _normalize(xp, x, mean, scale):
    return xp.clip((x - mean) * scale, -10.0, 10.0)


def _conv(xp, x, kernel, bias):
    height, width = x.shape[1] - 2, x.shape[2] - 2
    total = bias
    for i in range(3):
        for j in range(3):
            total = total + x[:, i : i + height, j : j + width] @ kernel[i, j]
    return total


def _layer_norm(xp, x, scale, bias):
    centred = x - x.mean(axis=-1, keepdims=True)
    var = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / xp.sqrt(var + np.float32(LAYER_NORM_EPSILON)) * scale + bias


def _sigmoid(xp, x):
    return 0.5 * (xp.tanh(0.5 * x) + 1.0)  # this form cannot overflow


def _gelu(xp, x):
    return 0.5 * x * (1.0 + xp.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


def _gru(xp, x, memory, kernel, bias, memory_kernel, memory_bias):
    size = memory_bias.shape[-1]
    of_input, of_memory = x @ kernel + bias, memory @ memory_kernel
    gates = _sigmoid(xp, of_input[:, : 2 * size] + of_memory[:, : 2 * size])
    r, z = gates[:, :size], gates[:, size:]
    n = xp.tanh(of_input[:, 2 * size :] + r * (of_memory[:, 2 * size :] + memory_bias))
    return (1.0 - z) * n + z * memory


def _softmax(xp, x, axis):
    x = xp.exp(x - x.max(axis=axis, keepdims=True))
    return x / x.sum(axis=axis, keepdims=True)


def _expect(xp, x, points):
    return _softmax(xp, x.reshape(x.shape[0], x.shape[1] // points.size, points.size), 2) @ points


def _dispatch(xp, x, phi):
    """Slots `[N, E, P, D]` and the shares of the slots in each token `[N, M, E P]`."""
    size, experts, slots = phi.shape
    x = x.reshape(x.shape[0], int(np.prod(x.shape[1:-1])), size)
    logits = x @ phi.reshape(size, experts * slots)
    averages = xp.swapaxes(_softmax(xp, logits, 1), 1, 2) @ x
    return averages.reshape(x.shape[0], experts, slots, size), _softmax(xp, logits, 2)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "normalize": _normalize,
    "conv": _conv,
    "flatten": lambda xp, x: x.reshape(x.shape[0], int(np.prod(x.shape[1:]))),
    "dense": lambda xp, x, kernel, bias: x @ kernel + bias,
    "experts": lambda xp, x, kernel, bias: x @ kernel + bias[:, None],
    "expect": _expect,
    "layer_norm": _layer_norm,
    "tanh": lambda xp, x: xp.tanh(x),
    "relu": lambda xp, x: xp.maximum(x, 0.0),
    "silu": lambda xp, x: x * _sigmoid(xp, x),
    "gelu": _gelu,
    "elu": lambda xp, x: xp.where(x > 0.0, x, xp.expm1(xp.minimum(x, 0.0))),
}


def slices(parts: tuple[Part, ...]) -> list[slice]:
    """The slices of the outputs, or of the encoded observation, that belong to the parts."""
    ends = np.cumsum([part.width for part in parts]).tolist()
    return [slice(end - part.width, end) for part, end in zip(parts, ends)]


def _decide(xp, recipe, outputs, mask):
    """The most likely action, within its bounds, as parts."""
    found = []
    for part, where, bounds in zip(recipe.action_parts, slices(recipe.action_parts), recipe.bounds):
        x = outputs[:, where]
        if part.sizes:
            x = x if mask is None else xp.where(mask, x, np.float32(NOT_ALLOWED))
            starts = np.cumsum([0, *part.sizes])
            best = [xp.argmax(x[:, a:b], axis=-1) for a, b in pairwise(starts)]
            found.append(best[0] if part.kind == "discrete" else xp.stack(best, axis=-1))
            continue
        low, high = bounds
        if recipe.squash:
            x = low + (high - low) * np.float32(0.5) * (xp.tanh(x) + 1.0)
        found.append(xp.clip(x, low, high).reshape(x.shape[0], *part.shape))
    return found
