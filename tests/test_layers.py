"""The house itself: imports run one way, algorithm files stay short, an import stays light."""

import ast
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("brax", "mujoco", "tensorflow_probability", "distrax", "matplotlib", "gymnax", "orbax", "wandb")
MAY_IMPORT = {"jaxrl": (), "envs": ("envs",), "algos": ("algos",)}
SOURCES = [path for folder in (*MAY_IMPORT, "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path):
    """Every module that a file imports, wherever in it but where it is run as a script."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if not is_script(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the layer"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_script(node):
    """Whether a statement is `if __name__ == "__main__":`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    folder = path.relative_to(ROOT).parts[0]
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
def test_an_algorithm_has_at_most_250_lines(path):
    assert len(path.read_text().splitlines()) <= 250


def code_lines(path):
    """How many lines hold code: no blank lines, comments or docstrings."""
    source = path.read_text()
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    shape = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    shape += (tokenize.ENCODING, tokenize.ENDMARKER)
    lines = {n for t in tokens if t.type not in shape for n in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            lines -= set(range(first.lineno, first.end_lineno + 1))
    return len(lines)


def depth(node):
    """How deeply functions are nested."""
    inside = max(map(depth, ast.iter_child_nodes(node)), default=0)
    return inside + isinstance(node, ast.FunctionDef)


def test_ppo_is_read_in_three_files():
    """Its update shows its steps as calls of plain functions."""
    files = [ROOT / name for name in ("algos/ppo.py", "jaxrl/rollout.py", "jaxrl/returns.py")]
    assert sum(map(code_lines, files)) <= 250
    tree = ast.parse(files[0].read_text())
    assert depth(tree) <= 3
    (update,) = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "update")
    assert update.end_lineno - update.lineno <= 45
    calls = [n.func.id for n in ast.walk(update) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    steps = ["rollout", "values", "gae", "minibatches"]
    assert set(steps) <= set(calls)


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_finds_nothing(command):
    answer = subprocess.run(
        [sys.executable, "-m", "ruff", *command.split(), str(ROOT)], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout


def test_importing_everything_imports_nothing_heavy():
    script = (
        "import sys, jaxrl, jaxrl.envs, jaxrl.algos, jaxrl.train, jaxrl.checkpoint, jaxrl.experiments.cli\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
