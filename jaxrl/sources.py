"""Python files as modules: `./my_ppo.py` and `./my_env.py:walk`, wherever a name is taken.

A file is read once. From then on it goes by a name that holds a hash of its content, `my_ppo@3f9a1c2b7d10` or
`my_env:walk@9b0c41d2e8aa`: the same code in every process, whatever happens to the file, and two versions
of a file are two modules. A folder whose records hold such a name also holds a copy of the file (`keep`,
`remember`). Only the file itself is copied, so it may import installed packages but no files beside it.
"""

import ast
import contextlib
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

from jaxrl import files

FOLDER = "source"  # of the copies, in the folder of a run or a study
_DIGITS = 12  # of the hash, in a name
_FILE = re.compile(r"(.*\.py)(?::(\w*))?", re.DOTALL)
_NAME = re.compile(rf"[\w-]+(?::\w+)?@[0-9a-f]{{{_DIGITS}}}")


class Source(NamedTuple):
    """The content of a file.

    Attributes:
      path: where it was read: the file that was named, or a copy.
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


class _Copy(NamedTuple):
    path: Path
    original: Path
    sha256: str


_sources: dict[str, Source] = {}  # by name, as soon as they are read
_copies: dict[str, _Copy] = {}  # by name, of the folders that were opened
_modules: dict[str, ModuleType] = {}  # by SHA-256


def is_file(word: str) -> bool:
    """Whether a word names a Python file, and perhaps a function in it: `./my_env.py:walk`."""
    return bool(_FILE.fullmatch(word))


def is_name(word: str) -> bool:
    """Whether a word is the name of a file's content: `my_env:walk@9b0c41d2e8aa`."""
    return bool(_NAME.fullmatch(word))


def shown(name: str) -> str:
    """A name as people read it, without hashes: `my_env:walk`. Other names stay as they are."""
    return re.sub(rf"(?<=\w)@[0-9a-f]{{{_DIGITS}}}\b", "", name)


def named(word: str) -> str:
    """The name of a file's content; the file is read. Any other word stays as it is.

    Raises:
      ValueError: there is no such file, or its name has other characters than letters, digits, _ and -.
    """
    matched = _FILE.fullmatch(word)
    if not matched:
        return word
    path = Path(matched[1])
    try:
        source = Source(path, path.absolute(), matched[2] or "", path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path}: no such file; `jaxrl new` writes one to start from") from None
    if not is_name(source.name):
        raise ValueError(f"{path}: the name of the file may hold letters, digits, _ and - only; rename it")
    return _sources.setdefault(source.name, source).name


def source(word: str) -> Source:
    """The source of a file or of a name: read by this process already, or from a copy that it knows.

    Raises:
      ValueError: there is none, or the copy was edited.
    """
    name = named(word)
    if name not in _sources:
        if name not in _copies:
            raise ValueError(f"no copy of {shown(name).partition(':')[0]}.py is kept with {name!r}")
        path, original, sha256 = _copies[name]
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ValueError(f"{path} is missing: put the file back whose SHA-256 is {sha256}") from None
        found = Source(path, original, shown(name).partition(":")[2], data)
        if found.sha256 != sha256 or found.name != name:
            raise ValueError(f"{path} was edited: put the file back whose SHA-256 is {sha256}")
        _report_change(found)
        _sources[name] = found
    return _sources[name]


def _report_change(copy: Source) -> None:
    """Logs a warning where the original of a copy exists and is another program now."""
    with contextlib.suppress(OSError):
        if copy.original.read_bytes() != copy.data:
            text = "%s has changed since: %s, the copy that is kept with the run, is used"
            logging.getLogger("jaxrl").warning(text, copy.original, copy.path)


# --- modules -----------------------------------------------------------------------------------------


def load(source: Source) -> ModuleType:
    """The module of a file, whose code runs once per content.

    Raises:
      ValueError: the code cannot be run, with the line, or imports a file beside it.
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
    sys.modules[module.__name__] = module  # where annotations of dataclasses are looked up
    try:
        with _without(path.parent):
            exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
    except Exception as error:
        del sys.modules[module.__name__]
        raise ValueError(told(error) or f"{path}: {error}") from error
    return _modules.setdefault(source.sha256, module)


def _require_alone(source: Source, tree: ast.Module) -> None:
    """Raises ValueError where a file imports one beside it, which would not be copied with it."""
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
    """Whether a package can be imported from elsewhere than `folder`."""
    if package == __name__.partition(".")[0]:
        return True
    with _without(folder):
        finders = [finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec")]
        return any(find(package, None) for find in finders)


@contextlib.contextmanager
def _without(folder: Path) -> Iterator[None]:
    """Keeps Python from importing what is in a folder, as it does for the folder of a script."""
    before = sys.path[:]
    sys.path[:] = [entry for entry in before if Path(entry).resolve() != folder.resolve()]
    try:
        yield
    finally:
        sys.path[:] = before


def function(source: Source, apart_from: str = "") -> Callable:
    """The function that a source names; otherwise `make`, or the only public function of the file.

    Args:
      apart_from: a public function that is there for something else.

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


def told(error: BaseException) -> str:
    """An error that a file's code has caused, as one line with file and line number; "" for others.

    What the library says of its input in a ValueError needs no place, even where the file's code called it.
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
    """Copies every source whose name is in `records`, which JSON can hold, into a folder of a run or study.

    Returns:
      What `remember` takes, by name: the copy in `source/`, its SHA-256, and where the original was.

    Raises:
      ValueError: two of the files have one name.
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
    """Makes the copies in a folder known by name.

    Args:
      kept: what `keep` has returned for that folder.
    """
    for name, about in kept.items():
        path = folder / FOLDER / Path(about["file"]).name
        _copies[name] = _Copy(path, Path(about["original"]), about["sha256"])
