"""`Algorithm.data`: an argument of the programs, shared by all agents, and not part of the state."""

import json
import os
import re
import subprocess
import sys
from functools import partial

import cloning
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_contract as contract
from conftest import FOLDERS
from test_contract import bits

import jaxrl
from jaxrl import checkpoint, envs, meta, search, train
from jaxrl.experiments.search import Axis
from jaxrl.fit_programs import make_programs
from jaxrl.programs import compile_programs, fingerprint

ROWS = 4099  # a number that no other array in a program has
ENV = envs.make("probe/action-from-obs")
ALGO = cloning.make(ENV, cloning.transitions(ROWS))
fit = partial(jaxrl.fit, ALGO, steps=40, seeds=2, intervals=4, progress=False, save_every_seconds=0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    return fit(env=ENV, out=tmp_path_factory.mktemp("data") / "whole")


def test_it_learns_from_data_alone_and_counts_updates(whole):
    assert whole.rows[-1]["evaluation/return"] == [1.0, 1.0]
    assert max(whole.rows[-1]["loss/policy"]) < 0.1 * min(whole.rows[0]["loss/policy"])
    assert [row["timesteps"] for row in whole.rows] == [row["num_updates"] for row in whole.rows]
    assert whole.num_updates == 40 and whole.rows[-1]["steps_per_second"] > 0.0
    assert train.steps_after(ALGO, 7) == 7 and train.updates_for(ALGO, 7) == 7


def test_it_keeps_the_contract(monkeypatch):
    monkeypatch.setattr(contract, "small", lambda name: ALGO)
    contract.test_state_is_a_fixed_point_of_update("cloning")
    contract.test_updates_in_pieces_equal_updates_at_once("cloning")
    contract.test_same_key_same_bits_other_key_other_bits("cloning")
    contract.test_every_parameter_learns("cloning")


def test_progress_is_in_updates(capsys):
    fit(steps=2, seeds=1, progress=True)
    assert re.search(r"updates 2  .*updates/s", capsys.readouterr().out)


def test_a_function_of_the_data_is_that_run(whole):
    keys = jax.vmap(jax.random.key)(jnp.arange(2))
    run = jax.jit(jax.vmap(partial(train.run, ALGO, num_updates=40), (0, None)))
    given = jax.jit(jax.vmap(lambda key, data: train.run(ALGO, key, ALGO.hparams, 40, data), (0, None)))
    for state, _ in (run(keys, ALGO.hparams), given(keys, ALGO.data)):
        for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(whole.state.params)):
            np.testing.assert_allclose(a, b, atol=1e-5)
    assert not constants(given.lower(keys, ALGO.data).as_text())


def constants(program):
    """The constants of a program that have the length of the data."""
    shape = rf"\[{ROWS}\S* constant\(|constant .*tensor<{ROWS}x"  # in HLO, in StableHLO
    return re.findall(shape, program)


def programs(seeds, algo=ALGO):
    return make_programs(algo, 8, seeds, 0, None, None, 0, 1)


def test_the_data_are_an_argument_that_agents_share():
    memory = {}
    for seeds in (2, 16):
        compiled = compile_programs(programs(seeds))
        memory[seeds] = compiled.memory
        for program in (compiled.init, compiled.advance):
            text = program.as_text()
            assert not constants(text)
            assert not re.search(rf"\[\d+,{ROWS}", text)  # no copy for each agent
        assert re.search(rf"\[{ROWS}\S* parameter\(", text)
    size = sum(leaf.nbytes for leaf in ALGO.data.values())
    assert size < memory[2] < memory[16] < memory[2] + size / 2


def test_a_checkpoint_does_not_hold_them(whole):
    (folder, *_) = (whole.out / "checkpoints").glob("step_*")
    leaves = json.loads((folder / "metadata.json").read_text())["leaves"]
    assert leaves and not any(ROWS in shape for _, _, shape in leaves)


def test_a_resumed_run_has_the_same_bits_and_needs_the_same_data(whole, tmp_path):
    stopped = fit(out=tmp_path / "run", env=ENV, callbacks=[lambda row: row["num_updates"] == 20])
    assert stopped.num_updates == 20
    other = ALGO._replace(data=cloning.transitions(ROWS, seed=1))
    with pytest.raises(checkpoint.CheckpointError, match=r"with data.action = 'int32\[4099\] .*', not "):
        jaxrl.fit(other, **{**fit.keywords, "env": ENV, "out": tmp_path / "run"})
    assert bits(fit(out=tmp_path / "run", env=ENV).state) == bits(whole.state)


def test_without_data_nothing_is_learned_in_no_steps():
    with pytest.raises(
        ValueError, match=r"steps_per_update = 0 learns from data: give it as Algorithm\.data"
    ):
        jaxrl.fit(ALGO._replace(data=()), steps=8, progress=False)


def test_a_fingerprint_is_that_of_the_numbers_that_programs_take():
    def found(data):
        return fingerprint(data)

    x = np.arange(6.0).reshape(2, 3)
    (one,) = found(x).values()
    assert one.startswith("float32[2,3] ") and found(x) == found(jnp.asarray(x)) == found(x.T.copy().T)
    assert found(x) != found(x + 1.0) and found(()) == {}
    data = {
        "key": jax.random.key(0),
        "flag": np.array(True),
        "none": np.zeros((0, 2)),
        "half": jnp.bfloat16(1),
    }
    assert {name: text.split()[0] for name, text in found(data).items()} == {
        "key": "uint32[2]",
        "flag": "bool[]",
        "none": "float32[0,2]",
        "half": "bfloat16[]",
    }


def test_a_search_passes_them_on():
    """Also to the agents that it initializes again."""

    def update(state, hp, data):
        state, metrics = ALGO.update(state, hp, data)
        return state, metrics | {"episode/return_sum": 0.0, "episode/count": 1.0}

    agents = train.population(ALGO._replace(update=update), vary_hparams=True)
    space = search.box([Axis("--hp.learning-rate", (), 0.01, 0.1)])
    asha = search.asha(np.zeros((4, 1)), 2, agent_updates=4, eta=2, num_rungs=2)
    over = search.over(agents, asha, space, seeds=1)
    keys = jax.vmap(jax.random.key)(jnp.zeros(2, int))
    state = jax.eval_shape(over.init, keys, ALGO.hparams, ALGO.data)
    after, _ = jax.eval_shape(over.update, state, ALGO.hparams, ALGO.data)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    without_returns = search.over(train.population(ALGO, vary_hparams=True), asha, space, seeds=1)
    with pytest.raises(ValueError, match="update must return episode/return_sum"):
        jax.eval_shape(without_returns.update, state, ALGO.hparams, ALGO.data)


def test_a_meta_learner_refuses_them():
    with pytest.raises(ValueError, match=r"Algorithm\.data is not supported"):
        meta.make(ALGO, None, None)


SPREAD = f"""
import sys
sys.path[:0] = {FOLDERS!r}
import jax, numpy as np
from test_data import ALGO, bits, fit, programs
made = programs(4)
assert jax.device_count() == 4 and len(made.sharding.device_set) == 4
for leaf in jax.tree.leaves(made.data):
    assert leaf.is_fully_replicated and len(leaf.sharding.device_set) == 4
stopped = fit(seeds=4, steps=6, out=sys.argv[1], callbacks=[lambda row: row["num_updates"] == 3])
resumed, whole = fit(seeds=4, steps=6, out=sys.argv[1]), fit(seeds=4, steps=6)
assert stopped.num_updates == 3 and bits(resumed.state) == bits(whole.state)
print("done")
"""


def test_agents_on_several_devices_read_a_copy_each(tmp_path):
    command = [sys.executable, "-c", SPREAD, str(tmp_path / "run")]
    devices = os.environ | {"JAX_NUM_CPU_DEVICES": "4"}
    answer = subprocess.run(command, capture_output=True, text=True, env=devices)
    assert answer.stdout.strip() == "done", answer.stderr
