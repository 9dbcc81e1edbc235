"""The table of docs/export.md: difference, size and time per action for every format and kind of policy.

    python -m jaxrl.experiments.export_table            # prints it as Markdown; needs gcc and the extra onnx

Sizes and times are for the default networks, with random weights. A time is that of one action for one
observation: the median of several hundred calls from Python, or for C from C.
"""

import tempfile
import time
from operator import itemgetter
from pathlib import Path

import jax
import numpy as np

from jaxrl import envs
from jaxrl.artifact import policy
from jaxrl.critics import c51
from jaxrl.experiments.commands.export import translate
from jaxrl.experiments.export_check import LANES, PLAYERS, Case, largest_differences, of_seeds, random_case
from jaxrl.policies import NetworkConfig

# Environment (only its spaces matter), network, and other arguments of `random_case`.
FAMILIES = {
    "MLP, discrete": ("CartPole-v1", {}, {}),
    "MLP, normalized, Gaussian": ("Pendulum-v1", {}, {"normalize": True}),
    "MLP, normalized, squashed": ("Pendulum-v1", {"squash": True}, {"normalize": True}),
    "MLP, multi-discrete": ("probe/multidiscrete", {}, {}),
    "MLP, masked": ("probe/action-mask", {}, {"masked": True}),
    "CNN, discrete": ("Breakout-MinAtar", {"hidden_sizes": (128,), "activation": "relu"}, {}),
    "GRU, discrete": ("CartPole-v1", {"memory_size": 64}, {}),
    "mixture of 8 experts, values": (
        "Breakout-MinAtar",
        {"torso": "soft_moe", "hidden_sizes": (128,), "activation": "relu"},
        {"values": True},
    ),
    "values by c51": ("CartPole-v1", {}, {"values": True, "head": c51(-10.0, 10.0)}),
    "ES and GA, Gaussian": ("Pendulum-v1", {"hidden_sizes": (16,)}, {"searched": True, "normalize": True}),
}


def main() -> None:
    print(f"| policy | network | {' | '.join(PLAYERS)} |")
    print(f"| --- | --- |{' --- |' * len(PLAYERS)}")
    for family, (name, network, traits) in FAMILIES.items():
        env = envs.make(name)
        case = random_case(env.observation_space, env.action_space, NetworkConfig(**network), **traits)
        cells = [family, _network(case)]
        with tempfile.TemporaryDirectory() as folder:
            for form, player in PLAYERS.items():
                step = player(case.recipe, Path(folder))
                worst = max(largest_differences(case, step))
                cells.append(f"{worst:.1e}, {_size(case, form)}, {_duration(case, form, step)}")
        print(f"| {' | '.join(cells)} |", flush=True)


def _network(case: Case) -> str:
    """The sizes of its layers: "4-64-64-2"."""
    sizes = [layer.arrays["bias"].shape[-1] for layer in case.recipe.layers if layer.op in ("conv", "dense")]
    gru = f" with a GRU of {case.recipe.memory_size}" if case.recipe.memory_size else ""
    shapes = [part.shape for part in case.recipe.observation_parts]
    inputs = sum(part.width for part in case.recipe.observation_parts)
    first = str(inputs) if case.recipe.flat else "x".join(map(str, shapes[0]))
    experts = [layer.arrays["bias"].shape for layer in case.recipe.layers if layer.op == "experts"]
    mixture = f", before the last {experts[0][0]} experts of {experts[0][-1]}" if experts else ""
    return "-".join([first, *map(str, sizes)]) + gru + mixture


def _size(case: Case, form: str) -> str:
    artifact = of_seeds([case.recipe])
    data = policy.to_bytes(artifact) if form == "npz" else translate(case.recipe, form)
    return f"{len(data) / 1e3:.1f} kB"


def _duration(case: Case, form: str, step) -> str:
    """The time of one action: in C from a loop over `LANES` observations, otherwise from single calls."""
    lanes = LANES if form == "c" else 1
    obs, mask = jax.tree.map(itemgetter(0), (case.obs, case.mask))
    obs, mask = jax.tree.map(lambda x: x[:lanes], (obs, mask))
    memory = np.zeros((lanes, case.recipe.memory_size), np.float32)
    spent = []
    for _ in range(500):
        begun = time.perf_counter()
        step(obs, memory, mask)
        spent.append(time.perf_counter() - begun)
    return f"{np.median(spent) / lanes * 1e6:.2g} µs" if form == "c" else f"{np.median(spent) * 1e6:.0f} µs"


if __name__ == "__main__":
    main()
