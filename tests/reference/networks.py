"""An actor-critic's forward pass from its weights, in float64 and layer by layer."""

import numpy as np


def _f64(tree):
    if isinstance(tree, dict):
        return {name: _f64(leaf) for name, leaf in tree.items()}
    return np.asarray(tree, np.float64)


def dense(params, x):
    return x @ params["kernel"] + params["bias"] if "bias" in params else x @ params["kernel"]


def mlp(params, x):
    """tanh layers `Dense_0`, `Dense_1`, ...; the policy of Schulman et al. 2017, section 6.1."""
    for i in range(len(params)):
        x = np.tanh(dense(params[f"Dense_{i}"], x))
    return x


def gru(params, h, x):
    """A gated recurrent unit whose reset gate is applied after the weights of the candidate.

    Cho et al. 2014, https://arxiv.org/abs/1406.1078, in the form of cuDNN and flax.
    """

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    r = sigmoid(dense(params["ir"], x) + dense(params["hr"], h))
    z = sigmoid(dense(params["iz"], x) + dense(params["hz"], h))
    n = np.tanh(dense(params["in"], x) + r * dense(params["hn"], h))
    return (1 - z) * n + z * h


def actor_critic(params, names, memory, x, first):
    """One step for one environment: memory (a list, one per torso), mean or logits, value."""
    params = _f64(params)
    features, remembered = [], []
    for i, name in enumerate(names):
        feature = mlp(params[name], np.asarray(x, np.float64))
        if memory:
            h = np.zeros_like(memory[i]) if first else np.asarray(memory[i], np.float64)
            feature = gru(params[f"{name}_gru"], h, feature)
            remembered.append(feature)
        features.append(feature)
    outputs = dense(params["actor_head"], features[0])
    return remembered, outputs, dense(params["critic_head"], features[-1])[0]


def conv_valid(kernel, bias, image):
    """A convolution (without flipping) of `[H, W, C]` by `[k, k, C, F]`, no padding, stride 1.

    Goodfellow et al. 2016, equation 9.6, summed patch by patch. https://www.deeplearningbook.org
    """
    size = kernel.shape[0]
    height, width = (length - size + 1 for length in image.shape[:2])
    out = np.zeros((height, width, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            patch = np.asarray(image[i : i + size, j : j + size], np.float64)
            out[i, j] = np.einsum("abc,abcf->f", patch, kernel) + bias
    return out


def soft_mixture(params, x):
    """Soft mixture of experts on tokens `[M, D]`: Puigcerver et al. 2024, equations 1 to 3, slot by slot.

    https://arxiv.org/abs/2308.00951. An expert has a tanh layer, and another one back to the size of a token.
    """
    params, x = _f64(params), np.asarray(x, np.float64)
    phi = params["phi"]
    _, experts, slots = phi.shape
    inputs = np.zeros((experts, slots, x.shape[1]))
    for i in range(experts):
        for j in range(slots):
            weights = np.exp(x @ phi[:, i, j])
            inputs[i, j] = sum(w * token for w, token in zip(weights, x)) / weights.sum()
    outputs = np.zeros_like(inputs)
    for i in range(experts):
        first = {name: leaf[i] for name, leaf in params["body"]["Dense_0"].items()}
        last = {name: leaf[i] for name, leaf in params["experts"]["out"].items()}
        outputs[i] = dense(last, np.tanh(dense(first, inputs[i])))
    y = np.zeros_like(x)
    for m, token in enumerate(x):
        shares = np.exp(np.einsum("d,dij->ij", token, phi))
        y[m] = np.einsum("ij,ijd->d", shares / shares.sum(), outputs)
    return y
