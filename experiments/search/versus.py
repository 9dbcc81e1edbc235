"""Population based training compared with random search with the same number of steps, by population.

    A="--hp.learning-rate log:1e-5:1e-1 --hp.ent-coef log:1e-4:1e-1 --hp.gae-lambda 0.8:1
       --hp.objective.clip-eps 0.05:0.5 --trials 8 --seeds 8 --eval-episodes 0 --confirm-seeds 0
       --steps 1000000"
    jaxrl sweep ppo Breakout-MinAtar $A --search pbt --out PBT
    jaxrl sweep ppo Breakout-MinAtar $A --search sobol --out RANDOM
    python -m jaxrl.experiments.search.versus PBT RANDOM [PBT RANDOM ...]

Both start with the same hyperparameters and seeds. For every seed the agent with the best last training
return is selected, as a user would, and evaluated in 128 new episodes.
"""

import json
import sys
from pathlib import Path

import numpy as np

from jaxrl import records, train
from jaxrl.compile_cache import enable_compile_cache
from jaxrl.experiments.studies import sweep
from jaxrl.statistics import bootstrap_interval


def measure(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The last training returns and new evaluation returns of a sweep with one program, `[K, S]`."""
    path = folder / "group-1"
    spec, fresh = sweep.fresh_returns(path)
    row, lost = records.outcome(path)
    last = np.array([-np.inf if value is None else value for value in row["episode/return"]])
    last[list(lost)] = -np.inf  # diverged agents; with discrete actions they have returns nevertheless
    shape = spec.slots, spec.seeds
    return last.reshape(shape), fresh[: spec.agents].reshape(shape)


def compare(pairs: list[tuple[Path, Path]]) -> dict:
    """The winners' evaluation returns by seed, and the paired difference with its bootstrap interval.

    Args:
      pairs: sweeps by population based training and by random search, with the same seeds; several pairs
        have different seeds.
    """
    winners: tuple[list, list] = ([], [])
    means: tuple[list, list] = ([], [])
    for pair in pairs:
        for folder, own, mean in zip(pair, winners, means):
            last, fresh = measure(folder)
            own += fresh[last.argmax(axis=0), np.arange(fresh.shape[1])].tolist()
            mean.append(float(fresh.mean()))
    difference = np.subtract(*winners)
    infos = [sweep.read(folder)[0] for pair in pairs for folder in pair]
    return {
        # Without folders, which can be chosen in the commands.
        "commands": [" ".join(info["command"]).split(" --out")[0] for info in infos],
        **{name: infos[0][name] for name in ("versions", "device", "git_commit", "started")},
        "pbt": winners[0],
        "random": winners[1],
        "difference": float(difference.mean()),
        "interval": [float(end) for end in bootstrap_interval(difference, np.mean)],
        "mean_of_all_members": [float(np.mean(mean)) for mean in means],
    }


if __name__ == "__main__":
    train.use_cores(quiet=True)
    enable_compile_cache()
    folders = list(map(Path, sys.argv[1:]))
    print(json.dumps(compare(list(zip(folders[::2], folders[1::2])))))
