"""The file `policy.npz` of a run: the policies of all seeds, written and read. Imports no JAX."""

import dataclasses
import io
import json
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxrl import decode, files
from jaxrl.artifact import recipe as recipes
from jaxrl.artifact.recipe import Layer, Part, Recipe
from jaxrl.formats import Numbered

FILE = "policy.npz"
_FORMAT = 1
_LARGEST = 2**32  # bytes of all arrays
_WIDEST = 2**24  # values of an observation or an action
_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile, EOFError)
_DAMAGE += (
    NotImplementedError,
    RuntimeError,
    MemoryError,
    ArithmeticError,
    zlib.error,
)  # of zip files, and of their sizes

_Part = tuple[
    str,
    Literal["box", "discrete", "multi_discrete"],
    tuple[int, ...],
    str,
    tuple[int, ...],
    bool,
]


@dataclasses.dataclass(frozen=True)
class _Description:
    """The JSON in the file: a Recipe without its arrays."""

    observation: Any
    observation_parts: tuple[_Part, ...]
    action: Any
    action_parts: tuple[_Part, ...]
    layers: tuple[str, ...]
    about: dict[str, str | int | float | None]
    flat: bool = True
    masked: bool = False
    squash: bool = False


class Artifact(NamedTuple):
    """The content of `policy.npz`: the policies of all seeds of a run.

    Attributes:
      recipe: its `layers` and `bounds` contain the arrays of all seeds, `[S, ...]`.
      seeds: `[S]`; for a sweep, the numbers of the agents.
      scores: the mean return of each in the last evaluation before `num_updates`, nan if it is not known
        or the agent has diverged, `[S]`.
      about: algorithm, environment, num_updates: for the reader.
    """

    recipe: Recipe
    seeds: np.ndarray
    scores: np.ndarray
    about: dict[str, Any]

    def of(self, seed: int) -> Recipe:
        """The recipe of one seed. Raises ValueError if there is no such seed, or if it has diverged."""
        known = self.seeds.tolist()
        if seed not in known:
            these = (
                f"the seeds are {known[0]} to {known[-1]}" if len(known) > 1 else f"the seed is {known[0]}"
            )
            raise ValueError(f"there is no seed {seed!r}: {these}")
        recipe = self.at(known.index(seed))
        if not all(np.isfinite(x).all() for _, arrays in recipe.layers for x in arrays.values()):
            raise ValueError(f"the agent of seed {seed} has diverged: its weights are not finite numbers")
        return recipe

    def only(self, seed: int) -> "Artifact":
        """The artifact of one seed. Raises ValueError as `of` does."""
        self.of(seed)
        lane = self.seeds.tolist().index(seed)
        here = slice(lane, lane + 1)
        return Artifact(self.at(here), self.seeds[here], self.scores[here], self.about)

    def at(self, lane: int | slice) -> Recipe:
        """The recipe of one seed, or of several, by position."""
        layers = [
            Layer(op, {name: x[lane] for name, x in arrays.items()}) for op, arrays in self.recipe.layers
        ]
        bounds = [tuple(x[lane] for x in pair) for pair in self.recipe.bounds]
        return self.recipe._replace(layers=tuple(layers), bounds=tuple(bounds))

    def best(self) -> int:
        """The seed with the best score; the first one if no score is known."""
        return int(self.seeds[np.argmax(np.where(np.isnan(self.scores), -np.inf, self.scores))])


def write(path: Path, artifact: Artifact) -> None:
    """Writes an artifact as an .npz file, atomically; the same artifact gives the same bytes."""
    files.replace(path, to_bytes(artifact))


def to_bytes(artifact: Artifact) -> bytes:
    recipe = artifact.recipe
    description = recipe._asdict() | {"format": _FORMAT, "about": artifact.about}
    description["layers"] = [layer.op for layer in recipe.layers]
    del description["bounds"]
    arrays = {f"layer{i}.{n}": x for i, layer in enumerate(recipe.layers) for n, x in layer.arrays.items()}
    for i, bounds in enumerate(recipe.bounds):
        arrays |= {f"action{i}.{name}": x for name, x in zip(("low", "high"), bounds)}
    data = io.BytesIO()
    described = np.array(json.dumps(description))
    np.savez(data, description=described, seeds=artifact.seeds, scores=artifact.scores, **arrays)
    return data.getvalue()


def read(path: str | Path) -> Artifact:
    """The artifact in a run's folder or in an .npz file. Raises ValueError with the remedy."""
    path = Path(path)
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise ValueError(_nothing(path))
    try:
        with files.open_regular(file) as opened, np.load(opened, allow_pickle=False) as held:
            if sum(one.file_size for one in held.zip.filelist) > _LARGEST:
                raise ValueError("it is too large")
            return _artifact(dict(held))
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} cannot be read as a policy ({reason}): export it again") from None


def _artifact(arrays: dict[str, np.ndarray]) -> Artifact:
    data = decode.parse(str(arrays.pop("description")), "its description")
    if decode.decode(data, Numbered, "its description").format != _FORMAT:
        raise ValueError("it was written by another version of jaxrl")
    described = decode.decode(data, _Description, "its description")
    seeds, scores = arrays.pop("seeds"), arrays.pop("scores")
    layers = [Layer(op, {}) for op in described.layers]
    bounds: list[tuple[np.ndarray, ...]] = [()] * len(described.action_parts)
    for name, x in arrays.items():
        place, _, own = name.partition(".")
        if place.startswith("layer"):
            layers[int(place.removeprefix("layer"))].arrays[own] = x
    for i in range(len(bounds)):
        if f"action{i}.low" in arrays:
            bounds[i] = (arrays[f"action{i}.low"], arrays[f"action{i}.high"])
    recipe = Recipe(
        described.observation,
        tuple(Part(*part) for part in described.observation_parts),
        described.action,
        tuple(Part(*part) for part in described.action_parts),
        tuple(layers),
        tuple(bounds),
        described.flat,
        described.masked,
        described.squash,
    )
    artifact = Artifact(recipe, seeds, scores, described.about)
    _require_consistent(artifact)
    return artifact


def _require_consistent(artifact: Artifact) -> None:
    """Raises ValueError, or another of `_DAMAGE`, unless the arrays fit each other and the description."""
    recipe, seeds, scores = artifact.recipe, artifact.seeds, artifact.scores
    if seeds.ndim != 1 or not seeds.size or seeds.dtype.kind not in "iu" or scores.shape != seeds.shape:
        raise ValueError("its seeds and scores do not fit each other")
    arrays = [x for layer in recipe.layers for x in layer.arrays.values()]
    arrays += [x for pair in recipe.bounds for x in pair]
    if scores.dtype.kind != "f" or any(x.dtype.kind != "f" or x.shape[:1] != seeds.shape for x in arrays):
        raise ValueError("its arrays do not have one entry for each seed")
    parts = (*recipe.observation_parts, *recipe.action_parts)
    if sum(math.prod(part.shape) + sum(part.sizes) for part in parts) > _WIDEST:
        raise ValueError("its observations or actions are too large")
    obs = [np.zeros((1, *part.shape), part.dtype) for part in recipe.observation_parts]
    recipes.leaves(recipe.observation, recipes.build(recipe.observation, obs))
    with np.errstate(all="ignore"):  # the first agent may have diverged
        memory = np.zeros((1, recipe.memory_size), np.float32)
        _, actions, outputs = recipes.step(np, artifact.at(0), obs, memory)
    recipes.build(recipe.action, actions)
    if outputs.shape != (1, recipe.num_outputs):
        raise ValueError("its weights do not fit its actions")


def _nothing(path: Path) -> str:
    """Why there is no policy at a path, with the remedy."""
    if (path / "sweep.json").exists():
        return f"{path} is a sweep: give one of its runs, for example {files.run_of_sweep(path)}"
    if (path / "fit.json").exists():
        return (
            f"{path} has no {FILE}: jaxrl.fit writes it with a checkpoint, if the algorithm has a "
            "`description` of its policy; otherwise act with `algo.act` and the state that fit returns"
        )
    if (path / "run.json").exists():
        command = f"jaxrl export {files.quoted(path)}"
        alone = "a network of your own acts in JAX only, as in `jaxrl evaluate`"
        return f"{path} has no {FILE}: `{command}` writes it from the run's last checkpoint ({alone})"
    if path.exists():
        return f"{path} is no run: it has no run.json"
    return f"{path}: there is no such run"
