"""Algorithms, environments and objectives in the user's files: checked when loaded, then used by name.

An algorithm is a file with `Config`, `Hparams` and `make`, like those in `algos/`. An environment is a
function `(**params) -> Env`, raw or with all wrappers, and its file may have a function `render(state)`; an
objective is a function `() -> Objective`. Names are those of `jaxrl.sources`.
"""

import dataclasses
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxrl import decode, envs, files, objective_file, objectives, sources
from jaxrl.envs import render
from jaxrl.envs.check import check_types
from jaxrl.envs.entry import Entry, scalars
from jaxrl.experiments.json_types import require_types, restored
from jaxrl.train import use_cores
from jaxrl.types import Env, Objective

_START = "`jaxrl new algorithm FILE --from ppo` writes one to start from"


def _source(word: str) -> sources.Source:
    use_cores(quiet=True)  # a file's code may start JAX
    return sources.source(word)


def is_source(word: str) -> bool:
    """Whether a word is a Python file, or the name of one in the records of a run."""
    return sources.is_file(word) or sources.is_name(word)


def algorithm(word: str) -> ModuleType:
    """The module of an algorithm's file.

    Raises:
      ValueError: a part of an algorithm is missing; with a description of that part.
    """
    source = _source(word)
    module = sources.load(source)
    for name in ("Config", "Hparams", "make"):
        if not hasattr(module, name):
            text = f"{source.path} has no {name}: an algorithm has Config, Hparams and make"
            raise ValueError(f"{text}; {_START}")
    for name in ("Config", "Hparams"):
        part = getattr(module, name)
        required = _without_default(part) if dataclasses.is_dataclass(part) else [""]
        if required:
            what = f"give {required[0]} a default value" if required[0] else f"make it a dataclass; {_START}"
            raise ValueError(f"{name} in {source.path}: {what}")
    fields = {field.name for field in dataclasses.fields(module.Hparams)}
    if not hasattr(module.Hparams, "replace") or "total_updates" not in fields:
        what = "a flax.struct.dataclass with the field total_updates"
        raise ValueError(f"Hparams in {source.path} must be {what}; {_START}")
    arguments = ["env", "config", *(["objective"] if "objective" in fields else [])]
    try:
        inspect.signature(module.make).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"make in {source.path} must take ({', '.join(arguments)}): {error}") from None
    return module


def environment(word: str) -> str:
    """Registers the environment in a file with `envs.make`. Returns its name; other words are unchanged.

    Raises:
      ValueError: the file has no such function, or it does not return a valid environment.
    """
    name = sources.named(word)
    if not sources.is_name(name) or name in envs.REGISTRY:
        return name
    source = _source(name)
    make = sources.function(source, apart_from="render")
    with jax.enable_x64(False):
        env = _called(make, source, Env)
        try:
            check_types(env, jax.random.key(0))
        except ValueError as error:
            text = sources.in_one_line(error.__cause__ or error)
            raise ValueError(text or f"{make.__name__} in {source.path}: {error}") from error
    wrapped = "auto_reset" in getattr(env.step, "layers", ())
    for parameter in ("max_steps", "resets"):
        if not wrapped and parameter in inspect.signature(make).parameters:
            raise ValueError(
                f"{make.__name__} in {source.path} has the parameter {parameter}, which every raw "
                "environment gets: leave it out (a line MAX_STEPS = 500 in the file sets the default limit)"
            )
    limit = None if wrapped else getattr(sources.load(source), "MAX_STEPS", None)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"MAX_STEPS = {limit!r} in {source.path} must be a positive integer")
    envs.REGISTRY[name] = Entry(make, limit, lambda: scalars(make), wrapped=wrapped)
    if draw := getattr(sources.load(source), "render", None):
        render.DRAWINGS[name] = _drawing(draw, source)
    return name


def _drawing(draw: Callable, source: sources.Source) -> Callable:
    """`render(state)` of a file, as called by `render.frame`; it may take the environment's parameters."""
    known = inspect.signature(draw).parameters

    def frame(state, obs, **params):
        del obs
        try:
            pixels = np.asarray(draw(state, **{name: x for name, x in params.items() if name in known}))
        except Exception as error:
            raise ValueError(sources.in_one_line(error) or f"render in {source.path}: {error}") from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            got = f"{pixels.dtype}{list(pixels.shape)}"
            raise ValueError(f"render in {source.path} must return pixels [H, W, 3] of uint8, not {got}")
        times = -(-48 // max(1, min(pixels.shape[:2])))  # room for the caption
        return pixels.repeat(times, axis=0).repeat(times, axis=1)

    return frame


def objective(word: str) -> tuple[str, Objective]:
    """The name of an objective's file, and the objective.

    Raises:
      ValueError: the file has no such function, or it does not return a valid objective.
    """
    source = _source(word)
    make = sources.function(source)
    made = _called(make, source, Objective)
    where = f"the objective {make.__name__} in {source.path}"
    params = objectives.Nothing() if made.params in ((), None) else made.params
    if not dataclasses.is_dataclass(params) or not hasattr(params, "replace"):
        raise ValueError(f"{where} must have a flax.struct.dataclass of numbers as params, not {params!r}")
    one = jax.ShapeDtypeStruct((3,), np.float32)
    answer = jax.eval_shape(made.apply, params, one, one, 0.0)
    if getattr(answer, "shape", None) != one.shape:
        raise ValueError(f"{where} must give a number per sample, as log_ratio [B] has, not {answer}")
    return source.name, made._replace(params=jax.tree.map(_plain, params))


def save_objective(
    path: Path, name: str, params: Any, about: dict[str, Any], kept: dict[str, dict[str, str]]
) -> None:
    """Writes an objective with these parameters to a file, as `objective_file.save` does.

    Args:
      name: also of a Python file, whose copy is in `source/` beside the new file.
      kept: the copies, as returned by `sources.keep`.

    Raises:
      ValueError: the parameters are not finite.
    """
    if not sources.is_name(name):
        objective_file.save(path, name, params, about)
        return
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
        raise ValueError(f"the parameters of {sources.shown(name)} are not finite")
    values = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32).tolist(), dataclasses.asdict(params))
    record = {"objective": name, "params": values, "sources": {name: kept[name]}, "about": about}
    files.replace(path, json.dumps(record) + "\n")


def load_objective(path: Path) -> tuple[str, Objective]:
    """The name of the objective in a file by `save_objective`, and the objective with its parameters.

    Raises:
      ValueError: there is none, or the copy of its Python file is missing or was edited.
    """
    try:
        record = decode.read_json(path, objective_file.Record)
    except (OSError, ValueError):
        return objective_file.load(path)  # the error
    if not record.sources:
        return objective_file.load(path)
    sources.remember(path.parent, {name: vars(kept) for name, kept in record.sources.items()})
    name, made = objective(record.objective)
    try:
        params = restored(made.params, record.params)
        require_types(params, where=path)
        return name, made._replace(params=params)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} does not hold parameters of {sources.shown(name)}: {error}") from None


def _plain(leaf: Any) -> Any:
    """A Python number, or an array on the host."""
    if isinstance(leaf, int | float):
        return leaf
    return np.asarray(leaf, np.float32) if np.ndim(leaf) else float(leaf)


def _called(make: Callable, source: sources.Source, kind: type) -> Any:
    """The result of a function in a file, called with its defaults."""
    where = f"{make.__name__} in {source.path}"
    if required := _without_default(make):
        raise ValueError(f"{where}: give the parameter {required[0]} a default value")
    result = make()
    if not isinstance(result, kind):
        what = "nothing" if result is None else f"a {type(result).__name__}"
        raise ValueError(f"{where} must return a jaxrl.types.{kind.__name__}, not {what}")
    return result


def _without_default(function: Callable) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    varying = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in varying]
