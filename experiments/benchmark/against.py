"""The package at another commit, made importable without a build."""

import io
import subprocess
import tarfile
from pathlib import Path

import jaxrl

PARTS = ("envs", "algos", "experiments")  # folders next to `jaxrl` that are packages inside it


def package() -> Path:
    """The folder of the package that is running."""
    return Path(jaxrl.__file__).resolve().parent


def root() -> Path | None:
    """The folder of the checkout from which this jaxrl is imported; None for an installed one."""
    folder = package().parent
    return folder if (folder / ".git").exists() and (folder / "pyproject.toml").exists() else None


def state() -> tuple[str | None, bool | None]:
    """Commit of the checkout, and whether its tree differs from it; None if unknown."""
    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain")
    return commit, None if changes is None else bool(changes)


def resolve(name: str) -> str:
    """The full hash of a commit. Raises ValueError for an unknown one."""
    if root() is None:
        raise ValueError(
            "--against needs a git checkout: run jaxrl from one, installed with pip install -e ."
        )
    commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if not commit:
        raise ValueError(f"unknown commit {name!r}; `git log --oneline` lists the commits")
    return commit


def build(commit: str, folder: Path) -> Path:
    """Extracts the package of a commit to `folder`, which is to be the first on PYTHONPATH.

    Returns:
      The folder of the package, `folder/jaxrl`.
    """
    # Not a worktree: it would remain registered in the repository after the folder is deleted.
    archive = subprocess.run(["git", "archive", "--format=tar", commit], cwd=root(), capture_output=True)
    if archive.returncode:
        raise ValueError(f"cannot read commit {commit}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        # Python 3.11.3 and earlier have no filters; archives made by git need none.
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    inner = folder / "jaxrl"
    if not (inner / "__init__.py").exists():
        raise ValueError(f"commit {commit[:7]} has no package jaxrl: take a later one")
    for part in PARTS:
        if (folder / part).is_dir() and not (inner / part).exists():
            (folder / part).rename(inner / part)
    return inner


def git(*arguments: str) -> str | None:
    """The output of git in the checkout, without the final newline; None if it fails."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=root(), capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 and root() else None
