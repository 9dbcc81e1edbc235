"""A policy as an ONNX model, for ONNX Runtime and others.

    session = onnxruntime.InferenceSession("policy.onnx")
    action, outputs = session.run(["action", "outputs"], {"obs": obs})       # obs [N, ...]

Inputs and outputs are the parts of observation and action by name, for any number of observations. A
recurrent policy takes `memory` `[N, M]`, zeros at the start of an episode, and returns `next_memory`; one
that was trained with masks takes `action_mask` bool `[N, K]`. `onnx`, from the extra `onnx`, is imported on
use.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrl.artifact.recipe import LAYER_NORM_EPSILON, NOT_ALLOWED, Recipe, slices

OPSET, IR_VERSION = 17, 8  # from 2022: supported by all current runtimes


def to_onnx(recipe: Recipe) -> bytes:
    """The policy of one seed as a model.

    Raises:
      ValueError: the package `onnx` is missing.
    """
    try:
        import onnx
        from onnx import helper
    except ImportError:
        raise ValueError("--format onnx needs the extra: pip install 'jaxrl[onnx]'") from None

    graph = _Graph(helper)
    inputs: list[Any] = []
    outputs: list[Any] = []

    def declare(to, name, dtype, *shape):
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        to.append(helper.make_tensor_value_info(name, kind, ["N", *shape]))
        return name

    for part in recipe.observation_parts:
        declare(inputs, part.name, part.dtype, *part.shape)
    x = _encode(graph, recipe)
    if recipe.memory_size:
        declare(inputs, "memory", "float32", recipe.memory_size)
    shares, slots = "", 0
    for op, arrays in recipe.layers:
        if op == "dispatch":
            x, shares, slots = _dispatch(graph, x, **arrays)
        elif op == "combine":
            x = graph.add("MatMul", shares, graph.add("Reshape", x, np.array([0, slots, -1], np.int64)))
        elif op == "gru":
            x = _gru(graph, x, **arrays)
            graph.add("Identity", x, output=declare(outputs, "next_memory", "float32", recipe.memory_size))
        else:
            x = OPERATIONS[op](graph, x, **arrays)
    graph.add("Identity", x, output=declare(outputs, "outputs", "float32", recipe.num_outputs))
    mask = declare(inputs, "action_mask", "bool", recipe.num_outputs) if recipe.masked else None
    for part, where, bounds in zip(recipe.action_parts, slices(recipe.action_parts), recipe.bounds):
        own = graph.cut(x, where)
        if part.sizes:
            chosen = _discrete(graph, own, part, mask)
        else:
            low, high = bounds
            chosen = _box(graph, own, part, low, high, recipe)
        dtype = "int64" if part.sizes else "float32"
        graph.add("Identity", chosen, output=declare(outputs, part.name, dtype, *part.shape))
    made = helper.make_graph(graph.nodes, "policy", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, producer_name="jaxrl", opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class _Graph:
    """The nodes and constants added so far; `add` returns the name of the result."""

    def __init__(self, helper):
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._helper = helper

    def add(self, op: str, *inputs, output: str | None = None, **attributes) -> str:
        names = [x if isinstance(x, str) else self._constant(x) for x in inputs]
        output = output or f"x{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(op, names, [output], **attributes))
        return output

    def _constant(self, value) -> str:
        from onnx import numpy_helper

        value = np.float32(value) if isinstance(value, float) else np.asarray(value)
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def cut(self, x: str, where: slice) -> str:
        """`x[:, where]`."""
        ends = (np.array([end], np.int64) for end in (where.start, where.stop))
        return self.add("Slice", x, *ends, np.array([1], np.int64))

    def floats(self, x: str) -> str:
        return self.add("Cast", x, to=self._helper.np_dtype_to_tensor_dtype(np.dtype("float32")))


def _encode(graph, recipe):
    encoded = [_encode_part(graph, part) for part in recipe.observation_parts]
    if not recipe.flat:
        return encoded[0]
    sizes = [np.array([-1, part.width], np.int64) for part in recipe.observation_parts]
    flat = [graph.add("Reshape", x, size) for x, size in zip(encoded, sizes)]
    return flat[0] if len(flat) == 1 else graph.add("Concat", *flat, axis=1)


def _encode_part(graph, part):
    if part.kind == "box":
        x = graph.floats(part.name)
        return graph.add("Div", x, 255.0) if part.picture else x
    x = graph.add("Reshape", part.name, np.array([-1, len(part.sizes)], np.int64))
    each = []
    for i, n in enumerate(part.sizes):
        same = graph.add("Equal", graph.cut(x, slice(i, i + 1)), np.arange(n, dtype=part.dtype)[None])
        each.append(graph.floats(same))
    return each[0] if len(each) == 1 else graph.add("Concat", *each, axis=1)


def _normalize(graph, x, mean, scale):
    x = graph.add("Mul", graph.add("Sub", x, mean), scale)
    return graph.add("Clip", x, -10.0, 10.0)


def _conv(graph, x, kernel, bias):
    # ONNX has channels first, in images and in kernels.
    x = graph.add("Transpose", x, perm=[0, 3, 1, 2])
    x = graph.add("Conv", x, kernel.transpose(3, 2, 0, 1), bias)
    return graph.add("Transpose", x, perm=[0, 2, 3, 1])


def _dense(graph, x, kernel, bias):
    return graph.add("Add", graph.add("MatMul", x, kernel), bias)


def _layer_norm(graph, x, scale, bias):
    size = scale.shape[-1]
    one, zero = np.ones(size, np.float32), np.zeros(size, np.float32)
    x = graph.add("LayerNormalization", x, one, zero, axis=-1, epsilon=LAYER_NORM_EPSILON)
    return graph.add("Add", graph.add("Mul", x, scale), bias)


def _dispatch(graph, x, phi):
    size, experts, slots = phi.shape
    x = graph.add("Reshape", x, np.array([0, -1, size], np.int64))
    logits = graph.add("MatMul", x, phi.reshape(size, -1))
    shares = graph.add("Softmax", logits, axis=2)
    of_tokens = graph.add("Transpose", graph.add("Softmax", logits, axis=1), perm=[0, 2, 1])
    averages = graph.add("MatMul", of_tokens, x)
    apart = graph.add("Reshape", averages, np.array([0, experts, slots, size], np.int64))
    return apart, shares, experts * slots


def _expect(graph, x, points):
    x = graph.add("Reshape", x, np.array([0, -1, points.size], np.int64))
    return graph.add("MatMul", graph.add("Softmax", x, axis=2), points)


def _gelu(graph, x):
    cube = graph.add("Mul", graph.add("Mul", x, x), x)
    inner = graph.add("Mul", graph.add("Add", x, graph.add("Mul", cube, 0.044715)), 0.7978845608028654)
    return graph.add("Mul", graph.add("Mul", x, 0.5), graph.add("Add", graph.add("Tanh", inner), 1.0))


def _gru(graph, x, kernel, bias, memory_kernel, memory_bias):
    size = memory_bias.shape[-1]
    of_input, of_memory = _dense(graph, x, kernel, bias), graph.add("MatMul", "memory", memory_kernel)
    gates, candidate = slice(0, 2 * size), slice(2 * size, 3 * size)
    both = graph.add("Sigmoid", graph.add("Add", graph.cut(of_input, gates), graph.cut(of_memory, gates)))
    r, z = graph.cut(both, slice(0, size)), graph.cut(both, slice(size, 2 * size))
    remembered = graph.add("Mul", r, graph.add("Add", graph.cut(of_memory, candidate), memory_bias))
    n = graph.add("Tanh", graph.add("Add", graph.cut(of_input, candidate), remembered))
    fresh = graph.add("Mul", graph.add("Sub", 1.0, z), n)
    return graph.add("Add", fresh, graph.add("Mul", z, "memory"))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "normalize": _normalize,
    "conv": _conv,
    "flatten": lambda graph, x: graph.add("Flatten", x, axis=1),
    "dense": _dense,
    "experts": lambda graph, x, kernel, bias: _dense(graph, x, kernel, bias[:, None]),
    "expect": _expect,
    "layer_norm": _layer_norm,
    "tanh": lambda graph, x: graph.add("Tanh", x),
    "relu": lambda graph, x: graph.add("Relu", x),
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "gelu": _gelu,
    "elu": lambda graph, x: graph.add("Elu", x),
}


def _discrete(graph, x, part, mask):
    x = x if mask is None else graph.add("Where", mask, x, NOT_ALLOWED)
    ends = np.cumsum(part.sizes).tolist()
    choices = [graph.cut(x, slice(end - n, end)) for n, end in zip(part.sizes, ends)]
    single = part.kind == "discrete"
    best = [graph.add("ArgMax", choice, axis=1, keepdims=int(not single)) for choice in choices]
    return best[0] if single or len(best) == 1 else graph.add("Concat", *best, axis=1)


def _box(graph, x, part, low, high, recipe):
    if recipe.squash:
        share = graph.add("Add", graph.add("Tanh", x), 1.0)
        x = graph.add("Add", graph.add("Mul", share, (high - low) * np.float32(0.5)), low)
    x = graph.add("Max", graph.add("Min", x, high), low)
    return graph.add("Reshape", x, np.array([-1, *part.shape], np.int64))
