"""Checkpoints: the whole state of a run on disk, so that stopping and resuming does not change the result.

    directory/
      step_00000010/
        arrays/          the leaves of the state, written by orbax, numbered in the tree's order
        metadata.json    the caller's metadata, the score, the leaves' names, dtypes and shapes
        checksums.txt    SHA-256 of every other file; `sha256sum -c checksums.txt` reads it too

A checkpoint is written to a temporary folder, flushed and then renamed, so that it is either complete
or absent, even if the process is killed or the disk fills up. Orbax guarantees the same for the files
that it writes, but it does not detect every flipped bit, and does not store metadata and scores; hence the
additional checksums and rename. A directory belongs to one run and to one writing process.

    >>> import tempfile, jax, jax.numpy as jnp
    >>> directory = tempfile.mkdtemp()
    >>> state = {"params": jnp.ones(3), "key": jax.random.key(0)}
    >>> folder = save(directory, 10, state, {"config": {"num_envs": 8}}, score=1.5)
    >>> steps(directory), latest(directory), best(directory)
    ([10], 10, 10)
    >>> state, metadata = restore(directory, target=jax.eval_shape(lambda: state))
    >>> metadata
    {'config': {'num_envs': 8}}
    >>> restore(directory, state, metadata={"config": {"num_envs": 4}})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    jaxrl.checkpoint.CheckpointError: ... was made with config.num_envs = 8, not 4: ...
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import files, hosts
from jaxrl.types import PyTree

_FORMAT = 1
_ARRAYS, _METADATA, _CHECKSUMS = "arrays", "metadata.json", "checksums.txt"
_ORBAX = "orbax-checkpoint"


class CheckpointError(ValueError):
    """A checkpoint cannot be written, found, read or used; one sentence with the remedy."""


def save(
    directory: str | os.PathLike,
    step: int,
    state: PyTree,
    metadata: dict | None = None,
    *,
    keep: int = 3,
    score: float | None = None,
) -> Path:
    """Write `state` as the checkpoint of `step`, then delete old ones.

    Returns when the checkpoint is safely on disk, so the buffers of `state` may be donated next.
    After a kill or an error all earlier checkpoints still exist; the next save removes leftover files.

    Args:
      directory: a folder for this run alone, created if it is missing.
      step: for example `num_updates`; not smaller than the latest step in `directory`. Writing the latest
        step again replaces it.
      state: any pytree of arrays and typed keys of any shape, `[P, ...]` for a population.
      metadata: JSON values, which may also contain dataclasses, NamedTuples and arrays.
      keep: how many of the last checkpoints to keep, in addition to the one with the best score.
      score: larger is better; `None` and NaN are never the best. Of equal scores the later step is the best.

    Returns:
      The checkpoint's folder.

    Raises:
      CheckpointError: the folder cannot be written, the disk is full, `directory` holds a later
        step, or a leaf or a value in `metadata` is of a type that cannot be saved.
    """
    step = int(step)  # may be an array, such as `state.num_updates`
    if step < 0 or keep < 1:
        raise CheckpointError(f"step = {step} must be at least 0 and keep = {keep} at least 1")
    directory = Path(directory).absolute()
    last = hosts.by_leader(lambda: latest(directory))
    if last is not None and last > step:
        raise CheckpointError(
            f"{directory} holds a checkpoint of step {last}, later than the step {step} to be "
            f"saved: delete the later ones to go on from here, or save in another directory"
        )
    leaves, arrays = _to_arrays(state)
    record = {
        "format": _FORMAT,
        "step": step,
        "score": None if score is None else float(score),
        "metadata": _plain(metadata or {}, "metadata"),
        "leaves": leaves,
        "orbax": version(_ORBAX),
    }

    folder, old = directory / f"step_{step:08d}", directory / f"step_{step:08d}.old"
    temporary = directory / f".tmp_{step}_{hosts.by_leader(os.getpid)}"

    def begin():
        directory.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        _require_room(directory, arrays)
        temporary.mkdir()

    def write():
        if arrays:  # orbax does not accept an empty tree
            from orbax.checkpoint import v1 as ocp

            with _quiet(), _plain_path(temporary) as place:
                ocp.save(place / _ARRAYS, arrays)

    def finish():
        (temporary / _METADATA).write_text(json.dumps(record, indent=1))
        (temporary / _CHECKSUMS).write_bytes(_checksums(temporary, flush=True))
        files.flush(temporary / _CHECKSUMS)
        files.flush(temporary)
        # A folder cannot be replaced by another atomically. In between, the renamed old one is
        # the checkpoint: see `_folders`.
        if folder.exists():
            _discard(old)
            folder.rename(old)
        temporary.rename(folder)
        files.flush(directory)
        _discard(old)
        _prune(directory, keep)

    try:
        hosts.by_leader(begin)
        hosts.together(write)
        hosts.by_leader(finish)
    except Exception as error:
        raise CheckpointError(
            f"cannot save step {step} in {directory} ({_reason(error)}): the earlier checkpoints "
            f"are untouched; make room or give a folder that can be written"
        ) from error
    finally:
        if hosts.leads():
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def restore(
    directory: str | os.PathLike,
    target: PyTree,
    step: int | None = None,
    metadata: dict | None = None,
    *,
    sharding: Any = None,
) -> tuple[PyTree, dict]:
    """Read a checkpoint back, bit for bit.

    The leaves are strongly typed and uncommitted like those of a newly computed state, so that functions
    are not compiled again for a restored state.

    Args:
      directory: the folder given to `save`.
      target: the state's tree of shapes and dtypes: `jax.eval_shape(algo.init, key, hp)`.
      step: of the checkpoint; the latest if `None`. If that is damaged, the previous one is not used instead.
      metadata: what is expected. Only its top-level keys are compared, each of them fully, so
        `{"config": config}` requires the same configuration and nothing else.
      sharding: of the leaves, as for `jax.device_put`: a `Sharding` or a prefix of the
        tree; for a typed key it applies to the key data. The default device if `None`.

    Returns:
      `(state, metadata)`, the metadata as plain JSON values.

    Raises:
      CheckpointError: there is no such checkpoint, a file of it was changed or is missing, its folder
        was renamed from another step, or `target` or `metadata` differ from what was saved.
    """
    folder = _find(directory, hosts.by_leader(lambda: latest(directory)) if step is None else step)
    if damage := hosts.by_leader(lambda: _damage(folder)):
        raise CheckpointError(f"{damage}: {_other(folder)}")
    record = _record(folder)
    _compare_metadata(folder, record["metadata"], _plain(metadata or {}, "metadata"))

    target = jax.eval_shape(lambda tree: tree, target)  # the target may also consist of arrays
    index = _compare_leaves(folder, record["leaves"], target)
    treedef = jax.tree.structure(target)
    structs = [
        jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
        for leaf in jax.tree.leaves(target)
    ]
    wanted: list[Any]
    if hosts.several():  # each process reads only its shards
        where = jax.tree.leaves(jax.tree.broadcast(sharding, target))
        wanted = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s) for x, s in zip(structs, where)]
    else:  # orbax restores a NumPy array for a NumPy array
        wanted = [np.broadcast_to(np.zeros((), x.dtype), x.shape) for x in structs]
    stored = _read_arrays(folder, record, {str(i): x for i, x in zip(index, wanted) if x.size})
    leaves = [
        stored[str(i)] if struct.size else np.zeros(struct.shape, struct.dtype)
        for i, struct in zip(index, structs)
    ]
    placed = (hosts.place if hosts.several() else jax.device_put)(treedef.unflatten(leaves), sharding)
    return jax.tree.map(_like, target, placed), record["metadata"]


def read_metadata(directory: str | os.PathLike, step: int | None = None) -> dict:
    """The metadata of a checkpoint (the latest if `step` is `None`), for which no target is needed.

    A configuration in it determines the algorithm, and with it the target for `restore`.

    Raises:
      CheckpointError: there is no such checkpoint, or its metadata was changed.
    """
    return _record(_find(directory, step))["metadata"]


def steps(directory: str | os.PathLike) -> list[int]:
    """The steps of the checkpoints in `directory`, in increasing order; `[]` if it is missing."""
    return sorted(_folders(directory))


def latest(directory: str | os.PathLike) -> int | None:
    """The largest step of a checkpoint in `directory`, or `None`."""
    return max(_folders(directory), default=None)


def best(directory: str | os.PathLike) -> int | None:
    """The step with the largest score among the existing ones, or `None` if none has a score.

    Raises:
      CheckpointError: a score cannot be read.
    """
    return _best({step: _record(path)["score"] for step, path in _folders(directory).items()})


# Folders.


def _folders(directory) -> dict[int, Path]:
    """Folders by step. A renamed one (`.old`) counts until the folder that replaces it has its final name."""
    found = {}
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(Path(directory).absolute().iterdir(), reverse=True):
            match = re.fullmatch(r"step_(\d+)(\.old)?", path.name)
            if match and path.is_dir():
                found[int(match[1])] = path  # `step_1` comes after `step_1.old`, and has priority
    return found


def _find(directory, step) -> Path:
    directory, folders = Path(directory).absolute(), _folders(directory)
    if not folders:
        what = "it holds no folder step_*" if directory.is_dir() else "there is no such folder"
        raise CheckpointError(f"no checkpoint in {directory}: {what}, name one that save was given")
    step = max(folders) if step is None else step
    if step not in folders:
        raise CheckpointError(f"no checkpoint of step {step} in {directory}: choose one of {sorted(folders)}")
    return folders[step]


def _step(folder: Path) -> int:
    """The step in the name of a checkpoint's folder."""
    return int(re.match(r"step_(\d+)", folder.name)[1])  # type: ignore[index]  # other folders have no step


def _discard(path: Path) -> None:
    """Remove a checkpoint. It is renamed first: a kill must not leave an incomplete folder with its name."""
    if path.exists():
        doomed = path.with_name(f".tmp_{path.name}_{os.getpid()}")
        path.rename(doomed)
        doomed.unlink() if doomed.is_symlink() else shutil.rmtree(doomed, ignore_errors=True)


def _sweep(directory: Path) -> None:
    """Remove temporary folders of killed processes, and finish interrupted replacements."""
    for path in directory.glob(".tmp_*"):
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    for path in directory.glob("step_*.old"):
        if path.with_suffix("").exists():
            _discard(path)
        else:
            path.rename(path.with_suffix(""))


def _prune(directory: Path, keep: int) -> None:
    folders, scores = _folders(directory), {}
    for step, path in folders.items():
        with contextlib.suppress(CheckpointError):  # a damaged checkpoint must not stop the run
            scores[step] = _record(path)["score"]
    kept = {*sorted(folders)[-keep:], _best(scores)}
    for step in folders.keys() - kept:
        _discard(folders[step])


def _best(scores: dict[int, float | None]) -> int | None:
    ranked = [(s, step) for step, s in scores.items() if s is not None and not np.isnan(s)]
    return max(ranked)[1] if ranked else None


# Files.


def _require_room(directory: Path, arrays: dict[str, Any]) -> None:
    """Raise before writing what will not fit. Orbax handles a full disk, but prints many tracebacks."""
    needed = sum(array.nbytes + 1024 for array in arrays.values()) + 2**17  # and orbax's metadata
    disk = shutil.disk_usage(directory)
    if disk.total and disk.free < needed:  # some network file systems report a size of 0
        text = f"{os.strerror(errno.ENOSPC)}, {needed / 2**20:.1f} MiB needed"
        raise OSError(errno.ENOSPC, f"{text} and {disk.free / 2**20:.1f} MiB free")


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksums(folder: Path, flush: bool = False) -> bytes:
    """The contents of `checksums.txt`. Hidden files are ignored: the operating system may add them."""
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            if flush:
                files.flush(path)
        elif path.name != _CHECKSUMS and not path.name.startswith("."):
            if flush:
                files.flush(path)
            lines.append(f"{_checksum(path)}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines).encode()


def _damage(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint, or `None`."""
    try:
        said, found = (folder / _CHECKSUMS).read_bytes(), _checksums(folder)
    except OSError as error:
        return f"the checkpoint {folder} is damaged ({_reason(error)})"
    if said == found:
        return None
    said, found = (set(text.decode(errors="replace").splitlines()) for text in (said, found))
    # A line starts with 64 digits and two spaces. Missing files are reported before additional ones.
    names = sorted(line[66:] for line in said - found) or sorted(line[66:] for line in found - said)
    name = names[0] if names else _CHECKSUMS
    if name and name.isprintable() and not (folder / name).exists():
        return f"the checkpoint {folder} is damaged ({name} is missing)"
    return f"the checkpoint {folder} is damaged ({name or _CHECKSUMS} was changed)"


def _other(folder: Path) -> str:
    """The remedy for a damaged checkpoint: another one."""
    folders = _folders(folder.parent)
    for step in sorted(folders, reverse=True):
        other = folders[step]
        if other != folder and _damage(other) is None and _claimed_step(other) == step:
            return f"delete that folder, or restore step {step}, which is whole"
    return "no other checkpoint beside it is whole, so start the run again in another directory"


def _claimed_step(folder: Path) -> int | None:
    """The step in the metadata of a checkpoint whose checksums are correct."""
    try:
        return json.loads((folder / _METADATA).read_bytes())["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _record(folder: Path) -> dict:
    """The contents of `metadata.json`, verified."""
    try:
        line = f"{_checksum(folder / _METADATA)}  {_METADATA}".encode()
        whole = line in (folder / _CHECKSUMS).read_bytes().splitlines()
        record = json.loads((folder / _METADATA).read_bytes()) if whole else None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} is damaged ({_reason(error)}): {_other(folder)}"
        ) from error
    if record is None:
        raise CheckpointError(
            f"the checkpoint {folder} is damaged ({_METADATA} was changed): {_other(folder)}"
        )
    if record["format"] != _FORMAT:
        raise CheckpointError(
            f"the checkpoint {folder} has format {record['format']}, not {_FORMAT}: use the "
            f"version of jaxrl that wrote it"
        )
    found, step = record.get("step"), _step(folder)
    if found != step:
        raise CheckpointError(
            f"{folder} was renamed: it is the checkpoint of step {found}, not of step {step}: "
            f"{_other(folder)}"
        )
    return record


def _read_arrays(folder: Path, record: dict, wanted: dict[str, Any]) -> dict[str, Any]:
    if not wanted:
        return {}
    from orbax.checkpoint import v1 as ocp

    try:
        with _quiet(), _plain_path(folder) as place:
            return ocp.load(place / _ARRAYS, wanted)
    except Exception as error:
        written, here = record.get("orbax"), version(_ORBAX)
        if not (folder / _ARRAYS / "state" / "manifest.ocdbt").exists():
            # Orbax has not merged its files: an earlier version of this module passed the path unchanged.
            reason = "they were saved incompletely, in a folder whose path had characters like [ ] or \\"
            remedy = _other(folder)
        elif written == here:
            reason, remedy = _reason(error), _other(folder)
        else:
            reason, remedy = _reason(error), f"use orbax {written}, which wrote it, instead of {here}"
            if not written:
                remedy = f"use the version of orbax that wrote it instead of {here}"
        raise CheckpointError(
            f"the arrays of {folder} cannot be read ({reason}), though its checksums are right: {remedy}"
        ) from error


def require_path(directory: str | os.PathLike) -> None:
    """Raises CheckpointError if checkpoints could not be saved because of the directory's path."""
    with _plain_path(Path(directory).absolute()):
        pass


@contextlib.contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """A path without special characters that leads to `folder`.

    Orbax finds the parts of a checkpoint with `glob`, so that `[...]`, `*` and `?` in the path are a
    pattern that matches other folders or none; TensorStore reads a backslash as a slash, and `gs:/` as a
    bucket. A symbolic link hides such a path from both. With several processes, which orbax requires to use
    the same path, this is an error: they may run on different machines with different temporary folders.
    """
    plain = re.compile(r"[\w/.,+=@ -]*")
    if plain.fullmatch(str(folder)):
        yield folder
        return
    if hosts.several():
        raise CheckpointError(
            f"several processes cannot save checkpoints in {folder}, because of special characters in its "
            f"path: choose a folder with a plain name"
        )
    with contextlib.ExitStack() as stack:
        for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
            if plain.fullmatch(place) and os.access(place, os.W_OK | os.X_OK):
                home = stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxrl-", dir=place))
                link = Path(home) / "link"
                link.symlink_to(folder, target_is_directory=True)
                yield link
                return
    raise CheckpointError(
        f"checkpoints cannot be saved in {folder}, because of its special characters and because there is "
        f"no temporary folder: choose a folder with a plain name"
    )


@contextlib.contextmanager
def _quiet():
    """Prevent orbax from printing tracebacks of its threads: the error itself is raised anyway."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    disabled, hook = [logger.disabled for logger in loggers], sys.unraisablehook
    for logger in loggers:
        logger.disabled = True
    sys.unraisablehook = lambda arguments: None
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger, was in zip(loggers, disabled):
            logger.disabled = was


def _reason(error: Exception) -> str:
    """A short description of an exception."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = str(error)
    if "No space left on device" in text:  # orbax reports it as a long ValueError
        return "No space left on device"
    return (text.splitlines() or [""])[0][:200] or type(error).__name__


# Leaves.


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _describe(tree: PyTree) -> list[list]:
    """`[name, dtype, shape]` of each leaf."""
    named = jax.tree_util.tree_leaves_with_path(tree)
    return [[f"state{jax.tree_util.keystr(path)}", str(leaf.dtype), list(leaf.shape)] for path, leaf in named]


def _to_arrays(state: PyTree) -> tuple[list[list], dict[str, Any]]:
    """The leaves' descriptions and, by their position, those that have elements."""

    def to_array(path, leaf):
        if isinstance(leaf, jax.Array):
            return leaf
        name = f"state{jax.tree_util.keystr(path)}"
        try:
            array = jnp.asarray(leaf)  # with the dtype that `jit` would give it
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"{name} is a {type(leaf).__name__}, not an array: keep it out of the state"
            ) from error
        if array.dtype != getattr(leaf, "dtype", array.dtype):
            raise CheckpointError(
                f"{name} is {leaf.dtype}, which JAX narrows to {array.dtype}: convert it first"
            )
        return array

    state = jax.tree_util.tree_map_with_path(to_array, state)
    data = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(state)]
    # Orbax does not accept arrays without elements; their shape and dtype in the metadata are sufficient.
    arrays = {str(i): x for i, x in enumerate(data) if x.size}
    if not hosts.several():  # with several processes, each writes its shards
        arrays = {name: np.asarray(x) for name, x in jax.device_get(arrays).items()}
    return _describe(state), arrays


def _like(struct, array: jax.Array) -> jax.Array:
    """The restored leaf: key data is converted back to keys."""
    if not _is_key(struct):
        return array
    impl = []
    jax.eval_shape(lambda key: impl.append(jax.random.key_impl(key)), struct)
    return jax.random.wrap_key_data(array, impl=impl[0])


def _compare_leaves(folder: Path, saved: list[list], target: PyTree) -> list[int]:
    """The position in the checkpoint of each leaf of `target`."""
    positions = {name: i for i, (name, _, _) in enumerate(saved)}
    wanted = _describe(target)
    surplus = [name for name in positions if name not in {name for name, _, _ in wanted}]
    remedy = "restore it with the algorithm, environment and configuration that made it"
    for name, dtype, shape in wanted:
        if name not in positions:
            difference = f"no {name} of {dtype}{shape}"
            break
        _, saved_dtype, saved_shape = saved[positions[name]]
        if (dtype, shape) != (saved_dtype, saved_shape):
            difference = f"{name} of {saved_dtype}{saved_shape}, not {dtype}{shape}"
            break
    else:
        if not surplus:
            return [positions[name] for name, _, _ in wanted]
        difference = f"{surplus[0]}, which the target has not"
    raise CheckpointError(f"the checkpoint {folder} has {difference}: {remedy}")


# Metadata.


def _plain(value: Any, path: str) -> Any:
    """The JSON value that represents `value`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise CheckpointError(
        f"{path} is a {type(value).__name__}, which JSON cannot hold: save its name or its numbers"
    )


def _compare_metadata(folder: Path, saved: dict, expected: dict) -> None:
    different = difference({key: saved[key] for key in expected if key in saved}, expected)
    if different:
        raise CheckpointError(
            f"the checkpoint {folder} was made {different}: ask for what it was made with, or "
            f"start a new run in another directory"
        )


def difference(saved: Any, expected: Any, path: str = "") -> str | None:
    """`with a.b = 1, not 2` for the first difference of two JSON values, or `None`."""
    if isinstance(saved, dict) and isinstance(expected, dict):
        for key in {**expected, **saved}:
            name = f"{path}.{key}" if path else key
            if key not in saved:
                return f"without {name}, not with {name} = {_short(expected[key])}"
            if key not in expected:
                return f"with {name} = {_short(saved[key])}, not without it"
            if different := difference(saved[key], expected[key], name):
                return different
        return None
    if isinstance(saved, list) and isinstance(expected, list) and len(saved) == len(expected):
        items = (difference(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(saved, expected)))
        return next(filter(None, items), None)
    # Their text is compared too, because NaN is not equal to itself.
    same = saved == expected or json.dumps(saved) == json.dumps(expected)
    return None if same else f"with {path} = {_short(saved)}, not {_short(expected)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
