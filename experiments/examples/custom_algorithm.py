"""A custom algorithm: copy PPO, change it, train it, sweep it, compare it with PPO, use its policy.

    python -m jaxrl.experiments.examples.custom_algorithm FOLDER [--steps 500000]

The change: advantages are divided by their mean absolute value instead of their standard deviation, and
multiplied by a new hyperparameter. The last step needs `pip install gymnasium`.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import gymnasium

import jaxrl

JAXRL = [sys.executable, "-m", "jaxrl.experiments"]  # the command `jaxrl` of this environment
OLD = "advantages = standardize(advantages)"
NEW = "advantages = hp.advantage_scale * advantages / (jnp.abs(advantages).mean() + 1e-8)"
FIELD = "    value_clip_eps: float ="
NEW_FIELD = "    advantage_scale: float = positive(0.8)  # mean absolute advantage in a minibatch\n"


def command(*words) -> None:
    subprocess.run([*JAXRL, *map(str, words)], check=True)


def write_algorithm(file: Path) -> None:
    command("new", "algorithm", file, "--from", "ppo")
    text = file.read_text()
    file.write_text(text.replace(OLD, NEW).replace(FIELD, NEW_FIELD + FIELD))


def train_and_kill(words: list, run: Path) -> None:
    """Trains until the first checkpoint, and is then killed with SIGKILL."""
    process = subprocess.Popen([*JAXRL, *map(str, words)])
    while process.poll() is None and not list((run / "checkpoints").glob("step_*")):
        time.sleep(0.05)
    process.kill()
    process.wait()


def returns_in_gymnasium(run: Path, episodes: int) -> list[float]:
    """Returns of the trained policy in Gymnasium's CartPole, with NumPy only."""
    policy, env = jaxrl.load(run), gymnasium.make("CartPole-v1")
    returns = [0.0] * episodes
    for episode in range(episodes):
        obs, ended = env.reset(seed=episode)[0], False
        while not ended:  # a policy with memory needs policy.reset() before each episode
            obs, reward, terminated, truncated, _ = env.step(int(policy(obs)))
            returns[episode] += float(reward)
            ended = terminated or truncated
    return returns


def main(argv: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=500_000)
    options = parser.parse_args(argv)
    folder, file, run = options.folder, options.folder / "my_ppo.py", options.folder / "run"
    tuned, size = ["--preset-of", "ppo"], ["--steps", options.steps, "--intervals", 10]

    write_algorithm(file)
    often = ["--seeds", 8, "--save-every-seconds", 0, "--out", run]
    train_and_kill(["train", file, "CartPole-v1", *tuned, *size, *often], run)
    command("resume", run)
    axis = ["--hp.advantage-scale", "0.4,0.8,1.6", "--seeds", 2, "--out", folder / "sweep"]
    command("sweep", file, "CartPole-v1", *tuned, *size, *axis)
    few = ["--seeds", 4, "--trials", 2, "--tune-seeds", 2, "--out", folder / "comparison"]
    command("compare", "--environments", "CartPole-v1", "--algorithms", file, *few, *size)
    command("report", run, "--out", folder / "report.html")
    return returns_in_gymnasium(run, episodes=10)


if __name__ == "__main__":
    print("returns in Gymnasium's CartPole-v1:", *main())
