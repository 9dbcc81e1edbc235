"""Values from JSON files as typed dataclasses, with errors of one line that name the file and the field.

    @dataclasses.dataclass(frozen=True)
    class Trial:
        score: float | None
        seeds: tuple[int, ...] = ()

    trial = decode.read_json(path, Trial)   # ValueError: trial.json: seeds[2] must be an integer, not 'x'

A file may be damaged, edited, from another version, or from an untrusted source, so nothing in it is used
before it was checked. A dataclass describes a JSON object: fields without a default are required, and unknown
fields are ignored, so that files of later versions can be read. Conditions on values that types cannot
express are checked in `__post_init__`, which raises ValueError with a whole sentence.

Kinds: dataclasses, `bool`, `int`, `float`, `str`, `None`, `Literal`, unions (also of several dataclasses),
`list[X]`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]`, `dict`, and `Any` for any JSON value. An integer is
valid as a `float`, which it becomes, but `true` is not a number. Integers must have 64 bits, numbers must be
finite, and values of `Any` may be nested `DEEPEST` levels.

This is written by hand rather than built on a package such as msgspec, because that cannot decode unions of
dataclasses, accepts NaN, and its errors contain neither the value nor the key of a dict. It is part of the
library because checkpoints, rows and objective files are.
"""

import codecs
import dataclasses
import functools
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal

from jaxrl import files

DEEPEST = 64  # levels of a value of `Any`
_INTEGERS = 2**63
_NUMBERS = {float: "a number", int: "an integer", bool: "true or false", str: "text", type(None): "null"}


class _Mismatch(Exception):
    """A value that is not of its kind.

    Attributes:
      path: the keys and positions that lead to it, innermost first.
      text: what it must be.
      is_sentence: the text is that of a `__post_init__`, and does not continue the name of the field.
    """

    def __init__(self, text: str, is_sentence: bool = False):
        self.path: list[str | int] = []
        self.text = text
        self.is_sentence = is_sentence

    def within(self, key: str | int) -> "_Mismatch":
        self.path.append(key)
        return self


def decode(data: Any, kind: Any, where: Any, nan: bool = False) -> Any:
    """Parsed JSON (dicts, lists, text, numbers) as the dataclass or other type `kind`.

    Args:
      where: the file, for messages.
      nan: whether numbers may be NaN or infinite.

    Raises:
      ValueError: the data is not of this kind; one line that names the file, the field and the value.
    """
    try:
        return _decode(data, kind, nan)
    except _Mismatch as error:
        place = _place(error.path)
        between = (": " if place else "") if error.is_sentence else " "
        place = place if place or error.is_sentence else "the content"
        raise ValueError(f"{where}: {place}{between}{error.text}") from None


def parse(text: str | bytes, where: Any) -> Any:
    """The value of a JSON text. Raises ValueError, in one line, for other text."""
    try:
        return json.loads(text)
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} is not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"line {error.lineno}: {error.msg}" if error.lineno > 1 else error.msg
    except ValueError:  # an integer of more digits than Python converts
        reason = "a number is too large"
    raise ValueError(f"{where} is not valid JSON ({reason})")


def read_json(path: Path, kind: Any = Any, nan: bool = False, most: int = files.LARGEST) -> Any:
    """The content of a JSON file as `kind`.

    Raises:
      FileNotFoundError, NotADirectoryError: there is no such file.
      ValueError: it is no regular file of at most `most` bytes, no JSON, or not of this kind.
    """
    return decode(parse(files.read(path, most), path), kind, path, nan)


def read_jsonl(path: Path, kind: Any = Any, nan: bool = False, most: int = files.LARGEST) -> list[Any]:
    """The lines of a file of JSON lines, each as `kind`. Raises as `read_json` does, and names the line."""
    lines = files.read(path, most).removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").split(b"\n")
    if lines == [b""]:
        return []
    named = ((f"{path}, line {number}", line) for number, line in enumerate(lines, 1))
    return [decode(parse(line, where), kind, where, nan) for where, line in named]


def kind_name(kind: Any) -> str:
    """What a value of a kind is called in messages: `a number or null`."""
    if _is_union(kind):
        names = list(dict.fromkeys(map(kind_name, typing.get_args(kind))))
        return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if typing.get_origin(kind) is Literal:
        allowed = typing.get_args(kind)
        return "one of " + ", ".join(map(str, allowed)) if len(allowed) > 1 else repr(allowed[0])
    kind = typing.get_origin(kind) or kind
    if kind in _NUMBERS or kind is None:
        return _NUMBERS[kind or type(None)]
    return "a list" if kind in (list, tuple) else "an object"


def _decode(data: Any, kind: Any, nan: bool) -> Any:
    if kind is Any:
        _require_plain(data, nan, DEEPEST)
        return data
    if _is_union(kind):
        return _decode_union(data, kind, nan)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if any(type(data) is type(one) and data == one for one in arguments):
            return data
    elif kind is float and type(data) in (int, float):
        return _finite(data, nan)
    elif kind is int and type(data) is int:
        if -_INTEGERS <= data < _INTEGERS:
            return data
        raise _Mismatch(f"must be an integer of 64 bits, not {_short(data)}")
    elif kind in (bool, str) and type(data) is kind:
        return data
    elif kind in (None, type(None)) and data is None:
        return None
    elif (origin or kind) in (list, tuple) and isinstance(data, list | tuple):
        return _decode_list(data, origin or kind, arguments, nan)
    elif (origin or kind) is dict and isinstance(data, dict):
        inner = arguments[1] if arguments else Any
        return {_key(key): _inside(key, value, inner, nan) for key, value in data.items()}
    elif dataclasses.is_dataclass(kind) and isinstance(data, dict):
        return _decode_fields(data, kind, nan)
    raise _Mismatch(f"must be {kind_name(kind)}, not {_short(data)}")


def _inside(key: str | int, value: Any, kind: Any, nan: bool) -> Any:
    """The decoded value of a key or a position."""
    try:
        return _decode(value, kind, nan)
    except _Mismatch as error:
        raise error.within(key) from None


def _decode_list(data: Any, origin: type, arguments: tuple, nan: bool) -> Any:
    if origin is tuple and arguments and arguments[-1] is not ...:
        if len(data) != len(arguments):
            raise _Mismatch(f"must be a list of {len(arguments)} values, not {_short(data)}")
        pairs = zip(data, arguments, strict=True)
        return tuple(_inside(i, value, kind, nan) for i, (value, kind) in enumerate(pairs))
    kind = arguments[0] if arguments else Any
    if _all_finite(data, kind):  # rows have thousands of numbers
        return origin(data)
    return origin(_inside(i, value, kind, nan) for i, value in enumerate(data))


def _all_finite(data: Any, kind: Any) -> bool:
    """Whether all values are floats, or None where that is valid, which need no conversion."""
    if kind is not float and not (_is_union(kind) and float in typing.get_args(kind)):
        return False
    numbers = [x for x in data if x is not None] if _allows_none(kind) else data
    return set(map(type, numbers)) <= {float} and all(map(math.isfinite, numbers))


def _decode_fields(data: dict, kind: Any, nan: bool) -> Any:
    values = {}
    for name, (inner, required) in _fields(kind).items():
        if name in data:
            values[name] = _inside(name, data[name], inner, nan)
        elif required:
            raise _Mismatch("is missing").within(name)
    try:
        return kind(**values)
    except ValueError as error:
        raise _Mismatch(str(error), is_sentence=True) from None


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The kinds of the fields of a dataclass, and whether they are required."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    fields = [field for field in dataclasses.fields(kind) if field.init]
    return {f.name: (hints[f.name], f.default is missing and f.default_factory is missing) for f in fields}


def _decode_union(data: Any, kind: Any, nan: bool) -> Any:
    kinds = typing.get_args(kind)
    if type(data) is int and int in kinds:
        kinds = (int,)
    errors = []
    for one in kinds:
        try:
            return _decode(data, one, nan)
        except _Mismatch as error:
            errors.append((error, one))
    # Of these kinds, the value is one with an error inside.
    inner = [(error, one) for error, one in errors if error.path or error.is_sentence]
    if not inner:
        raise _Mismatch(f"must be {kind_name(kind)}, not {_short(data)}")
    raise max(inner, key=lambda pair: _shared(data, pair[1]))[0]


def _shared(data: Any, kind: Any) -> int:
    """How many fields of an object are those of a dataclass."""
    is_object = isinstance(kind, type) and dataclasses.is_dataclass(kind)
    return len(data.keys() & _fields(kind).keys()) if is_object else 0


def _require_plain(data: Any, nan: bool, deepest: int) -> None:
    """Checks the numbers and the depth of a value of `Any`."""
    if isinstance(data, float | int):
        if not isinstance(data, bool):
            _decode(data, type(data), nan)
    elif isinstance(data, dict | list | tuple):
        if not deepest:
            raise _Mismatch("is nested too deeply")
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            try:
                _require_plain(value, nan, deepest - 1)
            except _Mismatch as error:
                raise error.within(key) from None


def _finite(data: float, nan: bool) -> float:
    try:
        number = float(data)
    except OverflowError:
        number = math.inf
        nan = False
    if math.isfinite(number) or nan:
        return number
    raise _Mismatch(f"must be a finite number, not {_short(data)}")


def _key(key: Any) -> str:
    if not isinstance(key, str):  # of data that is no JSON
        raise _Mismatch(f"must have text as keys, not {_short(key)}")
    return key


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _allows_none(kind: Any) -> bool:
    return _is_union(kind) and type(None) in typing.get_args(kind)


def _place(path: list[str | int]) -> str:
    """`trials[3].score`; keys with other characters are quoted."""
    words: list[str] = []
    for key in reversed(path):
        if isinstance(key, int):
            words.append(f"[{key}]")
        else:
            plain = key.replace("/", "").replace("-", "").replace(".", "").isidentifier()
            words.append("." * bool(words) + (key if plain and len(key) < 60 else _short(key)))
    return "".join(words)


def _short(value: Any) -> str:
    if isinstance(value, dict | list | tuple) and value:
        return "an object" if isinstance(value, dict) else f"a list of {len(value)} values"
    if isinstance(value, int) and abs(value) >= 10**40:  # Python converts only some digits to text
        return "an integer of more than 40 digits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
