"""Python files as modules: `./my_ppo.py` and `./my_env.py:walk` can be given wherever a name can.

A file is read once. Then it is identified by a name with a hash of its content, `my_ppo@3f9a1c2b7d10` or
`my_env:walk@9b0c41d2e8aa`: every process uses the same code, even if the file changes, and two versions of a
file are two modules. A folder whose records contain such a name also contains a copy of the file (`keep`,
`remember`). Only the file itself is copied, so it may import installed packages but no files in its folder.
"""

import ast
import contextlib
import dataclasses
import hashlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from jaxrl import decode, files

FOLDER = "source"  # of the copies, in the folder of a run or a study
LARGEST = 2**24  # bytes of a Python file
_DIGITS = 12  # of the hash, in a name
_FILE = re.compile(r"(.*\.py)(?::(\w*))?", re.DOTALL)
_NAME = re.compile(rf"[\w-]+(?::\w+)?@[0-9a-f]{{{_DIGITS}}}")


class Source(NamedTuple):
    """The content of a file.

    Attributes:
      path: where it was read: the given file, or a copy.
      original: where the file was when it was first read, absolute.
      function: the name after the colon, "" if there was none.
    """

    path: Path
    original: Path
    function: str
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def name(self) -> str:
        """`my_env:walk@9b0c41d2e8aa`."""
        function = f":{self.function}" if self.function else ""
        return f"{self.path.stem}{function}@{self.sha256[:_DIGITS]}"


@dataclasses.dataclass(frozen=True)
class Kept:
    """What the records of a run or a study say about the copy of a file."""

    file: str
    original: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class _Sources:
    sources: dict[str, Kept]


class _Copy(NamedTuple):
    path: Path
    original: Path
    sha256: str


_sources: dict[str, Source] = {}  # by name, after they are read
_copies: dict[str, _Copy] = {}  # by name, of the folders that were opened
_modules: dict[str, ModuleType] = {}  # by SHA-256


def is_file(word: str) -> bool:
    """Whether a word is a Python file, optionally with a function in it: `./my_env.py:walk`."""
    return bool(_FILE.fullmatch(word))


def is_name(word: str) -> bool:
    """Whether a word is the name of a file's content: `my_env:walk@9b0c41d2e8aa`."""
    return bool(_NAME.fullmatch(word))


def shown(name: str) -> str:
    """A name for display, without hashes: `my_env:walk`. Other names are unchanged."""
    return re.sub(rf"(?<=\w)@[0-9a-f]{{{_DIGITS}}}\b", "", name)


def named(word: str) -> str:
    """The name of a file's content; reads the file. Any other word is returned unchanged.

    Raises:
      ValueError: there is no such file, or its name has other characters than letters, digits, _ and -.
    """
    matched = _FILE.fullmatch(word)
    if not matched:
        return word
    path = Path(matched[1])
    try:
        source = Source(path, path.absolute(), matched[2] or "", files.read(path, LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path}: no such file; `jaxrl new` writes one to start from") from None
    if not is_name(source.name):
        raise ValueError(f"{path}: the name of the file may contain only letters, digits, _ and -; rename it")
    _sources[source.name] = source  # of several files with this content, the one that was given last
    return source.name


def source(word: str) -> Source:
    """The source of a file or of a name: one that was read before, or a registered copy.

    Raises:
      ValueError: there is none, or the copy was edited.
    """
    name = named(word)
    if name not in _sources:
        if name not in _copies:
            raise ValueError(f"no copy of {shown(name).partition(':')[0]}.py is kept with {name!r}")
        path, original, sha256 = _copies[name]
        try:
            data = files.read(path, LARGEST)
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: put the file back whose SHA-256 is {sha256}") from None
        found = Source(path, original, shown(name).partition(":")[2], data)
        if found.sha256 != sha256 or found.name != name:
            raise ValueError(f"{path} was edited: put the file back whose SHA-256 is {sha256}")
        _report_change(found)
        _sources[name] = found
    return _sources[name]


def _report_change(copy: Source) -> None:
    """Logs a warning if the original of a copy exists and its code has changed."""
    with contextlib.suppress(OSError, ValueError):
        if files.read(copy.original, LARGEST) != copy.data:
            text = "%s has changed since: %s, the copy that is kept with the run, is used"
            logging.getLogger("jaxrl").warning(text, copy.original, copy.path)


# --- modules -----------------------------------------------------------------------------------------


def load(source: Source) -> ModuleType:
    """The module of a file; the code runs once per content.

    Raises:
      ValueError: the code fails, with the line, or imports a file in its folder.
    """
    if source.sha256 in _modules:
        return _modules[source.sha256]
    path = source.path
    try:
        tree = ast.parse(source.data, str(path))
    except SyntaxError as error:
        raise ValueError(f"{path}, line {error.lineno}: {error.msg}") from error
    _require_alone(source, tree)
    module = ModuleType(f"{path.stem}@{source.sha256[:_DIGITS]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up annotations there
    try:
        with _without(path.parent):
            exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        raise ValueError(in_one_line(error) or f"{path}: {error}") from error
    return _modules.setdefault(source.sha256, module)


def _require_alone(source: Source, tree: ast.Module) -> None:
    """Raises ValueError if a file imports another one in its folder, which would not be copied."""
    folder = source.original.parent
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            beside = not top or (folder / f"{top}.py").exists() or (folder / top).is_dir()
            if beside and not (top and _installed(top, folder)):
                raise ValueError(
                    f"{source.path}, line {node.lineno}: it imports {name}, which is beside it, but only the "
                    "file itself is kept with a run: put both into one file, or install that as a package"
                )


def _installed(package: str, folder: Path) -> bool:
    """Whether a package can be imported from a place other than `folder`."""
    if package == __name__.partition(".")[0]:
        return True
    with _without(folder):
        finders = [finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec")]
        return any(find(package, None) for find in finders)


@contextlib.contextmanager
def _without(folder: Path) -> Iterator[None]:
    """Prevents imports from a folder, which Python allows for the folder of a script."""
    before = sys.path[:]
    sys.path[:] = [entry for entry in before if Path(entry).resolve() != folder.resolve()]
    try:
        yield
    finally:
        sys.path[:] = before


def function(source: Source, apart_from: str = "") -> Callable:
    """The function that a source specifies; otherwise `make`, or the only public function of the file.

    Args:
      apart_from: a public function with another purpose, which is ignored.

    Raises:
      ValueError: there is none, or there are several.
    """
    module = load(source)
    functions = {name: value for name, value in vars(module).items() if isinstance(value, FunctionType)}
    public = [name for name, value in functions.items() if value.__module__ == module.__name__]
    public = [name for name in public if not name.startswith("_") and name != apart_from]
    there = f"it has {', '.join(public)}" if public else "it has no public functions"
    if source.function:
        if not callable(getattr(module, source.function, None)):
            raise ValueError(f"{source.path} has no function {source.function!r}; {there}")
        return getattr(module, source.function)
    if "make" in public or len(public) == 1:
        return functions["make" if "make" in public else public[0]]
    remedy = f": say which one, as {source.path}:{public[0]}" if public else ""
    raise ValueError(f"{source.path} needs one public function, or one called make; {there}{remedy}")


def in_one_line(error: BaseException) -> str:
    """An error caused by the code of a file, as one line with file and line number; "" for other errors.

    A ValueError of the library about its input needs no line, even if the file's code called the library.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    names = [frame.f_globals.get("__name__", "") for frame, _ in frames]
    at = [place for place, name in zip(frames, names) if _NAME.fullmatch(name)]
    library = names and names[-1].partition(".")[0] == __name__.partition(".")[0]
    if not at or (library and isinstance(error, ValueError | OSError)):
        return ""
    (frame, line), text = at[-1], " ".join(str(error).split())
    text = text if len(text) < 300 else f"{text[:300]} ..."
    return f"{frame.f_code.co_filename}, line {line}: {type(error).__name__}: {text}"


# --- copies ------------------------------------------------------------------------------------------


def keep(folder: Path, records: Any) -> dict[str, dict[str, str]]:
    """Copies every source whose name is in `records`, JSON values, into a folder of a run or study.

    Returns:
      The argument of `remember`, by name: the copy in `source/`, its SHA-256, and the path of the original.

    Raises:
      ValueError: two of the files have the same name.
    """
    text = json.dumps(records, ensure_ascii=False)
    found = {name: source(name) for name in {**_sources, **_copies} if name in text}
    kept: dict[str, Source] = {}
    for one in found.values():
        if kept.setdefault(one.path.name, one).data != one.data:
            raise ValueError(f"two different files are called {one.path.name}: rename one of them")
    for file, one in kept.items():
        (folder / FOLDER).mkdir(exist_ok=True)
        files.replace(folder / FOLDER / file, one.data)
    return {
        name: {"file": one.path.name, "sha256": one.sha256, "original": str(one.original)}
        for name, one in found.items()
    }


def remember(folder: Path, kept: dict[str, dict[str, str]]) -> None:
    """Registers the copies in a folder by name.

    Args:
      kept: the result of `keep` for that folder, from a file.

    Raises:
      ValueError: it is not such a result.
    """
    for name, about in decode.decode({"sources": kept}, _Sources, folder).sources.items():
        path = folder / FOLDER / Path(about.file).name
        _copies[name] = _Copy(path, Path(about.original), about.sha256)
