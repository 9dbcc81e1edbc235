"""The house itself: imports run one way, algorithm files stay short, an import stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("brax", "mujoco", "tensorflow_probability", "distrax", "matplotlib", "gymnax", "orbax", "wandb")
MAY_IMPORT = {"jaxrl": (), "envs": ("envs",), "algos": ("algos",)}
SOURCES = [path for folder in (*MAY_IMPORT, "experiments") for path in sorted((ROOT / folder).glob("*.py"))]


def imported(path):
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the layer"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_run_one_way(path):
    folder = path.parent.name
    if folder == "experiments":
        return
    layers = [name.split(".")[1] for name in imported(path) if name.startswith("jaxrl.")]
    above = {"envs", "algos", "experiments"} - set(MAY_IMPORT[folder])
    assert not above & set(layers), f"{folder} must not import from {above & set(layers)}"


def test_only_distributions_imports_distrax():
    users = [path.name for path in SOURCES if any(m.split(".")[0] == "distrax" for m in imported(path))]
    assert users == ["distributions.py"]


def test_no_adapter_shadows_its_library():
    assert not {"gymnax.py", "brax.py"} & {path.name for path in (ROOT / "envs").glob("*.py")}


@pytest.mark.parametrize("path", sorted((ROOT / "algos").glob("*.py")), ids=lambda path: path.name)
def test_an_algorithm_is_told_in_250_lines(path):
    assert len(path.read_text().splitlines()) <= 250


def test_importing_everything_imports_nothing_heavy():
    script = (
        "import sys, jaxrl, jaxrl.envs, jaxrl.algos, jaxrl.train, jaxrl.checkpoint, jaxrl.experiments.cli\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
