"""The pieces of the loop around a run: boundaries, rows, scores, speed, interrupts."""

import dataclasses
import json
import math
import signal
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import glossary

from jaxrl import checkpoint, logger, loop, objectives, records, reporters
from jaxrl.algos import ppo
from jaxrl.evaluate import Evaluation
from jaxrl.experiments import cli, runs
from jaxrl.policies import NetworkConfig
from jaxrl.programs import boundaries, compile_programs

ALGO = SimpleNamespace(steps_per_update=32, warmup_steps=0)
CONFIG = ppo.Config(
    num_envs=4, num_steps=8, num_epochs=1, num_minibatches=2, network=NetworkConfig(hidden_sizes=(8,))
)
SPEC = runs.Spec(
    algorithm="ppo",
    environment="CartPole-v1",
    env={},
    objective="ppo",
    config=CONFIG,
    hparams=ppo.Hparams(),
    steps=256,
    seed=3,
    seeds=2,
    intervals=4,
    eval_episodes=2,
)


@pytest.mark.parametrize("num_updates, intervals", [(1, 1), (1, 20), (7, 3), (8, 4), (977, 20), (20, 1000)])
def test_boundaries(num_updates, intervals):
    ends = boundaries(num_updates, intervals)
    assert len(ends) == min(num_updates, intervals) and ends[-1] == num_updates
    lengths = np.diff([0, *ends])
    assert lengths.min() >= 1 and lengths.max() - lengths.min() <= 1


def test_a_row_has_a_value_for_every_seed():
    totals = {
        "loss/policy": jnp.array([4.0, -8.0]),
        "episode/return_sum": jnp.array([30.0, 10.0]),
        "episode/count": jnp.array([3.0, 4.0]),
    }
    evaluation = Evaluation(
        returns=jnp.array([[1.0, 3.0], [5.0, 7.0]]),
        lengths=jnp.array([[10, 20], [30, 40]]),
        finished=jnp.ones((2, 2), bool),
    )
    assert records.make_row(ALGO, 12, 8, totals, evaluation, 2) == {
        "num_updates": 12,
        "timesteps": 12 * 32,
        "loss/policy": [1.0, -2.0],  # the mean over 4 updates
        "episode/return": [10.0, 2.5],
        "episode/count": [3.0, 4.0],
        "evaluation/return": [2.0, 6.0],
        "evaluation/length": [15.0, 35.0],
    }


def test_without_ended_episodes_there_is_no_return():
    totals = {"episode/return_sum": np.array([0.0, 7.0]), "episode/count": np.array([0.0, 1.0])}
    with np.errstate(all="raise"):
        row = records.make_row(ALGO, 1, 0, totals, None, 2)
    assert math.isnan(row["episode/return"][0]) and row["episode/return"][1] == 7.0
    assert json.loads(logger.sinks._line(row))["episode/return"] == [None, 7.0]
    assert "evaluation/return" not in row


def test_scores():
    assert records.score_of({"evaluation/return": [1.0, 3.0], "episode/return": [9.0, 9.0]}) == 2.0
    assert records.score_of({"episode/return": [1.0, 2.0]}) == 1.5
    assert math.isnan(records.score_of({"episode/return": [math.nan, 2.0]}))
    # An agent without a return counts as the worst.
    assert records.score_of({"episode/return": [math.nan, 2.0, 5.0]}) == 3.0
    assert math.isnan(records.score_of({}))
    assert records.score_of({"evaluation/return": [0.0, 4.0, 5.0, 99.0]}) == 4.5  # the interquartile mean


def test_speed():
    assert reporters.rate(30, 10, 2.0, 32, 4) == 20 * 32 * 4 / 2.0
    assert reporters.rate(10, 10, 0.0, 32, 4) == 0.0


def test_numbers_are_formatted():
    assert [reporters.count(n) for n in (0, 512, 20_480, 1.25e6, 3e9)] == ["0", "512", "20.5k", "1.25M", "3G"]
    assert [reporters.size(n) for n in (12, 1500, 2.5e6, 3e9)] == ["12 B", "1.5 kB", "2.5 MB", "3.0 GB"]
    assert [reporters.duration(s) for s in (0.4, 42, 3723.9)] == ["0:00", "0:42", "1:02:03"]
    assert reporters.spread(None) == reporters.spread([]) == reporters.spread([None, math.nan]) == "–"
    assert reporters.spread([2.0]) == "2"
    assert reporters.spread([1.0, 2.0, 9.0]) == "IQM 4 (1 … 9)"
    assert reporters.spread([None, 2.0]) == "IQM 2 (2 … 2)"


def test_keys_do_not_depend_on_the_population():
    """The agent of a seed is the same alone and among others, and has separate evaluation keys."""
    data = jax.random.key_data
    alone = dataclasses.replace(SPEC, seed=4, seeds=1)
    np.testing.assert_array_equal(data(SPEC.keys)[1], data(alone.keys)[0])
    np.testing.assert_array_equal(data(alone.keys)[0], data(jax.random.key(4)))
    keys = [SPEC.keys]
    for done in (0, 1):
        for domain in (0, 1):
            keys.append(runs.evaluation_keys(SPEC, done, domain))
            np.testing.assert_array_equal(
                data(keys[-1])[1], data(runs.evaluation_keys(alone, done, domain))[0]
            )
    assert len({tuple(key.tolist()) for part in keys for key in np.asarray(data(part))}) == 2 * len(keys)
    last = dataclasses.replace(SPEC, seed=2**31 - 2)
    np.testing.assert_array_equal(data(last.keys)[1], data(jax.random.key(2**31 - 1)))


def test_a_spec_survives_json():
    for objective in objectives.OBJECTIVES:
        params = objectives.OBJECTIVES[objective]().params
        spec = dataclasses.replace(
            SPEC, objective=objective, hparams=ppo.Hparams(gamma=0.9, objective=params), env={"length": 0.7}
        )
        assert runs.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_first_interrupt_is_a_request_and_the_second_is_not():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), loop.interruptible() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        signal.raise_signal(signal.SIGINT)
    with loop.interruptible() as interrupted:
        signal.raise_signal(signal.SIGTERM)
        assert interrupted()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.fixture(scope="module")
def small():
    """A small run's programs, compiled once."""
    programs = runs.build(SPEC)
    return programs, compile_programs(programs)


def fit(small, path, at=None, stop_after=None, **options):
    """Trains from `at`, with Ctrl-C after `stop_after` updates. Returns position, completeness, rows."""
    programs, compiled = small
    path.mkdir(exist_ok=True)
    at = at or loop.start(programs, compiled)
    rows = logger.jsonl(path / "metrics.jsonl", at.num_updates)

    def progress(done, elapsed, before):
        assert done > before and elapsed > 0
        if done == stop_after:
            signal.raise_signal(signal.SIGINT)

    reported = []
    reporter = reporters.Reporter(reported.append, progress, reported.append, lambda: None)
    at, complete = loop.run(programs, path, compiled, at, reporter, [rows], **options)
    rows.close()
    return at, complete, reported


def same(a, b):
    """Whether two positions are the same bits."""
    bits = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x  # noqa: E731
    leaves, others = (jax.tree.leaves(jax.tree.map(bits, (at.state, at.totals))) for at in (a, b))
    return a.num_updates == b.num_updates and all(map(np.array_equal, leaves, others))


def clean(path):
    rows = logger.read_jsonl(path / "metrics.jsonl")
    return [{k: v for k, v in row.items() if not k.endswith(("_seconds", "_per_second"))} for row in rows]


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The uninterrupted run: its folder and its last position."""
    path = tmp_path_factory.mktemp("loop") / "whole"
    at, complete, reported = fit(small, path, save_every_seconds=0.0)
    assert complete and at.num_updates == 8
    assert [row["num_updates"] for row in reported] == [2, 4, 6, 8]
    assert all(row["steps_per_second"] > 0 and row["elapsed_seconds"] > 0 for row in reported)
    # The average over all intervals lies between the fastest and the slowest.
    speeds = [row["current_steps_per_second"] for row in reported]
    assert min(speeds) - 0.1 <= reported[-1]["steps_per_second"] <= max(speeds) + 0.1
    assert {name for row in reported for name in row} <= set(glossary())
    return path, at


def test_checkpoints_of_a_run(small, whole):
    path, at = whole
    assert checkpoint.steps(path / "checkpoints")[-3:] == [4, 6, 8]
    assert same(loop.restore(small[0], path), at)


def test_seconds_between_checkpoints(small, whole, tmp_path):
    at, _, _ = fit(small, tmp_path / "run", save_every_seconds=1e9)
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [8]  # the end is always saved
    assert same(at, whole[1]) and clean(tmp_path / "run") == clean(whole[0])


@pytest.mark.parametrize("stop_after", range(1, 8))
def test_stopping_anywhere_is_invisible(small, whole, tmp_path, monkeypatch, stop_after):
    path = tmp_path / "run"
    monkeypatch.setattr(loop, "SECONDS_PER_DISPATCH", 0.0)  # a dispatch for every update
    at, complete, _ = fit(small, path, stop_after=stop_after, save_every_seconds=1e9)
    assert (at.num_updates, complete) == (stop_after, False)
    restored = loop.restore(small[0], path)
    assert same(restored, at)
    at, complete, _ = fit(small, path, at=restored)
    assert complete and same(at, whole[1]) and clean(path) == clean(whole[0])


def test_the_clock_continues_when_a_run_is_resumed(small, tmp_path, monkeypatch):
    path = tmp_path / "run"
    monkeypatch.setattr(loop, "SECONDS_PER_DISPATCH", 0.0)
    at, _, _ = fit(small, path, stop_after=3)
    restored = loop.restore(small[0], path)
    assert 0 < restored.elapsed <= at.elapsed
    # An earlier version saved no time: that of the last row counts.
    kept = logger.read_jsonl(path / "metrics.jsonl")[-1]["elapsed_seconds"]
    read = checkpoint.restore
    monkeypatch.setattr(
        checkpoint, "restore", lambda *a, **k: (read(*a, **k)[0], {"num_updates": restored.num_updates})
    )
    assert loop.restore(small[0], path).elapsed == kept
    at, _, _ = fit(small, path, at=restored._replace(elapsed=100.0))
    times = [row["elapsed_seconds"] for row in logger.read_jsonl(path / "metrics.jsonl")]
    assert times[0] < 100.0 < times[1] < times[2] < times[3] <= at.elapsed


def test_an_interrupt_right_after_a_checkpoint_keeps_its_score(small, tmp_path, monkeypatch):
    path, save = tmp_path / "run", loop.save

    def interrupted_save(*arguments):
        save(*arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "save", interrupted_save)
    at, complete, _ = fit(small, path, save_every_seconds=0.0)
    assert (at.num_updates, complete) == (2, False)
    assert checkpoint.best(path / "checkpoints") == 2


def test_a_complete_run_ends_immediately(small, whole):
    path, at = whole
    before = clean(path)
    at, complete, reported = fit(small, path, at=at)
    assert complete and reported == [] and clean(path) == before


@pytest.mark.parametrize(
    ("seeds", "lanes"), [(1, 1), (2, 2), (3, 4), (5, 6), (8, 8), (10, 10), (11, 12), (17, 20), (100, 112)]
)
def test_seeds_are_trained_in_few_numbers_of_lanes(seeds, lanes):
    spec = dataclasses.replace(SPEC, seeds=seeds)
    assert spec.lanes == lanes
    assert spec.keys.shape == (lanes,)
    alone = dataclasses.replace(SPEC, seeds=1).keys
    np.testing.assert_array_equal(jax.random.key_data(spec.keys)[0], jax.random.key_data(alone)[0])


def test_lanes_are_never_more_than_a_quarter_too_many():
    for seeds in range(4, 3000):
        assert seeds <= dataclasses.replace(SPEC, seeds=seeds).lanes <= 1.25 * seeds + 1


@pytest.mark.slow
def test_only_the_requested_seeds_are_reported(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [
        "--seeds",
        "3",
        "--steps",
        "64",
        "--intervals",
        "1",
        "--eval-episodes",
        "2",
        "--out",
        str(out),
    ]
    arguments += ["--config.num-envs", "2", "--config.num-steps", "8", "--eval-episodes", "2"]
    assert cli.main(["train", "ppo", "CartPole-v1", *arguments]) == 0
    assert "3 agents (seeds 0 to 2) in 4 lanes" in " ".join(capsys.readouterr().out.split())
    row = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert {len(v) for v in row.values() if isinstance(v, list)} == {3}
    assert cli.main(["evaluate", str(out), "--episodes", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["per_seed"]) == 3


def test_a_dry_run_compiles_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--dry-run", "--out", str(out), "--config.num-envs", "2", "--config.num-steps", "8"]
    assert cli.main(["train", "ppo", "CartPole-v1", *arguments]) == 0
    output = capsys.readouterr().out
    assert "compiling ..." in output and "nothing trained" in output
    assert not out.exists()
