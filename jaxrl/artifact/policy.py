"""A trained policy in NumPy: how the policies in `policy.npz` act. Imports no JAX."""

from pathlib import Path
from typing import Any

import numpy as np

from jaxrl.artifact import recipe as recipes
from jaxrl.artifact.file import FILE, Artifact, read, to_bytes, write
from jaxrl.artifact.recipe import Recipe

__all__ = ["FILE", "Artifact", "Policy", "load", "read", "to_bytes", "write"]


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
