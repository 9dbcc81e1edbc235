"""`jaxrl benchmark gpu`: rehearsed on a CPU. No test asserts a speed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import returns
from jaxrl.experiments import cli
from jaxrl.experiments.benchmark import gpu, gpu_pack, gpu_plan, gpu_table
from jaxrl.gpu import settings


@pytest.mark.slow
def test_a_rehearsal_measures_speed_and_resumes_to_the_bit_in_another_process(tmp_path, capsys):
    only = ["facts", "one/cartpole/8192", "cpu/cartpole", "bits/cartpole"]
    out = tmp_path / "out"
    assert cli.main(["benchmark", "gpu", "--rehearse", "--out", str(out), "--only", *only]) == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    by_name = {row["item"]: row["result"] for row in rows if "result" in row}
    assert by_name["facts"]["device"] == jax.devices()[0].device_kind
    assert by_name["one/cartpole/8192"]["steps_per_second"] > 0
    assert by_name["cpu/cartpole"]["largest_difference"] == 0.0  # the CPU beside itself
    bits = [row["result"] for row in rows if row["item"].startswith("bits")]
    assert [b["part"] for b in bits] == ["whole", "rest", "whole"] and len({b["end"] for b in bits}) == 1
    assert "3 processes (default, again, no cache) ended with the same bits" in capsys.readouterr().out
    assert json.loads((out / "result.json").read_text())["rehearsal"] is True


def test_the_items_after_one_that_fails_are_measured(tmp_path, monkeypatch):
    lost = gpu_plan.Item(
        "lost", "bits", {"env": "CartPole-v1", "folder": str(tmp_path / "none"), "part": "rest"}
    )
    facts = gpu_plan.Item("facts", "facts", {})
    monkeypatch.setattr(gpu_plan, "plan", lambda *_: [gpu_plan.Group("all", [lost, facts])])
    out = tmp_path / "out"
    assert cli.main(["benchmark", "gpu", "--out", str(out)]) == 1
    _, failed, measured = map(json.loads, (out / "results.jsonl").read_text().splitlines())
    assert failed["failed"].startswith(f"CheckpointError: no checkpoint in {tmp_path / 'none'}: ")
    assert measured["result"]["platform"] == "cpu"


def test_a_process_that_crashes_is_replaced_for_the_other_items(tmp_path, monkeypatch):
    script = tmp_path / "gpu_worker.py"
    script.write_text(
        "import json, os, sys\n"
        "print(json.dumps({'item': 'start'}), flush=True)\n"
        "for item in json.loads(sys.argv[1]):\n"
        "    if item['name'] == 'crash': os.abort()\n"
        "    print(json.dumps({'item': item['name'], 'result': {}}), flush=True)\n"
    )
    monkeypatch.setattr(gpu.peers, "WORKERS", tmp_path)
    items = [gpu_plan.Item(name, "facts", {}) for name in ("first", "crash", "last")]
    rows = list(gpu._measure([gpu_plan.Group("all", items)], gpu.time.monotonic() + 60, tmp_path / "rows"))
    assert [row["item"] for row in rows] == ["start", "first", "crash", "start", "last"]
    assert "failed" in rows[2] and "failed" not in rows[4]


def test_nothing_is_started_when_no_time_is_left(tmp_path):
    arguments = ["--minutes", "0.01", "--out", str(tmp_path), "--only", "facts"]
    assert cli.main(["benchmark", "gpu", *arguments]) == 0
    (row,) = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert row["skipped"] == "no time left"


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--minutes", "0"], "minutes = 0.0 must be positive"),
        (["--only", "nothing"], "no item begins with nothing: choose among facts, "),
    ],
)
def test_invalid_options(argv, message, tmp_path, capsys):
    assert cli.main(["benchmark", "gpu", "--out", str(tmp_path), *argv]) == 2
    assert message in capsys.readouterr().err


def test_every_item_of_the_plan_has_a_name_of_its_own_and_the_settings_of_its_kind(tmp_path):
    for rehearse in (False, True):
        groups = gpu_plan.plan(tmp_path, tmp_path, rehearse)
        names = [(group.name, item.name) for group in groups for item in group.items]
        assert len(set(names)) == len(names)
        assert (
            all(
                item.settings.get("seconds") == 0.05
                for g in groups
                for item in g.items
                if item.kind == "speed"
            )
            == rehearse
        )


def test_the_packed_wheels_contain_what_a_policy_needs_and_no_accelerator():
    names = gpu_pack.missing()
    assert {"distrax", "dm-tree", "gymnax", "tyro", "tomli-w", "decorator"} <= set(names)
    assert not {"jax", "jaxlib", "numpy", "brax", "pytest"} & set(names)


def test_the_table_has_a_line_for_each_measured_item_and_says_what_is_missing():
    measured = {"steps_per_second": 1.25e6, "seconds_per_update": 0.004, "return_median": 21.5}
    measured |= {
        "compile_seconds": 3.0,
        "planned_bytes": 5e6,
        "peak_bytes": None,
        "kernels": {"while": 2, "fusion": 5},
    }
    rows = [
        {"item": "start", "result": {}},
        {"item": "facts", "result": {"device": "H100", "cores": 16}},
        {"item": "one/cartpole/8192", "result": measured, "seconds": 12.34},
        {"item": "learn/breakout", "failed": "out of memory"},
        {"item": "bits/cartpole", "skipped": "no time is left"},
    ]
    lines = gpu_table.table(rows).splitlines()
    assert "| one/cartpole/8192 | 1.25e+06 | 0.004 | 21.5 | 3.0 | 5 |  | 7 | 12.3 |" in lines
    others = [
        "facts: device H100, cores 16",
        "learn/breakout: out of memory",
        "bits/cartpole: no time is left",
    ]
    assert [line for line in lines if line.startswith("* ")] == [f"* {other}" for other in others]


def test_different_bits_are_reported():
    def row(group, end):
        return {"group": group, "item": "bits/cartpole/whole", "result": {"end": end}}

    assert "the same bits" in gpu_table.table([row("default", "a"), row("again", "a")])
    assert "different bits" in gpu_table.table([row("default", "a"), row("again", "b")])


@pytest.mark.parametrize("function", [returns.gae, returns.lambda_returns])
def test_associative_sums_over_time_equal_the_loop(function, monkeypatch):
    keys = jax.random.split(jax.random.key(0), 5)
    reward, value, next_value = (jax.random.normal(key, (37, 3)) for key in keys[:3])
    terminated, truncated = (jax.random.bernoulli(key, 0.1, (37, 3)) for key in keys[3:])
    arguments = (reward, value, next_value, terminated, truncated, 0.99, jnp.float32(0.9))
    looped = function(*arguments)
    monkeypatch.setattr(settings, "associative", lambda: True)
    np.testing.assert_allclose(function(*arguments), looped, rtol=2e-6, atol=2e-6)
