"""`Algorithm.keep`: what checkpoints hold of the state, and what a resumed run starts with instead."""

import json
import logging
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from test_contract import bits

import jaxrl
from jaxrl import envs, keeping, loop, replay
from jaxrl.fit_programs import make_programs
from jaxrl.spaces import Discrete
from jaxrl.types import Algorithm


@struct.dataclass
class Hparams:
    rate: float = 0.1


@struct.dataclass
class Buffer:
    rows: jax.Array
    filled: jax.Array


@struct.dataclass
class State:
    key: jax.Array
    params: dict
    buffer: Buffer


@struct.dataclass
class Agent:
    params: jax.Array
    stream: jax.Array
    replay: replay.Rows


def learner(**changes):
    """Follows the mean of a buffer, which `init` fills with 8 numbers and each update extends by one."""

    def init(key, hp):
        rows = jnp.zeros(64).at[:8].set(jax.random.normal(key, (8,)))
        return State(key, {"w": jnp.zeros(())}, Buffer(rows, jnp.full((), 8, jnp.int32)))

    def update(state, hp):
        key, new_key = jax.random.split(state.key)
        buffer, w = state.buffer, state.params["w"]
        rows = buffer.rows.at[buffer.filled].set(w + jax.random.normal(new_key))
        filled = buffer.filled + 1
        w += hp.rate * (rows.sum() / filled - w)
        metrics = {"loss/square": jnp.square(w)}
        return State(key, {"w": w}, Buffer(rows, filled)), metrics

    return Algorithm(init, update, lambda *args: args, Hparams(), **{"steps_per_update": 4, **changes})


KEEP_ALL = learner()
ALGO = KEEP_ALL._replace(keep=lambda state: state.replace(buffer=()))
fit = partial(jaxrl.fit, steps=32, seeds=2, intervals=4, progress=False, save_every_seconds=0.0)


def stop(row):
    return row["num_updates"] == 4


def leaves_of(path):
    (folder,) = (path / "checkpoints").glob("step_*4")
    return [name for name, _, _ in json.loads((folder / "metadata.json").read_text())["leaves"]]


def by_hand(algo, state, num_updates):
    hp = jax.tree.map(np.float32, algo.hparams)
    update = jax.jit(jax.vmap(algo.update, (0, None)))
    for _ in range(num_updates):
        state, _ = update(state, hp)
    return state


def test_what_a_checkpoint_leaves_out_is_as_after_init(tmp_path, caplog):
    stopped = fit(ALGO, out=tmp_path / "run", callbacks=[stop])
    assert not [name for name in leaves_of(tmp_path / "run") if "buffer" in name]
    assert np.all(stopped.state.buffer.filled == 12) and not caplog.records
    with caplog.at_level(logging.WARNING, "jaxrl"):
        resumed = fit(ALGO, out=tmp_path / "run")
    (record,) = caplog.records
    assert record.getMessage() == (
        "not in the checkpoint, and therefore filled as at the start of a run: buffer (520 B)"
    )
    start = jax.jit(jax.vmap(ALGO.init, (0, None)))(jax.vmap(jax.random.key)(jnp.arange(2)), ALGO.hparams)
    expected = by_hand(ALGO, stopped.state.replace(buffer=start.buffer), 4)
    for a, b in zip(jax.tree.leaves(resumed.state)[1:], jax.tree.leaves(expected)[1:]):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert bits(resumed.state.key) == bits(expected.key)
    assert bits(resumed.state) != bits(fit(ALGO).state)


def test_a_run_begins_with_what_its_checkpoints_leave_out(tmp_path, capsys):
    text = "checkpoints do not hold buffer (520 B): a resumed run fills it as at the start"
    fit(ALGO, out=tmp_path / "run", callbacks=[stop], progress=True)
    assert text in "".join(capsys.readouterr())
    fit(ALGO, progress=True)  # without checkpoints
    fit(KEEP_ALL, out=tmp_path / "whole", progress=True)
    assert "checkpoints do not hold" not in "".join(capsys.readouterr())


def test_replays_are_kept_if_they_are_small():
    memory = replay.uniform(jnp.zeros(4), Discrete(2), num_envs=2, capacity=100_000)

    def state(agents):
        rows = jax.eval_shape(lambda: jax.vmap(lambda _: memory.init())(jnp.arange(agents)))
        return Agent(params=jnp.zeros(agents), stream=jnp.ones(agents), replay=rows)

    few, many = state(64), state(128)  # 3.05 MB each
    for choice, large in (("auto", False), ("yes", True), ("no", False)):
        keep = replay.keep(choice)
        for agents, kept in ((few, choice != "no"), (many, large)):
            assert keep(agents) == (agents if kept else agents.replace(stream=(), replay=()))
    with pytest.raises(ValueError, match="keep_replay = 'maybe' is not known: take 'auto', 'yes' or 'no'"):
        replay.keep("maybe")


def test_a_state_that_is_kept_whole_resumes_to_the_bit(tmp_path, caplog):
    fit(KEEP_ALL, out=tmp_path / "run", callbacks=[stop])
    assert [name for name in leaves_of(tmp_path / "run") if "buffer.rows" in name]
    resumed = fit(KEEP_ALL, out=tmp_path / "run")
    assert bits(resumed.state) == bits(fit(KEEP_ALL).state) == bits(fit(ALGO).state)
    assert not caplog.records


def acting_by(x):
    return lambda state, memory, key, obs, first, action_mask=None: (
        memory,
        (x(state) > 0).astype(jnp.int32) + jnp.zeros(first.shape, jnp.int32),
    )


@pytest.mark.parametrize("needed", [False, True])
def test_what_acting_does_not_need_is_not_computed(needed, tmp_path):
    act = acting_by((lambda state: state.buffer.filled) if needed else (lambda state: state.params["w"]))
    algo = ALGO._replace(act=act)
    fit(algo, out=tmp_path / "run", callbacks=[stop])
    programs = make_programs(algo, 32, 2, 0, None, envs.make("probe/action"), 2, 4)
    identity = make_programs(algo, 32, 2, 0, None, None, 0, 4).identity
    computed = []

    def init(keys):
        if not isinstance(keys, jax.core.Tracer):
            computed.append(keys)
        return programs.init(keys)

    recorded = programs._replace(init=init)
    at = loop.restore(recorded, tmp_path / "run", identity=identity, to_train=False)
    assert len(computed) == needed and (at.state.buffer == ()) == (not needed)
    whole = loop.restore(recorded, tmp_path / "run", identity=identity)
    assert len(computed) == needed + 1 and np.all(whole.state.buffer.filled == 8)
    returns = [programs.evaluate(one.state, programs.keys).returns for one in (at, whole)]
    np.testing.assert_array_equal(*returns)


@pytest.mark.parametrize(
    "keep, message",
    [
        (
            lambda s: s.replace(buffer=s.buffer.replace(rows=s.buffer.rows[..., :8])),
            r"keep returns buffer.rows as float32\[2,8\], not float32\[2,64\]: return the state with \(\)",
        ),
        (lambda s: {"params": s.params}, r"keep returns params.w that is not in the state"),
        (lambda s: (), "keep leaves out the whole state"),
    ],
)
def test_a_part_that_is_none_is_refused_before_training(keep, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit(KEEP_ALL._replace(keep=keep), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parts_are_named_as_wholes():
    state = {"a": {"x": jnp.zeros(2), "y": jnp.zeros(3)}, "b": jnp.zeros(4)}
    assert keeping.left_out(state, {"a": {"x": state["a"]["x"]}, "b": ()}) == {"a.y": 12, "b": 16}
    assert keeping.left_out(state, {"a": (), "b": state["b"]}) == {"a": 20}
    assert keeping.left_out(state, state) == {}
