"""Files of the user's as algorithms, environments and objectives."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import envs, objective_file, objectives, sources
from jaxrl.algos import ALGORITHMS
from jaxrl.envs import render
from jaxrl.envs.check import check_env
from jaxrl.experiments import options as parsing
from jaxrl.experiments import preset_choice, presets, runs, spec_options, user_files
from jaxrl.experiments.commands import discover
from jaxrl.experiments.runs import artifacts
from jaxrl.experiments.studies import sweep
from jaxrl.experiments.studies.discover import presets as discovery_presets
from jaxrl.experiments.studies.discover import spec as discovery
from jaxrl.experiments.studies.discover import worlds
from jaxrl.experiments.studies.discover.programs import build
from jaxrl.experiments.studies.talk import study as talk
from jaxrl.experiments.verdict import screen
from jaxrl.policies import NetworkConfig

SMALL = ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-epochs", "1"]
SMALL += ["--config.num-minibatches", "2", "--config.hidden-sizes", "8"]
SMALL += ["--steps", "64", "--intervals", "2", "--eval-episodes", "2"]


def forget():
    """What a new process does not know."""
    for name in [name for name in envs.REGISTRY if sources.is_name(name)]:
        del envs.REGISTRY[name]
        render.DRAWINGS.pop(name, None)
    for table in (sources._sources, sources._copies, sources._modules):
        table.clear()


@pytest.fixture(autouse=True)
def fresh():
    yield
    forget()


@pytest.fixture
def refused(command, tmp_path, monkeypatch):
    """Runs a command that must be refused in one line with all of `words`, and write nothing."""
    monkeypatch.chdir(tmp_path)

    def call(argv, *words):
        before = sorted(tmp_path.rglob("*"))
        status, _, errors = command(*argv)
        assert status == 2
        assert errors.startswith("jaxrl: error: ") and errors.count("\n") == 1, errors
        for word in words:
            assert word in errors, errors
        assert sorted(tmp_path.rglob("*")) == before
        return errors

    return call


def written(command, folder):
    """An edited copy of ppo, an environment and an objective, as `jaxrl new` starts them."""
    for kind, name in (("algorithm", "my_ppo"), ("env", "my_env"), ("objective", "my_loss")):
        assert command("new", kind, folder / f"{name}.py")[0] == 0
    file = folder / "my_ppo.py"
    text = file.read_text().replace(
        "    vf_coef: float", "    shrink: float = share(0.5)  # of advantages\n    vf_coef: float"
    )
    text = text.replace("standardize(advantages)", "hp.shrink * standardize(advantages)")
    file.write_text(text)


# --- a whole day with files of one's own --------------------------------------------------------------


def test_a_run_works_after_its_files_are_gone(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(command, tmp_path)
    argv = ["train", "./my_ppo.py", "./my_env.py:make", "--objective", "./my_loss.py", *SMALL]
    argv += [
        "--hp.shrink",
        "0.25",
        "--env.length",
        "3",
        "--env.max-steps",
        "9",
        "--hp.objective.slope",
        "0.3",
    ]
    status, output, errors = command(*argv)
    assert status == 0
    assert "there is no preset for my_ppo on my_env:make: the defaults are used; --preset-of" in errors
    (run,) = Path("runs").iterdir()
    assert re.fullmatch(r"my_ppo-my_env-make-\d+-\d+", run.name)
    assert output.startswith("my_ppo on my_env:make: 1 agent")

    # Its folder has what it needs.
    info = runs.read_info(run)
    spec = runs.from_json(info["spec"])
    assert spec.env == {"length": 3, "max_steps": 9}
    assert (spec.hparams.shrink, spec.hparams.objective.slope) == (0.25, 0.3)
    assert json.loads(json.dumps(spec.to_json())) == info["spec"]
    assert sorted(path.name for path in (run / "source").iterdir()) == [
        "my_env.py",
        "my_loss.py",
        "my_ppo.py",
    ]
    assert (run / "policy.npz").exists()
    copy = info["sources"][spec.algorithm]
    assert copy["file"] == "my_ppo.py" and len(copy["sha256"]) == 64
    assert (run / "source" / "my_ppo.py").read_text() == Path("my_ppo.py").read_text()

    # Later, elsewhere: one original is gone, one has changed, one stays.
    moved = tmp_path / "elsewhere"
    shutil.move(run, moved)
    Path("my_ppo.py").unlink()
    Path("my_loss.py").write_text("broken(")
    forget()
    status, evaluated, errors = command("evaluate", moved, "--episodes", "4")
    assert status == 0 and evaluated.startswith("my_ppo on my_env:make after 2 updates")
    warning = f"jaxrl: warning: {tmp_path / 'my_loss.py'} has changed since: {moved}/source/my_loss.py"
    assert errors.startswith(warning) and errors.count("\n") == 1
    for place in (moved, moved / "config.toml"):  # to train again, from the copies
        forget()
        again = spec_options.parse_spec("train", spec_options.train_options, ["--from", str(place)])[0]
        length = again.hparams.replace(total_updates=spec.hparams.total_updates)
        again = dataclasses.replace(again, hparams=length).to_json()
        assert json.loads(json.dumps(again)) == info["spec"]
    forget()
    assert "complete already" in command("resume", moved)[1]
    status, output, _ = command("render", moved)
    assert status == 0 and (moved / "episode.gif").stat().st_size > 500
    assert command("report", moved)[0] == command("plot", moved)[0] == 0
    page = (moved / "report.html").read_text()
    assert "my_ppo" in page and spec.algorithm not in page and spec.environment not in page

    status, _, errors = command("render", moved, "--out", moved / "source" / "episode.gif")
    assert status == 2 and "belongs to the run" in errors

    # A copy that was edited is refused, and one that is missing.
    copy = moved / "source" / "my_ppo.py"
    text = copy.read_text()
    for damage, words in ((lambda: copy.write_text(text + "#"), "was edited"), (copy.unlink, "is missing")):
        damage()
        forget()
        status, _, errors = command("evaluate", moved)
        assert status == 2 and f"{copy} {words}: put the file back whose SHA-256 is" in errors


SKIPS = """

class Skips(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = x + nn.tanh(nn.Dense(4)(x))
        return x


def make("""


def test_a_custom_network_is_not_mistaken_for_an_mlp(command, tmp_path):
    """Its parameters have the same names and shapes as those of an MLP, but it acts differently."""
    env = envs.make("CartPole-v1")
    assert command("new", "algorithm", tmp_path / "plain.py")[0] == 0
    text = (tmp_path / "plain.py").read_text()
    text = text.replace("config.network, torso, critic)", "config.network, torso or Skips(), critic)")
    (tmp_path / "skips.py").write_text(text.replace("\n\ndef make(", SKIPS))

    def exported(name, **memory):
        file = str(tmp_path / name)
        config = user_files.algorithm(file).Config(network=NetworkConfig(hidden_sizes=(4, 4), **memory))
        spec = runs.Spec(sources.named(file), "CartPole-v1", {}, "ppo", config, None, 8, 0, 1, 1, 0)
        algo = runs.make(spec, env)
        state = jax.jit(lambda key: jax.tree.map(lambda x: x[None], algo.init(key, algo.hparams)))
        agents = state(jax.random.key(0))
        return artifacts.of_agents(
            spec, SimpleNamespace(env=env, algo=algo, agents=lambda x: x), agents, 0, None
        )

    shapes = [[x.shape for _, x in layer.arrays.items()] for layer in exported("plain.py").recipe.layers]
    assert shapes == [[(1, 4, 4), (1, 4)], [], [(1, 4, 4), (1, 4)], [], [(1, 4, 2), (1, 2)]]
    with pytest.raises(ValueError, match="its network is not one that NetworkConfig describes"):
        exported("skips.py")
    assert exported("plain.py", memory_size=3).recipe.memory_size == 3


def test_a_run_compares_its_policy_with_one_algorithm_at_all_checkpoints(command, tmp_path, monkeypatch):
    file = str(tmp_path / "mine.py")
    assert command("new", "algorithm", file)[0] == 0
    words = [file, "CartPole-v1", *SMALL, "--save-every-seconds", "0"]
    spec, env, made = (
        spec_options.parse_spec("train", spec_options.train_options, words)[0],
        envs.make("CartPole-v1"),
        [],
    )
    algo = runs.make(spec, env)
    state = jax.jit(lambda key: jax.tree.map(lambda x: x[None], algo.init(key, algo.hparams)))
    make = runs.make
    monkeypatch.setattr(runs, "make", lambda *args: made.append(args) or make(*args))
    write = artifacts.writer(tmp_path, spec, SimpleNamespace(env=env, algo=algo, agents=lambda x: x))
    for num_updates in (1, 2):
        write(state(jax.random.key(num_updates)), num_updates, None)
        assert jaxrl.load(tmp_path).about["num_updates"] == num_updates
    assert len(made) == 1


def test_a_core_that_is_not_the_default_of_its_file_is_recorded(command, tmp_path):
    file = tmp_path / "remembers.py"
    assert command("new", "algorithm", file)[0] == 0
    default = 'network: NetworkConfig = NetworkConfig(core="lstm", memory_size=8)'
    file.write_text(file.read_text().replace("network: NetworkConfig = NetworkConfig()", default))
    for core in ("gru", "lstm"):
        words = [str(file), "CartPole-v1", "--config.network.core", core]
        spec = spec_options.parse_spec("train", spec_options.train_options, words)[0]
        assert spec.config.network.core == core
        assert runs.from_json(spec.to_json()) == spec


def test_a_file_can_be_corrected_and_trained_into_the_same_folder(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("new", "algorithm", "mine.py")[0] == 0
    text = Path("mine.py").read_text()
    # Outside of `init`, so that the mistake is found while the update is compiled.
    Path("mine.py").write_text(text.replace("advantages = gae(", "advantages = gai("))
    argv = ["train", "./mine.py", "CartPole-v1", *SMALL, "--out", "runs/mine"]
    status, _, errors = command(*argv)
    assert status == 2 and "name 'gai' is not defined" in errors and not Path("runs/mine").exists()
    Path("runs/mine/source").mkdir(parents=True)
    Path("runs/mine/source/notes.py").write_text("# not of jaxrl")
    assert command(*argv)[0] == 2
    assert [path.name for path in Path("runs/mine").rglob("*")] == ["source", "notes.py"]


def test_of_two_equal_files_the_one_that_was_given_is_recorded(tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "my_loss.py"
        file.write_text("def make(): ...")
        name = sources.named(str(file))
        assert sources.keep(tmp_path / folder, name)[name]["original"] == str(file)


@pytest.mark.slow
def test_a_sweep_of_a_new_hyperparameter_resumes_without_the_file(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(command, tmp_path)
    argv = ["sweep", "./my_ppo.py", "CartPole-v1", "--hp.shrink", "0.1,0.9", "--seeds", "1", *SMALL]
    argv += ["--confirm-seeds", "0", "--preset-of", "ppo", "--out", "s"]
    status, output, errors = command(*argv)
    assert (status, errors) == (0, "")
    assert "2 trials" in output and "my_ppo on CartPole-v1" in output
    spec = runs.from_json(runs.read_info(Path("s/group-1"))["spec"])
    assert spec.hparams.gamma == presets.preset("ppo", "CartPole-v1").hparams["gamma"]
    Path("my_ppo.py").unlink()
    Path("s/results.jsonl").unlink()
    forget()
    assert command("resume", "s")[0] == 0
    assert len(Path("s/results.jsonl").read_text().splitlines()) == 2
    assert command("report", "s")[0] == 0


def test_a_file_is_compared_with_ppo(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(command, tmp_path)
    argv = ["compare", "--environments", "CartPole-v1", "--algorithms", "./my_ppo.py", "--objectives"]
    argv += ["./my_loss.py", "--trials", "1", "--seeds", "2", "--steps", "320", "--intervals", "1"]
    argv += ["--eval-episodes", "2", "--no-estimate", *SMALL[:10]]
    status, output, _ = command(*argv, "--out", "c")
    assert status == 0
    assert all(f"\n  {name} " in output for name in ("ppo", "my_loss", "my_ppo.py")), output
    lines = [json.loads(line) for line in Path("c/results.jsonl").read_text().splitlines()]
    (mine,) = [line for line in lines if line.get("algorithm") == "my_ppo"]
    assert mine["values"]["learning_rate"] == pytest.approx(1e-3) and len(mine["per_seed"]) == 2
    spec = runs.from_json(runs.read_info(Path("c/CartPole-v1/algorithm-1"))["spec"])
    assert (spec.hparams.gamma, spec.hparams.shrink, spec.lane_seeds.tolist()) == (0.98, 0.5, [4, 5])
    Path("my_ppo.py").unlink()
    Path("my_loss.py").unlink()
    forget()
    assert command("resume", "c")[0] == 0


def test_a_colon_in_an_objective_is_not_a_range():
    (one,), rest = sweep.axes_of(["--objective", "ppo,./my_loss.py:make"])
    assert (one.values, rest) == (("ppo", "./my_loss.py:make"), [])
    assert sweep.axes_of(["--objective", "./my_loss.py:make"]) == ([], ["--objective", "./my_loss.py:make"])
    mixed = "my_ppo+my_loss:f@0123456789ab"
    assert sources.shown(mixed) == "my_ppo+my_loss:f" and not sources.is_name(mixed)


def test_a_file_may_be_run_as_a_script(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(command, tmp_path)
    monkeypatch.setattr("sys.argv", ["my_ppo.py", "CartPole-v1", "--config.num-envs", "0"])
    scope = {"__name__": "__main__", "__file__": "my_ppo.py"}
    with pytest.raises(SystemExit) as stopped:
        exec(compile(Path("my_ppo.py").read_text(), "my_ppo.py", "exec"), scope)
    assert stopped.value.code == 2


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_every_algorithm_is_a_script(name):
    text = Path(ALGORITHMS[name].__file__).read_text()
    assert text.endswith('    sys.exit(cli.main(["train", __file__, *sys.argv[1:]]))\n')


# --- files that are no algorithm, environment or objective ---------------------------------------------

ENV = "from jaxrl.envs.worlds.chain import make as chain\n"
OBJECTIVE = "from jaxrl.types import Objective\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["mine.py: no such file", "jaxrl new"]),
        ("x = 1\ndef f(:\n", ["mine.py, line 2: invalid syntax"]),
        ("\nimport nowhere\n", ["mine.py, line 2: ModuleNotFoundError", "nowhere"]),
        ("\n\n1 / 0\n", ["mine.py, line 3: ZeroDivisionError: division by zero"]),
        ("from neighbour import x\n", ["mine.py, line 1: it imports neighbour, which is beside it"]),
        ("from . import x\n", ["mine.py, line 1: it imports ., which is beside it"]),
        ("Config = Hparams = int\n", ["mine.py has no make", "Config, Hparams and make"]),
        ("Config = Hparams = make = int\n", ["Config in mine.py: make it a dataclass"]),
        ("from jaxrl.algos.ppo import *\nmake = lambda env: 1\n", ["make in mine.py must take (env, config"]),
        (
            "from jaxrl.algos.ppo import *\nmake = lambda env, config, objective: 1\n",
            ["make of mine must return a jaxrl.types.Algorithm, not a int"],
        ),
        (
            "from jaxrl.algos.ppo import *\ndef make(env, config, objective):\n    return env.nonsense\n",
            ["mine.py, line 3: AttributeError", "nonsense"],
        ),
    ],
)
def test_invalid_algorithm_files_are_rejected(refused, text, words):
    Path("neighbour.py").write_text("x = 1\n")
    if text is not None:
        Path("mine.py").write_text(text)
    refused(["train", "./mine.py", "CartPole-v1", "--preset-of", "ppo", "--steps", "64"], *words)


MADE = ENV + "def walk():\n    env = chain()\n    return "


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.py:run", ENV + "def walk(): return chain()\n", ["mine.py has no function 'run'; it has walk"]),
        ("mine.py", "def a(): pass\ndef b(): pass\n", ["it has a, b: say which one, as mine.py:a"]),
        ("mine.py", ENV, ["needs one public function", "it has no public functions"]),
        ("mine.py", "def walk(): pass\n", ["walk in mine.py must return a jaxrl.types.Env, not nothing"]),
        ("mine.py", "def walk(length): pass\n", ["walk in mine.py: give the parameter length a default"]),
        ("mine.py", MADE + "env._replace(reset=lambda key: 3)\n", ["walk in mine.py", "reset"]),
        (
            "mine.py",
            MADE + "env._replace(step=lambda key, state, action: state.nonsense)\n",
            ["mine.py, line 4: AttributeError"],
        ),
        ("mine.py", ENV + "def walk(max_steps=3): return chain()\n", ["MAX_STEPS"]),
        (
            "mine.py",
            ENV + "MAX_STEPS = 0\ndef walk(): return chain()\n",
            ["MAX_STEPS = 0 in mine.py must be"],
        ),
    ],
)
def test_invalid_environment_files_are_rejected(refused, name, text, words):
    Path("mine.py").write_text(text)
    refused(["train", "ppo", name, "--steps", "64"], *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(): return 3\n", ["f in mine.py must return a jaxrl.types.Objective, not a int"]),
        (OBJECTIVE + "def f(): return Objective({'a': 1}, None)\n", ["f in mine.py", "dataclass of numbers"]),
        (
            OBJECTIVE + "def f(): return Objective((), lambda p, log_ratio, a, now: log_ratio.mean())\n",
            ["f in mine.py must give a number per sample"],
        ),
        (
            OBJECTIVE + "def f(): return Objective((), lambda p, log_ratio, a, now: p.nothing)\n",
            ["mine.py, line 2: AttributeError"],
        ),
    ],
)
def test_invalid_objective_files_are_rejected(refused, text, words):
    Path("mine.py").write_text(text)
    refused(["train", "ppo", "CartPole-v1", "--objective", "./mine.py:f"], *words)


# --- environments ------------------------------------------------------------------------------------

WRAPPED = """
from jaxrl.envs.worlds.chain import make as chain
from jaxrl.envs.wrappers import auto_reset, episode_stats, time_limit

def wrapped(max_steps: int = 7):
    return auto_reset(episode_stats(time_limit(chain(), max_steps)))
"""


def test_an_environment_with_auto_reset_gets_no_other_wrappers(tmp_path):
    (tmp_path / "mine.py").write_text(WRAPPED)
    name = user_files.environment(str(tmp_path / "mine.py"))
    assert sources.shown(name) == "mine"
    assert envs.make(name).step.layers == ("time_limit", "episode_stats", "auto_reset")
    options = spec_options.train_options("ppo", name, "")
    assert [f for f in parsing.flags(options) if f.startswith("--env.")] == ["--env.max-steps"]
    env = envs.make(name, max_steps=2)
    step = jax.jit(env.step)
    state, timestep = env.reset(jax.random.key(0))
    for _ in range(2):
        state, timestep = step(jax.random.key(1), state, jnp.int32(0))
    assert timestep.truncated


def test_the_environment_template_passes_check_env(command, tmp_path):
    assert command("new", "env", tmp_path / "mine.py")[0] == 0
    name = user_files.environment(str(tmp_path / "mine.py"))
    check_env(envs.REGISTRY[name].make(length=2))
    env = envs.make(name, length=7)
    state, timestep = env.reset(jax.random.key(0))
    frame = render.frame(name, state, timestep.obs, {"length": 7, "slip": 0.1})
    assert frame.dtype == np.uint8 and frame.shape == (48, 48 * 8, 3)
    options = spec_options.train_options("ppo", name, "")
    flags = [flag for flag in parsing.flags(options) if flag.startswith("--env.")]
    assert flags == ["--env.length", "--env.slip", "--env.max-steps", "--env.resets"]
    assert options.env.max_steps == 50


def test_an_invalid_picture_is_rejected(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from jaxrl.envs.worlds.chain import make\ndef walk(): return make()\n"
        "def render(state): return [[0.5]]\ndef broken(state): return 1 / 0\n"
    )
    name = user_files.environment(f"{tmp_path / 'mine.py'}:walk")
    with pytest.raises(ValueError, match=r"render in .*mine.py must return pixels .* not float64\[1, 1\]"):
        render.frame(name, 0, 0)


def test_a_discovery_keeps_the_environment(command, tmp_path):
    command("new", "env", tmp_path / "mine.py")
    world = discovery_presets.default_world(str(tmp_path / "mine.py"), 64)
    made = dataclasses.replace(discovery_presets.PRESETS["tabular"], worlds=(world,), transfers={})
    (tmp_path / "kept").mkdir()
    kept = sources.keep(tmp_path / "kept", made.to_json())
    (tmp_path / "mine.py").unlink()
    forget()
    sources.remember(tmp_path / "kept", kept)
    again = discovery.from_json(json.loads(json.dumps(made.to_json())))
    assert worlds.family(again.worlds[0]).name == world.environment


def test_an_objective_in_a_file_is_evolved_and_its_result_can_be_trained_by(command, tmp_path, refused):
    command("new", "objective", "my_loss.py")
    chosen = SimpleNamespace(objective="./my_loss.py:make", width=32)
    name, start = discover._objective(chosen, discovery_presets.TABULAR)
    assert sources.shown(name) == "my_loss:make" and start is None
    made = dataclasses.replace(discovery_presets.TABULAR, objective=name)
    assert discovery.start(made).params.slope == 0.1 and build(made).algo.init

    folder = tmp_path / "runs" / "discovery"
    folder.mkdir(parents=True)
    kept = sources.keep(folder, made.to_json())
    evolved = discovery.start(made).params.replace(slope=jnp.float32(0.25), clip_eps=jnp.float32(0.5))
    user_files.save_objective(folder / "objective-0.json", name, evolved, {"seed": 0}, kept)
    Path("my_loss.py").unlink()
    folder = Path(shutil.move(folder, tmp_path / "moved"))
    forget()
    file = str(folder / "objective-0.json")
    argv = ["ppo", "CartPole-v1", "--objective", file, "--hp.objective.slope", "0.5"]
    spec = spec_options.parse_spec("train", spec_options.train_options, argv)[0]
    assert spec.objective == name
    assert (spec.hparams.objective.slope, spec.hparams.objective.clip_eps) == (0.5, 0.5)
    # A further discovery starts from the evolved parameters.
    name, start = discover._objective(SimpleNamespace(objective=file, width=32), discovery_presets.TABULAR)
    again = dataclasses.replace(discovery_presets.TABULAR, objective=name, start=start)
    again = discovery.from_json(json.loads(json.dumps(again.to_json())))
    assert discovery.start(again).params == discovery.start(made).params.replace(slope=0.25, clip_eps=0.5)
    refused(["discover", "--objective", file, "--width", "3"], "--width is that of the drift in", file)

    copy = folder / "source" / "my_loss.py"
    text = copy.read_text()
    for damage, words in ((lambda: copy.write_text(text + "#"), "was edited"), (copy.unlink, "is missing")):
        damage()
        forget()
        refused(["train", *argv], f"{copy} {words}: put the file back")


def test_a_discovery_starts_from_the_weights_in_a_file(tmp_path):
    weights = objectives.random_drift(jax.random.key(0), False, width=4)
    objective_file.save(tmp_path / "drift.json", "lpo", weights)
    chosen = SimpleNamespace(objective=str(tmp_path / "drift.json"), width=32)
    name, start = discover._objective(chosen, discovery_presets.TABULAR)
    made = dataclasses.replace(discovery_presets.TABULAR, objective=name, start=start)
    assert name == "lpo" and "start" not in discovery_presets.TABULAR.to_json()
    jax.tree.map(np.testing.assert_array_equal, discovery.start(made).params, weights)


def test_invalid_objectives_of_a_discovery_are_rejected(refused, tmp_path):
    (tmp_path / "mine.py").write_text("def make():\n    return 3\n")
    refused(["discover", "--objective", "mine.py"], "make in mine.py must return a jaxrl.types.Objective")
    refused(["discover", "--objective", "none.py"], "none.py: no such file")
    refused(["discover", "--objective", "none.json"], "none.json is not a file")


def test_talk_keeps_the_environment(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command("new", "env", "mine.py")
    with monkeypatch.context() as patch:
        patch.setattr(talk, "carry_on", lambda path: 0)
        assert command("talk", "./mine.py", "--no-compile-cache")[0] == 0
    path = Path("runs") / "talk-harm-mine-0"
    assert (path / "source" / "mine.py").exists()
    Path("mine.py").unlink()
    forget()
    seen = []
    monkeypatch.setattr(talk, "evolution", lambda game, setting: seen.append(setting) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        talk.carry_on(path)
    scores = {who: [1.0, 2.0] for who in ("evolved", "random", "silent")}
    assert screen(talk.verdict_of(seen[0], scores)).startswith("harm on mine: return while training")


def test_control_needs_an_environment_with_goals(command, refused, tmp_path):
    command("new", "env", "mine.py")
    refused(
        ["talk", "./mine.py", "--mode", "control"],
        "goals, CartPole-v1, Pendulum-v1, Reacher-misc, not a file",
    )


# --- presets and new files -----------------------------------------------------------------------------


def test_a_preset_of_another_algorithm_is_applied_to_common_fields(command, tmp_path):
    command("new", "algorithm", tmp_path / "mine.py", "--from", "a2c")
    name = sources.named(str(tmp_path / "mine.py"))
    module = runs.algorithm(name)
    options = spec_options.train_options(name, "Pendulum-v1", "", "ppo")
    preset = presets.preset("ppo", "Pendulum-v1")
    assert options.config.num_envs == preset.config["num_envs"]
    assert options.hp.gamma == preset.hparams["gamma"]
    note = preset_choice.note(name, "Pendulum-v1", "ppo", "ppo", (module.Config(), module.Hparams()))
    assert note == "mine has no num_epochs: these values of the preset of ppo are not used"
    assert not preset_choice.note(name, "Pendulum-v1", "ppo", "a2c", (module.Config(), module.Hparams()))
    note = preset_choice.note("a2c", "Catch-bsuite", "ppo", "", (module.Config(), module.Hparams()))
    assert note.startswith(
        "there is no preset for a2c on Catch-bsuite: the defaults are used; --preset-of a2c:"
    )
    of_cartpole = spec_options.train_options(name, "Catch-bsuite", "", "a2c:CartPole-v1")
    assert of_cartpole.hp.gamma == presets.preset("a2c", "CartPole-v1").hparams["gamma"]
    with pytest.raises(ValueError, match="no preset of es for Pendulum-v1; `jaxrl list presets`"):
        spec_options.train_options(name, "Pendulum-v1", "", "es")


def test_a_new_file_replaces_nothing(refused, tmp_path):
    Path("mine.py").write_text("mine")
    refused(["new", "env", "mine.py"], "mine.py exists already: choose another name")
    refused(["new", "algorithm", "other.py", "--from", "pp"], "unknown algorithm 'pp'; the nearest: ppo")
    refused(["new", "env", "my env.py"], "my env.py: call the file NAME.py")
    refused(["new", "algo", "other.py"], "algorithm", "algo")
    assert Path("mine.py").read_text() == "mine"
    refused(["train", "./my env.py", "CartPole-v1"], "no such file")


def test_a_folder_does_not_replace_registered_names(tmp_path):
    kept = {"ppo": {"file": "mine.py", "original": "mine.py", "sha256": "0" * 64}}
    with pytest.raises(ValueError, match="sources has 'ppo', which is not the name of a file's content"):
        sources.remember(tmp_path, kept)
