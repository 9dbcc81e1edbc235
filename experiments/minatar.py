"""The five games of MinAtar, trained for the 5 million frames of the published learning curves.

    python -m jaxrl.experiments.minatar --out runs/minatar

trains PPO's preset of each game and writes `minatar.jsonl` and `minatar.md` into the folder; the same command
continues an interrupted one. A game's result is the return of the last 100 training episodes, averaged over
seeds, as published, and in addition the return of 128 new episodes of each seed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl import logger
from jaxrl.experiments import cli, runs
from jaxrl.experiments.runs.evaluation import evaluation

GAMES = ("Asterix", "Breakout", "SpaceInvaders", "Freeway", "Seaquest")
# Returns of the last 100 training episodes after 5 million frames, means of 30 runs, read off a plot to 3 %:
# Young and Tian, https://github.com/kenjyoung/MinAtar, `img/learning_curves.gif` at commit 4241f24. Seaquest
# has changed since then (its oxygen bar, in version 1.0.11).
PUBLISHED = {
    "DQN": {"Asterix": 16.5, "Breakout": 10.0, "SpaceInvaders": 44.0, "Freeway": 50.0, "Seaquest": 20.0},
    "AC(lambda)": {
        "Asterix": 19.0,
        "Breakout": 17.5,
        "SpaceInvaders": 185.0,
        "Freeway": 47.0,
        "Seaquest": 15.0,
    },
}


def last_episodes(rows: Sequence[dict[str, Any]], least: int = 100) -> tuple[list[float], list[int]]:
    """Mean training return of each seed over the last episodes of a run.

    Rows are whole intervals: the smallest number of last rows with `least` episodes is used.

    Args:
      rows: of `metrics.jsonl`, with `episode/return` and `episode/count` of every seed.

    Returns:
      For each seed the mean return and the number of episodes in it.

    Raises:
      ValueError: a seed has fewer episodes in all rows together.
    """
    counts = np.array([row["episode/count"] for row in rows])[::-1]
    # A row without an episode has no return.
    returns = np.array([row["episode/return"] for row in rows], float)[::-1]
    sums, episodes = np.cumsum(np.where(counts > 0, returns, 0.0) * counts, axis=0), np.cumsum(counts, axis=0)
    if (episodes[-1] < least).any():
        raise ValueError(f"a seed finished {episodes[-1].min():.0f} episodes, not {least}: train for longer")
    taken = np.argmax(episodes >= least, axis=0)
    seeds = np.arange(counts.shape[1])
    number = episodes[taken, seeds]
    return (sums[taken, seeds] / number).tolist(), number.astype(int).tolist()


def play(game: str, folder: Path, steps: int, seeds: int) -> dict[str, Any]:
    """Trains the preset of a game, or continues an interrupted training, and returns its record.

    Raises:
      ValueError: the training did not finish.
    """
    words = ["train", "ppo", f"{game}-MinAtar", "--steps", str(steps), "--seeds", str(seeds)]
    words += ["--intervals", "100", "--eval-episodes", "0"]
    going = ["resume", str(folder)] if (folder / "run.json").exists() else [*words, "--out", str(folder)]
    if status := cli.main(going):
        raise ValueError(f"{game} is not finished (exit status {status}): the same command continues it")
    info = runs.read_info(folder)
    training, episodes = last_episodes(logger.read_jsonl(folder / "metrics.jsonl"))
    return {
        "algorithm": "ppo",
        "environment": f"{game}-MinAtar",
        "command": " ".join(["jaxrl", *words]),
        "steps": steps,
        "training": {
            "mean": float(np.mean(training)),
            "median": float(np.median(training)),
            "per_seed": training,
            "episodes": episodes,
        },
        "evaluation": json.loads(evaluation(folder, 128, best=False, as_json=True)),
        "published": {method: scores[game] for method, scores in PUBLISHED.items()},
        **{name: info.get(name) for name in ("device", "versions", "git_commit")},
    }


def table(records: Sequence[dict[str, Any]]) -> str:
    """Records as a Markdown table, a row for each game."""
    lines = [
        "| game | PPO, last 100 training episodes: mean | median | of the seeds, sorted "
        "| 128 fresh episodes: mean | AC(lambda) | DQN |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for record in records:
        training, published = record["training"], record["published"]
        seeds = " ".join(f"{value:.4g}" for value in sorted(training["per_seed"]))
        numbers = (training["mean"], training["median"], seeds, record["evaluation"]["mean"])
        numbers += (published["AC(lambda)"], published["DQN"])
        cells = [n if isinstance(n, str) else f"{n:.4g}" for n in numbers]
        lines.append("| " + " | ".join([record["environment"].removesuffix("-MinAtar"), *cells]) + " |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 after one line with an error."""
    parser = argparse.ArgumentParser(prog="python -m jaxrl.experiments.minatar", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of the results")
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES), help="in this order")
    parser.add_argument("--steps", type=int, default=5_000_000, help="frames per seed")
    parser.add_argument("--seeds", type=int, default=8, help="agents of each game")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    records = []
    for game in args.games:
        try:
            records.append(play(game, args.out / game, args.steps, args.seeds))
        except ValueError as error:
            print(error)
            return 2
        # After every game, so that an interruption loses nothing.
        (args.out / "minatar.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        (args.out / "minatar.md").write_text(table(records))
    print(table(records), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
