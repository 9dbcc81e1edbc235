"""The typed decoder of JSON files: what it accepts, and the one line for everything else."""

import dataclasses
import json
import math
import os
from typing import Any, Literal

import pytest

from jaxrl import decode, files


@dataclasses.dataclass(frozen=True)
class Trial:
    trial: int
    score: float | None
    kind: Literal["grid", "asha"] = "grid"
    seeds: tuple[int, ...] = ()
    values: dict[str, int | float | str] = dataclasses.field(default_factory=dict)
    span: tuple[float, float] | None = None
    curve: list[float | None] = dataclasses.field(default_factory=list)
    about: Any = None

    def __post_init__(self):
        if self.trial < 0:
            raise ValueError("trial is negative")


@dataclasses.dataclass(frozen=True)
class Confirm:
    confirms: int | Literal["members"]
    score: float


@dataclasses.dataclass(frozen=True)
class Study:
    trials: tuple[Trial | Confirm, ...]
    best: Trial | None = None


def nested(depth: int) -> list:
    inner: list = []
    for _ in range(depth):
        inner = [inner]
    return inner


def test_valid_data_is_converted():
    data = {"trial": 3, "score": 2, "seeds": [0, 1], "span": [0, 1.5], "values": {"a": 1, "b": 0.5}}
    trial = decode.decode(data | {"curve": [1, None, 2.5], "of a later version": 1}, Trial, "f")
    assert trial == Trial(
        3, 2.0, seeds=(0, 1), values=data["values"], span=(0.0, 1.5), curve=[1.0, None, 2.5]
    )
    assert type(trial.score) is float and type(trial.curve[0]) is float and type(trial.values["a"]) is int
    study = decode.decode({"trials": [data, {"confirms": "members", "score": 1}], "best": None}, Study, "f")
    assert [type(one) for one in study.trials] == [Trial, Confirm]
    assert decode.decode([1, {"a": [None, True]}], Any, "f") == [1, {"a": [None, True]}]
    assert math.isnan(decode.decode({"trial": 0, "score": math.nan}, Trial, "f", nan=True).score)


WRONG = {
    "the content must be an object, not a list of 1 values": [1],
    "the content must be an object, not None": None,
    "score is missing": {"trial": 1},
    "trial must be an integer, not 'x\\n\\x1b[2J'": {"trial": "x\n\x1b[2J", "score": 1},
    "trial must be an integer, not 1.0": {"trial": 1.0, "score": 1},
    "trial must be an integer, not True": {"trial": True, "score": 1},
    "trial must be an integer of 64 bits, not 9223372036854775808": {"trial": 2**63, "score": 1},
    "trial is negative": {"trial": -1, "score": 1},
    "score must be a number or null, not 'x'": {"trial": 1, "score": "x"},
    "score must be a number or null, not nan": {"trial": 1, "score": math.nan},
    "score must be a number or null, not inf": {"trial": 1, "score": json.loads("1e999")},
    "score must be a number or null, not an integer of more than 40 digits": {"trial": 1, "score": 10**400},
    "kind must be one of grid, asha, not 'x'": {"trial": 1, "score": 1, "kind": "x"},
    "seeds[1] must be an integer, not None": {"trial": 1, "score": 1, "seeds": [1, None]},
    "seeds must be a list, not an object": {"trial": 1, "score": 1, "seeds": {"0": 1}},
    "span must be a list or null, not a list of 3 values": {"trial": 1, "score": 1, "span": [1, 2, 3]},
    "span[1] must be a number, not 'x'": {"trial": 1, "score": 1, "span": [1, "x"]},
    "curve[2] must be a number or null, not inf": {"trial": 1, "score": 1, "curve": [1.0, 2.0, math.inf]},
    "values.hp.lr must be an integer, a number or text, not None": {
        "trial": 1,
        "score": 1,
        "values": {"hp.lr": None},
    },
    "values.'a b' must be an integer, a number or text, not an object": {
        "trial": 1,
        "score": 1,
        "values": {"a b": {"c": 1}},
    },
    "about.a[0] must be a finite number, not nan": {"trial": 1, "score": 1, "about": {"a": [math.nan]}},
}


@pytest.mark.parametrize("text", WRONG)
def test_invalid_data_is_named_in_one_line(text):
    with pytest.raises(ValueError) as error:
        decode.decode(WRONG[text], Trial, "runs/sweep.json")
    assert str(error.value) == f"runs/sweep.json: {text}"


def test_errors_inside_a_union_name_the_field():
    whole = {"trial": 1, "score": 1}
    for data, text in (
        (
            {"trials": [whole, {"trial": 1, "score": "x"}]},
            "trials[1].score must be a number or null, not 'x'",
        ),
        ({"trials": [{"confirms": 1, "score": None}]}, "trials[0].score must be a number, not None"),
        ({"trials": [[]]}, "trials[0] must be an object, not []"),
        ({"trials": [whole], "best": {"trial": 1}}, "best.score is missing"),
        ({"trials": [{"trial": -1, "score": 1}]}, "trials[0]: trial is negative"),
    ):
        with pytest.raises(ValueError) as error:
            decode.decode(data, Study, "f.json")
        assert str(error.value) == f"f.json: {text}"


def test_depth_is_limited():
    with pytest.raises(ValueError, match=r"^f: (about)?(\[0\]|\.|about)* is nested too deeply$"):
        decode.decode({"trial": 1, "score": 1, "about": nested(500)}, Trial, "f")
    with pytest.raises(ValueError, match=r"^f: score must be a number or null, not a list of 1 values$"):
        decode.decode({"trial": 1, "score": nested(5000)}, Trial, "f")
    with pytest.raises(ValueError, match=r"^f is not valid JSON \(it is nested too deeply\)$"):
        decode.parse("[" * 100_000 + "]" * 100_000, "f")


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"{}\n}", "line 2: Extra data"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8"),
        (b"1" * 5000, "a number is too large"),
    ],
)
def test_text_that_is_not_json(tmp_path, data, reason):
    (tmp_path / "f.json").write_bytes(data)
    with pytest.raises(ValueError) as error:
        decode.read_json(tmp_path / "f.json", Trial)
    assert str(error.value).startswith(f"{tmp_path / 'f.json'} is not valid JSON ({reason}")
    assert "\n" not in str(error.value)


def test_lines_are_read_and_named(tmp_path):
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"confirms": 1, "score": 2}\r\n{"confirms": "members", "score": 0.5}\n')
    assert decode.read_jsonl(path, Confirm) == [Confirm(1, 2.0), Confirm("members", 0.5)]
    path.write_text("")
    assert decode.read_jsonl(path, Confirm) == []
    path.write_text('{"confirms": 1, "score": 2}\n\n')
    with pytest.raises(ValueError, match=r"f.jsonl, line 2 is not valid JSON \(Expecting value"):
        decode.read_jsonl(path, Confirm)
    path.write_text('{"confirms": 1, "score": 2}\n{"confirms": 1, "score": NaN}\n')
    with pytest.raises(ValueError, match=r"f.jsonl, line 2: score must be a finite number, not nan$"):
        decode.read_jsonl(path, Confirm)


def test_only_regular_files_of_limited_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match=f"^{path} is not a regular file$"):
            decode.read_json(path)
    (tmp_path / "large").write_bytes(b" " * 11)
    with pytest.raises(ValueError, match="large is too large"):
        files.read(tmp_path / "large", most=10)
    assert files.read(tmp_path / "large", most=11) == b" " * 11
    with pytest.raises(IsADirectoryError):
        files.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        decode.read_json(tmp_path / "missing.json", Trial)
