"""A custom network: copy PPO, give it another torso, train 8 seeds from the command line, evaluate.

    python -m jaxrl.experiments.examples.custom_network FOLDER [--steps 100000] [--seeds 8]

The torso is a residual MLP with layer normalization. `--network.hidden-sizes` and the other options of the
network stay: the file decides what they mean.
"""

import argparse
import contextlib
import inspect
import io
import json
from pathlib import Path

from flax import linen as nn

import jaxrl
from jaxrl.experiments import cli

PLAIN = "policies.actor_critic(env, config.network, torso, critic)"
OWN = "policies.actor_critic(env, config.network, torso or Residual(config.network.hidden_sizes), critic)"
BEFORE = "\n\ndef make("


class Residual(nn.Module):
    """A torso `[..., *obs] -> [..., F]`: a block for each of `sizes`, with that many hidden units."""

    sizes: tuple[int, ...]
    features: int = 64

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(self.features)(x)
        for size in self.sizes:
            hidden = nn.relu(nn.Dense(size)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.features)(hidden)
        return nn.LayerNorm()(x)


def command(*words) -> str:
    """Runs a command as in a shell, `jaxrl WORDS`, and returns what it prints."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = cli.main([str(word) for word in words])
    print(printed.getvalue(), end="")
    if status:
        raise SystemExit(status)
    return printed.getvalue()


def write_algorithm(file: Path) -> None:
    """A copy of PPO with the network above."""
    command("new", "algorithm", file, "--from", "ppo")
    text = file.read_text()
    file.write_text(text.replace(PLAIN, OWN).replace(BEFORE, f"\n\n{inspect.getsource(Residual)}{BEFORE}"))


def main(argv: list[str] | None = None) -> list[float]:
    """Returns the mean return of each seed over new episodes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args(argv)
    file, run = options.folder / "my_ppo.py", options.folder / "run"

    write_algorithm(file)
    size = ["--steps", options.steps, "--seeds", options.seeds, "--intervals", 5]
    command("train", file, "CartPole-v1", "--preset-of", "ppo", *size, "--out", run)
    try:
        jaxrl.load(run)
    except ValueError as error:  # only networks that NetworkConfig describes can leave JAX
        print(error)
    return json.loads(command("evaluate", run, "--episodes", 32, "--json"))["per_seed"]


if __name__ == "__main__":
    print("mean returns of the seeds:", *main())
