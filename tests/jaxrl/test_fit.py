"""`jaxrl.fit`: the host loop of the command line as one function, for any algorithm."""

import doctest
import json
import math
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import curve, run_command, small
from flax import linen as nn
from flax import struct

import jaxrl
from jaxrl import checkpoint, envs, fitting, logger, loop, train
from jaxrl.algos import a2c
from jaxrl.types import Algorithm


@struct.dataclass
class Hparams:
    learning_rate: float = 0.1
    total_updates: float = 3.0


@struct.dataclass
class State:
    key: jax.Array
    params: dict
    num_updates: jax.Array


def descent(size=3, **changes):
    """Noisy gradient descent on a square: an unregistered algorithm that compiles fast."""

    def init(key, hp):
        return State(key, {"w": jax.random.normal(key, (size,))}, jnp.zeros((), jnp.int32))

    def update(state, hp):
        key, noise_key = jax.random.split(state.key)
        rate = hp.learning_rate * (1.0 - state.num_updates / hp.total_updates)
        w = state.params["w"]
        w -= rate * (w + jax.random.normal(noise_key, w.shape))
        metrics = {"loss/square": jnp.square(w).sum(), "episode/return_sum": w.sum(), "episode/count": 1.0}
        return State(key, {"w": w}, state.num_updates + 1), metrics

    def act(state, memory, key, obs, first, action_mask=None):
        return memory, (state.params["w"][0] > 0).astype(jnp.int32) + jnp.zeros(first.shape, jnp.int32)

    return Algorithm(**{**{"init": init, "update": update, "act": act, "hparams": Hparams()}, **changes})


ALGO = descent(steps_per_update=8)
fit = partial(jaxrl.fit, ALGO, steps=64, seeds=2, intervals=4, progress=False, save_every_seconds=0.0)


def by_hand(algo, num_updates, seeds, seed=0):
    """The states of `train.run` with the compiler's options of the loop."""
    hp = algo.hparams.replace(total_updates=float(num_updates))
    keys = jax.vmap(jax.random.key)(seed + jnp.arange(seeds))
    run = partial(train.run, algo, num_updates=num_updates)
    if seeds == 1:
        state, _ = jax.jit(run, compiler_options=train.compiler_options())(keys[0], hp)
        return jax.tree.map(lambda leaf: leaf[None], state)
    return jax.jit(jax.vmap(run, (0, None)), compiler_options=train.compiler_options())(keys, hp)[0]


def bits(tree):
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    leaves = [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return [(leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()) for leaf in leaves]


def untimed(rows):
    return [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_per_second"))} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    return fit(out=tmp_path_factory.mktemp("fit") / "whole")


@pytest.mark.parametrize("seeds", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_fit_is_train_run(seeds):
    """The same computation, in two programs, in which compilers may round sums in different orders."""
    algo = small("a2c", num_envs=2, num_steps=16)
    fitted = jaxrl.fit(algo, steps=256, seeds=seeds, seed=3, intervals=3, progress=False)
    assert fitted.complete and fitted.num_updates == 8
    whole = by_hand(algo, 8, seeds, seed=3)
    assert bits(fitted.state.key) == bits(whole.key)
    jax.tree.map(close, fitted.state.replace(key=()), whole.replace(key=()))


def close(actual, expected):
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_any_algorithm_is_trained_and_its_schedules_end_with_the_run(whole):
    assert bits(whole.state) == bits(by_hand(ALGO, 8, seeds=2))
    alone = jaxrl.fit(ALGO, steps=64, progress=False)
    assert bits(alone.state) == bits(by_hand(ALGO, 8, seeds=1))
    assert whole.hparams.total_updates == 8.0
    assert whole.agent(1).params["w"].shape == (3,)
    three = jaxrl.fit(ALGO, steps=60, seeds=3, progress=False)  # trained in four lanes
    assert three.num_updates == 8 and bits(three.state)[1][1] == (3, 3)
    np.testing.assert_array_equal(three.agent(1).params["w"], whole.agent(1).params["w"])
    assert len(three.rows) == 8 and all(len(row["loss/square"]) == 3 for row in three.rows)


def test_rows_match_the_command_line(whole):
    assert whole.rows == logger.read_jsonl(whole.out / "metrics.jsonl")
    assert [row["num_updates"] for row in whole.rows] == [2, 4, 6, 8]
    assert [row["timesteps"] for row in whole.rows] == [16, 32, 48, 64]
    assert set(whole.rows[0]) == {
        *("num_updates", "timesteps", "loss/square", "episode/return", "episode/count"),
        *("elapsed_seconds", "steps_per_second", "current_steps_per_second"),
    }


def test_evaluation_needs_an_environment(tmp_path):
    env = envs.make("probe/action")
    fitted = jaxrl.fit(ALGO, steps=16, env=env, eval_episodes=2, progress=False)
    assert len(fitted.rows[-1]["evaluation/return"]) == 1
    assert "evaluation/return" not in jaxrl.fit(ALGO, steps=16, progress=False).rows[-1]


def test_callbacks_see_every_row():
    rows = []
    fitted = fit(callbacks=[rows.append, lambda row: 1])
    assert rows == fitted.rows and len(rows) == 4 and fitted.complete and fitted.out is None


@pytest.mark.parametrize("after", [2, 6])
def test_a_callback_stops_a_run_that_continues_to_the_same_bits(whole, tmp_path, after):
    stopped = fit(out=tmp_path / "run", callbacks=[lambda row: np.bool_(row["num_updates"] == after)])
    assert (stopped.num_updates, stopped.complete) == (after, False)
    assert len(stopped.rows) == after // 2
    resumed = fit(out=tmp_path / "run")
    assert resumed.complete and bits(resumed.state) == bits(whole.state)
    assert untimed(resumed.rows) == untimed(whole.rows) == curve(tmp_path / "run")
    times = [row["elapsed_seconds"] for row in resumed.rows]
    assert times == sorted(times)


def test_an_interrupt_is_saved_and_returned(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_PER_DISPATCH", 0.0)  # a dispatch for every update
    stopped = fit(out=tmp_path / "run", callbacks=[lambda row: signal.raise_signal(signal.SIGINT)])
    assert not stopped.complete and checkpoint.latest(tmp_path / "run" / "checkpoints") == stopped.num_updates
    assert bits(fit(out=tmp_path / "run").state) == bits(whole.state)


def test_an_error_of_a_callback_is_raised_and_loses_nothing(whole, tmp_path):
    def broken(row):
        if row["num_updates"] == 6:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(out=tmp_path / "run", callbacks=[broken])
    assert checkpoint.latest(tmp_path / "run" / "checkpoints") == 4
    resumed = fit(out=tmp_path / "run")
    assert bits(resumed.state) == bits(whole.state) and untimed(resumed.rows) == untimed(whole.rows)


def test_a_complete_run_is_returned_as_it_is(whole):
    again = fit(out=whole.out, callbacks=[lambda row: pytest.fail("nothing is trained")])
    assert again.complete and again.rows == whole.rows and bits(again.state) == bits(whole.state)
    assert json.loads((whole.out / "fit.json").read_text())["format"] == 1


def test_another_run_in_the_folder_is_refused(whole, tmp_path):
    rate = Hparams(learning_rate=0.25)
    for changes, message in (  # the first difference is named
        ({"seeds": 3}, "made with seeds = 2, not 3: call fit with the same arguments, or give another"),
        ({"hparams": rate}, "with hparams.learning_rate = 0.1, not 0.25: call fit"),
        ({"steps": 80}, "with steps = 64, not 80"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(out=whole.out, **changes)
    with pytest.raises(ValueError, match=r"with state.params.w = 'float32\[2,3\]', not 'float32\[2,4\]'"):
        jaxrl.fit(descent(4, steps_per_update=8), **{**fit.keywords, "out": whole.out})
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match=r"holds run\.json of a run that is not by jaxrl\.fit: give another"):
        fit(out=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write to .*file .*give another folder as `out`"):
        fit(out=tmp_path / "file")


def test_arguments_may_change_before_the_first_update(tmp_path):
    (tmp_path / "fit.json").write_text(json.dumps({"run": {"seeds": 5}}))
    assert fit(out=tmp_path).complete


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"steps": 0}, "steps = 0 must be a whole number of at least 1"),
        ({"steps": 1.5}, "steps = 1.5 must be a whole number"),
        ({"seeds": 0}, "seeds = 0 must"),
        ({"eval_episodes": -1}, "eval_episodes = -1 must be a whole number of at least 0"),
        ({"env": "CartPole-v1"}, r"give envs.make\('CartPole-v1'\)"),
        (
            {"hparams": a2c.Hparams()},
            r"hparams are not those of the algorithm .*adam_eps.*algo.hparams.replace",
        ),
        (
            {"hparams": Hparams(jnp.ones(8))},
            r"hparams.learning_rate has the shape \(8,\), not \(\): .*train.grid",
        ),
        ({"save_every_seconds": math.nan}, "save_every_seconds = nan must be 0 or more"),
    ],
)
def test_errors_are_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        fit(**changes)


def other(update):
    return descent(steps_per_update=8, update=update)


@pytest.mark.parametrize(
    "algo, message",
    [
        (a2c, r"fit trains an Algorithm, as ppo.make\(env\) returns it, not the module jaxrl.algos.a2c"),
        (descent(steps_per_update=-1), "steps_per_update of the algorithm = -1 must"),
        (other(lambda state, hp: state), r"update must return \(state, metrics\)"),
        (
            other(lambda state, hp: (state, {"loss/x": state.params["w"]})),
            r"metric loss/x has the shape \(3,\)",
        ),
        (
            other(lambda state, hp: (state.replace(num_updates=state.num_updates + 1.0), {"x": 0.0})),
            r"num_updates is int32\[\] before and float32\[\] after it",
        ),
        (other(lambda state, hp: (state, {"episode/return_sum": 0.0})), "need episode/count"),
    ],
)
def test_a_value_that_is_not_an_algorithm_is_rejected(algo, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        jaxrl.fit(algo, steps=64, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_agents_that_diverged_are_reported():
    fitted = fit(hparams=Hparams(learning_rate=math.inf))
    assert fitted.rows[0]["agent/died_at"] == [8, 8] and fitted.rows[-1]["agent/died_at"] == [8, 8]


def test_progress_is_printed_in_lines_without_a_terminal(capsys):
    fit(progress=True)
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "compiling ..." and output[1].startswith("compiled in")
    assert [line.split("%")[0].strip() for line in output[2:]] == ["25", "50", "75", "100"]
    fit(progress=False)
    assert capsys.readouterr().out == ""


def test_the_command_line_reads_its_folder(whole, tmp_path):
    status, output = run_command("plot", whole.out, "--out", tmp_path / "curves.png")
    assert status == 0 and (tmp_path / "curves.png").exists(), output
    status, output = run_command("report", whole.out, "--out", tmp_path / "report.html")
    assert status == 0 and "2 seeds after 64 steps" in output, output
    assert "test_fit on unnamed environment" in (tmp_path / "report.html").read_text()
    status, output = run_command("resume", whole.out)
    assert status == 2 and "jaxrl.fit" in output and "same arguments" in output
    status, output = run_command("train", "a2c", "CartPole-v1", "--out", whole.out)
    assert status == 2 and "holds a run by jaxrl.fit: choose another --out" in output


def test_its_policy_can_be_loaded_and_exported(tmp_path):
    """As it acts in the algorithm; the file names the environment that the algorithm was made for."""
    algo, out = small("a2c", greedy=True), tmp_path / "run"
    run = partial(jaxrl.fit, algo, steps=64, seeds=2, seed=3, intervals=1, out=out, progress=False)
    fitted = run()
    policy = jaxrl.load(out, seed=4)
    assert policy.about == {"algorithm": "a2c", "environment": "CartPole-v1", "num_updates": 2}
    assert policy.seeds.tolist() == [3, 4]
    obs = jax.random.normal(jax.random.key(0), (64, 4))
    _, action = algo.act(fitted.agent(1), (), jax.random.key(1), obs, jnp.zeros(64, bool))
    assert (policy(np.asarray(obs)) == np.asarray(action)).all() and 0 < action.mean() < 1
    status, output = run_command("export", out, "--format", "c", "--seed", 4)
    assert status == 0 and "a2c on CartPole-v1, seed 4" in output and (out / "policy.h").exists()
    status, output = run_command("export", out, "--best")
    assert status == 2 and "--best needs a run of `jaxrl train`" in output and output.count("\n") == 1
    (out / "policy.npz").unlink()  # as in the folder of an earlier version
    run()
    assert jaxrl.load(out, seed=4).about == policy.about


def test_a_policy_without_a_description_is_not_exported(whole):
    with pytest.raises(ValueError, match=r"has no policy\.npz: jaxrl\.fit writes it .* act with `algo\.act`"):
        jaxrl.load(whole.out)
    status, output = run_command("export", whole.out)
    assert status == 2 and "has a `description` of its policy" in output and output.count("\n") == 1
    custom = a2c.make(envs.make("CartPole-v1"), torso=nn.Dense(4))
    assert custom.description is None and small("a2c").description.env.action_space.n == 2


def test_the_environment_has_the_name_that_it_was_made_by():
    env = envs.make("CartPole-v1", length=0.7, resets="fresh")
    assert fitting._about(ALGO, env) == {
        "algorithm": "test_fit",
        "environment": "CartPole-v1",
        "env": {"length": 0.7, "resets": "fresh"},
    }
    assert fitting._about(small("a2c"), None)["environment"] == "CartPole-v1"
    assert fitting._about(small("a2c"), env._replace(step=lambda *args: env.step(*args))) == {
        "algorithm": "a2c"
    }


def test_its_example_runs():
    result = doctest.testmod(fitting)
    assert result.failed == 0 < result.attempted
