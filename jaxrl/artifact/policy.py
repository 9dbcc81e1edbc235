"""A trained policy in NumPy: the file `policy.npz` of a run, and how it acts. Imports no JAX."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl import files
from jaxrl.artifact import recipe as recipes
from jaxrl.artifact.recipe import Layer, Part, Recipe

FILE = "policy.npz"
_FORMAT = 1


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
        recipe = self._at(known.index(seed))
        if not all(np.isfinite(x).all() for _, arrays in recipe.layers for x in arrays.values()):
            raise ValueError(f"the agent of seed {seed} has diverged: its weights are not finite numbers")
        return recipe

    def only(self, seed: int) -> "Artifact":
        """The artifact of one seed. Raises ValueError as `of` does."""
        self.of(seed)
        lane = self.seeds.tolist().index(seed)
        here = slice(lane, lane + 1)
        return Artifact(self._at(here), self.seeds[here], self.scores[here], self.about)

    def _at(self, lane: int | slice) -> Recipe:
        layers = [
            Layer(op, {name: x[lane] for name, x in arrays.items()}) for op, arrays in self.recipe.layers
        ]
        bounds = [tuple(x[lane] for x in pair) for pair in self.recipe.bounds]
        return self.recipe._replace(layers=tuple(layers), bounds=tuple(bounds))

    def best(self) -> int:
        """The seed with the best score; the first one if no score is known."""
        return int(self.seeds[np.argmax(np.where(np.isnan(self.scores), -np.inf, self.scores))])


def load(path: str | Path, seed: int | None = None) -> "Policy":
    """The trained policy of a run, to act in NumPy: `policy(obs)`.

        policy = jaxrl.load("runs/cartpole")
        action = policy(obs)                                 # the most likely action

    All steps from observation to action are included: normalization, memory, masks, bounds.
    `jaxrl train` and `jaxrl.fit` write the file `policy.npz` into the run's folder with every checkpoint;
    `jaxrl export RUN` writes that of `jaxrl train` from the last checkpoint.

    Args:
      path: the folder of a run, or a `policy.npz`.
      seed: of the agent (in a sweep, its number). By default the one with the best mean return in the last
        evaluation. That score is biased upwards, because it was used for the selection; `jaxrl evaluate`
        estimates the returns of all agents with new episodes.

    Raises:
      ValueError: there is no policy at this path, the file is damaged, there is no such seed, or it diverged.
    """
    artifact = read(path)
    seed = artifact.best() if seed is None else seed
    return Policy(artifact.of(seed), int(seed), artifact)


class Policy:
    """A trained policy; `load` makes it.

    Attributes:
      seed: of the agent. seeds: all seeds in the file, `[S]`. scores: their mean returns in the last
        evaluation, `[S]`.
      recipe: the operations and weights. about: algorithm, environment and num_updates.
    """

    def __init__(self, recipe: Recipe, seed: int, artifact: Artifact):
        self.recipe, self.seed = recipe, seed
        self.seeds, self.scores, self.about = artifact.seeds, artifact.scores, artifact.about
        self._memory: np.ndarray | None = None

    def __repr__(self) -> str:
        about = self.about
        return f"<policy of {about.get('algorithm')} on {about.get('environment')}, seed {self.seed}>"

    def __call__(self, obs: Any, action_mask: Any = None) -> Any:
        """The most likely action for one observation, or for a batch.

        A recurrent policy has a memory of earlier observations: call `reset` at the start of an episode.

        Args:
          obs: as returned by the environment: leaves `[*shape]`, or `[N, *shape]` for a batch.
          action_mask: true where an action is allowed, `[K]` or `[N, K]`.

        Returns:
          The action, leaves `[*shape]` or `[N, *shape]`: integers for a Discrete part, float32 for a Box.

        Raises:
          ValueError: the observation or the mask has the wrong structure, shape or dtype.
        """
        parts, single = self._parts(obs)
        memory = self._memory_for(len(parts[0]))
        mask = self._mask(action_mask, len(parts[0]), single)
        memory, actions, _ = recipes.step(np, self.recipe, parts, memory, mask)
        self._memory = memory
        return recipes.build(self.recipe.action, [a[0] if single else a for a in actions])

    def reset(self, where: Any = None) -> None:
        """Resets the memory of a recurrent policy: all of it, or in a batch where `where` `[N]` is true."""
        if where is None or self._memory is None:
            self._memory = None
        else:
            self._memory = np.where(np.asarray(where, bool)[:, None], np.float32(0.0), self._memory)

    def step(self, memory: Any, obs: Any, action_mask: Any = None) -> tuple[Any, Any, np.ndarray]:
        """The policy as a pure function of a batch.

        Args:
          memory: `[N, M]`, zeros at the start of an episode (`M` is `recipe.memory_size`).

        Returns:
          memory, action, outputs `[N, K]`: the logits or means that the action was chosen from.
        """
        parts, single = self._parts(obs)
        if single:
            raise ValueError("step takes a batch of observations [N, ...]: add an axis")
        mask = self._mask(action_mask, len(parts[0]), single)
        memory, actions, outputs = recipes.step(np, self.recipe, parts, memory, mask)
        return memory, recipes.build(self.recipe.action, actions), outputs

    def _parts(self, obs) -> tuple[list[np.ndarray], bool]:
        try:
            parts = [np.asarray(x) for x in recipes.leaves(self.recipe.observation, obs)]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            names = ", ".join(part.name for part in self.recipe.observation_parts)
            raise ValueError(f"the observation must have the parts {names} ({error!r})") from None
        batches = {x.shape[: x.ndim - len(p.shape)] for p, x in zip(self.recipe.observation_parts, parts)}
        for part, x in zip(self.recipe.observation_parts, parts):
            if x.shape[x.ndim - len(part.shape) :] != part.shape or x.ndim > len(part.shape) + 1:
                shape = ", ".join(map(str, part.shape))
                raise ValueError(f"{part.name} must have the shape [{shape}] or [N, {shape}], not {x.shape}")
        if len(batches) > 1:
            raise ValueError(
                f"the parts of the observation are batches of different sizes: {sorted(batches)}"
            )
        single = batches == {()}
        return [x[None] if single else x for x in parts], single

    def _mask(self, mask, size: int, single: bool):
        if mask is None:
            return None
        if not self.recipe.has_mask:
            raise ValueError("an action mask needs one Discrete or MultiDiscrete action: leave it out")
        shape = (self.recipe.num_outputs,) if single else (size, self.recipe.num_outputs)
        mask = np.asarray(mask, bool)
        if mask.shape != shape:
            raise ValueError(f"the action mask must have the shape {shape}, not {mask.shape}")
        return mask.reshape(size, -1)

    def _memory_for(self, size: int) -> np.ndarray:
        if self._memory is None or not self.recipe.memory_size:
            return np.zeros((size, self.recipe.memory_size), np.float32)
        if len(self._memory) != size:
            raise ValueError(
                f"the policy remembers a batch of {len(self._memory)}, and this one has {size}: call reset"
            )
        return self._memory


# --- the file ------------------------------------------------------------------------------------


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
        with np.load(file, allow_pickle=False) as held:
            return _artifact(dict(held))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file} cannot be read as a policy ({reason}): export it again") from None


def _artifact(arrays: dict[str, np.ndarray]) -> Artifact:
    data = json.loads(str(arrays.pop("description")))
    if data.pop("format") != _FORMAT:
        raise ValueError("it was written by another version of jaxrl")
    about, seeds, scores = data.pop("about"), arrays.pop("seeds"), arrays.pop("scores")
    for name in ("observation_parts", "action_parts"):
        data[name] = tuple(Part(n, k, tuple(s), d, tuple(c), p) for n, k, s, d, c, p in data[name])
    layers = [Layer(op, {}) for op in data.pop("layers")]
    bounds: list[tuple[np.ndarray, ...]] = [()] * len(data["action_parts"])
    for name, x in arrays.items():
        place, _, own = name.partition(".")
        if place.startswith("layer"):
            layers[int(place.removeprefix("layer"))].arrays[own] = x
    for i in range(len(bounds)):
        if f"action{i}.low" in arrays:
            bounds[i] = (arrays[f"action{i}.low"], arrays[f"action{i}.high"])
    recipe = Recipe(**data, layers=tuple(layers), bounds=tuple(bounds))
    return Artifact(recipe, seeds, scores, about)


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
