"""A policy as one C header (C99) that needs only the standard library, allocates nothing and keeps no state.

    #include "policy.h"

    int32_t action[1];
    float outputs[POLICY_NUM_OUTPUTS];
    policy_act(obs, action, outputs);

A recurrent policy takes `float memory[POLICY_MEMORY_SIZE]` after the observation and updates it: zeros at the
start of an episode. A policy that was trained with masks also takes
`const uint8_t action_mask[POLICY_NUM_OUTPUTS]`. The stack holds two buffers of the size of the largest layer.
"""

import re

import numpy as np

from jaxrl.artifact.c_helpers import HELPERS
from jaxrl.artifact.recipe import Layer, Recipe, slices

_TYPES = {"bool": "uint8_t", "float32": "float", "float64": "double", "float16": ""}


def to_c(recipe: Recipe, name: str = "policy", comment: str = "") -> str:
    """The policy of one seed as the text of a header.

    Args:
      name: prefix of its functions and macros.
      comment: one line at its top.

    Raises:
      ValueError: an observation of a type that C99 does not have.
    """
    name = re.sub(r"\W", "_", name)
    name = f"policy_{name}" if not name or name[0].isdigit() else name
    writer = _Writer(name)
    body = [*_encode(recipe), *writer.layers(recipe), *_decide(writer, recipe)]
    macro = name.upper()
    memory = [f"#define {macro}_MEMORY_SIZE {recipe.memory_size}"] if recipe.memory_size else []
    size = max([*writer.sizes, sum(part.width for part in recipe.observation_parts)])
    lines = [
        f"/* {comment.replace('*/', '')} */" if comment else "",
        f"#ifndef {macro}_H",
        f"#define {macro}_H",
        "",
        "#include <math.h>",
        "#include <stdint.h>",
        "",
        f"#define {macro}_NUM_OUTPUTS {recipe.num_outputs}",
        *memory,
        "",
        *writer.constants,
        "",
        *(HELPERS[helper].replace("NAME", name) for helper in HELPERS if helper in writer.helpers),
        "/* The most likely action for one observation; outputs: the logits or means behind it. */",
        f"static inline void {name}_act({_arguments(recipe, macro)})",
        "{",
        f"    float a[{size}], b[{size}], *x = a, *y = b, *t;",
        *(f"    {line}" for line in body),
        "}",
        "",
        f"#endif /* {macro}_H */",
    ]
    return "\n".join(lines).lstrip() + "\n"


def _arguments(recipe, macro) -> str:
    found = [
        f"const {_type(part)} {part.name}[{max(int(np.prod(part.shape)), 1)}]"
        for part in recipe.observation_parts
    ]
    if recipe.memory_size:
        found.append(f"float memory[{macro}_MEMORY_SIZE]")
    if recipe.masked:
        found.append(f"const uint8_t action_mask[{macro}_NUM_OUTPUTS]")
    for part in recipe.action_parts:
        size = max(int(np.prod(part.shape)), 1)
        found.append(f"{'int32_t' if part.sizes else 'float'} {part.name}[{size}]")
    return ", ".join([*found, f"float outputs[{macro}_NUM_OUTPUTS]"])


def _type(part) -> str:
    kind = _TYPES.get(part.dtype, f"{part.dtype}_t")
    if not re.fullmatch(r"float|double|u?int(8|16|32|64)_t", kind):
        raise ValueError(f"C has no type for {part.name} of {part.dtype}: take --format onnx or stablehlo")
    return kind


def _encode(recipe) -> list[str]:
    """Code that writes the encoded observation to x, part after part."""
    lines, at = [], 0
    for part in recipe.observation_parts:
        if part.kind == "box":
            scale = " / 255.0f" if part.picture else ""
            lines.append(
                f"for (int i = 0; i < {part.width}; ++i) x[{at} + i] = (float){part.name}[i]{scale};"
            )
            at += part.width
            continue
        for i, n in enumerate(part.sizes):
            lines.append(f"for (int i = 0; i < {n}; ++i) x[{at} + i] = {part.name}[{i}] == i ? 1.0f : 0.0f;")
            at += n
    return lines


class _Writer:
    """The code of the layers, with the constants, helper functions and buffer sizes that it needs."""

    def __init__(self, name: str):
        self.name = name
        self.constants: list[str] = []
        self.helpers: set[str] = set()
        self.sizes: list[int] = []
        self.tokens = 0  # of a mixture of experts

    def constant(self, array) -> str:
        name = f"{self.name}_w{len(self.constants)}"
        numbers = [number(x) for x in np.asarray(array, np.float32).reshape(-1)]
        rows = [", ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)]
        inner = ",\n    ".join(rows)
        self.constants.append(f"static const float {name}[{len(numbers)}] = {{\n    {inner}\n}};")
        return name

    def call(self, helper: str, *arguments) -> str:
        self.helpers.add(helper)
        return f"{self.name}_{helper}({', '.join(map(str, arguments))});"

    def layers(self, recipe: Recipe) -> list[str]:
        lines = []
        shape: tuple[int, ...] = recipe.observation_parts[0].shape
        shape = (sum(part.width for part in recipe.observation_parts),) if recipe.flat else shape
        for layer in recipe.layers:
            size, here = int(np.prod(shape)), []
            if layer.op == "conv":
                here, shape = self._conv(layer, shape)
            elif layer.op == "dense":
                weights = [self.constant(layer.arrays[n]) for n in ("kernel", "bias")]
                shape = (layer.arrays["bias"].shape[-1],)
                here = [self.call("dense", "x", size, *weights, "y", *shape)]
            elif layer.op == "gru":
                here, shape = self._gru(layer, size)
            elif layer.op == "normalize":
                weights = [self.constant(layer.arrays[n]) for n in ("mean", "scale")]
                lines.append(self.call("normalize", "x", size, *weights))
            elif layer.op == "layer_norm":
                lines += self._layer_norm(layer, shape)
            elif layer.op == "expect":
                points = layer.arrays["points"]
                shape = (size // points.size,)
                here = [self.call("expect", "x", *shape, points.size, self.constant(points), "y")]
            elif layer.op == "dispatch":
                here, shape = self._dispatch(layer, shape)
            elif layer.op == "experts":
                weights = [self.constant(layer.arrays[n]) for n in ("kernel", "bias")]
                features = layer.arrays["bias"].shape[-1]
                here = [self.call("experts", "x", *shape, *weights, "y", features)]
                shape = (*shape[:2], features)
            elif layer.op == "combine":
                here = [self.call("combine", "x", shape[0] * shape[1], shape[2], "shares", "y", self.tokens)]
                shape = (self.tokens, shape[2])
            elif layer.op == "flatten":
                shape = (size,)
            else:
                lines.append(self.call(layer.op, "x", size))
            lines += [*here, "t = x; x = y; y = t;"] if here else []
            self.sizes.append(int(np.prod(shape)))
        return [*lines, "(void)y; (void)t;"]

    def _conv(self, layer: Layer, shape):
        height, width, channels = shape
        weights = [self.constant(layer.arrays[n]) for n in ("kernel", "bias")]
        features = layer.arrays["bias"].shape[-1]
        sizes = (height, width, channels, features)
        return [self.call("conv", "x", *sizes, *weights, "y")], (height - 2, width - 2, features)

    def _layer_norm(self, layer: Layer, shape):
        scale, bias = (self.constant(layer.arrays[n]) for n in ("scale", "bias"))
        if layer.arrays["scale"].ndim == 1:
            return [self.call("layer_norm", "x", int(np.prod(shape)), shape[-1], scale, bias)]
        experts, slots, features = shape
        size, at = slots * features, f"i * {features}"
        one = self.call("layer_norm", f"x + i * {size}", size, features, f"{scale} + {at}", f"{bias} + {at}")
        return [f"for (int i = 0; i < {experts}; ++i) {one}"]

    def _dispatch(self, layer: Layer, shape):
        size, experts, slots = layer.arrays["phi"].shape
        self.tokens, phi = int(np.prod(shape[:-1])), self.constant(layer.arrays["phi"])
        lines = [
            f"float shares[{self.tokens * experts * slots}];",
            self.call("dispatch", "x", self.tokens, size, phi, experts * slots, "shares", "y"),
        ]
        return lines, (experts, slots, size)

    def _gru(self, layer: Layer, size: int):
        names = ("kernel", "bias", "memory_kernel", "memory_bias")
        weights = [self.constant(layer.arrays[n]) for n in names]
        memory = layer.arrays["memory_bias"].shape[-1]
        zeros = self.constant(np.zeros(3 * memory, np.float32))
        lines = [
            f"float of_input[{3 * memory}], of_memory[{3 * memory}];",
            self.call("dense", "x", size, *weights[:2], "of_input", 3 * memory),
            self.call("dense", "memory", memory, weights[2], zeros, "of_memory", 3 * memory),
            self.call("gru", "of_input", "of_memory", weights[3], "memory", memory),
            f"for (int i = 0; i < {memory}; ++i) y[i] = memory[i];",
        ]
        return lines, (memory,)


def number(x: np.float32) -> str:
    """A float32 as a C constant with exactly the same value."""
    if np.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    text = f"{x:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def _decide(writer: _Writer, recipe: Recipe) -> list[str]:
    lines = [f"for (int i = 0; i < {recipe.num_outputs}; ++i) outputs[i] = x[i];"]
    if recipe.masked:
        lines.append(f"for (int i = 0; i < {recipe.num_outputs}; ++i) if (!action_mask[i]) x[i] = -1e9f;")
    for part, where, bounds in zip(recipe.action_parts, slices(recipe.action_parts), recipe.bounds):
        if part.sizes:
            ends = np.cumsum(part.sizes).tolist()
            writer.helpers.add("argmax")
            for i, (n, end) in enumerate(zip(part.sizes, ends)):
                best = f"{writer.name}_argmax(x + {where.start + end - n}, {n})"
                lines.append(f"{part.name}[{i}] = {best};")
            continue
        low, high = (writer.constant(bound) for bound in bounds)
        helper = "squash" if recipe.squash else "cut"
        lines.append(writer.call(helper, f"x + {where.start}", part.width, low, high, part.name))
    return lines
