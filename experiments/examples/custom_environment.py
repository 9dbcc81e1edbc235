"""A custom environment: write it, check it, train in it with another parameter, render an episode.

python -m jaxrl.experiments.examples.custom_environment FOLDER [--steps 50000] [--seeds 8]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from jaxrl.envs.check import check_env

JAXRL = [sys.executable, "-m", "jaxrl.experiments"]  # the command `jaxrl` of this environment


def command(*words) -> str:
    """Runs a command and returns what it prints."""
    done = subprocess.run([*JAXRL, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    return done.stdout


def check(file: Path) -> None:
    """Plays in the environment of a file. Raises ValueError if it is invalid."""
    spec = importlib.util.spec_from_file_location("my_env", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    check_env(module.make(length=7))


def main(argv: list[str] | None = None) -> float:
    """Returns the mean return over fresh episodes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=50_000)
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args(argv)
    folder, file, run = options.folder, options.folder / "my_env.py", options.folder / "run"

    command("new", "env", file)
    file.write_text(file.read_text().replace("slip: float = 0.1", "slip: float = 0.0"))
    check(file)
    size = ["--steps", options.steps, "--seeds", options.seeds, "--intervals", 5]
    command("train", "ppo", file, "--env.length", 7, *size, "--out", run)
    file.unlink()  # the run keeps a copy
    command("render", run, "--out", folder / "episode.gif")
    result = json.loads(command("evaluate", run, "--episodes", 32, "--json"))
    return result["mean"]


if __name__ == "__main__":
    print("mean return, at most 1:", main())
