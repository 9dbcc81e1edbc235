"""`jaxrl benchmark gpu --pack FOLDER`: what a machine with JAX for its accelerator lacks, as wheels."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

# What `pip install jax[cuda13]` and the usual packages around it bring.
PRESENT = {
    *("jax", "jaxlib", "numpy", "scipy", "flax", "optax", "chex", "orbax-checkpoint", "matplotlib", "pillow"),
    *("rich", "absl-py", "typing-extensions", "cloudpickle", "toolz", "wrapt", "attrs", "six"),
    *("seaborn", "pandas"),
}
# Imported only when used, by environments that are not measured.
UNUSED = {"brax"}
MOST_BYTES = 60 * 2**20


def pack(folder: Path, python: str) -> int:
    """Downloads the wheels. Returns the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}=={importlib.metadata.version(name)}" for name in missing()]
    platforms = [f"manylinux{tag}_x86_64" for tag in ("_2_28", "_2_27", "_2_17", "2014")]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "--dest", str(folder)]
    for platform in platforms:
        command += ["--platform", platform]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"pip could not download the wheels: {done.stderr.strip().splitlines()[-1]}")
    size = sum(path.stat().st_size for path in folder.glob("*.whl"))
    print(f"{len(wanted)} wheels, {size / 2**20:.1f} MiB, in {folder}")
    print(f"there: python3 -m pip install --no-index --no-deps {folder}/*.whl")
    if size > MOST_BYTES:
        print(f"more than {MOST_BYTES / 2**20:.0f} MiB", file=sys.stderr)
        return 1
    return 0


def missing() -> list[str]:
    """Names of the distributions that jaxrl needs besides `PRESENT`, with what they need, in order."""
    found, waiting = [], ["jaxrl"]
    while waiting:
        name = waiting.pop()
        for requirement in importlib.metadata.requires(name) or []:
            other = re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")
            if "extra ==" in requirement or other in PRESENT | UNUSED or other in found:
                continue
            try:
                importlib.metadata.version(other)
            except importlib.metadata.PackageNotFoundError:
                continue  # for another platform
            found.append(other)
            waiting.append(other)
    return sorted(found)
