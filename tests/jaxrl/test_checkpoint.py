"""Checkpoints are restored bit for bit, and every damage on disk is detected."""

import contextlib
import dataclasses
import doctest
import errno
import hashlib
import json
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import FOLDERS

from jaxrl import checkpoint, hosts
from jaxrl.checkpoint import CheckpointError, arrays, best, latest, read_metadata, restore, save, steps
from jaxrl.checkpoint.checksums import all_checksums


@flax.struct.dataclass
class TrainState:
    key: jax.Array
    params: dict
    opt_state: tuple
    memory: tuple
    odd: dict
    num_updates: jax.Array


class Hparams(NamedTuple):
    learning_rate: float
    gamma: jax.Array


@dataclasses.dataclass(frozen=True)
class Config:
    num_envs: int = 8
    hidden_sizes: tuple = (64, 64)


def init(key, impl="threefry2x32"):
    """Every kind of leaf that the state of a run may contain."""
    kernel_key, bits_key = jax.random.split(key)
    params = {"Dense_0": {"kernel": jax.random.normal(kernel_key, (4, 8)), "bias": jnp.zeros(8)}}
    nans = jnp.array([0x7FC00001, 0xFFC12345, 0x80000000, 1], jnp.uint32)  # payloads, -0, denormal
    odd = {
        "nans": jax.lax.bitcast_convert_type(nans, jnp.float32),
        "bool": jnp.array([True, False, True]),
        "bool_scalar": jnp.array(True),
        "int8": jnp.arange(-3, 3, dtype=jnp.int8),
        "uint32": jax.random.bits(bits_key, (3,)),
        "bfloat16": jax.random.normal(bits_key, (2, 3)).astype(jnp.bfloat16),
        "float16": jnp.array(1.5, jnp.float16),
        "complex": jnp.array([1 + 2j]),
        "zero_size": jnp.zeros((0, 3)),
        "zero_size_bfloat16": jnp.zeros((2, 0), jnp.bfloat16),
        "no_keys": jnp.zeros((0,), jax.random.key(0, impl=impl).dtype),
        "a.b": {"c": jnp.ones(1)},  # two names that a simple join would confuse
        "a": {"b.c": jnp.zeros(1)},
        "none": None,
        "raw_key": jax.random.key_data(bits_key),
        "keys": jax.random.split(jax.random.key(1, impl=impl), (2, 3)),
    }
    return TrainState(
        key=jax.random.key(7, impl=impl),
        params=params,
        opt_state=optax.adam(1e-3).init(params),
        memory=(),
        odd=odd,
        num_updates=jnp.array(0, jnp.int32),
    )


def plain(leaf):
    """The leaf, or the data of typed keys."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


def data(leaf):
    """The bits of a leaf."""
    return np.asarray(plain(leaf)).tobytes()


def assert_same(expected, restored):
    assert jax.tree.structure(expected) == jax.tree.structure(restored)
    leaves = jax.tree.leaves(restored)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(expected), leaves):
        name = jax.tree_util.keystr(path)
        assert (x.dtype, x.shape) == (y.dtype, y.shape), name
        assert data(x) == data(y), name
        assert not plain(y).weak_type, name


def digest(state):
    text = [f"{x.dtype}{x.shape}{data(x).hex()}" for x in jax.tree.leaves(state)]
    return hashlib.sha256("".join(text).encode()).hexdigest()


def error_of(function, *arguments, **keywords):
    """The message of the CheckpointError that a call raises: one sentence on one line."""
    with pytest.raises(CheckpointError) as caught:
        function(*arguments, **keywords)
    message = str(caught.value)
    assert "\n" not in message and not message.endswith(".") and "Traceback" not in message
    return message


def folder_of(directory, step):
    return Path(directory) / f"step_{step:08d}"


def small(step):
    """A state whose leaves all contain its step."""
    return {"w": jnp.full((16, 16), step, jnp.float32), "n": jnp.array(step)}


# Round trips.


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_every_kind_of_leaf_is_restored_bitwise(tmp_path, impl):
    state = jax.jit(partial(init, impl=impl))(jax.random.key(0))
    save(tmp_path, 3, state, {"num_updates": 3})
    target = jax.eval_shape(partial(init, impl=impl), jax.random.key(0))
    restored, metadata = restore(tmp_path, target)
    assert metadata == {"num_updates": 3}
    assert_same(state, restored)


def test_a_population_is_restored_bitwise(tmp_path):
    keys = jax.random.split(jax.random.key(0), 256)
    state = jax.jit(jax.vmap(init))(keys)
    save(tmp_path, 0, state)
    assert_same(state, restore(tmp_path, jax.eval_shape(jax.vmap(init), keys))[0])


@pytest.mark.parametrize("state", [(), {"a": (), "b": jnp.zeros((0, 2))}, jnp.array(2.0)])
def test_trivial_states(tmp_path, state):
    save(tmp_path, 0, state)
    assert_same(state, restore(tmp_path, state)[0])


def test_python_and_numpy_leaves_are_saved_as_jit_sees_them(tmp_path):
    save(tmp_path, 0, {"a": 3, "b": 0.5, "c": np.ones(2, np.float32)})
    target = {"a": jnp.array(0), "b": jnp.array(0.0), "c": jnp.zeros(2)}
    expected = {"a": jnp.array(3), "b": jnp.array(0.5), "c": jnp.ones(2)}
    assert_same(expected, restore(tmp_path, target)[0])
    assert "state['a'] is a str" in error_of(save, tmp_path, 1, {"a": "word"})
    assert "narrows to float32" in error_of(save, tmp_path, 1, {"a": np.ones(2)})


def test_a_restored_state_is_neither_retraced_nor_recompiled_and_can_be_donated(tmp_path):
    traces = 0

    @partial(jax.jit, donate_argnums=0)
    def update(state):
        nonlocal traces
        traces += 1
        return state.replace(num_updates=state.num_updates + 1)

    state = update(update(jax.jit(init)(jax.random.key(0))))
    assert (traces, update._cache_size()) == (1, 1)
    save(tmp_path, state.num_updates, state)
    expected = digest(state)
    advanced = update(state)  # donates what was saved
    restored, _ = restore(tmp_path, jax.eval_shape(init, jax.random.key(0)))
    assert digest(restored) == expected
    assert not any(plain(x).committed for x in jax.tree.leaves(restored))
    assert_same(advanced, update(restored))
    assert (traces, update._cache_size()) == (1, 1)
    assert restored.params["Dense_0"]["kernel"].is_deleted()


CHILD = """
import os, sys, jax
sys.path[:0] = sys.argv[1].split(os.pathsep)
from functools import partial
import test_checkpoint as t
target = jax.eval_shape(t.init, jax.random.key(0))
state, metadata = t.restore(sys.argv[2], target, metadata={"config": t.Config()})
print(t.digest(state))

target = jax.eval_shape(jax.vmap(t.init), jax.random.split(jax.random.key(0), 4))
mesh = jax.sharding.Mesh(jax.devices(), "P")
sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("P"))
state, _ = t.restore(sys.argv[3], target, sharding=sharding)
assert all(len(x.sharding.device_set) == 2 for x in jax.tree.leaves(state))
print(t.digest(state))
t.save(sys.argv[4], 0, state)
"""


def test_another_process_restores_it_onto_two_devices(tmp_path):
    state = jax.jit(init)(jax.random.key(5))
    population = jax.jit(jax.vmap(init))(jax.random.split(jax.random.key(5), 4))
    folders = [tmp_path / name for name in ("one", "population", "sharded")]
    save(folders[0], 0, state, {"config": Config()})
    save(folders[1], 0, population)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    child = subprocess.run(
        [sys.executable, "-c", CHILD, os.pathsep.join(FOLDERS), *folders],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.split() == [digest(state), digest(population)]
    assert_same(population, restore(folders[2], population)[0])  # from two devices back to one


# Which checkpoints remain.


def test_the_latest_and_the_best_are_kept(tmp_path):
    scores = [0.0, 5.0, math.nan, 1.0, None, 2.0, jnp.array(3.0)]
    for step, score in enumerate(scores):
        save(tmp_path, step, small(step), keep=2, score=score)
        assert latest(tmp_path) == step
        assert best(tmp_path) == (0 if step == 0 else 1)
    assert steps(tmp_path) == [1, 5, 6]
    save(tmp_path, 7, small(7), keep=2, score=5.0)  # a tie: the later one
    assert (best(tmp_path), steps(tmp_path)) == (7, [6, 7])
    save(tmp_path, 8, small(8), keep=1, score=-math.inf)
    assert (best(tmp_path), steps(tmp_path)) == (7, [7, 8])
    assert restore(tmp_path, small(0), best(tmp_path))[0]["n"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000007", "step_00000008"]


def test_without_scores_there_is_no_best(tmp_path):
    assert (steps(tmp_path), latest(tmp_path), best(tmp_path)) == ([], None, None)
    assert (steps(tmp_path / "no"), latest(tmp_path / "no"), best(tmp_path / "no")) == (
        [],
        None,
        None,
    )
    save(tmp_path, 0, small(0))
    save(tmp_path, 1, small(1), score=math.nan)
    assert best(tmp_path) is None


def test_the_latest_step_can_be_replaced_but_no_earlier_one_written(tmp_path):
    save(tmp_path, 4, small(1))
    save(tmp_path, 4, small(2))
    assert steps(tmp_path) == [4]
    assert restore(tmp_path, small(0))[0]["n"] == 2
    assert "holds a checkpoint of step 4, later than" in error_of(save, tmp_path, 3, small(3))
    assert "keep = 0" in error_of(save, tmp_path, 5, small(5), keep=0)
    assert "step = -1" in error_of(save, tmp_path, -1, small(5))


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    folder = save(tmp_path, 4, small(1))
    folder.rename(tmp_path / "step_00000004.old")  # killed while replacing step 4
    (tmp_path / ".tmp_5_123").mkdir()
    assert restore(tmp_path, small(0))[0]["n"] == 1
    save(tmp_path, 4, small(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000004"]
    shutil.copytree(folder, tmp_path / "step_00000004.old")
    (tmp_path / ".tmp_5_123" / "arrays").mkdir(parents=True)
    assert steps(tmp_path) == [4]
    save(tmp_path, 5, small(5))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000004", "step_00000005"]


# Kills.


def save_forever(directory, pipe):
    """A training loop that only saves, and prints what it has saved."""
    step = latest(directory)
    step = 0 if step is None else step
    while True:
        step += 1
        save(directory, step, small(step), {"step": step}, keep=2, score=-float(step % 7))
        save(directory, step, small(step), {"step": step}, keep=2, score=-float(step % 7))
        pipe.send(step)


def test_kills_at_random_moments_leave_whole_checkpoints(tmp_path):
    # The fork server imports JAX once for all the children, but does not start it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["jaxrl.checkpoint", "orbax.checkpoint.v1", __name__])
    dice, saved = random.Random(0), 0
    for _ in range(10):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=save_forever, args=(tmp_path, sender), daemon=True)
        child.start()
        sender.close()
        assert receiver.poll(60)
        saved = receiver.recv()
        time.sleep(dice.uniform(0.0, 0.15))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        while receiver.poll():
            try:
                saved = receiver.recv()
            except EOFError:
                break
        assert latest(tmp_path) in (saved, saved + 1)
        for step in steps(tmp_path):
            state, metadata = restore(tmp_path, small(0), step)
            assert metadata == {"step": step}
            assert_same(small(step), state)
    save(tmp_path, saved + 2, small(saved + 2), keep=2)
    assert len(list(tmp_path.iterdir())) == len(steps(tmp_path)) <= 3


# Damage.


def test_every_damaged_file_is_noticed(tmp_path):
    state = jax.jit(init)(jax.random.key(0))
    save(tmp_path, 1, state, score=2.0)
    folder = save(tmp_path, 2, state, score=1.0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).parts[0] for path in files}
    assert names == {"arrays", "metadata.json", "checksums.txt"} and len(files) > 8
    dice = random.Random(0)

    def check(path):
        message = error_of(restore, tmp_path, state)
        assert message.startswith(f"the checkpoint {folder} is damaged ("), message
        assert message.endswith("or restore step 1, which is whole"), message
        if path.name == "metadata.json":
            error_of(read_metadata, tmp_path)
            error_of(best, tmp_path)

    for path in files:
        original = path.read_bytes()
        path.unlink()
        check(path)
        places = {0, len(original) // 2, len(original) - 1, dice.randrange(len(original) or 1)}
        for place in places if original else ():
            flipped = bytearray(original)
            flipped[place] ^= 1 << dice.randrange(8)
            path.write_bytes(flipped)
            check(path)
        for length in {0, len(original) // 2, len(original) - 1} if original else ():
            path.write_bytes(original[:length])
            check(path)
        path.write_bytes(original + b"\n")
        check(path)
        path.write_bytes(original)
    shutil.rmtree(folder / "arrays")
    check(folder / "arrays")
    restore(tmp_path, state, 1)


def test_errors_name_the_file_and_training_can_continue(tmp_path):
    folder = save(tmp_path, 0, small(0))
    text = (folder / "metadata.json").read_text()
    (folder / "metadata.json").write_text(text.replace('"step": 0', '"step": 1'))
    message = error_of(restore, tmp_path, small(0))
    assert "(metadata.json was changed)" in message and "start the run again" in message
    (folder / "metadata.json").unlink()
    assert "(metadata.json is missing)" in error_of(restore, tmp_path, small(0))
    (folder / "metadata.json").mkdir()
    assert "damaged" in error_of(restore, tmp_path, small(0))
    (folder / "checksums.txt").unlink()
    assert "No such file" in error_of(restore, tmp_path, small(0))
    for step in (1, 2):
        save(tmp_path, step, small(step), keep=2)  # scores that cannot be read are not the best
    assert steps(tmp_path) == [1, 2]
    (folder_of(tmp_path, 1) / ".DS_Store").write_bytes(b"")  # written by a file manager
    restore(tmp_path, small(0), 1)


def test_an_older_checkpoint_under_the_newest_name_is_refused(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, small(step), score=float(step))
    shutil.rmtree(folder_of(tmp_path, 3))
    shutil.copytree(folder_of(tmp_path, 1), folder_of(tmp_path, 3))
    for function in (lambda: restore(tmp_path, small(0)), lambda: read_metadata(tmp_path)):
        message = error_of(function)
        assert "step_00000003 was renamed: it is the checkpoint of step 1, not of step 3" in message
        assert "restore step 2" in message
    restore(tmp_path, small(0), 2)
    (folder_of(tmp_path, 2)).rename(tmp_path / "step_00000009")
    assert "restore step 1" in error_of(restore, tmp_path, small(0))
    shutil.rmtree(tmp_path / "step_00000009")
    shutil.rmtree(folder_of(tmp_path, 3))
    restore(tmp_path, small(0))


SPECIAL = ["lr[1e-3]", "a [b]", "a\\b", "a*b", "a?b", "[!a]", "gs:", "a:b", "{a}", "ä☃", "a\nb", "%5B", "#"]


@pytest.mark.parametrize("name", SPECIAL)
def test_folders_with_special_characters(tmp_path, name):
    directory = tmp_path / name / "checkpoints"
    states = [small(step) for step in range(3)]
    for step, state in enumerate(states):
        save(directory, step, state, keep=2)
    assert steps(directory) == [1, 2] and sorted(os.listdir(tmp_path)) == [name]
    assert_same(states[2], restore(directory, states[0])[0])
    # Moved to and from a plain name, it is the same checkpoint.
    (tmp_path / name).rename(tmp_path / "plain")
    assert_same(states[2], restore(tmp_path / "plain" / "checkpoints", states[0])[0])
    save(tmp_path / "plain" / "checkpoints", 3, states[0])
    (tmp_path / "plain").rename(tmp_path / name)
    assert_same(states[0], restore(directory, states[0])[0])


def test_a_special_path_in_a_special_temporary_folder(tmp_path, monkeypatch):
    (tmp_path / "[t]").mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "[t]"))
    save(tmp_path / "a [b]", 1, small(1))
    assert_same(small(1), restore(tmp_path / "a [b]", small(0))[0])
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be saved in" in error_of(save, tmp_path / "a [b]", 2, small(2))
    assert "choose a folder with a plain name" in error_of(checkpoint.require_path, tmp_path / "a [b]")
    checkpoint.require_path(tmp_path / "plain")


def test_several_processes_refuse_a_special_path(tmp_path, monkeypatch):
    """Orbax needs the same path in all of them, and links in temporary folders exist on one machine only."""
    monkeypatch.setattr(hosts, "several", lambda: True)
    assert "several processes cannot save" in error_of(checkpoint.require_path, tmp_path / "a [b]")
    checkpoint.require_path(tmp_path / "plain")


def test_checkpoints_of_an_earlier_version_in_a_folder_with_special_characters(tmp_path, monkeypatch):
    """Its arrays cannot be read; the message does not blame the version of a library."""
    with monkeypatch.context() as patch:
        patch.setattr(arrays, "_plain_path", contextlib.nullcontext)
        save(tmp_path / "a [b]", 1, small(1))
    for name in ("a [b]", "plain"):
        message = error_of(restore, tmp_path / name, small(0))
        assert "saved incompletely" in message and "orbax" not in message
        assert "start the run again" in message
        if name == "a [b]":
            (tmp_path / name).rename(tmp_path / "plain")


def test_checksums_match_coreutils(tmp_path):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    folder = save(tmp_path, 0, small(0))
    subprocess.run(["sha256sum", "--check", "--strict", "checksums.txt"], cwd=folder, check=True)


def test_orbax_errors_and_future_formats_are_reported_in_one_sentence(tmp_path):
    folder = save(tmp_path, 0, small(0))
    (folder / "arrays" / "state" / "manifest.ocdbt").write_bytes(b"newer format")
    (folder / "checksums.txt").write_bytes(all_checksums(folder))
    message = error_of(restore, tmp_path, small(0))
    assert "cannot be read" in message and "start the run again" in message
    record = json.loads((folder / "metadata.json").read_text())
    for written, remedy in (("0.0.1", "use orbax 0.0.1, which wrote it"), (None, "use the version of orbax")):
        kept = record | {"orbax": written} if written else {k: v for k, v in record.items() if k != "orbax"}
        (folder / "metadata.json").write_text(json.dumps(kept))
        (folder / "checksums.txt").write_bytes(all_checksums(folder))
        assert remedy in error_of(restore, tmp_path, small(0))
    (folder / "metadata.json").write_text(json.dumps(record | {"format": 99}))
    (folder / "checksums.txt").write_bytes(all_checksums(folder))
    assert "has format 99, not 1" in error_of(restore, tmp_path, small(0))


def test_folders_that_are_not_checkpoints(tmp_path):
    missing, empty, file = tmp_path / "missing", tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.write_text("hello")
    (empty / "step_12").write_text("not a folder")
    (empty / "notes").mkdir()
    for directory in (missing, empty, file):
        assert f"no checkpoint in {directory}: " in error_of(restore, directory, small(0))
        assert f"no checkpoint in {directory}: " in error_of(read_metadata, directory)
    save(empty, 3, small(3))
    assert "of step 2 in" in error_of(restore, empty, small(0), 2)
    assert "choose one of [3]" in error_of(read_metadata, empty, 2)


# Differences.


@pytest.mark.parametrize(
    "expected, message",
    [
        ({"config": {"num_envs": 4, "nested": {"x": [1, 2]}}}, "with config.num_envs = 8, not 4: "),
        (
            {"config": {"num_envs": 8, "nested": {"x": [1, 3]}}},
            "with config.nested.x[1] = 2, not 3",
        ),
        (
            {"config": {"num_envs": 8, "nested": {"x": [1]}}},
            "with config.nested.x = [1, 2], not [1]",
        ),
        ({"config": {"num_envs": 8}}, "with config.nested = {'x': [1, 2]}, not without it"),
        ({"config": 1}, "with config = {'num_envs': 8, 'nested': {'x': [1, 2]}}, not 1"),
        ({"names": ["ppo"]}, "without names, not with names = ['ppo']"),
        ({"seed": "0"}, "with seed = 0, not '0'"),
    ],
)
def test_another_configuration_is_named(tmp_path, expected, message):
    made = {"config": {"num_envs": 8, "nested": {"x": [1, 2]}}, "seed": 0, "num_updates": 5}
    save(tmp_path, 0, small(0), made)
    assert message in error_of(restore, tmp_path, small(0), metadata=expected)
    # Metadata that is not requested is not compared.
    assert restore(tmp_path, small(0), metadata={"seed": 0})[1] == made


def test_metadata_may_hold_dataclasses_tuples_and_arrays(tmp_path):
    metadata = {
        "config": Config(),
        "hparams": Hparams(3e-4, jnp.array([0.5, 0.25])),
        "count": np.int64(3),
        "nan": math.nan,
        1: None,
    }
    save(tmp_path, 0, small(0), metadata)
    _, plain = restore(tmp_path, small(0), metadata=metadata)
    assert math.isnan(plain.pop("nan"))
    assert plain == {
        "config": {"num_envs": 8, "hidden_sizes": [64, 64]},
        "hparams": {"learning_rate": 3e-4, "gamma": [0.5, 0.25]},
        "count": 3,
        "1": None,
    }
    message = error_of(restore, tmp_path, small(0), metadata={"config": Config(num_envs=4)})
    assert "was made with config.num_envs = 8, not 4" in message
    assert "metadata.f is a function" in error_of(save, tmp_path, 1, (), {"f": lambda: 0})


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda s: s | {"w": jnp.zeros((16, 8))},
            "state['w'] of float32[16, 16], not float32[16, 8]",
        ),
        (lambda s: s | {"n": jnp.array(0.0)}, "state['n'] of int32[], not float32[]"),
        (lambda s: s | {"key": jax.random.key(0, impl="rbg")}, "key<fry>[], not key<rbg>[]"),
        (lambda s: s | {"new": jnp.zeros(3)}, "no state['new'] of float32[3]"),
        (lambda s: {"w": s["w"], "n": s["n"]}, "state['key'], which the target has not"),
        (lambda s: (), "which the target has not"),
    ],
)
def test_another_tree_is_named(tmp_path, change, message):
    state = small(0) | {"key": jax.random.key(0)}
    save(tmp_path, 0, state)
    assert message in error_of(restore, tmp_path, jax.eval_shape(lambda: change(state)))


# Disks.


@pytest.fixture
def tiny_disk(tmp_path):
    """A folder with room for half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


# When writing fails, tasks that orbax leaves behind may complain as they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("known", [True, False])
def test_a_full_disk_keeps_the_earlier_checkpoints(tiny_disk, capfd, monkeypatch, known):
    directory = tiny_disk / "run"
    noise = jax.random.normal(jax.random.key(0), (16, 64, 64))  # 256 KiB
    save(directory, 0, small(0))
    free = shutil.disk_usage(tiny_disk).free
    if not known:  # as with a quota: only a write reveals that there is no space
        usage = shutil.disk_usage(tiny_disk)._replace(free=2**40)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    for room in (0, 4, 16, 32, 48, 64, 80, 120, 200):  # KiB; the disk fills up at another file
        (tiny_disk / "fill").write_bytes(bytes(free - room * 1024))
        message = error_of(save, directory, 1, {str(i): x for i, x in enumerate(noise)})
        assert f"cannot save step 1 in {directory} (No space left on device" in message
        assert [path.name for path in directory.iterdir()] == ["step_00000000"]
        assert restore(directory, small(1))[0]["n"] == 0
    (tiny_disk / "fill").unlink()
    save(directory, 1, small(1))
    assert restore(directory, small(1))[0]["n"] == 1
    assert not known or capfd.readouterr().err == ""


@pytest.mark.parametrize("call", range(0, 30, 3))
def test_a_disk_failure_at_any_flush_keeps_the_earlier_checkpoints(tmp_path, monkeypatch, call):
    save(tmp_path, 0, small(0))
    calls, fsync = [], os.fsync

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == call + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    try:
        save(tmp_path, 1, small(1))
        assert steps(tmp_path) == [0, 1]
    except CheckpointError as error:
        assert "(Input/output error" in str(error)
        assert [path.name for path in tmp_path.iterdir()] == ["step_00000000"]
    for step in steps(tmp_path):
        assert restore(tmp_path, small(0), step)[0]["n"] == step


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "run"):
        assert f"cannot save step 0 in {directory} (" in error_of(save, directory, 0, small(0))
    locked = tmp_path / "locked"
    save(locked, 0, small(0))
    locked.chmod(0o500)
    try:
        if os.access(locked, os.W_OK):
            pytest.skip("nothing is locked for root")
        assert "Permission denied" in error_of(save, locked, 1, small(1))
        assert restore(locked, small(0))[0]["n"] == 0
    finally:
        locked.chmod(0o700)


# The module.


def test_the_example_runs():
    assert doctest.testmod(checkpoint).failed == 0


def test_orbax_is_imported_when_used():
    code = "import sys, jaxrl.checkpoint; sys.exit('orbax.checkpoint' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
