"""The profile: parsing of a compiled program, and the part and the time of each operation."""

import contextlib
import io
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.experiments import cli
from jaxrl.experiments.profile import command, hlo, measure, parts, trace

# Two nested loops around a product, one whose length depends on data, and a copy without a name.
TEXT = """\
HloModule jit_advance, is_scheduled=true, entry_computation_layout={(f32[4,8]{1,0})->f32[4,8]{1,0}}

FileNames
1 "a file (with parentheses).py"

%fused_computation (param_0: f32[4,8], param_1: f32[8,8]) -> f32[4,8] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  %param_1 = f32[8,8]{1,0} parameter(1)
  ROOT %dot.1 = f32[4,8]{1,0} dot(%param_0, %param_1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%inner (arg.1: (s32[], /*index=1*/f32[4,8])) -> (s32[], f32[4,8]) {
  %arg.1 = (s32[], /*index=1*/f32[4,8]{1,0}) parameter(0)
  %gte.1 = f32[4,8]{1,0} get-tuple-element(%arg.1), index=1
  %copy.1 = f32[4,8]{1,0} copy(%gte.1)
  %product = f32[4,8]{1,0} fusion(%copy.1, %copy.1), kind=kCustom, calls=%fused_computation
  ROOT %tanh.1 = f32[4,8]{1,0} tanh(%product), metadata={op_name="jit(f)/loss/tanh(" stack_frame_id=1}
}

%condition (arg.2: s32[]) -> pred[] {
  ROOT %arg.2 = s32[] parameter(0)
}

%outer (arg.3: f32[4,8]) -> f32[4,8] {
  %arg.3 = f32[4,8]{1,0} parameter(0)
  %search = f32[4,8]{1,0} while(%arg.3), condition=%condition, body=%condition
  ROOT %while.1 = f32[4,8]{1,0} while(%search), condition=%condition, body=%inner, \
metadata={op_name="jit(f)/optimizer/while"}, backend_config={"known_trip_count":{"n":"5"}}
}

ENTRY %main.1 (arg.4: f32[4,8]) -> f32[4,8] {
  %arg.4 = f32[4,8]{1,0} parameter(0)
  %copy.2 = f32[4,8]{1,0} copy(%arg.4), control-predecessors={%arg.4}
  ROOT %while.2 = f32[4,8]{1,0} while(%copy.2), condition=%condition, body=%outer, \
backend_config={"known_init_step":{"init":"0","step":"1"},"known_trip_count":{"n":"3"}}
}
"""


def test_a_program_is_read_with_the_trip_counts_of_its_loops():
    program = hlo.parse(TEXT)
    assert (program.name, program.partitions, program.entry) == ("jit_advance", 1, "main.1")
    times = {"main.1": 1, "outer": 3, "inner": 15, "fused_computation": 15}
    assert {name: program.times[name] for name in times} == times
    assert program.unknown_loops == ["search"]
    result = {i.name: i for instructions in program.computations.values() for i in instructions}
    assert result["while.1"].called == ("condition", "inner") and result["while.1"].trips == 5
    assert result["tanh.1"].op_name == "jit(f)/loss/tanh(" and result["product"].operands == (
        "copy.1",
        "copy.1",
    )
    assert result["arg.1"].shape.startswith("(s32[]") and result["arg.1"].opcode == "parameter"
    assert result["copy.2"].called == ()
    # 3 loops, 3 of the outer's two, 15 times copy, fusion and tanh, and the copy at the start.
    assert hlo.num_operations(program) == 1 + 1 + 3 * 2 + 15 * 3


def test_text_that_is_not_a_program_is_rejected():
    with pytest.raises(ValueError, match="not a compiled program"):
        hlo.parse("some text\n")


def test_products_count_as_often_as_their_loops_run():
    program = hlo.parse(TEXT)
    assert parts.flops(program, parts.attribute(program)) == {"loss: forward": 15 * 2 * 4 * 8 * 8}


def test_products_of_a_real_program_match_the_compiler():
    def loops(x, w):
        def outer(y, _):
            return jax.lax.scan(lambda y, _: (jnp.tanh(y @ w), None), y, length=5)[0] + 1.0, None

        return jax.lax.scan(outer, x, length=3)[0]

    x, w = jnp.ones((32, 64)), jnp.ones((64, 64))
    program = hlo.parse(jax.jit(loops).lower(x, w).compile().as_text())
    assert parts.flops(program, {}).total() == 3 * 5 * 2 * 32 * 64 * 64
    once = jax.jit(lambda x, w: x @ w).lower(x, w).compile()
    counted = parts.flops(hlo.parse(once.as_text()), {}).total()
    assert counted == pytest.approx(once.cost_analysis()["flops"], rel=0.01)


def test_convolutions_and_calls_of_a_library_count():
    image, kernel = jnp.ones((8, 10, 10, 4)), jnp.ones((3, 3, 4, 16))
    axes = ("NHWC", "HWIO", "NHWC")
    convolve = partial(jax.lax.conv_general_dilated, dimension_numbers=axes)
    text = jax.jit(convolve, static_argnums=(2, 3)).lower(image, kernel, (1, 1), "VALID").compile().as_text()
    assert parts.flops(hlo.parse(text), {}).total() == 2 * (8 * 8 * 8 * 16) * (3 * 3 * 4)
    (call,) = hlo.parse(
        "HloModule m\n\nENTRY %e (a: f32[4,8]) -> f32[4,16] {\n"
        '  ROOT %gemm = (f32[4,16]{1,0}, s8[64]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", '
        'backend_config={"gemm_backend_config":{"dot_dimension_numbers":'
        '{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}\n}\n'
    ).computations["e"]
    assert hlo.flops(call, {"a": "f32[4,8]{1,0}", "b": "f32[8,16]{1,0}"}) == 2 * 4 * 8 * 16


UPDATE = "jit(advance)/while/body/jit(update)/"
STEP = UPDATE + "vmap(rollout)/while/body/closed_call/"


@pytest.mark.parametrize(
    ("op_name", "place"),
    [
        (STEP + "policy/ActorCritic/actor_head/dot_general", ("rollout: policy", False)),
        (STEP + "policy/jit(_gumbel)/jit(_uniform)/vmap()/while", ("rollout: policy", True)),
        (STEP + "environment/vmap(dynamics)/jit(count_nonzero)/ne", ("rollout: dynamics", False)),
        (STEP + "environment/vmap(vmap(reset))/broadcast_in_dim", ("rollout: reset", False)),
        (STEP + "environment/vmap(reset)/jit(_uniform)/vmap(vmap())/while/add", ("rollout: reset", True)),
        (STEP + "environment/vmap(jit(_where))/select_n", ("rollout: environment", False)),
        (STEP + "environment/vmap(jit(_threefry_split))/step/while", ("rollout: environment", True)),
        (STEP + "slice", ("rollout: rest", False)),
        ("policy/reduce_sum", ("rollout: policy", False)),
        (UPDATE + "vmap(values)/ActorCritic/critic_torso/Dense_0/add", ("values", False)),
        (UPDATE + "vmap(advantage)/mul;vmap(metrics)/mul", ("advantage", False)),
        # The names behind a random function are those of its first caller.
        (UPDATE + "vmap(shuffle)/vmap(jit(_threefry_split))/rollout/while", ("shuffle", True)),
        (UPDATE + "vmap(shuffle)/vmap(jit(_shuffle))/sort", ("shuffle", False)),
        (UPDATE + "vmap()/while/body/closed_call/jvp(loss)/reduce_max", ("loss: forward", False)),
        (UPDATE + "vmap()/while/body/transpose(jvp(loss))/jvp(loss)/mul", ("loss: backward", False)),
        (UPDATE + "vmap()/while/body/closed_call/optimizer/sqrt", ("optimizer", False)),
        (UPDATE + "vmap()/while/body/closed_call/gather", ("other", False)),
        (UPDATE + "vmap()/vmap(jit(_threefry_split))/while", ("other", True)),
        (UPDATE + "jit(policy)/add", ("other", False)),  # the name of a function is not a scope
        ("reduce_sum", None),
        ("", None),
    ],
)
def test_scopes_name_the_part(op_name, place):
    assert parts.classify(op_name) == place


def test_operations_without_a_name_belong_to_their_neighbours_or_loop():
    places = parts.attribute(hlo.parse(TEXT))
    assert places["product"] == places["dot.1"] == ("loss: forward", False)  # its result goes there
    assert places["copy.1"] == ("optimizer", False)  # comes from the loop that it is in
    assert places["copy.2"] == parts.OTHER


def program_of(*bodies: str) -> hlo.Program:
    """An entry `call` of a loop that runs the instructions, each an opcode and an op_name."""
    lines = [
        f'  %x.{at} = u32[4]{{0}} {opcode}(%x), metadata={{op_name="{op_name}"}}'
        for at, (opcode, op_name) in enumerate(body.split() for body in bodies)
    ]
    return hlo.parse(
        "\n".join(["HloModule m", "%loop (x: u32[4]) -> u32[4] {", *lines, "}"])
        + "\n%region (x: u32[4]) -> u32[4] {\n  ROOT %while = u32[4] while(%x), body=%loop, "
        'metadata={op_name="jit(f)/reset/while"}, backend_config={"known_trip_count":{"n":"5"}}\n}\n'
        "ENTRY %e (x: u32[4]) -> u32[4] {\n  ROOT %call = u32[4] call(%x), to_apply=%region\n}\n"
    )


def test_a_loop_that_is_one_operation_is_not_divided():
    one = program_of(*["add jit(f)/rollout/policy/add"] * 5, "add jit(f)/rollout/dynamics/add")
    assert parts.attribute(one)["call"] == ("rollout: policy", False)
    mixed = program_of("add jit(f)/rollout/policy/add", "sin jit(f)/rollout/dynamics/sin")
    assert parts.attribute(mixed)["call"] == ("rollout: one kernel", False)
    far = program_of("add jit(f)/rollout/policy/add", "sin jit(f)/advantage/sin")
    assert parts.attribute(far)["call"] == ("several parts: one kernel", False)


def test_the_generator_is_recognised_by_its_operations():
    rounds = ["xor jit(f)/reset/xor", "shift-left jit(f)/reset/shift_left"] * 4
    assert set(parts.attribute(program_of(*rounds)).values()) == {("rollout: reset", True)}
    assert set(parts.attribute(program_of(*rounds[:6])).values()) == {("rollout: reset", False)}


def event(name, start, end, done=None):
    return trace.Event(float(start), float(end), float(end if done is None else done), name)


def test_only_the_innermost_events_count():
    nested = [
        event("while", 0, 100),
        event("call", 10, 40),
        event("add", 10, 20),
        event("mul", 25, 40),
        event("sin", 40, 90),
        event("cos", 100, 110),
    ]
    kept = trace.innermost(nested[::-1])
    assert [e.name for e in kept] == ["add", "mul", "sin", "cos"]
    assert trace.shared_times(kept) == [10, 15, 50, 10]


def test_concurrent_operations_share_their_time():
    alone, other = event("a", 0, 10), event("b", 6, 10)
    assert trace.shared_times([alone, other]) == [8, 2]
    # An operation that waits for its thread pool gets the time in which nothing else runs.
    assert trace.shared_times([event("a", 0, 10, done=50), event("b", 20, 30)]) == [40, 10]
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 1000, 50)
    events = [event(str(s), s, s + d, s + d + d % 3) for s, d in zip(starts, rng.integers(1, 60, 50))]
    covered = np.zeros(1100, bool)
    for e in events:
        covered[int(e.start) : int(e.done)] = True
    assert sum(trace.shared_times(events)) == pytest.approx(covered.sum())


def test_recording_and_stragglers_are_not_the_operations_fault():
    events = [event("nothing", 1000 * at, 1000 * at + 100) for at in range(8)]
    events += [event("work", 1000 * at + 200, 1000 * at + (900 if at == 3 else 500)) for at in range(8)]
    result, recording = trace.costs(events, updates=2, on_device=False)
    assert recording == 100
    assert result == {"nothing": (0, 4), "work": (4 * 200, 4)}
    result, recording = trace.costs(events, updates=2, on_device=True)
    assert recording == 0 and result["nothing"] == (4 * 100, 4)


# --- one of PPO ------------------------------------------------------------------------------------

SMALL = ["--config.num-envs", "4", "--config.num-steps", "8", "--config.num-epochs", "3"]
SMALL += ["--config.num-minibatches", "2", "--config.hidden-sizes", "32", "48"]


@pytest.fixture(scope="module")
def profiled(tmp_path_factory):
    """A profile of a small PPO: its folder, and the printed text."""
    path = tmp_path_factory.mktemp("profile") / "new" / "folder"
    argv = [
        "profile",
        "ppo",
        "CartPole-v1",
        *SMALL,
        "--updates",
        "3",
        "--operations",
        "4",
        "--out",
        str(path),
    ]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert cli.main(argv) == 0
    return path, output.getvalue()


@pytest.fixture(scope="module")
def numbers(profiled):
    return json.loads((profiled[0] / "profile.json").read_text())


def test_the_parts_of_an_update_add_up(numbers):
    rows = {part["part"]: part for part in numbers["parts"]}
    expected = {"rollout: policy", "rollout: dynamics", "rollout: reset", "values", "advantage", "shuffle"}
    expected |= {"loss: forward", "loss: backward", "optimizer", "metrics", "other", parts.IDLE}
    assert expected <= set(rows)
    assert sum(part["microseconds"] for part in rows.values()) == pytest.approx(numbers["microseconds"])
    assert sum(part["share"] for part in rows.values()) == pytest.approx(1.0)
    assert sum(part["flop"] for part in rows.values()) == numbers["flop"]
    busy = sum(o["microseconds"] for o in numbers["operations"]) + rows[parts.IDLE]["microseconds"]
    assert busy == pytest.approx(numbers["microseconds"])
    assert all(0 <= part["random_microseconds"] <= part["microseconds"] for part in rows.values())
    assert rows["loss: backward"]["calls"] >= 6  # gradient steps


def test_the_operations_of_an_update_match_its_layers(numbers):
    """Two networks 4-32-48-2 and 4-32-48-1, by hand: the products of each part."""
    actor, critic = 4 * 32 + 32 * 48 + 48 * 2, 4 * 32 + 32 * 48 + 48 * 1
    batch, epochs = 4 * 8, 3
    forward = 2 * batch * epochs * (actor + critic)
    expected = {
        "rollout: policy": 2 * batch * actor,
        "values": 2 * 2 * batch * critic,  # of the observation and of the next one
        "loss: forward": forward,
        "loss: backward": 2 * forward - 2 * batch * epochs * 2 * (4 * 32),  # d loss / d obs is not computed
    }
    result = {part["part"]: part["flop"] for part in numbers["parts"] if part["flop"]}
    assert result.keys() == expected.keys()
    # A product with one column may have been made a sum of products, which is not counted.
    assert result == pytest.approx(expected, rel=0.1)
    assert numbers["flop"] == pytest.approx(sum(expected.values()), rel=0.05)
    seconds = numbers["microseconds"] / 1e6
    assert numbers["flop_per_second"] == pytest.approx(numbers["flop"] / seconds)
    assert numbers["share_of_peak"] == pytest.approx(
        numbers["flop_per_second"] / numbers["peak_flop_per_second"]
    )
    assert numbers["steps_per_second"] == pytest.approx(batch / seconds)


def test_a_profile_is_kept_and_shown(profiled, numbers):
    path, output = profiled
    page = (path / "profile.md").read_text()
    for text in (output, page):
        assert all(part["part"] in text for part in numbers["parts"])
        assert numbers["operations"][3]["operation"] in text
        assert "GFLOP/s" in text and "steps/s" in text
    assert {"versions", "device", "git_commit", "spec", "memory_bytes"} <= numbers.keys()
    assert numbers["trace"]["updates"] == 3 and len(numbers["microseconds_of_blocks"]) == 3
    assert list((path / "trace").rglob("*.xplane.pb"))


def test_json_is_one_object(tmp_path, monkeypatch, capsys, numbers):
    monkeypatch.setattr(command, "profile", lambda *_: numbers)
    assert cli.main(["profile", "ppo", "CartPole-v1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == numbers


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ("algorithm", "environment", "jaxrl profile ppo")),
        (["ppo"], ("algorithm", "environment")),
        (["pp", "CartPole-v1"], ("pp", "ppo")),
        (["ppo", "CartPole-v2"], ("CartPole-v2", "CartPole-v1")),
        (["ppo", "CartPole-v1", "--updates", "0"], ("updates = 0", "at least 1")),
        (["ppo", "CartPole-v1", "--operations", "-1"], ("operations = -1", "at least 0")),
        (["ppo", "CartPole-v1", "--update", "3"], ("--update", "--updates")),
        (["ppo", "CartPole-v1", "--seeds", "0"], ("seeds = 0",)),
        (["ppo", "CartPole-v1", "--config.num-minibatches", "3"], ("num_minibatches", "512")),
        (["ppo", "CartPole-v1", "--hp.total-updates", "3"], ("--hp.total-updates", "leave it out")),
        (["ppo", "CartPole-v1", "--out", __file__], ("test_profile.py", "exists")),
    ],
)
def test_bad_input_is_reported_in_one_line(argv, words, capsys):
    assert cli.main(["profile", *argv]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("jaxrl: error: ") and errors.count("\n") == 1
    assert all(word in errors for word in words), errors


def test_an_update_too_long_to_trace_is_refused(monkeypatch):
    monkeypatch.setattr(measure, "TOO_MANY_EVENTS", 50)
    program = hlo.parse(TEXT)
    with pytest.raises(ValueError, match="fewer steps"):
        measure.measure(None, program, 1, None)
