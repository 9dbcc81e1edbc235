"""The architecture: imports run one way, algorithm files are short, imports are cheap."""

import ast
import re
import subprocess
import sys
import tokenize

import pytest
from conftest import ROOT

HEAVY = ("brax", "mujoco", "tensorflow_probability", "distrax", "matplotlib", "gymnax", "orbax", "wandb")
MAY_IMPORT = {"jaxrl": (), "envs": ("envs",), "algos": ("algos",)}
SOURCES = [path for folder in (*MAY_IMPORT, "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]
EXPERIMENTS = [path for path in SOURCES if path.is_relative_to(ROOT / "experiments")]
LIBRARY = [path for path in SOURCES if path.is_relative_to(ROOT / "jaxrl")]


def imported(path):
    """Every module that a file imports, also in functions; of an algorithm, not in its `__main__` part."""
    tree = ast.parse(path.read_text())
    if path.parent.name == "algos":
        tree.body = [node for node in tree.body if not is_script(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide the layer"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (word.value for word in node.args if isinstance(word, ast.Constant))


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


def test_the_library_is_all_of_its_folders():
    """Whatever moves to the library is checked there: imports, circles and types."""
    folders = {path.relative_to(ROOT / "jaxrl").parts[0] for path in LIBRARY if path.name == "__init__.py"}
    moved = {"artifact", "cpu", "discovery", "meta", "search", "statistics"}
    assert moved <= folders and not folders & {"envs", "algos", "experiments"}


def test_only_programs_import_the_command_line():
    """The scripts of the benchmark run it in processes of their own."""
    for path in EXPERIMENTS:
        if "jaxrl.experiments.cli" in imported(path) and path.parent.name != "workers":
            statements = ast.parse(path.read_text()).body
            assert path.name == "__main__.py" or any(map(is_script, statements)), path


@pytest.mark.parametrize(
    ("folder", "above"),
    [
        ("runs", ("cli", "options", "spec_options", "commands", "studies", "report")),
        ("studies", ("cli", "options", "spec_options", "commands", "report")),
        ("search", ("cli", "options", "spec_options", "commands", "runs", "report")),
    ],
)
def test_folders_of_experiments_import_one_way(folder, above):
    paths = [path for path in EXPERIMENTS if (ROOT / "experiments" / folder) in path.parents]
    paths = [path for path in paths if not any(map(is_script, ast.parse(path.read_text()).body))]
    names = {name.split(".")[2] for path in paths for name in imported(path) if name.count(".") > 1}
    assert len(paths) >= 3 and not names & set(above)


# A new command: a file with `command(argv)`, here in a folder that is added to that of the commands.
GREET = """
import dataclasses

from jaxrl.experiments import options


def command(argv):
    @dataclasses.dataclass
    class Greet:
        \"\"\"Prints a greeting.\"\"\"

        who: str = "world"  # is greeted

    print(f"hello {options.parse(Greet, argv, 'jaxrl greet').who}")
    return 0
"""


def test_a_command_is_one_file_and_one_line(tmp_path, monkeypatch, capsys):
    from jaxrl.experiments import cli, commands

    (tmp_path / "greet.py").write_text(GREET)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    line = commands.Command("commands.greet", "greet               prints a greeting")
    monkeypatch.setitem(commands.COMMANDS, "greet", line)
    try:
        assert cli.main(["greet", "--who", "you"]) == 0 and capsys.readouterr().out == "hello you\n"
        assert cli.main(["greet", "--whom", "you"]) == 2
        assert "Perhaps you meant --who. `jaxrl greet --help`" in capsys.readouterr().err
        assert cli.main(["--help"]) == 0 and "\n  greet  " in capsys.readouterr().out
    finally:
        sys.modules.pop("jaxrl.experiments.commands.greet", None)


@pytest.mark.parametrize(
    ("package", "file"), [("distrax", "distributions.py"), ("evosax", "evolution.py")], ids=str
)
def test_only_one_file_imports(package, file):
    mention = [path for path in SOURCES if package in path.read_text()]
    users = [path for path in mention if any(name.split(".")[0] == package for name in imported(path))]
    assert users == [ROOT / "jaxrl" / file]


def test_links_make_one_package_of_the_folders():
    """Folders with an `__init__.py` below `src/jaxrl` are what wheels contain and what editors resolve."""
    package = ROOT / "src" / "jaxrl"
    for path in SOURCES:
        inside = path.relative_to(ROOT / "jaxrl" if path.is_relative_to(ROOT / "jaxrl") else ROOT)
        assert (package / inside).samefile(path)
        assert (path.parent / "__init__.py").exists(), f"{path.parent} would be missing from a wheel"


def test_no_adapter_shadows_its_library():
    assert not {"gymnax.py", "brax.py"} & {path.name for path in (ROOT / "envs").glob("*.py")}


def test_files_are_short():
    """At most 250 lines in algos/ and 300 elsewhere; 125 for the entry of the command line."""
    limits = {"algos": 250, "experiments/cli.py": 125}
    for path in SOURCES:
        name = path.relative_to(ROOT)
        limit = limits.get(str(name)) or limits.get(name.parts[0], 300)
        assert len(path.read_text().splitlines()) <= limit, name


def modules_of(folders):
    """The files of packages by the names of their modules.

    Args:
      folders: by the name of the package that they are; a module in none of them is ignored.
    """
    files = {}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            files[".".join((package, *parts)).removesuffix(".__init__")] = path
    return files


def import_graph(files):
    """The modules of `files` that each of them imports, inside functions as well.

    `from a import b` imports `a.b` if that is a module, otherwise `a`. Python also runs `a/__init__.py` then,
    which does not count: every package that imports its modules would be in a circle.
    """
    graph = {}
    for module, path in files.items():
        graph[module] = set()
        tree = ast.parse(path.read_text())
        tree.body = [node for node in tree.body if not is_script(node)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                graph[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                graph[module] |= {name if name in files else node.module for name in names}
        graph[module] &= files.keys()
    return graph


def circles(graph):
    """The groups of modules in which each imports each, itself included, directly or through others."""
    reached = {module: set(others) for module, others in graph.items()}
    for middle in graph:
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    groups = {frozenset({one, *(m for m in reached[one] if one in reached[m])}) for one in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1 or group & reached[min(group)])


def test_circles_of_imports_are_found(tmp_path):
    """Through functions, packages and third modules, also of one module; scripts do not count."""
    texts = {
        "__init__.py": "from a.inner import name\n",
        "inner/__init__.py": "from a.inner.one import name\n",
        "inner/one.py": "def f():\n    from a import two\n",
        "two.py": "import a.three as three\n",
        "three.py": "if True:\n    from a.inner import name\n",
        "four.py": "from a import five, inner\nimport os\n",
        "five.py": "if __name__ == '__main__':\n    from a import four\n",
        "six.py": "from a.six import name\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    graph = import_graph(modules_of({"a": tmp_path}))
    assert graph["a.four"] == {"a.five", "a.inner"} and not graph["a.five"]
    assert circles(graph) == [["a.inner", "a.inner.one", "a.three", "a.two"], ["a.six"]]


def test_no_imports_go_in_circles():
    packages = {"jaxrl": "jaxrl", **{f"jaxrl.{name}": name for name in ("envs", "algos", "experiments")}}
    graph = import_graph(modules_of({package: ROOT / folder for package, folder in packages.items()}))
    assert graph["jaxrl.algos.ppo"] >= {"jaxrl.rollout", "jaxrl.returns"}
    assert graph["jaxrl.search.evolution"] >= {"jaxrl.evolution", "jaxrl.search.over"}
    resume = graph["jaxrl.experiments.commands.resume"]
    assert resume >= {"jaxrl.experiments.runs.training", "jaxrl.experiments.studies"}
    in_a_function = graph["jaxrl.experiments.commands.compare"]
    assert in_a_function >= {"jaxrl.experiments.studies.compare.folder"}
    assert circles(graph) == []


def code_lines(path):
    """The number of lines of code, without blank lines, comments and docstrings."""
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
    """The depth of nested functions."""
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


def unannotated(path):
    """Public functions and methods of a file with an argument or a result without a type."""
    scopes = [ast.parse(path.read_text())]
    scopes += [n for n in scopes[0].body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]
    for function in (n for scope in scopes for n in scope.body if isinstance(n, ast.FunctionDef)):
        args = function.args
        named = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
        types = [function.returns, *(one.annotation for one in named if one.arg not in ("self", "cls"))]
        if None in types and (not function.name.startswith("_") or function.name == "__call__"):
            yield f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"


def test_public_functions_have_types():
    folders = [ROOT / name for name in ("envs", "envs/stochastic", "envs/wrappers", "algos")]
    files = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    assert not [function for path in LIBRARY + files for function in unannotated(path)]


def test_type_ignores_have_a_reason():
    for path in SOURCES:
        for line in path.read_text().splitlines():
            assert "type: ignore" not in line or re.search(r"# type: ignore\[[a-z-]+\]  # \w", line), line


def mypy(*arguments, **options):
    """The output of mypy; all its runs share a cache, most of which is JAX."""
    words = [sys.executable, "-m", "mypy", "--no-pretty", "--config-file", ROOT / "pyproject.toml"]
    cache = ["--cache-dir", ROOT / ".pytest_cache" / "mypy"]
    answer = subprocess.run([*words, *cache, *arguments], capture_output=True, text=True, **options)
    assert not answer.stderr, answer.stderr
    return answer.stdout


# A user's script: a line is correct unless its comment names the error that the type checker must report.
SCRIPT = """
import jax
from jaxrl import envs, objectives, train
from jaxrl.algos import a2c, ppo
from jaxrl.experiments import cli
from jaxrl.types import Algorithm, Env, Objective, PyTree, TimeStep

env = envs.make("CartPole-v1", length=0.7, max_steps=None)
algo: Algorithm = ppo.make(env, ppo.Config(num_envs=3), objectives.dpo(alpha=1.0))
key, hp = jax.random.key(0), algo.hparams.replace(learning_rate=1e-3)
state, metrics = train.run(algo, key, hp, 10)
state, metrics = jax.jit(algo.update)(state, hp)
state, metrics = algo.update(state, hp)
loss: jax.Array = metrics["loss/policy"]
status: int = cli.main(["list", "algos"])

def doubled(env: Env) -> Env:
    def step(key: jax.Array, env_state: PyTree, action: PyTree) -> tuple[PyTree, TimeStep]:
        env_state, timestep = env.step(key, env_state, action)
        return env_state, timestep.replace(reward=2.0 * timestep.reward)
    return env._replace(step=step)

def apply(params: PyTree, log_ratio: jax.Array, advantages: jax.Array, progress: jax.Array) -> jax.Array:
    return log_ratio * advantages
ppo.make(doubled(env), objective=Objective((), apply))
def short(log_ratio: jax.Array, advantages: jax.Array) -> jax.Array:
    return log_ratio * advantages

ppo.Config(num_env=3)  # call-arg
ppo.Config(num_envs=3.5)  # arg-type
ppo.make("CartPole-v1")  # arg-type
ppo.make(env, a2c.Config())  # arg-type
ppo.make(env, objective="dpo")  # arg-type
algo.updat(state, hp)  # attr-defined
algo.update(state)  # call-arg
train.run(key, algo, hp, 10)  # arg-type
train.run(algo, key, hp, num_update=10)  # call-arg
envs.mak("CartPole-v1")  # attr-defined
env._replace(step=env.reset)  # arg-type
timestep: TimeStep = env.reset(key)  # assignment
Objective((), short)  # arg-type
"""


def test_the_type_checker_finds_only_the_errors_of_a_user(tmp_path):
    """None in the package; in a script outside the checkout, which sees the installed package, the errors."""
    result = mypy(ROOT / "src" / "jaxrl", cwd=ROOT)
    assert result.startswith("Success"), result
    (tmp_path / "script.py").write_text(SCRIPT)
    result = mypy("script.py", cwd=tmp_path)
    errors = re.findall(r"^script\.py:(\d+): error: .*\[([a-z-]+)\]$", result, re.MULTILINE)
    lines = [line.partition("  # ")[2] for line in SCRIPT.splitlines()]
    assert list(dict.fromkeys(errors)) == [(str(n), code) for n, code in enumerate(lines, 1) if code], result


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
