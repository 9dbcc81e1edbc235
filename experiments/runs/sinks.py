"""Where the rows of a run are written: JSON lines, CSV, TensorBoard, Weights & Biases."""

import importlib.util
from pathlib import Path
from typing import Any

from jaxrl import logger, records
from jaxrl.experiments import tracking
from jaxrl.experiments.runs.folder import read_info
from jaxrl.experiments.runs.spec import Spec


def open_sinks(path: Path, spec: Spec, num_updates: int, options: dict[str, Any]) -> list[logger.Sink]:
    """The sinks for the rows of a run, from `num_updates` on."""
    metrics = path / "metrics.jsonl"
    sinks = [logger.jsonl(metrics, keep_updates=num_updates)]
    agents = tracking.agents_of(path, spec)
    if options["csv"]:
        sinks.append(logger.csv_file(path / "metrics.csv", metrics, agents))
    if not (options["tensorboard"] or options["wandb"]):
        return sinks
    series = tracking.series(spec, agents, options["tracked_runs"])
    if options["tensorboard"]:
        known = logger.read_jsonl(metrics, records.NEEDED)
        after = known[-1]["timesteps"] if known else 0
        sinks.append(logger.tensorboard(path / "tensorboard", series, after))
    if options["wandb"]:
        init = {
            "project": options["wandb_project"],
            "entity": options["wandb_entity"] or None,
            "group": options["wandb_group"] or tracking.group(path),
            "tags": list(options["wandb_tags"]) or None,
        }
        names = tracking.label(path), tracking.unique(path, read_info(path)["started"])
        sinks.append(logger.wandb(path, series, *names, **init))
    return sinks


EXTRAS = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def require_extras(options: dict[str, Any]) -> None:
    """Raises ValueError if a package that an option needs is missing, or if its value is invalid."""
    if options["tracked_runs"] < 1:
        raise ValueError(f"--tracked-runs {options['tracked_runs']} must be at least 1")
    for name, package in EXTRAS.items():
        if options[name] and importlib.util.find_spec(package) is None:
            raise ValueError(f"--{name} needs the extra: pip install 'jaxrl[{name}]'")
