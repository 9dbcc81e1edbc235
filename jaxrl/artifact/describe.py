"""Converts a policy's network and parameters to a recipe; only this file depends on jaxrl's networks."""

import re
from typing import Any

import jax
import numpy as np

from jaxrl import encoding
from jaxrl.artifact.recipe import Layer, Part, Recipe
from jaxrl.critics import SCALAR, Head
from jaxrl.policies import NetworkConfig
from jaxrl.q_networks import NUM_COSINES
from jaxrl.spaces import Box, Discrete, MultiDiscrete

UNKNOWN = (
    "its network is not one that NetworkConfig describes (for example, a custom torso): act with `algo.act`"
)

PARTS = ("kernel", "bias")  # of an affine map


def describe(
    observation_space: Any,
    action_space: Any,
    network: NetworkConfig,
    params: Any,
    obs_stats: Any = (),
    masked: bool = False,
    head: Head = SCALAR,
) -> Recipe:
    """The recipe of a policy from `policies.actor_critic`, `actor` or `q_values`.

    Args:
      params, obs_stats: of one agent, or of several with a leading axis in every leaf; the weights of the
        recipe then have this axis as well, but not its `bounds`.
      masked: whether the environment's info has an action mask.
      head: of `q_values`; outputs of the recipe are the values of actions for every head.

    Raises:
      ValueError: the parameters are not those of such a network, or a space cannot be stored in a file.
    """
    flat = not encoding.use_cnn(observation_space, network.torso)
    if not flat and not isinstance(observation_space, Box):
        raise ValueError(
            "the policy cannot be exported: it joins an image with other parts: take torso 'mlp'"
        )
    observation, observation_parts = _parts(observation_space, "obs")
    action, action_parts = _parts(action_space, "action")
    try:
        weights = jax.tree.map(np.asarray, params["params"])
        size = sum(part.width for part in action_parts)
        layers = [*_normalize(obs_stats), *_network(weights, network, flat, size, head)]
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"the policy cannot be exported: {UNKNOWN}") from None
    return Recipe(
        observation,
        observation_parts,
        action,
        action_parts,
        tuple(layers),
        bounds(action_space),
        flat,
        masked,
        network.squash,
    )


def _normalize(obs_stats) -> list[Layer]:
    if not jax.tree.leaves(obs_stats):
        return []
    mean, var = np.asarray(obs_stats.mean, np.float32), np.asarray(obs_stats.var, np.float32)
    return [Layer("normalize", {"mean": mean, "scale": 1.0 / np.sqrt(var + np.float32(1e-8))})]


def _network(weights, network, flat, size, head) -> list[Layer]:
    """The layers of the actor in `networks.ActorCritic`, of `networks.Actor` or of `QNetwork`."""
    if network.memory_size and network.core != "gru":
        raise ValueError(f"a policy with the core {network.core!r} cannot be exported: take core 'gru'")
    if "actor_head" in weights:
        name = "shared_torso" if network.shared_torso else "actor_torso"
        torso, cell, last = weights.get(name, {}), f"{name}_gru", [_affine("dense", weights["actor_head"])]
    else:
        torso, cell, last = weights.get("torso", {}), "gru", _values(weights, size, head)
    if head.num_outputs == 1:  # without standard deviations, which no action needs
        last = [Layer(op, {name: x[..., :size] for name, x in arrays.items()}) for op, arrays in last]
    layers = _torso(torso, network, flat)
    if network.memory_size:
        layers.append(_gru(weights[cell]))
    return [*layers, *last]


def _values(weights, num_actions, head) -> list[Layer]:
    """The values of actions behind the torso of `QNetwork`, or the outputs of `networks.Actor`.

    Two heads are one affine map, V + A - mean(A), and so is the mean of quantiles. With fixed fractions,
    implicit quantiles multiply the features of a state by constants.
    """
    outputs = weights["Dense_0"]
    if head.num_outputs == 1 and "value_head" not in weights:
        return [_affine("dense", outputs)]
    each = {name: outputs[name].reshape(*outputs[name].shape[:-1], num_actions, -1) for name in PARTS}
    if "value_head" in weights:
        value = {name: weights["value_head"][name][..., None, :] for name in PARTS}
        each = {name: value[name] + x - x.mean(axis=-2, keepdims=True) for name, x in each.items()}
    if head.implicit:
        factors = _factors(weights["embedding"]["Dense_0"], head.num_outputs)
        each["kernel"] = each["kernel"] * factors[..., None, None]
    elif head.points is None:
        each = {name: x.mean(axis=-1, keepdims=True) for name, x in each.items()}
    flat = _affine("dense", {name: x.reshape(*x.shape[:-2], -1) for name, x in each.items()})
    if head.points is None:
        return [flat]
    seeds = each["bias"].shape[:-2]
    points = np.broadcast_to(np.asarray(head.points, np.float32), (*seeds, head.num_outputs))
    return [flat, Layer("expect", {"points": points})]


def _factors(embedding, num_fractions):
    """What the embedding of `q_networks.FractionEmbedding` multiplies features by, its mean `[..., F]`."""
    fractions = (2.0 * np.arange(num_fractions) + 1.0) / (2.0 * num_fractions)
    cosines = np.cos(np.pi * np.arange(NUM_COSINES) * fractions[:, None])
    embedded = cosines @ embedding["kernel"] + embedding["bias"][..., None, :]
    return np.maximum(embedded, 0.0).mean(axis=-2)


def _torso(torso, network, flat) -> list[Layer]:
    mixed, sizes = network.torso == "soft_moe", network.hidden_sizes
    if flat and not mixed:
        return _mlp(torso, network, sizes)
    if flat:
        rest = {name: weights for name, weights in torso.items() if name != "SoftMixture_0"}
        return [*_mlp(rest, network, sizes[:-1]), *_mixture(torso["SoftMixture_0"], network, sizes[-1:])]
    layers = []
    for i in range(sum(name.startswith("Conv_") for name in torso)):
        layers += [_affine("conv", torso[f"Conv_{i}"]), *_activation(torso, network, i)]
    if mixed:
        return [*layers, *_mixture(torso["SoftMixture_0"], network, sizes)]
    return [*layers, Layer("flatten", {}), *_mlp(torso["MLP_0"], network, sizes)]


def _mlp(weights, network, sizes, op="dense") -> list[Layer]:
    """The layers of an MLP, or those of all experts, `op` "experts"."""
    if len(weights) != len(sizes) * (1 + network.layer_norm):
        raise KeyError("layers")
    layers = []
    for i in range(len(sizes)):
        layers += [_affine(op, weights[f"Dense_{i}"]), *_activation(weights, network, i, op)]
    return layers


def _mixture(weights, network, sizes) -> list[Layer]:
    dispatch = Layer("dispatch", {"phi": np.asarray(weights["phi"], np.float32)})
    experts = [
        *_mlp(weights["body"], network, sizes, "experts"),
        _affine("experts", weights["experts"]["out"]),
    ]
    return [dispatch, *experts, Layer("combine", {}), Layer("flatten", {})]


def _activation(weights, network, i, op="") -> list[Layer]:
    norm = []
    if network.layer_norm:
        of_layer = {n: np.asarray(weights[f"LayerNorm_{i}"][n], np.float32) for n in ("scale", "bias")}
        if op == "experts":  # each has its own, for all its slots
            of_layer = {name: x[..., None, :] for name, x in of_layer.items()}
        norm = [Layer("layer_norm", of_layer)]
    return [*norm, Layer(network.activation, {})]


def _affine(op, weights) -> Layer:
    return Layer(op, {name: np.asarray(weights[name], np.float32) for name in PARTS})


def _gru(cell) -> Layer:
    def joined(names, which):
        return np.concatenate([np.asarray(cell[name][which], np.float32) for name in names], axis=-1)

    of_input, of_memory = ("ir", "iz", "in"), ("hr", "hz", "hn")
    arrays = {"kernel": joined(of_input, "kernel"), "bias": joined(of_input, "bias")}
    arrays |= {"memory_kernel": joined(of_memory, "kernel"), "memory_bias": joined(("hn",), "bias")}
    return Layer("gru", arrays)


def _parts(space: Any, name: str) -> tuple[Any, tuple[Part, ...]]:
    """The structure of a space, with numbers for leaves, and its parts."""
    parts: list[Part] = []

    def visit(inner, words):
        if isinstance(inner, dict) and all(isinstance(key, str) for key in inner):
            return {key: visit(inner[key], [*words, key]) for key in sorted(inner)}
        if type(inner) in (tuple, list):
            return [visit(child, [*words, str(i)]) for i, child in enumerate(inner)]
        if not isinstance(inner, Discrete | MultiDiscrete | Box):
            raise ValueError(f"the policy cannot be exported: the space {inner!r} cannot be stored in a file")
        parts.append(_part(inner, re.sub(r"\W", "_", "_".join(words))))
        return len(parts) - 1

    structure = visit(space, [name])
    names = [part.name for part in parts]
    unique = [n if names.count(n) == 1 else f"{n}_{i}" for i, n in enumerate(names)]
    return structure, tuple(part._replace(name=n) for part, n in zip(parts, unique))


def _part(space, name: str) -> Part:
    if isinstance(space, Discrete):
        return Part(name, "discrete", (), "int32", (int(space.n),))
    if isinstance(space, MultiDiscrete):
        return Part(name, "multi_discrete", space.shape, "int32", tuple(int(n) for n in space.nvec))
    shape = tuple(int(n) for n in space.shape)
    return Part(name, "box", shape, np.dtype(space.dtype).name, (), encoding.holds_bytes(space))


def bounds(action_space: Any) -> tuple[tuple[np.ndarray, ...], ...]:
    """Low and high `[width]` of every part of an action; `()` for a part that is not a Box."""
    return tuple(_bounds(space) for space in jax.tree.leaves(action_space))


def _bounds(space) -> tuple[np.ndarray, ...]:
    if not isinstance(space, Box):
        return ()
    both = (np.broadcast_to(np.asarray(x, np.float32), space.shape) for x in (space.low, space.high))
    return tuple(x.reshape(-1) for x in both)
