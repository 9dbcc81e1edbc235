"""A run's checkpoint, to act by."""

import dataclasses
from pathlib import Path

from jaxrl import checkpoint, files, loop, train
from jaxrl.experiments import runs
from jaxrl.experiments.runs import extend
from jaxrl.programs import Programs


def load(path: Path, best: bool, episodes: int | None = None) -> tuple[runs.Spec, Programs, loop.Position]:
    """A run's last or best checkpoint, to act by.

    Args:
      episodes: of each agent in an evaluation; None: as during training.

    Raises:
      ValueError: there is no run or no checkpoint, or not enough memory.
    """
    train.use_cores()
    runs.enable_compile_cache()
    spec = runs.from_json(runs.read_info(path)["spec"])
    here = dataclasses.replace(spec, shard="agents")  # independent of the devices used for training
    if episodes is not None:
        here = dataclasses.replace(here, eval_episodes=episodes)
    programs = runs.build(here, to_train=False)._replace(identity=spec.to_json())
    if checkpoint.latest(path / "checkpoints") is None:
        raise ValueError(f"{path} has no checkpoint yet: continue with `jaxrl resume {files.quoted(path)}`")
    step = checkpoint.best(path / "checkpoints") if best else None
    saved = extend.as_saved(programs.identity, path, step)
    return here, programs, loop.restore(programs, path, step, saved, to_train=False)
