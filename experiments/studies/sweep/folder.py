"""The folder of a sweep: `sweep.json`, and the groups that it and the folders of its runs describe."""

import json
from pathlib import Path
from typing import Any

from jaxrl import files, sources
from jaxrl.experiments import folders, runs, search
from jaxrl.experiments.studies.sweep.groups import Group


def create_folder(
    path: Path, axes, kind: str, trials, groups: list[Group], options: dict, command: list[str]
) -> None:
    """Writes `sweep.json`; `kind` is the search. ValueError if the folder is in use or not writable."""
    info = {
        "command": command,
        "axes": [search.plain(one) for one in axes],
        "search": kind,
        "trials": [list(values) for values in trials],
        "groups": [{"spec": group.spec.to_json(), "trials": list(group.trials)} for group in groups],
        "options": options,
        **runs.provenance(),
    }
    with folders.new(path, "sweep.json"):
        info |= {"sources": kept} if (kept := sources.keep(path, info["groups"])) else {}
        files.create(path / "sweep.json", json.dumps(info, indent=1, allow_nan=False) + "\n")


def is_sweep(path: Path) -> bool:
    return (path / "sweep.json").is_file()


def read(path: Path) -> tuple[dict[str, Any], list[Group]]:
    """The content of `sweep.json`. Raises ValueError if it cannot be read."""
    try:
        info = json.loads((path / "sweep.json").read_text())
        sources.remember(path, info.get("sources", {}))
        groups = [Group(runs.from_json(g["spec"]), tuple(g["trials"])) for g in info["groups"]]
        info["options"]["confirm_seeds"], info["options"]["batches"], info["trials"], info["search"]
        info["axes"] = list(map(search.from_plain, info["axes"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path / 'sweep.json'} was edited, or written by another version of jaxrl ({error})"
        ) from None
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path / 'sweep.json'} cannot be read: {error}") from None
    for number in range(2, info["options"]["batches"] + 1):  # those that have been requested so far
        folder = path / f"group-{number}"
        if not (folder / "run.json").exists():
            break
        groups.append(batch(info, runs.from_json(runs.read_info(folder)["spec"])))
    return info, groups


def batch(info: dict[str, Any], spec: runs.Spec) -> Group:
    """The next batch of an Optuna search as a group; its trials are added to `info`."""
    known = info["trials"]
    values = [[repr(trial[one.name]) for one in info["axes"]] for trial in spec.trials]
    numbers = tuple(range(len(known), len(known) + len(values)))
    known += values
    return Group(spec, numbers)
