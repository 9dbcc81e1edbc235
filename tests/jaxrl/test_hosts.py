"""Several processes train what one trains; a run moves between numbers of processes and devices."""

import contextlib
import dataclasses
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest
from conftest import curve, without_devices
from jax.sharding import PartitionSpec

from jaxrl import checkpoint, envs, hosts, logger, loop, train
from jaxrl.algos import ppo
from jaxrl.experiments import cli, runs
from jaxrl.experiments.studies import sweep
from jaxrl.hosts import joining, meeting
from jaxrl.policies import NetworkConfig

FLAGS = ["--config.num-envs", "2", "--config.num-steps", "8", "--config.num-epochs", "1", "--seeds", "4"]
FLAGS += ["--config.num-minibatches", "2", "--config.hidden-sizes", "4", "--env.max-steps", "20"]
FLAGS += ["--eval-episodes", "0", "--save-every-seconds", "0"]
INTERVALS = 30  # of 5 updates and a checkpoint each
LENGTH = ["--intervals", str(INTERVALS), "--steps", str(INTERVALS * 5 * 16)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hosts")


def environment(folder, devices=None):
    """The environment of a process: the shared compile cache, and this number of devices."""
    chosen = {} if devices is None else {"JAX_NUM_CPU_DEVICES": str(devices)}
    return {**without_devices(), **chosen, "JAX_PLATFORMS": "cpu", "JAXRL_CACHE": str(folder / "cache")}


def start(folder, *words, count=1, devices=None):
    """Starts a command in `count` processes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    processes = []
    for number in range(count):
        several = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", count, "--process-id", number]
        command = [sys.executable, "-m", "jaxrl.experiments", *words, *(several if count > 1 else [])]
        processes.append(
            subprocess.Popen(
                list(map(str, command)),
                env=environment(folder, devices),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def finish(processes, status=0, timeout=150):
    """Waits for processes to end with a status; returns the output and errors of each."""
    outputs = []
    try:
        for process in processes:
            outputs.append(process.communicate(timeout=timeout))
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert [process.returncode for process in processes] == [status] * len(processes), outputs
    return outputs


def state(path):
    """The leaves of the last checkpoint, restored by this one process."""
    spec = runs.from_json(runs.read_info(path)["spec"])
    at = loop.restore(runs.build(spec), path)
    keys = [jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(at.state)]
    leaves = [jax.random.key_data(x) if key else x for x, key in zip(jax.tree.leaves(at.state), keys)]
    return [np.asarray(leaf) for leaf in leaves]


def assert_same(path, other):
    assert len(curve(path)) == INTERVALS
    assert curve(path) == curve(other)
    assert [x.tobytes() for x in state(path)] == [x.tobytes() for x in state(other)]


def assert_close(path, other):
    """Another number of devices forms other groups: the same except for rounding."""
    rows, others = curve(path), curve(other)
    assert len(rows) == len(others) == INTERVALS
    for row, its in zip(rows, others):
        assert row.keys() == its.keys()
        for name in row:
            np.testing.assert_allclose(
                np.array(row[name], float), np.array(its[name], float), rtol=1e-4, atol=1e-4, err_msg=name
            )
    for x, y in zip(state(path), state(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def four(folder):
    """An uninterrupted run by four processes."""
    path = folder / "four"
    outputs = finish(start(folder, "train", "ppo", "CartPole-v1", *FLAGS, *LENGTH, "--out", path, count=4))
    assert "done in" in outputs[0][0]
    # Messages of gloo are ignored.
    output = [line for out, _ in outputs[1:] for line in out.splitlines() if not line.startswith("[Gloo]")]
    assert output == []
    return path


@pytest.fixture(scope="module")
def killed(folder, four):
    """A run by four processes, all of them killed in the middle."""
    path = folder / "killed"
    processes = start(folder, "train", "ppo", "CartPole-v1", *FLAGS, *LENGTH, "--out", path, count=4)
    until = time.monotonic() + 100
    while len(logger.read_jsonl(path / "metrics.jsonl")) < 4:
        assert all(process.poll() is None for process in processes), processes[0].communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    for process in processes:
        process.kill()
    finish(processes, -signal.SIGKILL)
    assert 0 < checkpoint.latest(path / "checkpoints") < 5 * INTERVALS
    return path


@pytest.mark.slow
def test_four_processes_train_the_same_as_one(folder, four):
    path = folder / "one"
    finish(start(folder, "train", "ppo", "CartPole-v1", *FLAGS, *LENGTH, "--out", path))
    assert_close(four, path)
    kernels = [leaf for leaf in state(four) if leaf.shape == (4, 4, 4)]
    assert kernels and all(len({kernel[i].tobytes() for i in range(4)}) == 4 for kernel in kernels)
    assert runs.read_info(four)["device"]["count"] == 4 and (four / "curves.png").exists()


@pytest.mark.slow
def test_four_devices_of_one_process_give_the_bits_of_four_processes(folder, four):
    path = folder / "devices"
    finish(start(folder, "train", "ppo", "CartPole-v1", *FLAGS, *LENGTH, "--out", path, devices=4))
    assert_same(path, four)


@pytest.mark.slow
def test_killed_and_resumed_by_one_process(folder, four, killed):
    path = folder / "killed-one"
    shutil.copytree(killed, path)
    finish(start(folder, "resume", path))
    assert_close(path, four)


@pytest.mark.slow
def test_killed_and_resumed_by_four_processes_bitwise(folder, four, killed):
    path = folder / "killed-four"
    shutil.copytree(killed, path)
    outputs = finish(start(folder, "resume", path, count=4))
    assert "done in" in outputs[0][0]
    assert_same(path, four)
    assert not list((path / "checkpoints").glob(".tmp_*"))


@pytest.mark.slow
def test_one_process_stops_all_and_two_resume_from_one(folder):
    """Ctrl-C in one process stops and saves all; the run was started by a single process."""
    path = folder / "stopped"
    words = ["train", "ppo", "CartPole-v1", *FLAGS, *LENGTH, "--eval-episodes", "2"]
    (alone,) = start(folder, *words, "--out", path)
    wait_for(alone, path, 2)
    alone.send_signal(signal.SIGINT)
    finish([alone], 130)
    begun = len(curve(path))
    processes = start(folder, "resume", path, count=2)
    wait_for(processes[0], path, begun + 2)
    processes[1].send_signal(signal.SIGTERM)
    outputs = finish(processes, 130)
    done = checkpoint.latest(path / "checkpoints")
    assert f"stopped and saved after {done} of {5 * INTERVALS} updates" in outputs[0][0]
    assert done >= 5 * (begun + 2)


def wait_for(process, path, rows):
    until = time.monotonic() + 100
    while len(logger.read_jsonl(path / "metrics.jsonl")) < rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_sweep_by_two_processes(folder):
    path = folder / "sweep"
    words = ["sweep", "ppo", "CartPole-v1", *FLAGS, "--seeds", "2", "--hp.gamma", "0.5,0.9"]
    words += ["--steps", "32", "--intervals", "1", "--confirm-seeds", "0"]
    outputs = finish(start(folder, *words, "--out", path, count=2))
    assert "interquartile mean" in outputs[0][0] and "interquartile" not in outputs[1][0]
    assert sorted(one["trial"] for one in map(json.loads, (path / "results.jsonl").open())) == [0, 1]
    assert sweep.results(path)[0]["per_seed"]


def test_an_error_in_one_process_ends_all(folder):
    """The second process has other options; both must report this, and soon."""
    path = folder / "differing"
    processes = start(folder, "train", "ppo", "CartPole-v1", *FLAGS, "--out", path, count=3)
    outputs = finish(processes, 2)  # four lanes cannot be shared out among three
    for _, errors in outputs:
        assert "4 lanes of agents cannot be shared out evenly among 3 processes: take 1 or 2" in errors
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    several = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", "2"]
    first = start(folder, "train", "ppo", "CartPole-v1", *FLAGS, "--out", path, *several, "--process-id", 0)
    second = start(
        folder, "train", "ppo", "CartPole-v1", *FLAGS, "--sed", 3, "--out", path, *several, "--process-id", 1
    )
    outputs = finish(first + second, 2)
    assert "process 1 has stopped: Unrecognized options: --sed" in outputs[0][1]
    assert "Perhaps you meant --seed" in outputs[1][1] and not path.exists()


# ---------------------------------------------------------------------------------------------------
# Numbers of devices

MOVES = """
import sys
import jax, numpy as np
from jaxrl import loop
from jaxrl.algos import ppo
from jaxrl.experiments import runs
from jaxrl.policies import NetworkConfig
from jaxrl.programs import compile_programs, hparams
from dataclasses import replace
from pathlib import Path

path, shard = Path(sys.argv[1]), sys.argv[2]
small = NetworkConfig(hidden_sizes=(8,))
config = ppo.Config(num_envs=8, num_steps=8, network=small, num_epochs=2, num_minibatches=2)
spec = runs.Spec(algorithm="ppo", environment="CartPole-v1", env={}, objective="ppo", config=config,
                 hparams=ppo.Hparams(), steps=640, seed=0, seeds=8 if shard == "agents" else 1, intervals=1,
                 eval_episodes=0, shard=shard)

class Run:
    def __init__(self, spec):
        self.spec, self.programs = spec, runs.build(spec)
        self.compiled = compile_programs(self.programs)

    def start(self):
        return loop.start(self.programs, self.compiled)

    def advance(self, at, length):
        hp = hparams(self.programs)
        state, totals = self.compiled.advance(at.state, at.totals, hp, np.int32(length))
        return loop.Position(state, totals, at.num_updates + length)

    def restore(self):
        return loop.restore(self.programs, path)

def keep(name, at):
    keys = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    np.savez(path / name, *(np.asarray(keys(x)) for x in jax.tree.leaves((at.state, at.totals))))

run = Run(spec)
if not (path / "checkpoints").exists():
    at = run.advance(run.start(), 2)
    loop.save(run.programs, path, at)
    keep("saved", at)
    keep("later", run.advance(at, 3))
    keep("again", run.advance(run.restore(), 3))
else:
    at = run.restore()
    for leaf in jax.tree.leaves(at.state.stream.timestep):
        assert len(leaf.sharding.device_set) == 2, leaf.sharding
        axis = 0 if shard == "agents" else 1
        assert 2 * leaf.addressable_shards[0].data.shape[axis] == leaf.shape[axis] == 8
    keep("moved", at)
    keep("moved-later", run.advance(at, 3))
    if shard == "envs":
        # Each device learns from its part of a minibatch, and the gradients are added up.
        lines = run.compiled.advance.as_text().splitlines()
        assert any(" all-reduce(" in line and "transpose(jvp(loss))" in line for line in lines)
        whole = Run(replace(spec, shard="agents"))
        keep("whole", whole.advance(whole.start(), 5))
"""


def arrays(path):
    with np.load(path) as held:
        return [held[name] for name in held.files]


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["agents", "envs"])
def test_eight_devices_move_to_two(folder, shard):
    path = folder / f"moves-{shard}"
    path.mkdir()
    for devices in (8, 2):
        command = [sys.executable, "-c", MOVES, str(path), shard]
        subprocess.run(command, env=environment(folder, devices), check=True, timeout=120)
    held = {file.stem: arrays(file) for file in path.glob("*.npz")}
    for x, y in zip(held["saved"], held["moved"], strict=True):
        assert (x.dtype, x.tobytes()) == (y.dtype, y.tobytes())
    for x, y in zip(held["later"], held["again"], strict=True):
        assert x.tobytes() == y.tobytes()  # on the same number of devices, a resumed run has the same bits
    for other in ("moved-later", "whole")[: 1 + (shard == "envs")]:
        for x, y in zip(held["later"], held[other], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4)
    assert any(x.tobytes() != y.tobytes() for x, y in zip(held["saved"], held["later"]))


def test_parts_of_a_state_that_are_sharded():
    config = ppo.Config(
        num_envs=4,
        num_steps=4,
        num_minibatches=2,
        network=NetworkConfig(memory_size=4),
        normalize_reward=True,
    )
    algo = train.population(ppo.make(envs.make("CartPole-v1"), config))
    state = jax.eval_shape(algo.init, jax.random.split(jax.random.key(0), 1), algo.hparams)
    mesh = train.mesh_of_environments(4 * len(jax.devices()))
    where = train.split_environments(mesh, state)
    for name, value in vars(where).items():
        result = {leaf.spec for leaf in jax.tree.leaves(value)}
        assert result == {PartitionSpec(None, "envs")} if name == "stream" else result <= {PartitionSpec()}, (
            name
        )


def test_a_divided_agent_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "run"
    words = ["train", "ppo", "CartPole-v1", *FLAGS, "--seeds", "1", "--steps", "64", "--intervals", "2"]
    assert cli.main([*words, "--shard", "envs", "--out", str(path)]) == 0
    info = runs.read_info(path)
    assert info["spec"]["shard"] == "envs"
    plain = dataclasses.replace(runs.from_json(info["spec"]), shard="agents").to_json()
    assert "shard" not in plain and runs.from_json(plain).shard == "agents"
    assert cli.main(["evaluate", str(path), "--episodes", "2"]) == 0
    assert cli.main(["resume", str(path)]) == 0
    assert "complete already" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------
# Bad input

TRAIN = ["train", "ppo", "CartPole-v1", *FLAGS]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--coordinator", "127.0.0.1:1234"], "needs --num-processes as well"),
        (["--coordinator", "127.0.0.1:1234", "--num-processes", "2"], "needs --process-id as well"),
        (["--num-processes", "2", "--process-id", "0"], "need --coordinator ADDRESS:PORT"),
        (["--process_id=0"], "need --coordinator ADDRESS:PORT"),
        (["--coordinator", "here", "--num-processes", "2", "--process-id", "0"], "must be ADDRESS:PORT"),
        (
            ["--coordinator", "here:99999", "--num-processes", "2", "--process-id", "0"],
            "must be ADDRESS:PORT",
        ),
        (["--coordinator", "here:1", "--num-processes", "0", "--process-id", "0"], "must be at least 1"),
        (["--coordinator", "here:1", "--num-processes", "2", "--process-id", "2"], "between 0 and 1"),
        (["--coordinator", "here:1", "--num-processes", "2", "--process-id=-1"], "between 0 and 1"),
        (["--coordinator", "here:1", "--num-processes", "two", "--process-id", "0"], "takes a whole number"),
        (["--coordinator", "auto", "--join-seconds", "0"], "must be at least 1"),
        (["--shard", "envs"], "divides one agent, not 4"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message, tmp_path, capsys):
    out = tmp_path / "run"
    assert cli.main([*TRAIN, *words, "--out", str(out)]) == 2
    errors = capsys.readouterr().err
    assert message in errors and len(errors.splitlines()) == 1 and not out.exists()


def test_resume_takes_the_same_options(tmp_path, capsys):
    assert cli.main(["resume", str(tmp_path), "--coordinator", "127.0.0.1:1234", "--process-id", "0"]) == 2
    assert "needs --num-processes as well" in capsys.readouterr().err


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("number", "message"),
    [(1, "process 0 was not reached at"), (0, "of 3 processes did not connect to .* in time: 1, 2")],
)
def test_missing_processes_are_named(number, message):
    with pytest.raises(ValueError, match=message):
        meeting.meet(f"127.0.0.1:{free_port()}", 3, number, 0.3)


def test_an_unknown_address_is_reported():
    with pytest.raises(ValueError, match="give an address of process 0"):
        meeting.meet("no.such.host.invalid:1234", 2, 1, 5)


def test_a_port_in_use_is_reported():
    server = socket.create_server(("127.0.0.1", 0))
    with server, pytest.raises(ValueError, match="choose another port"):
        meeting.meet(f"127.0.0.1:{server.getsockname()[1]}", 2, 0, 5)


def test_an_address_of_another_machine_is_reported():
    with pytest.raises(ValueError, match="give an address of process 0, or set JAX_COORDINATOR_BIND_ADDRESS"):
        meeting.meet("192.0.2.1:1234", 2, 0, 5)  # an address for documentation, which no machine has


@contextlib.contextmanager
def process_zero(num_processes, seconds):
    """Process 0 in a thread: its port, and a list that receives its error, or None."""
    port, outcome = free_port(), []

    def run():
        try:
            outcome.append(meeting.meet(f"127.0.0.1:{port}", num_processes, 0, seconds))
        except ValueError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield port, outcome
    finally:
        thread.join()


def connected(port):
    """A connection to a port as soon as a process listens there."""
    until = time.monotonic() + 5
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.01)


JUNK = [b"GET / HTTP/1.1\r\n\r\n", b"[99, 2]\n", b'["jaxrl", 99, 2]\n', b'["jaxrl", "1", 2]\n', b'"jaxrl"\n']
JUNK += [b'["jaxrl", true, 2]\n', b'["jaxrl", 0, 2]\n', b'["jaxrl", -1, 2]\n', b'["jaxrl", 1]\n', b"[" * 199]
JUNK += [b"{}\n", b"null\n", b"\xff\xfe\n", b"1" * 5000, b'["jaxrl", 1.0, 2]\n', b"[[[[\n"]


def test_strangers_do_not_count_as_processes_and_do_not_hold_the_port():
    """Whatever they send, or do not send, process 1 joins meanwhile; messages of other types are no error."""
    with process_zero(2, 20) as (port, outcome), contextlib.ExitStack() as stack:
        for junk in JUNK:
            stack.enter_context(connected(port)).sendall(junk)
        for _ in range(2 * meeting.MOST_STRANGERS):  # silent ones
            stack.enter_context(connected(port))
        begun = time.monotonic()
        assert meeting.meet(f"127.0.0.1:{port}", 2, 1, 5) is None
        assert time.monotonic() - begun < 3
    assert outcome == [None]


def test_a_byte_at_a_time_does_not_extend_the_time_limit():
    begun = time.monotonic()
    with process_zero(2, 0.6) as (port, outcome), connected(port) as stranger, contextlib.suppress(OSError):
        while not outcome:
            stranger.sendall(b" ")
            time.sleep(0.05)
    assert "of 2 processes did not connect" in outcome[0] and time.monotonic() - begun < 2


@pytest.mark.parametrize("answer", [b"5\n", b"nonsense", b"[" * 5000, b""])
def test_an_answer_of_a_stranger_is_not_that_of_process_zero(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as caller:
                        caller.recv(100)
                        caller.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.raises(ValueError, match="process 0 was not reached"):
            meeting.meet(f"127.0.0.1:{server.getsockname()[1]}", 2, 1, 0.4)


def test_process_zero_listens_on_the_given_address_only():
    """A second loopback address stands for another network of the machine."""
    with process_zero(2, 1.0) as (port, outcome):
        connected(port).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)
    assert "did not connect" in outcome[0]


def test_jax_listens_where_process_zero_does(monkeypatch):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: given.update(options))
    monkeypatch.delenv("JAX_COORDINATOR_BIND_ADDRESS", raising=False)
    joining._initialize("10.0.0.1:1234", 2, 0, 5)
    assert given["coordinator_bind_address"] == given["coordinator_address"] == "10.0.0.1:1234"
    monkeypatch.setenv("JAX_COORDINATOR_BIND_ADDRESS", "[::]:1234")
    joining._initialize("10.0.0.1:1234", 2, 0, 5)
    assert given["coordinator_bind_address"] == "[::]:1234"
    joining._initialize("auto", None, None, 5)
    assert given["coordinator_bind_address"] is None


JOIN = """
import sys, jax
jax.config.update("jax_enable_preemption_service", False)
address, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
jax.distributed.initialize(address, count, number, initialization_timeout=1)
print("joined")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "outcomes"),
    [
        ([(2, 0)], ["aborted"]),  # one is missing
        ([(3, 0), (3, 1), (3, 1)], ["aborted"] * 3),  # two have the same number
        ([(2, 0), (2, 0)], ["aborted"] * 2),  # both listen on the same port
        ([(2, 0), (3, 1)], ["joined"] * 2),  # they differ in the number of processes
    ],
)
def test_jax_alone_does_not_report_a_start_that_went_wrong(folder, processes, outcomes):
    """The reason for `meeting`: if JAX reports these one day, its service alone is enough."""
    address = f"127.0.0.1:{free_port()}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN, address, *map(str, one)],
            env=environment(folder, 1),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for one in processes
    ]
    for process, outcome in zip(started, outcomes, strict=True):
        output, errors = process.communicate(timeout=60)
        if outcome == "joined":
            assert process.returncode == 0 and output == "joined\n"
        else:
            assert process.returncode == -signal.SIGABRT and not output
            assert "stack trace" in errors and len(errors.splitlines()) > 10


@pytest.mark.parametrize(
    ("callers", "message"),
    [
        ([(1, 4)], "--num-processes is 4 in process 1, but 3"),
        ([(1, 3), (1, 3)], "was given to two processes"),
    ],
)
def test_inconsistent_processes_are_reported(callers, message):
    port, errors = free_port(), []

    def call(number, count):
        with pytest.raises(ValueError) as caught:
            meeting.meet(f"127.0.0.1:{port}", count, number, 5)
        errors.append(str(caught.value))

    threads = [threading.Thread(target=call, args=caller) for caller in callers]
    for thread in threads:
        thread.start()
    with pytest.raises(ValueError, match=message):
        meeting.meet(f"127.0.0.1:{port}", 3, 0, 5)
    for thread in threads:
        thread.join()
    assert any(message in text for text in errors)


def test_environments_must_divide_by_the_devices(folder, tmp_path):
    words = [
        "train",
        "ppo",
        "CartPole-v1",
        *FLAGS,
        "--seeds",
        "1",
        "--shard",
        "envs",
        "--out",
        tmp_path / "run",
    ]
    ((_, errors),) = finish(start(folder, *words, devices=3), 2)
    assert "num_envs = 2 cannot be shared out evenly among 3 devices" in errors
    assert len(errors.splitlines()) == 1 and not (tmp_path / "run").exists()


def test_a_single_process_agrees_with_itself():
    assert not hosts.several() and hosts.leads()
    assert hosts.everyone(3) == [3] and hosts.by_leader(lambda: "here") == "here"
    hosts.require_same("the run", 1)
    tree = {"a": np.arange(3)}
    assert hosts.place(tree, None) is tree and hosts.fetch(tree) is tree
    with pytest.raises(KeyError):
        hosts.by_leader(lambda: {}["missing"])
    assert train.mesh(1).size == 1
