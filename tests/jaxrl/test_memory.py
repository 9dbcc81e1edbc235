"""Memory is checked before it is allocated: what is needed, what is available, and the error."""

from types import SimpleNamespace

import jax
import pytest

from jaxrl import envs, fit, memory
from jaxrl.algos import ppo
from jaxrl.experiments import cli, runs, spec_options
from jaxrl.experiments.benchmark import command as benchmark
from jaxrl.experiments.benchmark import suites
from jaxrl.programs import compile_programs, require_update, shapes

MACHINE = 8e9  # bytes that are available in these tests, whatever the machine has


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with this much memory; the current folder is empty."""
    monkeypatch.setattr(memory, "on_machine", lambda: int(MACHINE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


TRAIN = ["train", "ppo", "CartPole-v1"]
SWEEP = ["sweep", "ppo", "CartPole-v1"]
COMPARE = ["compare", "--environments", "CartPole-v1", "--objectives", "spo"]
GENERATIONS = ["--generations", "100000000"]
REFUSED = {
    "200000 seeds": ([*TRAIN, "--seeds", "200000"], "--seeds"),
    "as many seeds as there are": ([*TRAIN, "--seeds", "2147483647"], "--seeds"),
    "dry run": ([*TRAIN, "--seeds", "1000000", "--dry-run"], "--seeds"),
    "episodes": ([*TRAIN, "--eval-episodes", "1000000000"], "--eval-episodes"),
    "layers": ([*TRAIN, "--config.hidden-sizes", "1000000", "1000000"], "--config.network.hidden-sizes"),
    "layers by x": ([*TRAIN, "--config.network.hidden-sizes", "1000000x1000000"], "hidden-sizes"),
    "core": ([*TRAIN, "--config.memory-size", "1000000000"], "--config.network.memory-size"),
    "environments": (
        [*TRAIN, "--config.num-envs", "10000000", "--config.num-steps", "128"],
        "--config.num-envs",
    ),
    "rollout": ([*TRAIN, "--config.num-envs", "64", "--config.num-steps", "30000000"], "--config.num-steps"),
    "rows": ([*TRAIN, "--intervals", "1000000000", "--steps", "1000000000000"], "--intervals"),
    "trials": ([*SWEEP, "--hp.gamma", "0.9:0.99", "--trials", "1000000000"], "--trials"),
    "agents of trials": ([*SWEEP, "--hp.gamma", "0.9:0.99", "--trials", "1000000"], "--trials or --seeds"),
    "seeds of trials": ([*SWEEP, "--hp.gamma", "0.9,0.99", "--seeds", "2000000000"], "--seeds"),
    "range of values": ([*SWEEP, "--hp.gamma", "log:0.1:0.9:1000000000"], "the number of values"),
    "search": (
        [*SWEEP, "--hp.gamma", "0.9:0.99", "--search", "pbt", "--trials", "1000000000"],
        "--trials",
    ),
    "generations": (
        [*SWEEP, "--hp.gamma", "0.9:0.99", "--search", "openes", "--trials", "8", *GENERATIONS],
        "--generations",
    ),
    "compared seeds": ([*COMPARE, "--seeds", "10000000"], "--seeds"),
    "compared trials": ([*COMPARE, "--trials", "1000000000"], "--trials"),
    "profile": (["profile", "ppo", "CartPole-v1", "--seeds", "10000000", "--out", "profile"], "--seeds"),
    "population": (["discover", "--population", "1000000000"], "--population"),
    "held-out tasks": (["discover", "--held-out", "100000000000"], "--held-out"),
    "tasks of an evaluation": (["discover", "--eval-tasks", "1000000000"], "--eval-tasks"),
    "units": (["discover", "--objective", "lpo", "--width", "100000000000"], "--width"),
    "adversary": (["talk", "--hidden", "1000000000"], "--hidden"),
    "victims": (["talk", "--victims", "1000000000"], "--victims"),
}


@pytest.mark.parametrize(("words", "option"), REFUSED.values(), ids=REFUSED.keys())
def test_more_memory_than_there_is_gives_one_line(words, option, machine, capsys):
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "of memory needed and 8.0 GB available: lower " in line and option in line.partition("lower ")[2]
    assert not [path for path in machine.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["tune", "--seeds", "100000000"], "--seeds"),
        (["tune", "--num-agents", "100000000"], "--num-agents"),
        (["tune", "--updates", "1000000000"], "--updates"),
        (["tune", "--fresh", "10000000000"], "--fresh"),
        (["two-colours", "--seeds", "100000000"], "--seeds"),
    ],
)
def test_experiments_of_meta_learning_check_memory(words, option, machine, capsys):
    assert cli.main(["meta", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "of memory needed and 8.0 GB available" in line and f"lower {option}" in line


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["population", "--agents", "100000000"], "--agents"),
        (["train", "--num-envs", "10000000000"], "--num-envs"),
        (["train", "--learn-seeds", "10000000000"], "--learn-seeds"),
        (["envs", "--num-envs", "10000000000"], "--num-envs"),
    ],
)
def test_a_benchmark_checks_memory(words, option, machine, capsys):
    assert cli.main(words, benchmark.command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"lower {option}" in line and not list(machine.iterdir())


def test_the_cases_of_the_suites_fit(machine):
    for name, options in benchmark.SUITES.items():
        for case in benchmark.CASES[name](options()):
            suites.require_memory(case)


SMALL = ["--config.num-envs", "2", "--config.num-steps", "8", "--config.num-minibatches", "1", "--seeds", "4"]
SMALL += ["--config.num-epochs", "1", "--config.hidden-sizes", "4", "--steps", "64", "--intervals", "2"]
SMALL += ["--env.max-steps", "20", "--eval-episodes", "0"]


@pytest.fixture(scope="module")
def small():
    """A small run, compiled, and what an update of all of its agents needs on all devices."""
    words = [*TRAIN[1:], *SMALL]
    programs = runs.build(spec_options.parse_spec("train", spec_options.train_options, words)[0])
    compiled = compile_programs(programs)
    return programs, compiled, compiled.memory * programs.sharding.mesh.size


def test_an_estimate_is_less_than_what_the_compiler_reports(small, monkeypatch):
    """So that nothing is refused that would run. The compiled update has the state as an argument."""
    programs, compiled, update = small
    checked = []
    monkeypatch.setattr(memory, "require", lambda what, needs, available: checked.append(sum(needs.values())))
    runs.build(runs.from_json(programs.identity))
    state = memory.num_bytes(shapes(programs)[0])
    assert state <= max(checked) <= update
    checked.clear()
    require_update(programs, compiled.advance)
    require_update(programs, compiled.advance, state_exists=True)  # of a resumed run: only what is not there
    assert checked[0] == update and 0 < checked[1] <= update - state


def test_an_update_that_does_not_fit_leaves_nothing(small, machine, monkeypatch, capsys):
    """Its temporary arrays are known when it is compiled; the folder of the run exists then."""
    words = [*TRAIN, *SMALL, "--out", "run"]
    monkeypatch.setattr(memory, "on_machine", lambda: small[2] - 1)
    assert cli.main(words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "note" not in line]
    assert "an update of all agents: at least" in line and "--chunk" in line
    assert not (machine / "run").exists()
    monkeypatch.setenv(memory.OFF, "off")
    assert cli.main(words) == 0 and (machine / "run" / "run.json").exists()
    monkeypatch.delenv(memory.OFF)
    capsys.readouterr()
    monkeypatch.setattr(memory, "on_machine", lambda: int(MACHINE))
    assert cli.main(["evaluate", "run", "--episodes", "1000000000"]) == 2
    assert "lower --episodes" in capsys.readouterr().err
    monkeypatch.setattr(memory, "on_machine", lambda: 300_000)  # enough for the agents, not for the frames
    assert cli.main(["render", "run", "--seed", "0"]) == 2 and not (machine / "run" / "episode.gif").exists()
    assert "frames: at least" in (text := capsys.readouterr().err) and "lower --max-steps" in text
    monkeypatch.setattr(memory, "on_machine", lambda: 1000)
    for command in (["resume", "run", "--steps", "128"], ["evaluate", "run"], ["render", "run"]):
        before = {path: path.read_bytes() for path in machine.rglob("*") if path.is_file()}
        assert cli.main(command) == 2, command
        (line,) = capsys.readouterr().err.splitlines()
        assert "1.0 kB available" in line
        assert before == {path: path.read_bytes() for path in machine.rglob("*") if path.is_file()}


def test_rollouts_and_evaluations_count_the_agents_at_a_time():
    """Four agents in two environments each, with 8 steps and observations of 16 bytes."""
    algo = ppo.make(envs.make("CartPole-v1"), ppo.Config(num_envs=2, num_steps=8, num_minibatches=1))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
    state = jax.eval_shape(jax.vmap(algo.init, (0, None)), keys, algo.hparams)
    sizes = [memory.rollout_bytes(algo, state, 4, chunk) for chunk in (0, 1, 3, 100)]
    assert sizes == [16 * 16, 16 * 16, 3 * 16 * 16, 4 * 16 * 16]
    assert memory.rollout_bytes(algo._replace(collect=None), state, 4, 0) == 0
    environment = memory.num_bytes(state.stream) / 8
    assert memory.evaluation_bytes(state, 4, 10) == 10 * 4 * (9 + environment)
    assert memory.evaluation_bytes(state, 100, 10) == 10 * (100 * 9 + 8 * environment)
    foreign = SimpleNamespace(stream=state.key)  # of an algorithm in a file, which may call anything so
    assert memory.evaluation_bytes(foreign, 4, 10) == 360 and memory.rollout_bytes(algo, foreign, 4, 0) == 0


@pytest.mark.parametrize(
    ("options", "option"),
    [({"seeds": 2**31 - 1}, "seeds"), ({"seeds": 2_000_000}, "seeds"), ({"eval_episodes": 10**9}, "eval")],
)
def test_fit_checks_memory(options, option, machine):
    env = envs.make("CartPole-v1")
    with pytest.raises(memory.NotEnough, match=f"8.0 GB available: lower {option}"):
        fit(ppo.make(env), steps=1000, env=env, out=machine / "run", **options)
    assert not (machine / "run").exists()


# --- what is available ----------------------------------------------------------------------------


def folder_of(path, files):
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


MEMINFO = "MemTotal: 4000 kB\nMemAvailable: 3000 kB\nSwapFree: 100 kB\nHugePages_Total: 0\n"
KB = 1024


@pytest.mark.parametrize(
    ("cgroup", "files", "kilobytes"),
    [
        ("", {}, 3100),
        ("0::/\n", {"memory.max": "max\n", "memory.current": "5\n", "memory.stat": ""}, 3100),
        (  # version 2, in a container: its files are at the root
            "0::/\n",
            {
                "memory.max": f"{2000 * KB}\n",
                "memory.current": f"{800 * KB}\n",
                "memory.stat": f"anon 7\nactive_file {100 * KB}\ninactive_file {200 * KB}\nshmem 1\n",
            },
            2000 - 800 + 100 + 200 + 100,
        ),
        (  # the limit of a group around that of the process
            "0::/slice/job/step\n",
            {
                "slice/memory.max": "max\n",
                "slice/job/memory.max": f"{1000 * KB}\n",
                "slice/job/memory.current": f"{400 * KB}\n",
                "slice/job/memory.stat": "",
            },
            1000 - 400 + 100,
        ),
        (  # version 1
            "5:cpu,cpuacct:/x\n4:memory:/docker/x\n",
            {
                "memory/memory.limit_in_bytes": f"{500 * KB}\n",
                "memory/memory.usage_in_bytes": f"{300 * KB}\n",
                "memory/memory.stat": f"total_inactive_file {50 * KB}\ninactive_file 1\n",
            },
            500 - 300 + 50 + 100,
        ),
    ],
)
def test_the_memory_of_a_machine_and_of_its_containers(tmp_path, cgroup, files, kilobytes):
    proc = folder_of(tmp_path / "proc", {"meminfo": MEMINFO, "self/cgroup": cgroup})
    groups = folder_of(tmp_path / "groups", files or {"unrelated": ""})
    assert memory.on_machine(proc, groups) == kilobytes * KB


def test_a_system_without_proc_has_its_whole_memory(tmp_path):
    assert memory.on_machine(tmp_path / "none", tmp_path / "none") > 2**28
    assert 2**28 < memory.on_machine() < 2**50


def test_a_limit_of_addresses_counts(tmp_path, monkeypatch):
    import resource

    proc = folder_of(tmp_path, {"meminfo": MEMINFO, "self/status": "VmSize: 400 kB\nName: x\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1000 * KB, 1000 * KB))
    assert memory.on_machine(proc, tmp_path) == 600 * KB


def test_accelerators_have_a_memory_of_their_own(monkeypatch):
    device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": 100, "bytes_in_use": 30, "other": 1})
    unknown = SimpleNamespace(memory_stats=lambda: None)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device, device])
    assert memory.on_devices() == 140
    monkeypatch.setattr(jax, "local_devices", lambda: [unknown])
    assert memory.on_devices() is None


def test_nothing_is_refused_if_nothing_is_known():
    memory.require("a run", {"--seeds": 1e30}, None)
    memory.require("a run", {"--seeds": 5.0}, 5)
    with pytest.raises(memory.NotEnough, match="PB of memory needed and 5 B available: lower --seeds"):
        memory.require("a run", {"--seeds": 1e30, "--steps": 1.0}, 5)
