"""The contenders of each suite, and virtual environments for those that need one."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl.envs import from_gymnax

WORKERS = Path(__file__).parent / "workers"

# Time limit of a step of the installation: PyTorch is large, and connections may be slow.
SETUP_SECONDS = 1800


class Unavailable(Exception):
    """A contender whose environment cannot be created; the message is the reason."""


class Contender(NamedTuple):
    """A contender of a suite.

    Attributes:
      worker: its script in `workers/`.
      requirements: packages for pip to install, none if it runs in our environment. Of several lists the
        first one that can be installed is used.
      settings: in addition to those that are the same for all.
      takes_part: `(settings of a case) -> bool`, whether it supports them.
      home: the contender whose virtual environment it shares, if not its own.
      packages: whose versions are reported.
    """

    worker: str
    requirements: tuple[tuple[str, ...], ...] = ()
    settings: Mapping[str, Any] = {}
    takes_part: Callable[[Mapping[str, Any]], bool] = lambda settings: True
    packages: tuple[str, ...] = ("jax", "jaxlib", "flax", "optax", "gymnax")
    home: str | None = None


def _like_ours(*packages: str) -> tuple[str, ...]:
    """Requirements with the same versions as ours, and JAX for the same accelerator."""
    extras = {"jax": _accelerator()}
    return tuple(f"{name}{extras.get(name, '')}=={version(name)}" for name in packages)


def _accelerator() -> str:
    for extra in ("cuda12", "cuda13"):
        if _installed(f"jax-{extra}-plugin"):
            return f"[{extra}]"
    return ""


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _with_torch(*requirements: str) -> tuple[tuple[str, ...], ...]:
    return (("torch==2.13.0", *requirements), ("torch", *requirements))


_REJAX = Contender(
    "train_rejax.py",
    (("rejax==0.1.3", *_like_ours("jax", "flax", "optax", "gymnax", "distrax")),),
    packages=("rejax", "jax", "jaxlib", "flax", "optax", "gymnax"),
)
_SB3 = Contender(
    "train_sb3.py",
    _with_torch("stable-baselines3==2.9.2", "gymnasium==1.4.0"),
    {"library": "sb3"},
    lambda settings: settings["env"] == "CartPole-v1",
    ("stable-baselines3", "torch", "gymnasium"),
)
_SBX = Contender(
    "train_sb3.py",
    _with_torch("sbx-rl==0.28.0", "stable-baselines3==2.9.2", "gymnasium==1.4.0"),
    {"library": "sbx"},
    lambda settings: settings["env"] == "CartPole-v1",
    ("sbx-rl", "stable-baselines3", "jax", "jaxlib", "flax", "gymnasium"),
)
_OURS = Contender("train_ours.py")
_REPLAY_REJAX = _REJAX._replace(
    worker="replay_rejax.py",
    settings={"repaired": False},
    takes_part=lambda settings: not settings.get("prioritized"),
)
_FLASHBAX = Contender(
    "replay_flashbax.py",
    (("flashbax==0.1.3", "six", *_like_ours("jax", "flax", "optax", "gymnax")),),
    takes_part=lambda settings: settings["algorithm"] != "sac",
    packages=("flashbax", "jax", "jaxlib", "flax", "optax", "gymnax"),
)

GYMNASIUM = ("CartPole-v1", "Pendulum-v1")  # environments that Gymnasium has without more packages

SUITES: dict[str, dict[str, Contender]] = {
    "train": {"ours": _OURS, "rejax": _REJAX, "sb3": _SB3, "sbx": _SBX},
    "population": {"ours": _OURS, "rejax": _REJAX},
    "envs": {
        "ours": Contender("step_envs.py", settings={"library": "ours"}),
        "ours-hoisted": Contender("step_envs.py", settings={"library": "ours", "hoisted": True}),
        "gymnax": Contender(
            "step_envs.py",
            settings={"library": "gymnax"},
            takes_part=lambda settings: settings["env"].removeprefix("gymnax/") in from_gymnax.TIME_LIMITS,
        ),
        "brax": Contender(
            "step_envs.py",
            settings={"library": "brax"},
            takes_part=lambda settings: settings["env"].startswith("brax/"),
            packages=("brax", "jax", "jaxlib"),
        ),
    },
    "replay": {
        "ours": Contender("replay_ours.py"),
        "rejax": _REPLAY_REJAX,
        "rejax-repaired": _REPLAY_REJAX._replace(settings={"repaired": True}, home="rejax"),
        "flashbax": _FLASHBAX,
        "sbx": _SBX._replace(
            worker="replay_sbx.py",
            takes_part=lambda settings: settings["env"] in GYMNASIUM and settings.get("agents") == 1,
        ),
    },
    "compile": {"ours": Contender("start_ours.py"), "rejax": _REJAX._replace(worker="start_rejax.py")},
}


def python_for(name: str, contender: Contender, folder: Path | None, say: Callable[[str], None]) -> Path:
    """The interpreter of a contender; its environment is created if it does not exist yet.

    Ours is used if it satisfies the requirements. An environment that was created is kept, and created again
    if the list of requirements has changed.

    Args:
      folder: of the environments; None if none may be kept.

    Raises:
      Unavailable: it cannot be created; an incomplete one is removed.
    """
    if not contender.requirements or any(map(satisfied, contender.requirements)):
        return Path(sys.executable)
    if folder is None:
        raise Unavailable("JAXRL_CACHE=off leaves no place for its environment")
    home = folder / (contender.home or name)
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    kept, wanted = home / "requirements.txt", _as_text(contender.requirements)
    if python.exists() and kept.exists() and kept.read_text() == wanted:
        return python
    say(f"setting up {name} (once) ...")
    try:
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-P", "-m", "venv", str(home)])
        _install(python, contender.requirements)
        kept.write_text(wanted)  # last: its presence marks a complete environment
    except BaseException as error:
        shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, OSError):
            raise Unavailable(str(error)) from None
        raise
    return python


def satisfied(requirements: tuple[str, ...]) -> bool:
    """Whether our environment satisfies every requirement, each a name or `name==version`."""
    for requirement in requirements:
        name, _, wanted = requirement.partition("==")
        installed = _installed(re.sub(r"\[.*\]", "", name))
        if installed is None or wanted not in ("", installed):
            return False
    return True


def _as_text(requirements: tuple[tuple[str, ...], ...]) -> str:
    return "\n\n".join("\n".join(alternative) for alternative in requirements) + "\n"


def _install(python: Path, alternatives: tuple[tuple[str, ...], ...]) -> None:
    pip = [str(python), "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for number, requirements in enumerate(alternatives, 1):
        try:
            return _run([*pip, *requirements])
        except Unavailable:
            if number == len(alternatives):
                raise


def _run(command: list[str]) -> None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SETUP_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"its set-up took more than {SETUP_SECONDS} s") from None
    if answer.returncode:
        lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.upper().startswith("ERROR")] or lines[-1:]
        raise Unavailable((errors[-1] if errors else f"exit status {answer.returncode}")[:200])
