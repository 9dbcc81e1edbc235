"""The folder of a run: `run.json` with the Spec, the options, the versions and the work of each process."""

import dataclasses
import datetime
import difflib
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import jaxrl
from jaxrl import decode, files, formats, sources
from jaxrl.experiments import folders, tracking
from jaxrl.experiments.runs import config
from jaxrl.experiments.runs.spec import Spec
from jaxrl.sources import Kept

# Options that do not affect what a run computes, with their defaults; lists as in JSON.
OPTIONS = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in vars(tracking.Options()).items()
}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "distrax", "gymnax", "brax", "orbax-checkpoint")


@dataclasses.dataclass(frozen=True)
class Session:
    """The work of a process."""

    num_updates: int = 0
    compile_seconds: float = 0.0
    wall_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Info:
    """The types of `run.json`; those of `spec` depend on the algorithm, and `spec.from_json` checks them.

    Attributes:
      sources: copies of the user's files, by name.
    """

    spec: dict[str, Any]
    options: tracking.Options
    sessions: tuple[Session, ...]
    command: tuple[str, ...] = ()
    sources: dict[str, Kept] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    device: dict[str, str | int] = dataclasses.field(default_factory=dict)
    git_commit: str | None = None
    started: str | None = None
    extended: tuple[dict[str, int | str], ...] = ()


def create_folder(path: Path, spec: Spec, options: dict[str, Any], command: list[str]) -> None:
    """Creates the folder of a new run with its `run.json`; `options` do not affect what is computed.

    Raises:
      ValueError: the folder already contains a run or a configuration, or cannot be written.
    """
    info = {"format": formats.FORMAT, "spec": spec.to_json(), "options": options, "command": command}
    info |= {**provenance(), "sessions": []}
    with folders.new(path, "run.json"):
        if (path / config.NAME).exists():
            raise ValueError(f"{path / config.NAME} exists and would be replaced: choose another --out")
        info |= {"sources": kept} if (kept := sources.keep(path, info["spec"])) else {}
        files.create(path / "run.json", _info_text(info))
        config.write(path, spec, kept)


def complete_folder(path: Path, spec: Spec) -> None:
    """Writes `config.toml` if a run was stopped before it had one, or the file was deleted."""
    if not (path / config.NAME).exists():
        config.write(path, spec, read_info(path).get("sources", {}))


def require_seen(path: Path) -> None:
    """Raises ValueError if this process cannot access the folder of the run."""
    if not (path / "run.json").exists():
        raise ValueError(f"{path} is not seen by all processes: give an --out in a folder that they share")


def provenance() -> dict[str, Any]:
    """Versions, device and commit, on which a result also depends."""
    device = jax.devices()[0]
    return {
        "versions": {"jaxrl": jaxrl.__version__, "python": sys.version.split()[0]}
        | {name: version(name) for name in PACKAGES},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "git_commit": git_commit(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def git_commit() -> str | None:
    """The commit of the working directory's repository, if there is one."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def write_info(path: Path, info: dict[str, Any]) -> None:
    """Replaces `run.json` atomically."""
    files.replace(path / "run.json", _info_text(info))


def _info_text(info: dict[str, Any]) -> str:
    return json.dumps(info, indent=2, allow_nan=False) + "\n"


def read_info(path: Path) -> dict[str, Any]:
    """The content of `run.json`. Raises ValueError if it is not that of a run."""
    file = path / "run.json"
    try:
        info = decode.read_json(file, dict[str, Any])
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    formats.require(info, file)
    try:
        decode.decode(info, Info, file)
        info["options"] = {**OPTIONS, **info["options"]}
        sources.remember(path, info.get("sources", {}))
        return info
    except ValueError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path / 'run.json'} cannot be read ({error}): is {path} a run?")


def _missing(path: Path) -> ValueError:
    """The error about a folder without `run.json`."""
    if (path / "sweep.json").exists():
        return ValueError(f"{path} is a sweep: give one of its runs, for example {files.run_of_sweep(path)}")
    if (path / "fit.json").exists():
        return ValueError(
            f"{path} holds a run by jaxrl.fit: to continue it, call fit again with the same arguments"
        )
    if not path.exists():
        others = sorted(one.parent.name for one in path.parent.glob("*/run.json"))
        close = difflib.get_close_matches(path.name, others, n=1)
        hint = f"; perhaps you meant {path.parent / close[0]}" if close else ""
        return ValueError(f"{path}: there is no such folder{hint}")
    inside = [str(one.parent) for one in sorted(path.glob("*/run.json"))]
    hint = f"; it contains runs, {inside[0]} for example" if inside else ""
    return ValueError(f"{path} is no run: it has no run.json{hint}")


def record_session(path: Path, num_updates: int, compile_seconds: float, wall_seconds: float) -> None:
    """Adds the work of this process to `run.json`."""
    info = read_info(path)
    info["sessions"].append(
        {
            "num_updates": num_updates,
            "compile_seconds": round(compile_seconds, 3),
            "wall_seconds": round(wall_seconds, 3),
        }
    )
    write_info(path, info)
